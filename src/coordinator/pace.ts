/**
 * How fast background work may go: so many questions at once, so many bytes a second. Answers that come
 * slowly mean that somebody has better things to do: then half as many. Quick ones earn one more (additive
 * increase, multiplicative decrease: Jacobson, "Congestion Avoidance and Control", 1988).
 */
import { KvError } from '../base/error.ts'
import type { Clock, Timer } from '../effects/clock.ts'

export interface PaceLimits {
  readonly maxInFlight: number
  /** An answer that takes longer is slow. */
  readonly slowMs: number
  readonly bytesPerSecond: number
}

export const PACE_LIMITS: PaceLimits = { maxInFlight: 16, slowMs: 100, bytesPerSecond: 16 * 1024 * 1024 }

const FIRST_LIMIT = 4
/** Debts smaller than this are collected before anybody waits for them. */
const SHORTEST_WAIT_MS = 10

export class Pace {
  readonly #clock: Clock
  readonly #limits: PaceLimits
  #limit: number
  #quick = 0
  #inFlight = 0
  /** Monotonic ms until which the bytes that were moved take at the allowed speed. */
  #paidUntilMs = Number.NEGATIVE_INFINITY
  #waiting: (() => void)[] = []
  #timer: Timer | null = null
  #isStopped = false

  constructor(clock: Clock, limits: Partial<PaceLimits> = {}) {
    this.#clock = clock
    this.#limits = { ...PACE_LIMITS, ...limits }
    this.#limit = Math.min(FIRST_LIMIT, this.#limits.maxInFlight)
  }

  /** Questions that may be under way at once: 1 … `maxInFlight`. */
  get limit(): number {
    return this.#limit
  }

  /**
   * Runs `work` when it may. Its failure counts as slow.
   * @param bytesOf about how many bytes it moved
   * @throws what `work` does; UNAVAILABLE after `stop`
   */
  async run<T>(work: () => Promise<T>, bytesOf: (result: T) => number): Promise<T> {
    await this.#turn()
    if (this.#isStopped) throw new KvError('UNAVAILABLE', 'this peer is stopping')
    const startMs = this.#clock.monotonic()
    try {
      const result = await work()
      this.#took(this.#clock.monotonic() - startMs)
      this.#paidUntilMs = this.#debtFrom(this.#clock.monotonic(), bytesOf(result))
      return result
    } catch (error) {
      this.slowDown()
      throw error
    } finally {
      this.#inFlight -= 1
      this.#wake()
    }
  }

  slowDown(): void {
    this.#limit = Math.max(1, Math.floor(this.#limit / 2))
    this.#quick = 0
  }

  /** Those that wait, and all that come, are turned away. */
  stop(): void {
    this.#isStopped = true
    this.#timer?.cancel()
    this.#timer = null
    this.#wake()
  }

  /** Fulfils with a place taken. */
  #turn(): Promise<void> {
    return new Promise((resolve) => {
      this.#waiting.push(resolve)
      this.#wake()
    })
  }

  #mayGo(): boolean {
    return this.#isStopped || (this.#inFlight < this.#limit && this.#debtMs() < SHORTEST_WAIT_MS)
  }

  #debtMs(): number {
    return this.#paidUntilMs - this.#clock.monotonic()
  }

  #debtFrom(nowMs: number, bytes: number): number {
    return Math.max(nowMs, this.#paidUntilMs) + (bytes / this.#limits.bytesPerSecond) * 1000
  }

  #wake(): void {
    while (this.#waiting.length > 0 && this.#mayGo()) {
      this.#inFlight += 1
      this.#waiting.shift()?.()
    }
    if (this.#waiting.length === 0 || this.#inFlight >= this.#limit || this.#timer !== null) return
    this.#timer = this.#clock.setTimer(Math.max(1, this.#debtMs()), () => {
      this.#timer = null
      this.#wake()
    })
  }

  #took(elapsedMs: number): void {
    if (elapsedMs > this.#limits.slowMs) return this.slowDown()
    this.#quick += 1
    if (this.#quick < this.#limit) return
    this.#quick = 0
    this.#limit = Math.min(this.#limits.maxInFlight, this.#limit + 1)
  }
}
