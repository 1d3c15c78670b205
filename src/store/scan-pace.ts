/**
 * How long a long reading of the disk rests after each piece of it. A rest that ends late tells that the
 * processor was wanted by others meanwhile: the next one is twice as long. One that ends in time makes the
 * next a little shorter. So an idle peer is read through quickly, and a busy one hardly notices.
 */
import type { Clock, Timer } from '../effects/clock.ts'

export const SHORTEST_REST_MS = 2
export const LONGEST_REST_MS = 80
/** Later than this is late: a timer of a process that does little is in time by less. */
const LATE_MS = 5
const SHRINKAGE = 0.75

export class ScanPace {
  readonly #clock: Clock
  #restMs = SHORTEST_REST_MS
  #rest: { readonly timer: Timer; readonly end: () => void } | null = null
  #isStopped = false

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** Of the next rest. */
  get restMs(): number {
    return this.#restMs
  }

  /** One at a time. */
  rest(): Promise<void> {
    if (this.#isStopped) return Promise.resolve()
    const dueMs = this.#clock.monotonic() + this.#restMs
    return new Promise((resolve) => {
      const end = (): void => {
        this.#rest = null
        this.#adapt(this.#clock.monotonic() - dueMs)
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

  #adapt(lateMs: number): void {
    this.#restMs =
      lateMs > LATE_MS
        ? Math.min(LONGEST_REST_MS, 2 * this.#restMs)
        : Math.max(SHORTEST_REST_MS, SHRINKAGE * this.#restMs)
  }
}
