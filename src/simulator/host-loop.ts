/**
 * The only file of the simulator that touches the real event loop: it runs a synchronous step again and
 * again, and lets every promise callback that became ready run before the next step.
 *
 * Intuition: a promise callback is part of the event that made it ready. If the next event overtook it, the
 * order would depend on how many promises deep the code happens to be, and a run would not be the run of any
 * real process.
 *
 * Where the runtime has `process._tickCallback` (every Node.js so far), it empties the queue of promise
 * callbacks completely in about 20 ns; elsewhere one `setImmediate` per step does the same at 600 ns. Both
 * give the same order, so the trace does not depend on it.
 */
import { forbidGlobals } from './forbidden-globals.ts'

interface HostProcess {
  _tickCallback?: () => void
  on(event: 'unhandledRejection', listener: (reason: unknown) => void): void
  off(event: 'unhandledRejection', listener: (reason: unknown) => void): void
}

const laterOnHost = globalThis.setImmediate
const hostProcess = (globalThis as { process?: HostProcess }).process

/** Steps between two turns of the real event loop, so that signals and messages of the host are seen. */
const STEPS_PER_TURN = 4000

export interface HostLoopOptions {
  /** One event; false: nothing more to do now. */
  readonly step: () => boolean
  /** A promise of the simulated program was rejected and nobody looked. */
  readonly rejected: (reason: unknown) => void
  /** Run every step by way of `setImmediate`: for tests of the slow way. */
  readonly slow?: boolean
}

/** Fulfils when `step` returned false; rejects with what it threw. The forbidden globals throw meanwhile. */
export function runSteps(options: HostLoopOptions): Promise<void> {
  const drain = options.slow === true ? undefined : hostProcess?._tickCallback
  return new Promise((resolve, reject) => {
    hostProcess?.on('unhandledRejection', options.rejected)
    const finish = (settle: () => void): void => {
      hostProcess?.off('unhandledRejection', options.rejected)
      settle()
    }
    const turn = (): void => {
      const allow = forbidGlobals()
      let more = true
      try {
        more = drain === undefined ? options.step() : runTurn(options.step, drain)
      } catch (error) {
        allow()
        finish(() => reject(error))
        return
      }
      if (drain !== undefined) {
        allow()
        if (more) laterOnHost(turn)
        else finish(resolve)
        return
      }
      // The promise callbacks of this step run after this callback of the host returns and before the next
      // one.
      laterOnHost(() => {
        allow()
        if (more) turn()
        else finish(resolve)
      })
    }
    laterOnHost(turn)
  })
}

function runTurn(step: () => boolean, drain: () => void): boolean {
  for (let i = 0; i < STEPS_PER_TURN; i++) {
    const more = step()
    drain()
    if (!more) return false
  }
  return true
}
