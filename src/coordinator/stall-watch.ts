/**
 * Knows whether this process was stopped a moment ago: frozen, swapped out, or busy without a pause.
 *
 * Intuition: what clients sent meanwhile lies in the sockets and is read first when the process goes on. They
 * have given up long since, may have done the same through another peer, and others may have replaced it
 * there: done now, it would bring back what was replaced or deleted. How old a request is it does not say; so
 * for a moment after such a stall no write is begun, and whoever still waits is told to try again.
 */
import { KvError } from '../base/error.ts'
import type { Clock, Timer } from '../effects/clock.ts'

const TICK_MS = 500
/** Shorter than the time after which a client cuts a silent link and goes elsewhere. */
const STALL_MS = 1500
/** To read what had come meanwhile. */
const RECOVERY_MS = 1000

export class StallWatch {
  readonly #clock: Clock
  #lastMs: number
  #recoveredMs = Number.NEGATIVE_INFINITY
  #timer: Timer | null = null

  constructor(clock: Clock) {
    this.#clock = clock
    this.#lastMs = clock.monotonic()
  }

  start(): void {
    this.#look()
    this.#timer = this.#clock.setTimer(TICK_MS, () => this.start())
  }

  stop(): void {
    this.#timer?.cancel()
    this.#timer = null
  }

  /** What comes in now may have been sent long ago. */
  get hasJustStalled(): boolean {
    this.#look()
    return this.#lastMs < this.#recoveredMs
  }

  #look(): void {
    const nowMs = this.#clock.monotonic()
    if (nowMs - this.#lastMs > STALL_MS) this.#recoveredMs = nowMs + RECOVERY_MS
    this.#lastMs = nowMs
  }
}

/** What such a write is told. */
export function stalled(): KvError {
  const why = 'this peer had stopped for a while, and what comes in may be old'
  return new KvError('UNAVAILABLE', `nothing was written: ${why}; try again`)
}
