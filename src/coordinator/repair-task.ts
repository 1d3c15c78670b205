/** One comparison with one peer, as people see it from its being asked for to its end. */
import type { KeyspaceId, NodeId } from '../base/ids.ts'
import { type ExchangeProgress, NO_PROGRESS } from './tree-exchange.ts'

export type TaskState = 'waiting' | 'running' | 'done' | 'failed'

export interface RepairTask {
  readonly peer: NodeId
  /** That of whoever asked for it; null: the schedule did. */
  readonly round: string | null
  /** Null: every keyspace. */
  readonly only: KeyspaceId | null
  readonly state: TaskState
  /** Monotonic ms of its beginning; while it waits, of its being asked for. */
  readonly startedMs: number
  /** Monotonic ms; null: it has not ended. */
  readonly endedMs: number | null
  /** Why it could not be completed; while it waits, why the last attempt was not. */
  readonly failure: string | null
  readonly progress: Readonly<ExchangeProgress>
}

/** Kept of tasks that somebody asked for: so many rounds of them. */
export const MAX_ROUNDS = 8
/** A comparison that was asked for is given up after so many failures in a row. */
const MAX_FAILURES = 4

/** A comparison that is to be made, is being made, or was made last. */
export class RepairJob implements RepairTask {
  readonly peer: NodeId
  readonly round: string | null
  readonly only: KeyspaceId | null
  readonly progress: ExchangeProgress
  state: TaskState = 'waiting'
  startedMs: number
  endedMs: number | null = null
  failure: string | null = null
  /** Monotonic ms of the next attempt. */
  dueMs: number
  /** From a failure to the next attempt. */
  retryMs: number
  #failures = 0

  constructor(
    place: Pick<RepairTask, 'peer' | 'round' | 'only'> & { readonly partitions: number },
    nowMs: number,
    dueMs: number,
    retryMs: number,
  ) {
    this.peer = place.peer
    this.round = place.round
    this.only = place.only
    this.progress = { ...NO_PROGRESS, partitions: place.partitions }
    this.startedMs = nowMs
    this.dueMs = dueMs
    this.retryMs = retryMs
  }

  get isOpen(): boolean {
    return this.endedMs === null
  }

  /** What was repaired by attempts that were cut short counts on; in the schedule each run is a new one. */
  begin(nowMs: number): void {
    const isAgain = this.round !== null && this.state === 'waiting'
    const { repaired, bytes } = isAgain ? this.progress : NO_PROGRESS
    Object.assign(this.progress, { ...NO_PROGRESS, differing: repaired, repaired, bytes })
    if (this.#failures === 0) this.startedMs = nowMs
    this.state = 'running'
    this.endedMs = null
    this.failure = null
  }

  /** @param failure null: it was completed */
  end(nowMs: number, failure: string | null): void {
    this.state = failure === null ? 'done' : 'failed'
    this.endedMs = nowMs
    this.failure = failure
    this.#failures = 0
  }

  /** It was not completed, and is to be tried again. False: it was given up. */
  postpone(nowMs: number, why: string, hasProgress: boolean): boolean {
    this.#failures = hasProgress ? 1 : this.#failures + 1
    if (this.round !== null && this.#failures >= MAX_FAILURES) {
      this.end(nowMs, why)
      return false
    }
    this.state = 'waiting'
    this.failure = why
    return true
  }
}
