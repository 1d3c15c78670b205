/** A clock that goes when the test says so; its timers are never late. */
import type { Clock, Timer } from '../../src/effects/clock.ts'

interface Waiting {
  readonly atMs: number
  readonly run: () => void
}

export class ManualClock implements Clock {
  nowMs: number
  #timers: Waiting[] = []
  #deferred: (() => void)[] = []

  constructor(nowMs = 0) {
    this.nowMs = nowMs
  }

  get timerCount(): number {
    return this.#timers.length
  }

  now(): number {
    return this.nowMs
  }

  monotonic(): number {
    return this.nowMs
  }

  setTimer(delayMs: number, run: () => void): Timer {
    const timer = { atMs: this.nowMs + delayMs, run }
    this.#timers.push(timer)
    return {
      cancel: () => {
        this.#timers = this.#timers.filter((other) => other !== timer)
      },
    }
  }

  defer(run: () => void): void {
    this.#deferred.push(run)
  }

  /** Timers run each at its time. */
  advance(ms: number): void {
    const endMs = this.nowMs + ms
    for (;;) {
      for (const run of this.#deferred.splice(0)) run()
      const next = this.#timers.reduce<Waiting | null>(
        (soonest, timer) => (soonest === null || timer.atMs < soonest.atMs ? timer : soonest),
        null,
      )
      if (next === null || next.atMs > endMs) break
      this.#run(next)
    }
    this.nowMs = endMs
  }

  /** As after a stop of the process: all that is due runs now. */
  jump(ms: number): void {
    this.nowMs += ms
    for (;;) {
      const due = this.#timers.find((timer) => timer.atMs <= this.nowMs)
      if (due === undefined) return
      this.#run(due)
    }
  }

  #run(timer: Waiting): void {
    this.#timers = this.#timers.filter((other) => other !== timer)
    this.nowMs = Math.max(this.nowMs, timer.atMs)
    timer.run()
  }
}
