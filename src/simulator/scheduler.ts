/**
 * Virtual time: events in order of their time, each followed by all the promise callbacks it made ready, then
 * by what asked for the end of the turn. Nothing takes any virtual time but waiting.
 */
import { assert } from '../base/assert.ts'
import { createEventHeap } from './event-heap.ts'
import { runSteps } from './host-loop.ts'
import type { Trace } from './trace.ts'

export interface Scheduler {
  /** Virtual ms since the simulation was made. */
  readonly nowMs: number
  readonly eventCount: number
  /** Calls once, `delayMs` (0 or more) of virtual time from now. */
  after(delayMs: number, run: () => void): ScheduledEvent
  /** Calls once when the current event and its promise callbacks are done. */
  defer(run: () => void): void
  /**
   * Ends the run with this error before the next event, wherever in a program it was found: nothing can
   * swallow it.
   */
  fail(error: unknown): void
  /**
   * Runs events until the virtual time is `untilMs`, or `done` says so (asked before each event).
   * @throws what `failed` was made to throw; only one run at a time
   */
  run(untilMs: number, done?: () => boolean): Promise<void>
}

export interface ScheduledEvent {
  cancel(): void
}

export interface SchedulerOptions {
  readonly trace: Trace
  /** An event threw, or a promise was rejected and nobody looked. Throw here to end the run. */
  readonly failed: (error: unknown) => void
  readonly slow?: boolean
}

interface Event extends ScheduledEvent {
  readonly timeMs: number
  readonly sequence: number
  run: (() => void) | null
}

export function createScheduler(options: SchedulerOptions): Scheduler {
  const { trace, failed } = options
  const heap = createEventHeap<Event>()
  let nowMs = 0
  let sequence = 0
  let eventCount = 0
  let deferred: (() => void)[] = []
  let running = false
  let rejection: { readonly reason: unknown } | null = null

  const perform = (run: () => void): void => {
    try {
      run()
    } catch (error) {
      failed(error)
    }
  }

  /** One event, or what was deferred by the one before. False when nothing is due by `untilMs`. */
  const step = (untilMs: number): boolean => {
    if (rejection !== null) {
      const { reason } = rejection
      rejection = null
      failed(reason)
    }
    if (deferred.length > 0) {
      const runs = deferred
      deferred = []
      for (const run of runs) perform(run)
      return true
    }
    for (;;) {
      const event = heap.peek()
      if (event === undefined || event.timeMs > untilMs) return false
      heap.pop()
      const { run } = event
      if (run === null) continue
      event.run = null
      nowMs = event.timeMs
      eventCount++
      trace.event(nowMs, event.sequence)
      perform(run)
      return true
    }
  }

  return {
    get nowMs() {
      return nowMs
    },
    get eventCount() {
      return eventCount
    },
    after(delayMs, run) {
      assert(delayMs >= 0 && Number.isFinite(delayMs), 'an event lies in the future')
      const event: Event = { timeMs: nowMs + delayMs, sequence: sequence++, run, cancel: cancelEvent }
      heap.push(event)
      return event
    },
    defer(run) {
      deferred.push(run)
    },
    fail(error) {
      rejection ??= { reason: error }
    },
    async run(untilMs, done) {
      assert(!running, 'one run at a time')
      running = true
      let stopped = false
      try {
        await runSteps({
          step() {
            // Asked here, the promise callbacks of the event before have run.
            stopped = done?.() ?? false
            return !stopped && step(untilMs)
          },
          rejected(reason) {
            rejection ??= { reason }
          },
          slow: options.slow ?? false,
        })
        if (rejection !== null) step(nowMs)
        if (!stopped) nowMs = Math.max(nowMs, untilMs)
      } finally {
        running = false
      }
    },
  }
}

function cancelEvent(this: Event): void {
  this.run = null
}
