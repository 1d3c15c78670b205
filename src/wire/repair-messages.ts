/**
 * Between two owners that compare what they hold (`coordinator/tree-exchange.ts`): first the roots of all
 * hash trees of a keyspace, then slices of those that differ, then keys. Each request carries the number of
 * the configuration under which the two own the same partitions; a peer that has another one refuses, as it
 * does when its trees are still being built. Records themselves travel as they always do
 * (`data-messages.ts`).
 */
import { MAX_PARTITION_COUNT } from '../protocol/configuration-check.ts'
import type { Digest } from '../protocol/hash-tree.ts'
import { FANOUT, LEAF_BITS, MAX_LEAF_BITS } from '../protocol/hash-tree.ts'
import * as field from './fields.ts'
import {
  bool,
  bytes,
  type Field,
  list,
  MalformedMessage,
  type MessageOf,
  type MessageTable,
  optional,
  uint,
} from './schema.ts'

const DIGEST_BYTES = 8
/** Slices that are asked about at once. */
const MAX_SLICES = 2 ** LEAF_BITS
/** Keys in one message. */
export const MAX_LISTED_KEYS = 256

const place = {
  id: field.requestId,
  number: field.configurationNumber,
  keyspaceId: field.keyspaceId,
} as const

const partition = uint(MAX_PARTITION_COUNT - 1)
const keys = list(field.key, MAX_LISTED_KEYS)

/** 8 bytes each, the highest first. */
export function digests(maxCount: number): Field<readonly Digest[]> {
  const packed = bytes(maxCount * DIGEST_BYTES)
  return {
    encode(values) {
      const out = new Uint8Array(values.length * DIGEST_BYTES)
      const view = new DataView(out.buffer)
      for (const [i, digest] of values.entries()) view.setBigUint64(i * DIGEST_BYTES, digest)
      return packed.encode(out)
    },
    decode(raw) {
      const { buffer, byteOffset, length } = packed.decode(raw)
      if (length % DIGEST_BYTES !== 0) throw new MalformedMessage('not a row of digests')
      const view = new DataView(buffer, byteOffset, length)
      return Array.from({ length: length / DIGEST_BYTES }, (_, i) => view.getBigUint64(i * DIGEST_BYTES))
    },
  }
}

export const repairRequests = {
  /**
   * The roots of all partitions that both of us own. `isLost`: whoever asks has lost his data. Of partitions
   * that he alone owned before the open change he is to be told what has come here since, though that is not
   * all yet.
   */
  roots: [100, { ...place, isLost: optional(bool) }],
  /** What slices, each one of 2^bits of a partition, are made of. */
  slices: [
    102,
    {
      ...place,
      partition,
      bits: uint(MAX_LEAF_BITS),
      places: list(uint(2 ** MAX_LEAF_BITS - 1), MAX_SLICES),
    },
  ],
  /** The keys in some leaves of a partition, those behind `after`. */
  listKeys: [
    104,
    { ...place, partition, leaves: list(uint(2 ** LEAF_BITS - 1), MAX_SLICES), after: optional(field.key) },
  ],
  /** The digests of these keys' records. */
  digests: [106, { ...place, keys }],
} as const satisfies MessageTable

export const repairReplies = {
  /**
   * Side by side, in the order of partitions; those that are not listed hold nothing. `incomplete`: those of
   * which this peer has lost data, and is catching up, or is still taking over what was there before.
   */
  rootsDone: [
    101,
    {
      id: field.requestId,
      partitions: list(partition, MAX_PARTITION_COUNT),
      roots: digests(MAX_PARTITION_COUNT),
      incomplete: list(partition, MAX_PARTITION_COUNT),
    },
  ],
  /** 16 for each slice asked about, in that order. */
  slicesDone: [103, { id: field.requestId, children: digests(MAX_SLICES * FANOUT) }],
  /** Keys and digests side by side. `last`: to be asked again with it as `after`; null: that was all. */
  keysDone: [
    105,
    { id: field.requestId, keys, digests: digests(MAX_LISTED_KEYS), last: optional(field.key) },
  ],
  /** In the order of the keys; 0: no record. */
  digestsDone: [107, { id: field.requestId, digests: digests(MAX_LISTED_KEYS) }],
} as const satisfies MessageTable

export type RepairRequest = MessageOf<typeof repairRequests>
