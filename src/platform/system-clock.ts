/** The time of this machine. */
import type { Clock, Timer } from '../effects/clock.ts'

/** Node fires a longer timeout at once instead of late. */
const MAX_TIMEOUT_MS = 2 ** 31 - 1

export function createSystemClock(): Clock {
  let deferred: (() => void)[] = []
  const runDeferred = (): void => {
    const due = deferred
    deferred = []
    let next = 0
    try {
      while (next < due.length) due[next++]?.()
    } finally {
      // Reached early only when one of them threw: the error goes on its way, the others still get their
      // turn.
      for (; next < due.length; next++) defer(due[next] as () => void)
    }
  }
  const defer = (run: () => void): void => {
    if (deferred.length === 0) setImmediate(runDeferred)
    deferred.push(run)
  }
  return {
    now: () => Date.now(),
    monotonic: () => performance.now(),
    setTimer: (delayMs, run) => new SystemTimer(delayMs, run),
    defer,
  }
}

class SystemTimer implements Timer {
  readonly #run: () => void
  readonly #dueMs: number
  #timeout: NodeJS.Timeout | null = null

  constructor(delayMs: number, run: () => void) {
    this.#run = run
    this.#dueMs = performance.now() + delayMs
    this.#wait(delayMs)
  }

  cancel(): void {
    if (this.#timeout !== null) clearTimeout(this.#timeout)
    this.#timeout = null
  }

  #wait(delayMs: number): void {
    this.#timeout = setTimeout(() => this.#fired(), Math.min(Math.ceil(delayMs), MAX_TIMEOUT_MS))
  }

  /** Node counts whole milliseconds and may be up to one early; a long delay comes in several parts. */
  #fired(): void {
    this.#timeout = null
    const leftMs = this.#dueMs - performance.now()
    if (leftMs > 0) this.#wait(leftMs)
    else this.#run()
  }
}
