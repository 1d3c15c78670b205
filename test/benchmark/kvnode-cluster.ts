/** Three kvnode processes as a user would run them, loaded by the client library in a process of its own. */
import type { ChildProcess } from 'node:child_process'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { connect } from '../../src/index.ts'
import { DEFAULT_KEYSPACE_OPTIONS } from '../../src/wire/requests.ts'
import type { LoadResult } from './etcd-cluster.ts'
import { lineOf, type Processes } from '../processes/processes.ts'

const KVNODE = fileURLToPath(new URL('../../bin/kvnode', import.meta.url))
const LOADER = fileURLToPath(new URL('put-load.ts', import.meta.url))
const PEERS = 3
const READY_TIMEOUT_MS = 15_000
const KEYSPACE = 'benchmark'

export class KvnodeCluster {
  readonly #processes: Processes
  readonly #peers: readonly ChildProcess[]
  readonly #addresses: readonly string[]
  readonly #valueBytes: number

  private constructor(
    processes: Processes,
    peers: readonly ChildProcess[],
    addresses: readonly string[],
    valueBytes: number,
  ) {
    this.#processes = processes
    this.#peers = peers
    this.#addresses = addresses
    this.#valueBytes = valueBytes
  }

  static async start(processes: Processes, directory: string, valueBytes: number): Promise<KvnodeCluster> {
    const peers: ChildProcess[] = []
    const addresses: string[] = []
    for (let i = 0; i < PEERS; i++) {
      const seed = addresses[0] === undefined ? [] : ['--join', addresses[0]]
      const peer = startPeer(processes, join(directory, `p${i}`), seed)
      peers.push(peer)
      const [, address] = await lineOf(peer, /^kvnode ready on (\S+)$/, READY_TIMEOUT_MS)
      addresses.push(address as string)
    }
    await settle(addresses)
    return new KvnodeCluster(processes, peers, addresses, valueBytes)
  }

  async load(seconds: number, warmUpSeconds: number): Promise<LoadResult> {
    const setting = {
      addresses: this.#addresses,
      keyspace: KEYSPACE,
      valueBytes: this.#valueBytes,
      seconds,
      warmUpSeconds,
    }
    const args = ['--import', 'tsx', LOADER, JSON.stringify(setting)]
    const output = await this.#processes.output(process.execPath, args)
    return JSON.parse(output) as LoadResult
  }

  async stop(): Promise<void> {
    await Promise.all(this.#peers.map((peer) => this.#processes.stop(peer)))
  }
}

/** A peer at a free port; its logs go where the benchmark's messages go. */
export function startPeer(processes: Processes, dataDir: string, args: readonly string[]): ChildProcess {
  const words = [KVNODE, 'start', '--port', '0', '--data', dataDir, '--log-level', 'error', ...args]
  return processes.start(process.execPath, words, { stdio: ['ignore', 'pipe', 'inherit'] })
}

/** Waits until all peers own a share of the ring and no change is open, then makes the keyspace. */
async function settle(addresses: readonly string[]): Promise<void> {
  const client = await connect(addresses)
  const endMs = performance.now() + READY_TIMEOUT_MS
  for (;;) {
    const { peers, layout } = await client.service.status()
    if (layout.phase === 'stable' && peers.length === PEERS && peers.every(({ state }) => state === 'UN'))
      break
    if (performance.now() > endMs)
      throw new Error(`the peers did not form one ring: ${JSON.stringify({ peers, layout })}`)
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
  await client.service.createKeyspace(KEYSPACE, {
    ...DEFAULT_KEYSPACE_OPTIONS,
    replicas: PEERS,
    conflicts: 'lww',
    w: 2,
  })
  client.close()
}
