/**
 * What a peer holds of one key: a multi-value register as a dotted version vector set in its plainest form.
 * The rules (merge, put) and their laws are in `dvv.ts`; the bytes are in `store/record-codec.ts`.
 */
import type { Bytes } from '../base/bytes.ts'
import type { ActorId } from '../base/ids.ts'

/** The largest value there can be; what a node accepts (`--max-value`) is at most this. */
export const MAX_VALUE_BYTES = 4 * 1024 * 1024
/**
 * A put makes no record larger than this, unless it was before: one that would leave so many siblings has to
 * replace some of them.
 */
export const MAX_PUT_RECORD_BYTES = MAX_VALUE_BYTES + 1024 * 1024
/**
 * No record is larger, on disk and in messages: what all owners of a key, MAX_REPLICAS at the most, put at
 * the same time, and a stand-in beside them. Where more sides of a split than that write the largest values,
 * an owner keeps what it has and does not take the rest (`store/overfull.ts`).
 */
export const MAX_RECORD_BYTES = 8 * MAX_PUT_RECORD_BYTES

/** Of one record, siblings and tombstones: on disk and in every message. */
export const MAX_RECORD_VALUES = 1000

/** Names one write: `n` is the actor's counter over all keys. No dot ever names two values. */
export interface Dot {
  readonly actor: ActorId
  /** 1 … 2^53-1. */
  readonly n: number
}

/**
 * A set of dots of one key: every dot (a, m) with m ≤ vector[a], and the loose ones. In it `n` may jump,
 * because one counter serves all keys: numbers in between belong to other keys and mean nothing here.
 */
export interface DotSet {
  readonly vector: ReadonlyMap<ActorId, number>
  /** None of them covered by `vector`; ordered by actor, then n. */
  readonly loose: readonly Dot[]
}

export interface DottedValue {
  readonly dot: Dot
  /** Null is a tombstone. */
  readonly value: Bytes | null
  readonly contentType: string | null
  /** The client's name for the write. */
  readonly writeId: string
  /** Hybrid logical time: ms since 1970 × 1024 + counter. */
  readonly timestamp: number
  /** Wall-clock ms after which readers do not see it; null: never. */
  readonly expiresAtMs: number | null
}

/**
 * Every value's dot is in `seen`. Values are ordered by dot (actor, then n), so that equal records have equal
 * bytes.
 */
export interface KeyRecord {
  readonly seen: DotSet
  readonly values: readonly DottedValue[]
}
