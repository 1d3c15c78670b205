/**
 * A host's clocks. The wall clock belongs to the host, runs a little fast or slow, and can be made to jump;
 * the monotonic one starts somewhere at each life of a program and never jumps. Timers are late by up to a
 * millisecond, as an event loop's are.
 */
import type { Prng } from '../base/prng.ts'
import type { Clock } from '../effects/clock.ts'
import type { Scheduler } from './scheduler.ts'
import type { SimProcess } from './sim-process.ts'

/** 2026-01-01T00:00:00Z: virtual time 0 on a host whose wall clock is right. */
export const EPOCH_MS = 1_767_225_600_000
const TIMER_LATENESS_MS = 1

export interface HostClock {
  /** How far the wall clock is from the truth. */
  readonly offsetMs: number
  /** Seconds this clock counts in one true second. */
  readonly rate: number
  /** Wall-clock ms. */
  wallMs(): number
  /** The greatest wall-clock ms it has shown since a virtual moment. */
  greatestWallMs(sinceMs: number): number
  /** Moves the wall clock. */
  jump(byMs: number): void
}

export interface HostClockOptions {
  readonly offsetMs: number
  /** Parts per million by which the clock runs fast. */
  readonly driftPpm: number
}

export function createHostClock(scheduler: Scheduler, options: HostClockOptions): HostClock {
  const rate = 1 + options.driftPpm / 1e6
  let offsetMs = options.offsetMs
  /** What it showed when it was put back. */
  const peaks: { readonly atMs: number; readonly wallMs: number }[] = []
  const wallMs = (): number => Math.floor(EPOCH_MS + offsetMs + scheduler.nowMs * rate)
  return {
    get offsetMs() {
      return offsetMs
    },
    rate,
    wallMs,
    greatestWallMs(sinceMs) {
      const since = peaks.flatMap((peak) => (peak.atMs >= sinceMs ? [peak.wallMs] : []))
      return Math.max(wallMs(), ...since)
    },
    jump(byMs) {
      if (byMs < 0) peaks.push({ atMs: scheduler.nowMs, wallMs: wallMs() })
      offsetMs += byMs
    },
  }
}

/** The clock of one life of a program on a host. */
export function createSimClock(
  scheduler: Scheduler,
  process: SimProcess,
  host: HostClock,
  prng: Prng,
): Clock {
  const bornMs = scheduler.nowMs
  const origin = prng.float() * 1e6
  return {
    now: host.wallMs,
    monotonic: () => origin + (scheduler.nowMs - bornMs) * host.rate,
    setTimer(delayMs, run) {
      const lateMs = prng.float() * TIMER_LATENESS_MS
      let cancelled = false
      const fire = (): void => {
        if (!cancelled) run()
      }
      const event = scheduler.after(Math.max(delayMs, 0) / host.rate + lateMs, () =>
        process.deliver('timer', fire),
      )
      return {
        cancel() {
          cancelled = true
          event.cancel()
        },
      }
    },
    defer(run) {
      scheduler.defer(() => process.deliver('input', run))
    },
  }
}
