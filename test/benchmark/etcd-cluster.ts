/** Three etcd members on loopback, loaded by h2load through gRPC. */
import type { ChildProcess } from 'node:child_process'
import { mkdirSync, openSync, writeFileSync } from 'node:fs'
import { type AddressInfo, createServer } from 'node:net'
import { join } from 'node:path'
import type { Processes } from '../processes/processes.ts'

const MEMBERS = 3
const START_TIMEOUT_MS = 20_000
const CLIENTS = 8
const STREAMS = 32

export interface LoadResult {
  readonly putsPerSecond: number
  readonly p99Ms: number | null
}

export class EtcdCluster {
  readonly #processes: Processes
  readonly #members: readonly ChildProcess[]
  readonly #leaderUrl: string
  readonly #bodyFile: string

  private constructor(
    processes: Processes,
    members: readonly ChildProcess[],
    leaderUrl: string,
    bodyFile: string,
  ) {
    this.#processes = processes
    this.#members = members
    this.#leaderUrl = leaderUrl
    this.#bodyFile = bodyFile
  }

  static async start(processes: Processes, directory: string, valueBytes: number): Promise<EtcdCluster> {
    mkdirSync(directory, { recursive: true })
    const ports = await freePorts(2 * MEMBERS)
    const url = (index: number): string => `http://127.0.0.1:${ports[index]}`
    const peers = Array.from({ length: MEMBERS }, (_, i) => `m${i}=${url(MEMBERS + i)}`).join(',')
    const members = Array.from({ length: MEMBERS }, (_, i) => {
      const flags: Readonly<Record<string, string>> = {
        name: `m${i}`,
        'data-dir': join(directory, `m${i}`),
        'listen-client-urls': url(i),
        'advertise-client-urls': url(i),
        'listen-peer-urls': url(MEMBERS + i),
        'initial-advertise-peer-urls': url(MEMBERS + i),
        'initial-cluster': peers,
        'quota-backend-bytes': String(8 * 1024 ** 3),
        logger: 'zap',
        'log-level': 'error',
      }
      const args = Object.entries(flags).map(([name, value]) => `--${name}=${value}`)
      const log = openSync(join(directory, `m${i}.log`), 'w')
      return processes.start('etcd', args, { stdio: ['ignore', 'ignore', log] })
    })
    const leaderUrl = await findLeader(Array.from({ length: MEMBERS }, (_, i) => url(i)))
    const bodyFile = join(directory, 'put')
    writeFileSync(bodyFile, grpcPut('benchmark-key', Buffer.alloc(valueBytes, 'v')))
    return new EtcdCluster(processes, members, leaderUrl, bodyFile)
  }

  /** The leader is asked, which spares etcd a hop; what counts is by how much its revision grew. */
  async load(seconds: number, warmUpSeconds: number): Promise<LoadResult> {
    await this.#h2load(warmUpSeconds)
    const before = await this.#revision()
    const startMs = performance.now()
    await this.#h2load(seconds)
    const elapsedS = (performance.now() - startMs) / 1000
    return { putsPerSecond: ((await this.#revision()) - before) / elapsedS, p99Ms: null }
  }

  async stop(): Promise<void> {
    await Promise.all(this.#members.map((member) => this.#processes.stop(member)))
  }

  async #h2load(seconds: number): Promise<void> {
    const headers = ['-H', 'content-type: application/grpc', '-H', 'te: trailers']
    const amount = ['-c', String(CLIENTS), '-m', String(STREAMS), '-D', String(seconds)]
    const target = ['-d', this.#bodyFile, `${this.#leaderUrl}/etcdserverpb.KV/Put`]
    const report = await this.#processes.output('h2load', ['-p', 'h2c', ...amount, ...headers, ...target])
    const failed = /, (\d+) failed, (\d+) errored/.exec(report)
    if (failed === null || Number(failed[1]) + Number(failed[2]) > 0)
      throw new Error(`h2load had errors:\n${report}`)
  }

  async #revision(): Promise<number> {
    const status = await post(`${this.#leaderUrl}/v3/maintenance/status`)
    return Number(status?.header?.revision)
  }
}

interface MemberStatus {
  readonly header?: { readonly member_id?: string; readonly revision?: string }
  readonly leader?: string
}

async function post(url: string): Promise<MemberStatus | null> {
  try {
    const response = await fetch(url, { method: 'POST', body: '{}' })
    return (await response.json()) as MemberStatus
  } catch {
    return null // It is not up yet: whoever asks tries again.
  }
}

async function findLeader(urls: readonly string[]): Promise<string> {
  const endMs = performance.now() + START_TIMEOUT_MS
  while (performance.now() < endMs) {
    for (const url of urls) {
      const status = await post(`${url}/v3/maintenance/status`)
      if (status?.leader !== undefined && status.leader === status.header?.member_id) return url
    }
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
  throw new Error(
    `etcd has no leader after ${START_TIMEOUT_MS} ms; its logs are beside its data: --directory`,
  )
}

/** A gRPC frame around etcdserverpb.PutRequest { bytes key = 1; bytes value = 2; }. */
function grpcPut(key: string, value: Buffer): Buffer {
  const field = (tag: number, bytes: Buffer): Buffer =>
    Buffer.concat([Buffer.from([tag, bytes.length]), bytes])
  const message = Buffer.concat([field(0x0a, Buffer.from(key)), field(0x12, value)])
  const head = Buffer.alloc(5)
  head.writeUInt32BE(message.length, 1)
  return Buffer.concat([head, message])
}

async function freePorts(count: number): Promise<readonly number[]> {
  const servers = Array.from({ length: count }, () => createServer())
  const ports = await Promise.all(
    servers.map(
      (server) =>
        new Promise<number>((resolve) => {
          server.listen(0, '127.0.0.1', () => resolve((server.address() as AddressInfo).port))
        }),
    ),
  )
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))))
  return ports
}
