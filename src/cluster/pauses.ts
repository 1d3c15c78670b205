/** Waiting in the control plane: pauses that all end at once when there is news, or when the peer stops. */
import type { Clock } from '../effects/clock.ts'

export class Pauses {
  readonly #clock: Clock
  readonly #open = new Set<() => void>()
  #isStopped = false

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** Fulfils after `ms`, or sooner: at a `wake`, or when `until` has settled. */
  pause(ms: number, until?: Promise<unknown>): Promise<void> {
    if (this.#isStopped) return Promise.resolve()
    return new Promise((resolve) => {
      const end = (): void => {
        timer.cancel()
        this.#open.delete(end)
        resolve()
      }
      const timer = this.#clock.setTimer(ms, end)
      this.#open.add(end)
      until?.then(end, end)
    })
  }

  wake(): void {
    for (const end of [...this.#open]) end()
  }

  stop(): void {
    this.#isStopped = true
    this.wake()
  }
}
