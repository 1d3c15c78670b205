/**
 * One life of one simulated program: what is due for it happens while it runs, waits while it is paused
 * (SIGSTOP), and never happens once it is dead.
 */
import type { Scheduler } from './scheduler.ts'

export type ProcessState = 'running' | 'paused' | 'dead'
/**
 * After a pause a real event loop first runs the timers that are late, then what came in from sockets and
 * disks.
 */
export type WorkKind = 'timer' | 'input'

export interface SimProcess {
  /** Unique in a simulation: the host's name, `#`, the number of the life. */
  readonly name: string
  readonly host: string
  readonly state: ProcessState
  /** Runs now, or after the pause, or never. Called from within an event. */
  deliver(kind: WorkKind, run: () => void): void
  pause(): void
  /** It goes on when it was told so as often as it was paused. */
  resume(): void
  kill(): void
}

export function createProcess(scheduler: Scheduler, host: string, life: number): SimProcess {
  let state: ProcessState = 'running'
  let pauses = 0
  let held: { kind: WorkKind; run: () => void }[] = []
  const process: SimProcess = {
    name: `${host}#${life}`,
    host,
    get state() {
      return state
    },
    deliver(kind, run) {
      if (state === 'running') run()
      else if (state === 'paused') held.push({ kind, run })
    },
    pause() {
      if (state === 'dead') return
      pauses++
      state = 'paused'
    },
    resume() {
      if (state !== 'paused' || --pauses > 0) return
      state = 'running'
      const late = held
      held = []
      for (const kind of ['timer', 'input'] as const) {
        for (const work of late) {
          if (work.kind === kind) scheduler.after(0, () => process.deliver(kind, work.run))
        }
      }
    },
    kill() {
      state = 'dead'
      held = []
    },
  }
  return process
}
