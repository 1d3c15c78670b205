/** What can be said of long operations: the words of `kvctl tasks` and `kvctl repair`. */
import { KvError } from '../base/error.ts'

export const TASK_KINDS = ['repair', 'rebuild', 'handoff', 'takeover'] as const
export const TASK_STATES = ['waiting', 'running', 'done', 'failed'] as const
export const TASK_UNITS = ['partitions', 'records'] as const

export const MAX_ROUND_NAME = 64

export interface TaskFigures {
  /**
   * `repair`: two peers compare what both own. `rebuild`: a peer reads its disk and makes its hash trees
   * anew. `handoff`: a peer delivers what it kept for others. `takeover`: a peer fetches what it is to own
   * after the open change of the ring.
   */
  readonly kind: (typeof TASK_KINDS)[number]
  /** `waiting`: for its turn, or to be tried again. */
  readonly state: (typeof TASK_STATES)[number]
  /** Of which round of repair it is a part; null: of none, it was the peer's own idea. */
  readonly round: string | null
  /** Null: all of them. */
  readonly keyspace: string | null
  /** What `done` and `total` count. */
  readonly unit: (typeof TASK_UNITS)[number]
  readonly done: number
  /** Null: not known yet. */
  readonly total: number | null
  /** From its beginning (while it waits: from when it was asked for) to its end, or to now. */
  readonly ageMs: number
  /** Null: it has not ended. */
  readonly endedAgoMs: number | null
  /** Why it failed, or why it has to be tried again. */
  readonly failure: string | null
  /** Keys that the two did not hold alike; of a rebuild, leaves of trees that were not as kept. */
  readonly differing: number
  /** Keys brought to both; of a handoff, deliveries; of a takeover, records. */
  readonly repaired: number
  /** Keys that could not be. */
  readonly failed: number
  /** That went from one peer to the other, records included. */
  readonly bytes: number
  /** Of a takeover, what `bytes` will be when all is copied, about; null: not known. */
  readonly expectedBytes: number | null
}

export interface TaskInfo extends TaskFigures {
  readonly peer: string
  readonly peerAddress: string
  /** The other peer of a repair. */
  readonly with: string | null
  readonly withAddress: string | null
  /** Until it is done, if it goes on as it did; null: it does not run, or nothing is known yet. */
  readonly leftMs: number | null
}

export interface TaskList {
  readonly tasks: readonly TaskInfo[]
  /** Addresses of members that did not answer in time. */
  readonly silent: readonly string[]
}

export interface RepairRequest {
  /** Null: all of them. */
  readonly keyspace: string | null
  /** Names the round: asked for again under the same name it is begun once. A nanoid. */
  readonly round: string
  /**
   * Peers that lost data and cannot find all of it again, because others that may have it are down, give up
   * what is missing: their answers count from now on. Default false.
   */
  readonly acceptLoss?: boolean | undefined
}

/** What a peer does for a round. */
export interface RepairPart {
  readonly peer: string
  readonly peerAddress: string
  /** With how many peers it compares; of each pair one does it for both. */
  readonly exchanges: number
  /** Why it takes no part; null: it does. */
  readonly refusal: string | null
}

export interface RepairStart {
  readonly round: string
  /** A row for each member. */
  readonly parts: readonly RepairPart[]
}

/** @throws INVALID_ARGUMENT */
export function parseRoundName(raw: unknown): string {
  if (typeof raw === 'string' && raw.length <= MAX_ROUND_NAME && /^[\w-]+$/.test(raw)) return raw
  throw new KvError('INVALID_ARGUMENT', `a round is named by 1 to ${MAX_ROUND_NAME} letters, digits, _ and -`)
}
