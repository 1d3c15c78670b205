/**
 * Answers that need no disk; told at the end of the turn, so that no caller is called before its call
 * returns.
 */
import type { Clock } from '../effects/clock.ts'

export class Answers {
  readonly #clock: Clock
  #waiting: (() => void)[] = []

  constructor(clock: Clock) {
    this.#clock = clock
  }

  add(tell: () => void): void {
    this.#waiting.push(tell)
    if (this.#waiting.length > 1) return
    this.#clock.defer(() => {
      const waiting = this.#waiting
      this.#waiting = []
      for (const tellNow of waiting) tellNow()
    })
  }
}
