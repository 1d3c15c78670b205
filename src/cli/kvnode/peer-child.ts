/** A peer in a process of its own, seen from the process that started it. */
import { type ChildProcess, spawn } from 'node:child_process'
import { closeSync, openSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import type { Address } from '../../base/ids.ts'
import type { PeerOptions } from '../../config/option-table.ts'
import { AdvisedError } from '../failure.ts'
import type { PeerMessage } from './peer-message.ts'

export interface PeerPlan {
  readonly address: Address
  readonly dataDir: string
  readonly logFile: string
}

export class PeerProcess {
  readonly address: Address
  readonly dataDir: string
  readonly logFile: string
  /** How it ended, in words. */
  readonly ended: Promise<string>
  readonly #child: ChildProcess
  readonly #ready: Promise<void>
  #isReady = false
  #exitCode: number | null = null

  constructor(plan: PeerPlan, options: PeerOptions) {
    this.address = plan.address
    this.dataDir = plan.dataDir
    this.logFile = plan.logFile
    this.#child = startProcess(options, plan.logFile)
    this.ended = new Promise((resolve) => {
      this.#child.once('exit', (code, signal) => {
        this.#exitCode = code ?? 1
        resolve(signal === null ? `ended with exit code ${code}` : `was ended by ${signal}`)
      })
    })
    this.#ready = this.#becomesReady()
    // Whoever asks by `ready` is told; nobody may have asked yet.
    this.#ready.catch(() => {})
  }

  /** Null while it runs. */
  get exitCode(): number | null {
    return this.#exitCode
  }

  /** It serves: it was made a member. */
  get isReady(): boolean {
    return this.#isReady
  }

  get processId(): number {
    return this.#child.pid ?? 0
  }

  /** @throws what the peer said when it could not start */
  async ready(timeoutMs: number): Promise<void> {
    let timer: NodeJS.Timeout | undefined
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(this.#failure([`${this.address} did not start in time`])), timeoutMs)
    })
    try {
      await Promise.race([this.#ready, late])
    } finally {
      clearTimeout(timer)
    }
  }

  stop(): void {
    this.#child.kill('SIGTERM')
  }

  kill(): void {
    this.#child.kill('SIGKILL')
  }

  #becomesReady(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#child.on('message', (message: PeerMessage) => {
        if (message.type === 'failed') return reject(this.#failure(message.lines))
        this.#isReady = true
        resolve()
      })
      this.#child.once('error', reject)
      void this.ended.then((how) => reject(this.#failure([`${this.address} ${how} before it was ready`])))
    })
  }

  #failure(lines: readonly string[]): AdvisedError {
    const [what = 'it did not start', advice = `its log is ${this.logFile}`] = lines
    return new AdvisedError('INVALID_ARGUMENT', what, advice)
  }
}

/** Detached, so that Ctrl-C on the terminal reaches only the process that stops them all. */
function startProcess(options: PeerOptions, logFile: string): ChildProcess {
  const log = openSync(logFile, 'a')
  const entry = fileURLToPath(new URL('../cli/kvnode-peer.js', import.meta.url))
  const child = spawn(process.execPath, [entry, JSON.stringify(options)], {
    stdio: ['ignore', 'ignore', log, 'ipc'],
    detached: true,
  })
  closeSync(log)
  return child
}
