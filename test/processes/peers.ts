/** Peers and commands from `bin/`, as a user would run them: on free ports, in directories of their own. */
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { connect } from '../../src/api/connect.ts'
import type { ClusterStatus } from '../../src/wire/requests.ts'
import { lineOf, Processes, signalGroup } from './processes.ts'

const BIN = fileURLToPath(new URL('../../bin/', import.meta.url))
const READY_TIMEOUT_MS = 20_000
const FORMED_TIMEOUT_MS = 20_000

const processes = new Processes()

export interface Finished {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

export interface RunOptions {
  readonly input?: string | Uint8Array
  readonly env?: Readonly<Record<string, string>>
  readonly cwd?: string
}

export interface PeerOptions {
  /** Words for `kvnode start`, after those that every peer gets. */
  readonly args?: readonly string[]
  /** A program and its words, that runs the peer. */
  readonly wrapper?: readonly string[]
  readonly readyTimeoutMs?: number
}

/** A directory that is removed when this process ends. */
export function scratchDirectory(): string {
  const path = mkdtempSync(join(tmpdir(), 'kvnode-test-'))
  process.once('exit', () => rmSync(path, { recursive: true, force: true }))
  return path
}

/** Runs a program of `bin/` to its end. */
export async function run(
  program: 'kvnode' | 'kvctl',
  args: readonly string[],
  options: RunOptions = {},
): Promise<Finished> {
  const child = processes.start(process.execPath, [join(BIN, program), ...args], {
    cwd: options.cwd,
    env: cleanEnvironment(options.env),
    stdio: ['pipe', 'pipe', 'pipe'],
  })
  child.stdin?.on('error', () => {
    // It may end without reading what we have for it.
  })
  child.stdin?.end(options.input ?? '')
  const [stdout, stderr] = [collect(child, 'stdout'), collect(child, 'stderr')]
  const [code] = (await once(child, 'close')) as [number | null]
  return { code, stdout: stdout(), stderr: stderr() }
}

export class PeerProcess {
  /** Known when it is ready; the same after a restart. */
  address = ''
  readonly dataDir: string
  readonly #options: PeerOptions
  #child: ChildProcess | null = null
  #output = { stdout: (): string => '', stderr: (): string => '' }

  constructor(dataDir: string, options: PeerOptions = {}) {
    this.dataDir = dataDir
    this.#options = options
  }

  /** Resolves with the line it printed when it became ready. */
  async start(): Promise<string> {
    const port = this.address === '' ? '0' : (this.address.split(':').at(-1) as string)
    const { args = [], wrapper = [], readyTimeoutMs = READY_TIMEOUT_MS } = this.#options
    const words = [...wrapper, process.execPath, join(BIN, 'kvnode'), 'start', '--port', port]
    const [command = '', ...rest] = [...words, '--data', this.dataDir, ...args]
    const child = processes.start(command, rest, {
      env: cleanEnvironment(),
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    this.#child = child
    this.#output = { stdout: collect(child, 'stdout'), stderr: collect(child, 'stderr') }
    try {
      const [line, address = ''] = await lineOf(child, /^kvnode ready on (.+)$/, readyTimeoutMs)
      this.address = address
      return `${line}\n`
    } catch (error) {
      throw new Error(`the peer did not become ready: ${this.log}`, { cause: error })
    }
  }

  get pid(): number {
    return this.#child?.pid ?? 0
  }

  get isRunning(): boolean {
    return this.#child !== null && this.#child.exitCode === null && this.#child.signalCode === null
  }

  get stdout(): string {
    return this.#output.stdout()
  }

  /** What the running life, or the last one, wrote on standard error. */
  get log(): string {
    return this.#output.stderr()
  }

  /** The exit code, null after a signal. */
  async end(signal: NodeJS.Signals): Promise<number | null> {
    const child = this.#child
    if (child === null || !this.isRunning) return child?.exitCode ?? null
    const ended = once(child, 'exit') as Promise<[number | null]>
    signalGroup(child, signal)
    const [code] = await ended
    return code
  }

  signal(signal: NodeJS.Signals): void {
    if (this.#child !== null) signalGroup(this.#child, signal)
  }
}

/** Peers that are all up and own their share of the ring. */
export async function startCluster(
  size: number,
  options: PeerOptions & { readonly directory?: string; readonly formedTimeoutMs?: number } = {},
): Promise<readonly PeerProcess[]> {
  const directory = options.directory ?? scratchDirectory()
  const first = new PeerProcess(join(directory, '0'), options)
  await first.start()
  const args = [...(options.args ?? []), '--join', first.address]
  const others = Array.from(
    { length: size - 1 },
    (_, i) => new PeerProcess(join(directory, `${i + 1}`), { ...options, args }),
  )
  await Promise.all(others.map((peer) => peer.start()))
  const peers = [first, ...others]
  await until(peers, (status) => isFormed(status, size), options.formedTimeoutMs)
  return peers
}

/** All of so many peers are up, and no change of the ring is open. */
export function isFormed(status: ClusterStatus, size: number): boolean {
  return status.layout.phase === 'stable' && countOf(status, 'UN') === size
}

export function countOf(status: ClusterStatus, state: string): number {
  return status.peers.filter((peer) => peer.state === state).length
}

/** Waits until every one of the peers sees the cluster as described. */
export async function until(
  peers: readonly PeerProcess[],
  holds: (status: ClusterStatus) => boolean,
  timeoutMs = FORMED_TIMEOUT_MS,
): Promise<void> {
  const deadlineMs = Date.now() + timeoutMs
  await Promise.all(
    peers.map(async ({ address }) => {
      const client = await connect(address, { pinned: true })
      try {
        for (
          let status = await client.service.status();
          !holds(status);
          status = await client.service.status()
        ) {
          if (Date.now() > deadlineMs) throw new Error(`${address} still sees ${JSON.stringify(status)}`)
          await sleep(30)
        }
      } finally {
        client.close()
      }
    }),
  )
}

export async function endAll(peers: readonly PeerProcess[]): Promise<void> {
  await Promise.all(peers.map((peer) => peer.end('SIGKILL')))
}

function collect(child: ChildProcess, stream: 'stdout' | 'stderr'): () => string {
  const chunks: Buffer[] = []
  child[stream]?.on('data', (chunk: Buffer) => chunks.push(chunk))
  return () => Buffer.concat(chunks).toString()
}

/** Without the variables of whoever runs the tests. */
function cleanEnvironment(extra: Readonly<Record<string, string>> = {}): NodeJS.ProcessEnv {
  const own = Object.entries(process.env).filter(
    ([name]) => !/^(KVNODE|KVCTL|npm)_|^NODE_OPTIONS$/.test(name),
  )
  return { ...Object.fromEntries(own), ...extra }
}
