/**
 * How many records, keys and bytes each partition of a keyspace has on this disk. Told of every write, beside
 * the hash tree of the partition (`hash-trees.ts`); and put right with it, when the disk was read again.
 */
import type { Bytes } from '../base/bytes.ts'
import type { KeyspaceId } from '../base/ids.ts'
import { keyspaceOf, partitionOf, userKey } from './keys.ts'
import { isLive } from './record-codec.ts'

export interface KeyCount {
  /** Tombstones too. */
  readonly records: number
  /** With a value that is not a tombstone. */
  readonly keys: number
  /** Of keys and records, as stored. */
  readonly bytes: number
}

type MutableCount = { -readonly [K in keyof KeyCount]: KeyCount[K] }

const NONE: KeyCount = { records: 0, keys: 0, bytes: 0 }

export class Census {
  readonly #counts = new Map<KeyspaceId, Map<number, MutableCount>>()

  of(keyspaceId: KeyspaceId): KeyCount {
    return sum(this.#counts.get(keyspaceId)?.values() ?? [])
  }

  get total(): KeyCount {
    return sum([...this.#counts.keys()].map((keyspaceId) => this.of(keyspaceId)))
  }

  /** Those that something was ever written to, in no order. */
  partitions(keyspaceId: KeyspaceId): Iterable<readonly [number, KeyCount]> {
    return this.#counts.get(keyspaceId) ?? []
  }

  /** As it is now, whatever comes later. */
  at(keyspaceId: KeyspaceId, partition: number): KeyCount {
    return { ...(this.#counts.get(keyspaceId)?.get(partition) ?? NONE) }
  }

  /** A record is on disk; null: gone from it. @param before the one it replaced */
  wrote(databaseKey: Bytes, before: Bytes | null, record: Bytes | null): void {
    const count = this.#countOf(keyspaceOf(databaseKey), partitionOf(databaseKey))
    const change = Number(record !== null) - Number(before !== null)
    count.keys += Number(record !== null && isLive(record)) - Number(before !== null && isLive(before))
    count.records += change
    count.bytes += (record?.length ?? 0) - (before?.length ?? 0) + change * userKey(databaseKey).length
  }

  /** When `kept` was the count, it should have been `counted`; what was written since stays in. */
  correct(keyspaceId: KeyspaceId, partition: number, kept: KeyCount, counted: KeyCount): void {
    const count = this.#countOf(keyspaceId, partition)
    count.records += counted.records - kept.records
    count.keys += counted.keys - kept.keys
    count.bytes += counted.bytes - kept.bytes
  }

  drop(keyspaceId: KeyspaceId): void {
    this.#counts.delete(keyspaceId)
  }

  #countOf(keyspaceId: KeyspaceId, partition: number): MutableCount {
    let byPartition = this.#counts.get(keyspaceId)
    if (byPartition === undefined) {
      byPartition = new Map()
      this.#counts.set(keyspaceId, byPartition)
    }
    let count = byPartition.get(partition)
    if (count === undefined) {
      count = { ...NONE }
      byPartition.set(partition, count)
    }
    return count
  }
}

function sum(counts: Iterable<KeyCount>): KeyCount {
  const total = { ...NONE }
  for (const { records, keys, bytes } of counts) {
    total.records += records
    total.keys += keys
    total.bytes += bytes
  }
  return total
}
