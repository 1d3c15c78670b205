/** While a store's database is away because the disk failed: why, in words, and when to try again. */
import { KvError } from '../base/error.ts'
import type { Clock, Timer } from '../effects/clock.ts'
import type { LogFields } from '../effects/log.ts'

const SHORTEST_REST_MS = 100
const LONGEST_REST_MS = 5000
/** A disk that fails sooner after it served again has not recovered: it only opened. */
const WELL_AFTER_MS = 60_000
const MAX_WORDS = 300

export class Outage {
  readonly #clock: Clock
  #why: string | null = null
  #restMs = SHORTEST_REST_MS
  #endedMs = Number.NEGATIVE_INFINITY
  /** The one before had only just ended. */
  #isBack = false
  #isStopped = false
  #rest: { readonly timer: Timer; readonly end: () => void } | null = null

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** `its disk is full`, for people; null: there is none. */
  get why(): string | null {
    return this.#why
  }

  /** Of the next `rest`. */
  get restMs(): number {
    return this.#restMs
  }

  began(error: unknown): void {
    this.#why = diskWords(error)
    this.#isBack = this.#clock.monotonic() - this.#endedMs < WELL_AFTER_MS
    if (!this.#isBack) this.#restMs = SHORTEST_REST_MS
  }

  ended(): void {
    this.#why = null
    this.#endedMs = this.#clock.monotonic()
  }

  /**
   * The database is open. Where that helped only for a moment the last time, it has a while to fail by itself
   * before anything depends on it: it works on its files unasked.
   */
  async trial(): Promise<void> {
    if (this.#isBack) await this.#pause()
  }

  /** Another attempt failed. Fulfils when it is time for the next one, or when there will be none. */
  async rest(error: unknown): Promise<void> {
    this.#why = diskWords(error)
    await this.#pause()
  }

  /** There will be no rest and no trial any more. */
  stopResting(): void {
    this.#isStopped = true
    this.#rest?.timer.cancel()
    this.#rest?.end()
  }

  async #pause(): Promise<void> {
    if (this.#isStopped) return
    const ms = this.#restMs
    this.#restMs = Math.min(2 * ms, LONGEST_REST_MS)
    await new Promise<void>((resolve) => {
      this.#rest = { timer: this.#clock.setTimer(ms, resolve), end: resolve }
    })
  }
}

/** @param why what this peer does, or its disk */
export function outageError(why: string): KvError {
  return new KvError('UNAVAILABLE', `nothing was written at this peer: ${why}`)
}

/** The peer would answer as a complete one for data that it does not have. The next start finds the loss. */
export function exchangedError(name: string): KvError {
  const advice = 'stop this peer and start it again, and it gets its data from the others'
  return new KvError('INTERNAL', `the database in ${name} is another one than this peer had open: ${advice}`)
}

/** For the log, at every attempt: no stack but that of a bug of ours. */
export function outageFields(error: unknown): LogFields {
  if (!(error instanceof KvError)) return { error }
  return { why: diskWords(error), cause: innermostOf(error) }
}

/** What the system said, as what a peer's disk is or does: a sentence that begins with its address. */
export function diskWords(error: unknown): string {
  for (let cause = error; cause instanceof Error; cause = cause.cause) {
    const { code } = cause as { readonly code?: unknown }
    if (
      code === 'ENOSPC' ||
      code === 'EDQUOT' ||
      /no space left|disk is full|quota exceeded/i.test(cause.message)
    )
      return 'its disk is full; make room there, and it goes on by itself'
  }
  const innermost = innermostOf(error)
  const message = error instanceof KvError ? error.message : innermost
  return `its disk fails: ${message.replaceAll(/\s+/g, ' ').slice(0, MAX_WORDS)}`
}

function innermostOf(error: unknown): string {
  let found = error
  while (found instanceof Error && found.cause instanceof Error) found = found.cause
  return found instanceof Error ? found.message : String(found)
}
