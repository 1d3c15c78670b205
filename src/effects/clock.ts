/** Time, as a peer sees it. The real one is in `platform/`, the simulated one in `simulator/`. */
export interface Clock {
  /**
   * Wall-clock time in ms since 1970. May jump either way: use it only for what people read and for
   * timestamps.
   */
  now(): number
  /** Milliseconds since some fixed point, never going back. Fractions allowed. */
  monotonic(): number
  /** Calls once, no sooner than `delayMs` from now. Whoever starts a timer stops it. */
  setTimer(delayMs: number, run: () => void): Timer
  /** Calls once after everything that is ready now was handled: the end of this turn of the event loop. */
  defer(run: () => void): void
}

export interface Timer {
  /** Idempotent; after it the callback does not run. */
  cancel(): void
}
