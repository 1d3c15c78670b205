/**
 * Real processes for end-to-end tests: peers and commands from `bin/`, on free ports, in directories of their
 * own.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { connect } from '../../src/api/connect.ts'
import type { ClusterStatus } from '../../src/wire/requests.ts'

const BIN = fileURLToPath(new URL('../../bin/', import.meta.url))
const READY_TIMEOUT_MS = 20_000
const FORMED_TIMEOUT_MS = 20_000

/** Whatever a test leaves running ends with the test process. */
const RUNNING = new Set<ChildProcess>()
process.once('exit', () => {
  for (const child of RUNNING) child.kill('SIGKILL')
})

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

/** A directory that is removed when the test process ends. */
export function scratchDirectory(): string {
  const path = mkdtempSync(join(tmpdir(), 'kvnode-e2e-'))
  process.once('exit', () => rmSync(path, { recursive: true, force: true }))
  return path
}

/** Runs a program of `bin/` to its end. */
export async function run(
  program: 'kvnode' | 'kvctl',
  args: readonly string[],
  options: RunOptions = {},
): Promise<Finished> {
  const child = spawn(process.execPath, [join(BIN, program), ...args], {
    cwd: options.cwd,
    env: cleanEnvironment(options.env),
    stdio: ['pipe', 'pipe', 'pipe'],
  })
  started(child)
  child.stdin.on('error', () => {
    // It may end without reading what we have for it.
  })
  child.stdin.end(options.input ?? '')
  const [stdout, stderr] = [collect(child, 'stdout'), collect(child, 'stderr')]
  const [code] = (await once(child, 'close')) as [number | null]
  return { code, stdout: stdout(), stderr: stderr() }
}

export class PeerProcess {
  /** Known when it is ready; the same after a restart. */
  address = ''
  readonly dataDir: string
  readonly #args: readonly string[]
  #child: ChildProcess | null = null
  #output = { stdout: (): string => '', stderr: (): string => '' }

  constructor(dataDir: string, args: readonly string[] = []) {
    this.dataDir = dataDir
    this.#args = args
  }

  /** Resolves with the line it printed when it became ready. */
  async start(): Promise<string> {
    const port = this.address === '' ? '0' : (this.address.split(':').at(-1) as string)
    const args = ['start', '--port', port, '--data', this.dataDir, ...this.#args]
    const child = spawn(process.execPath, [join(BIN, 'kvnode'), ...args], {
      env: cleanEnvironment(),
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    started(child)
    this.#child = child
    this.#output = { stdout: collect(child, 'stdout'), stderr: collect(child, 'stderr') }
    const deadlineMs = Date.now() + READY_TIMEOUT_MS
    for (;;) {
      const line = this.#output.stdout().match(/^kvnode ready on (.+)\n/)
      if (line !== null) {
        this.address = line[1] as string
        return line[0]
      }
      if (child.exitCode !== null || Date.now() > deadlineMs) {
        throw new Error(`the peer did not become ready: ${this.#output.stderr()}`)
      }
      await sleep(10)
    }
  }

  get stdout(): string {
    return this.#output.stdout()
  }

  get log(): string {
    return this.#output.stderr()
  }

  /** The exit code, null after a signal. */
  async end(signal: NodeJS.Signals): Promise<number | null> {
    const child = this.#child
    if (child === null || child.exitCode !== null || child.signalCode !== null) return child?.exitCode ?? null
    child.kill(signal)
    const [code] = (await once(child, 'exit')) as [number | null]
    return code
  }

  signal(signal: NodeJS.Signals): void {
    this.#child?.kill(signal)
  }
}

/** Peers that are all up and own their share of the ring. */
export async function startCluster(size: number): Promise<readonly PeerProcess[]> {
  const directory = scratchDirectory()
  const first = new PeerProcess(join(directory, '0'))
  await first.start()
  const others = Array.from(
    { length: size - 1 },
    (_, i) => new PeerProcess(join(directory, `${i + 1}`), ['--join', first.address]),
  )
  await Promise.all(others.map((peer) => peer.start()))
  const peers = [first, ...others]
  await until(peers, (status) => status.layout.phase === 'stable' && countOf(status, 'UN') === size)
  return peers
}

export function countOf(status: ClusterStatus, state: string): number {
  return status.peers.filter((peer) => peer.state === state).length
}

/** Waits until every one of the peers sees the cluster as described. */
export async function until(
  peers: readonly PeerProcess[],
  holds: (status: ClusterStatus) => boolean,
): Promise<void> {
  const deadlineMs = Date.now() + FORMED_TIMEOUT_MS
  await Promise.all(
    peers.map(async ({ address }) => {
      const client = await connect(address)
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

function started(child: ChildProcess): void {
  RUNNING.add(child)
  child.once('exit', () => RUNNING.delete(child))
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
