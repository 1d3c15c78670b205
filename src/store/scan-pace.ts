/**
 * How long a long reading of the disk rests after each piece of it. A rest that ends late, while there were
 * requests, tells that these wait for the processor: the next one is twice as long. Any other makes the next
 * a little shorter. So an idle peer is read through quickly, however busy the machine is otherwise, and a
 * busy one hardly notices.
 */
import type { Clock, Timer } from '../effects/clock.ts'

export const SHORTEST_REST_MS = 2
export const LONGEST_REST_MS = 80
/** Later than this is late: a timer of a process that does little is in time by less. */
const LATE_MS = 5
const SHRINKAGE = 0.75
/** In one rest: fewer are nothing to give way to. */
const MIN_REQUESTS = 3

export class ScanPace {
  readonly #clock: Clock
  readonly #requestCount: () => number
  #restMs = SHORTEST_REST_MS
  #rest: { readonly timer: Timer; readonly end: () => void } | null = null
  #isStopped = false

  /** @param requestCount records that requests have asked for, ever */
  constructor(clock: Clock, requestCount: () => number) {
    this.#clock = clock
    this.#requestCount = requestCount
  }

  /** Of the next rest. */
  get restMs(): number {
    return this.#restMs
  }

  /** One at a time. */
  rest(): Promise<void> {
    if (this.#isStopped) return Promise.resolve()
    const dueMs = this.#clock.monotonic() + this.#restMs
    const countBefore = this.#requestCount()
    return new Promise((resolve) => {
      const end = (): void => {
        this.#rest = null
        const isWanted = this.#requestCount() - countBefore >= MIN_REQUESTS
        this.#adapt(isWanted && this.#clock.monotonic() - dueMs > LATE_MS)
        resolve()
      }
      this.#rest = { timer: this.#clock.setTimer(this.#restMs, end), end: resolve }
    })
  }

  /** Ends the rest; there are no more. */
  stop(): void {
    this.#isStopped = true
    this.#rest?.timer.cancel()
    this.#rest?.end()
  }

  #adapt(mustGiveWay: boolean): void {
    this.#restMs = mustGiveWay
      ? Math.min(LONGEST_REST_MS, 2 * this.#restMs)
      : Math.max(SHORTEST_REST_MS, SHRINKAGE * this.#restMs)
  }
}
