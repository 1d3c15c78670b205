/**
 * Keys of the database: kind 1 | keyspace id 4 | partition 2 | key. So a keyspace, and in it a partition, is
 * one range, and in a partition keys are in the order of their bytes.
 */
import { type Bytes, copyBytes } from '../base/bytes.ts'
import type { KeyspaceId } from '../base/ids.ts'
import { ByteReader, ByteWriter } from './byte-cursor.ts'

/** First byte of every key. Written to disks: numbers are only ever added. */
export const KIND = {
  /** What the store says about itself. */
  meta: 0x01,
  record: 0x10,
  /** Records kept for an owner that is away. */
  standIn: 0x20,
  /** Since which configuration a partition's data is owned. */
  partitionMark: 0x30,
  /** Which batches reached the disk. */
  trace: 0x40,
  /** Records from before a loss, which other owners have not confirmed (`quarantine.ts`). */
  quarantined: 0x50,
  quarantinedStandIn: 0x51,
} as const

export const STORE_ID_KEY: Bytes = Uint8Array.of(KIND.meta, 1)
/** How far a store that lost data has caught up. */
export const CATCH_UP_KEY: Bytes = Uint8Array.of(KIND.meta, 2)

/** What a dropped keyspace leaves behind. */
export const KEYSPACE_KINDS = [KIND.record, KIND.standIn, KIND.quarantined, KIND.quarantinedStandIn] as const

export type Kind = (typeof KIND)[keyof typeof KIND]

const KEYSPACE_OFFSET = 1
const PARTITION_OFFSET = 5
const PREFIX_BYTES = 7

export interface KeyRange {
  readonly gte: Bytes
  readonly lt: Bytes
}

const writer = new ByteWriter()

export function recordKey(keyspaceId: KeyspaceId, partition: number, key: Bytes): Bytes {
  return keyOf(KIND.record, keyspaceId, partition, key)
}

export function standInKey(keyspaceId: KeyspaceId, partition: number, key: Bytes): Bytes {
  return keyOf(KIND.standIn, keyspaceId, partition, key)
}

export function quarantineKey(keyspaceId: KeyspaceId, partition: number, key: Bytes): Bytes {
  return keyOf(KIND.quarantined, keyspaceId, partition, key)
}

/** The same key under another kind. */
export function withKind(kind: Kind, databaseKey: Bytes): Bytes {
  const key = copyBytes(databaseKey)
  key[0] = kind
  return key
}

function keyOf(kind: Kind, keyspaceId: KeyspaceId, partition: number, key: Bytes): Bytes {
  writer.begin(PREFIX_BYTES + key.length)
  writer.byte(kind)
  writer.uint32(keyspaceId)
  writer.uint16(partition)
  writer.bytes(key)
  return writer.end()
}

/** The part that the user chose, of a key of a record or a stand-in record. A view. */
export function userKey(databaseKey: Bytes): Bytes {
  return databaseKey.subarray(PREFIX_BYTES)
}

export function keyspaceOf(databaseKey: Bytes): KeyspaceId {
  return new ByteReader(databaseKey, KEYSPACE_OFFSET).uint32() as KeyspaceId
}

export function partitionOf(databaseKey: Bytes): number {
  return new ByteReader(databaseKey, PARTITION_OFFSET).uint16()
}

/** All keys of a kind. */
export function kindRange(kind: Kind): KeyRange {
  return { gte: Uint8Array.of(kind), lt: Uint8Array.of(kind + 1) }
}

/** All keys of a kind in a keyspace. */
export function keyspaceRange(kind: Kind, keyspaceId: KeyspaceId): KeyRange {
  const last = keyspaceId === 0xffff_ffff
  return {
    gte: keyspacePrefix(kind, keyspaceId),
    lt: last ? Uint8Array.of(kind + 1) : keyspacePrefix(kind, keyspaceId + 1),
  }
}

/** All keys of a kind in a partition of a keyspace. */
export function partitionRange(kind: Kind, keyspaceId: KeyspaceId, partition: number): KeyRange {
  const last = partition === 0xffff
  const { lt } = keyspaceRange(kind, keyspaceId)
  return {
    gte: partitionPrefix(kind, keyspaceId, partition),
    lt: last ? lt : partitionPrefix(kind, keyspaceId, partition + 1),
  }
}

function partitionPrefix(kind: Kind, keyspaceId: number, partition: number): Bytes {
  writer.begin(PREFIX_BYTES)
  writer.byte(kind)
  writer.uint32(keyspaceId)
  writer.uint16(partition)
  return writer.end()
}

function keyspacePrefix(kind: Kind, keyspaceId: number): Bytes {
  writer.begin(KEYSPACE_OFFSET + 4)
  writer.byte(kind)
  writer.uint32(keyspaceId)
  return writer.end()
}
