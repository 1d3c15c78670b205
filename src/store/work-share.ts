/**
 * How bulk work on records shares a peer's time with requests. It is done in pieces of a millisecond or two,
 * so that no request waits for more than one of them. While there are requests each piece is followed by a
 * rest, longer than it by a factor. A rest that ends late tells that somebody waits for the processor, here
 * or in another process of this machine, and doubles the factor; others shrink it a little, so little that
 * few of them are late in the long run. It begins with a large one: a change of the ring has many peers begin
 * in the same moment, just when requests that it held up start over. Without requests the next piece follows
 * at once.
 */
import type { Clock, Timer } from '../effects/clock.ts'

/** Of a rest, to the piece before it: what a piece makes the disk do afterwards costs as much again. */
const LEAST_FACTOR = 2
const GREATEST_FACTOR = 32
const SHRINKAGE = 0.97
const SHORTEST_REST_MS = 1
const LONGEST_REST_MS = 60
/** Later than this is late: a timer of a process that does little is in time by less. */
const LATE_MS = 3
/** For so long after a request others are expected. */
const BUSY_MS = 250
/** After so long without it the work begins anew. */
const ANEW_MS = 1000

export class WorkShare {
  readonly #clock: Clock
  readonly #requestCount: () => number
  #factor = GREATEST_FACTOR
  /** When the last rest ended. */
  #count: number
  /** Monotonic ms. */
  #requestedMs = Number.NEGATIVE_INFINITY
  /** When the last rest ended, monotonic ms. */
  #restedMs = Number.NEGATIVE_INFINITY
  #resting: { readonly timer: Timer; readonly end: () => void } | null = null
  #isStopped = false

  /** @param requestCount records that were asked for, ever, by requests and by the work itself */
  constructor(clock: Clock, requestCount: () => number) {
    this.#clock = clock
    this.#requestCount = requestCount
    this.#count = requestCount()
  }

  /**
   * Fulfils when the next piece may begin. One at a time.
   * @param workMs how long the piece took @param ownCount records that it asked for
   */
  async rest(workMs: number, ownCount: number): Promise<void> {
    if (this.#isStopped) return
    this.#look(ownCount)
    if (this.#clock.monotonic() - this.#restedMs > ANEW_MS) this.#factor = GREATEST_FACTOR
    if (this.isBusy) await this.#rest(workMs)
    else await new Promise<void>((resolve) => this.#clock.defer(resolve))
    this.#look(0)
    this.#restedMs = this.#clock.monotonic()
  }

  /** Ends the rest; there are no more. */
  stop(): void {
    this.#isStopped = true
    this.#resting?.timer.cancel()
    this.#resting?.end()
  }

  /** As of the last rest: there are requests. */
  get isBusy(): boolean {
    return this.#clock.monotonic() - this.#requestedMs < BUSY_MS
  }

  #look(ownCount: number): void {
    const count = this.#requestCount()
    if (count - this.#count > ownCount) this.#requestedMs = this.#clock.monotonic()
    this.#count = count
  }

  async #rest(workMs: number): Promise<void> {
    const restMs = Math.min(LONGEST_REST_MS, Math.max(SHORTEST_REST_MS, this.#factor * workMs))
    const dueMs = this.#clock.monotonic() + restMs
    await new Promise<void>((resolve) => {
      const end = (): void => {
        this.#resting = null
        resolve()
      }
      this.#resting = { timer: this.#clock.setTimer(restMs, end), end }
    })
    const isLate = this.#clock.monotonic() - dueMs > LATE_MS
    this.#factor = isLate
      ? Math.min(GREATEST_FACTOR, 2 * this.#factor)
      : Math.max(LEAST_FACTOR, SHRINKAGE * this.#factor)
  }
}
