/** How many records, keys and bytes each keyspace has on this disk, by what `inventory.ts` tells. */
import type { Bytes } from '../base/bytes.ts'
import type { KeyspaceId } from '../base/ids.ts'
import { keyspaceOf, userKey } from './keys.ts'
import { isLive } from './record-codec.ts'

export interface KeyCount {
  /** Tombstones too. */
  readonly records: number
  /** With a value that is not a tombstone. */
  readonly keys: number
  /** Of keys and records, as stored. */
  readonly bytes: number
}

export type KeyCountEntries = readonly (readonly [KeyspaceId, KeyCount])[]

type MutableCount = { -readonly [K in keyof KeyCount]: KeyCount[K] }

const NONE: KeyCount = { records: 0, keys: 0, bytes: 0 }

export class Census {
  readonly #counts = new Map<KeyspaceId, MutableCount>()

  constructor(saved: KeyCountEntries) {
    for (const [id, count] of saved) this.#counts.set(id, { ...count })
  }

  of(keyspaceId: KeyspaceId): KeyCount {
    return this.#counts.get(keyspaceId) ?? NONE
  }

  get total(): KeyCount {
    const total = { ...NONE }
    for (const count of this.#counts.values()) {
      total.records += count.records
      total.keys += count.keys
      total.bytes += count.bytes
    }
    return total
  }

  get entries(): KeyCountEntries {
    return [...this.#counts]
  }

  /** A record is on disk. @param before the one it replaced */
  wrote(databaseKey: Bytes, before: Bytes | null, record: Bytes): void {
    const keyspaceId = keyspaceOf(databaseKey)
    const count = this.#countOf(keyspaceId)
    count.keys += Number(isLive(record)) - Number(before !== null && isLive(before))
    count.bytes += record.length - (before?.length ?? 0)
    if (before !== null) return
    count.records += 1
    count.bytes += userKey(databaseKey).length
  }

  drop(keyspaceId: KeyspaceId): void {
    this.#counts.delete(keyspaceId)
  }

  #countOf(keyspaceId: KeyspaceId): MutableCount {
    const known = this.#counts.get(keyspaceId)
    if (known !== undefined) return known
    const count = { ...NONE }
    this.#counts.set(keyspaceId, count)
    return count
  }
}
