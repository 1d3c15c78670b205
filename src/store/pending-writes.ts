/** The newest write of every key that is not on disk yet. */
import { type Bytes, equalBytes } from '../base/bytes.ts'
import type { KeyRecord } from '../protocol/record.ts'
import type { CommitOperation } from './group-commit.ts'

interface Keyed extends CommitOperation {
  /** `hash32` of the user's key. */
  readonly keyHash: number
}

export interface PendingWrite extends Keyed {
  /** `value`, decoded; null: the record is purged; undefined: it is a copy that nobody looked into yet. */
  record: KeyRecord | null | undefined
  /** The record that it replaces; null: none. */
  readonly before: Bytes | null
}

/** A power of two: at most 16,384 writes wait (`group-commit.ts`). */
const BUCKETS = 4096

/**
 * By the hash that is computed anyway, in buckets that stay: it costs no text of the key, and no growing
 * table (see `base/slot-table.ts`).
 */
export class PendingWrites<W extends Keyed> {
  readonly #buckets = new Array<W[] | undefined>(BUCKETS).fill(undefined)
  #count = 0

  get isEmpty(): boolean {
    return this.#count === 0
  }

  find(keyHash: number, databaseKey: Bytes): W | null {
    const bucket = this.#buckets[bucketOf(keyHash)]
    if (bucket === undefined) return null
    const place = placeOf(bucket, keyHash, databaseKey)
    return place < 0 ? null : (bucket[place] as W)
  }

  /** In place of the one before of the same key. */
  set(write: W): void {
    const index = bucketOf(write.keyHash)
    const bucket = this.#buckets[index]
    const place = bucket === undefined ? -1 : placeOf(bucket, write.keyHash, write.key)
    if (place < 0) this.#count += 1
    if (bucket === undefined) this.#buckets[index] = [write]
    else if (place < 0) bucket.push(write)
    else bucket[place] = write
  }

  /** It is on disk; a newer one of its key stays. */
  settle(write: W): void {
    const bucket = this.#buckets[bucketOf(write.keyHash)]
    const place = bucket?.indexOf(write) ?? -1
    if (bucket === undefined || place < 0) return
    this.#count -= 1
    const last = bucket.pop() as W
    if (last !== write) bucket[place] = last
  }

  clear(): void {
    this.#buckets.fill(undefined)
    this.#count = 0
  }
}

function bucketOf(keyHash: number): number {
  return keyHash & (BUCKETS - 1)
}

function placeOf<W extends Keyed>(bucket: readonly W[], keyHash: number, databaseKey: Bytes): number {
  for (let place = 0; place < bucket.length; place++) {
    const write = bucket[place] as W
    if (write.keyHash === keyHash && equalBytes(write.key, databaseKey)) return place
  }
  return -1
}
