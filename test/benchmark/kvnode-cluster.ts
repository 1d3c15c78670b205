/** Three kvnode processes as a user would run them, loaded by the client library in a process of its own. */
import { fileURLToPath } from 'node:url'
import { connect } from '../../src/index.ts'
import { DEFAULT_KEYSPACE_OPTIONS } from '../../src/wire/requests.ts'
import { type PeerProcess, startCluster } from '../processes/peers.ts'
import type { Processes } from '../processes/processes.ts'
import type { LoadResult } from './etcd-cluster.ts'

const LOADER = fileURLToPath(new URL('put-load.ts', import.meta.url))
const PEERS = 3
const KEYSPACE = 'benchmark'

export class KvnodeCluster {
  readonly #processes: Processes
  readonly #peers: readonly PeerProcess[]
  readonly #valueBytes: number

  private constructor(processes: Processes, peers: readonly PeerProcess[], valueBytes: number) {
    this.#processes = processes
    this.#peers = peers
    this.#valueBytes = valueBytes
  }

  static async start(processes: Processes, directory: string, valueBytes: number): Promise<KvnodeCluster> {
    const peers = await startCluster(PEERS, { directory, args: ['--log-level', 'error'] })
    const client = await connect(peers.map(({ address }) => address))
    await client.service.createKeyspace(KEYSPACE, {
      ...DEFAULT_KEYSPACE_OPTIONS,
      replicas: PEERS,
      conflicts: 'lww',
      w: 2,
    })
    client.close()
    return new KvnodeCluster(processes, peers, valueBytes)
  }

  async load(seconds: number, warmUpSeconds: number): Promise<LoadResult> {
    const setting = {
      addresses: this.#peers.map(({ address }) => address),
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
    await Promise.all(this.#peers.map((peer) => peer.end('SIGTERM')))
  }
}
