/** What clients asked and were told: the only view of the cluster that its promises are about. */
import type { ErrorCode } from '../base/error.ts'
import type { Conflicts, Level } from '../protocol/configuration.ts'
import type { DotSet } from '../protocol/record.ts'

/** A key of a keyspace, as one text. */
export type Place = string

/** `nothing`: surely not applied. `unknown`: may have been, or may be yet. */
export type WriteOutcome = 'pending' | 'ok' | 'nothing' | 'unknown'

export interface KeyspaceFacts {
  readonly name: string
  readonly conflicts: Conflicts
  /** Stand-ins count, so that quorums need not overlap until everything was delivered. */
  readonly isSloppy: boolean
  /**
   * Owners of each key. Where the number changes, the words for levels still mean what they say of one
   * another as they do among so many.
   */
  readonly owners: number
  /** The number of owners changes. */
  readonly copiesVary: boolean
}

export interface WriteOperation {
  readonly index: number
  readonly client: number
  readonly keyspace: KeyspaceFacts
  readonly key: string
  readonly startMs: number
  /** No two writes carry the same value. Null: a delete. */
  readonly value: string | null
  /** It lives for a while only. */
  readonly expires: boolean
  /** The context the client gave, decoded; null: none, so it replaces what the cluster finds. */
  readonly context: DotSet | null
  readonly level: Level
  /** How many disks that was when the run began. */
  readonly w: number
  outcome: WriteOutcome
  code: ErrorCode | null
  endMs: number | null
  /** The context of the reply, decoded: what was replaced and the write's own dot. */
  reply: DotSet | null
  /** Owners and stand-ins that have it on disk, by the reply. */
  disksTold: number
  /** The stand-ins among them. */
  standInsTold: number
}

export interface ReadOperation {
  readonly index: number
  readonly client: number
  readonly keyspace: KeyspaceFacts
  readonly key: string
  readonly startMs: number
  /** How many owners were to answer. */
  readonly r: number
  /** Whether it must see what overlapping quorums wrote: in a sloppy keyspace only once all is delivered. */
  readonly isBound: boolean
  endMs: number | null
  /** Null until it has succeeded. */
  values: readonly string[] | null
  /** The context of the reply, decoded: everything the answer has seen. */
  seen: DotSet | null
}

/** Told as it happens. A checker that finds something wrong throws a Violation. */
export interface HistoryObserver {
  writeStarted?(write: WriteOperation): void
  writeEnded?(write: WriteOperation): void
  readStarted?(read: ReadOperation): void
  /** Only when it succeeded. */
  readEnded?(read: ReadOperation): void
}

export function placeOf(keyspace: string, key: string): Place {
  return `${keyspace}/${key}`
}

export function keyspaceNameOf(place: Place): string {
  return place.slice(0, place.indexOf('/'))
}

/** What a level asks for among so many owners. */
export function levelCount(level: Level, owners: number): number {
  if (level === 'one') return 1
  if (level === 'quorum') return Math.floor(owners / 2) + 1
  return level === 'all' ? owners : level
}
