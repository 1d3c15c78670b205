import type { Clock } from '../../src/effects/clock.ts'

/** A clock that goes on only with its timers, which end so late. */
export function lateClock(late: { ms: number }): Clock {
  let nowMs = 0
  return {
    now: () => nowMs,
    monotonic: () => nowMs,
    setTimer: (ms, run) => {
      let isCancelled = false
      queueMicrotask(() => {
        if (isCancelled) return
        nowMs += ms + late.ms
        run()
      })
      return {
        cancel: () => {
          isCancelled = true
        },
      }
    },
    defer: (run) => queueMicrotask(run),
  }
}
