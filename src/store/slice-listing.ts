/**
 * The keys of a partition that lie in some leaves of its hash tree, with their digests: what is compared
 * once the trees have told where to look. Keys lie on the disk in their own order, not in that of the
 * leaves, so all keys of the partition are read, a little at a time, and the records of those that are
 * wanted.
 */
import type { Bytes } from '../base/bytes.ts'
import { KvError } from '../base/error.ts'
import { hash32 } from '../base/hash.ts'
import type { KeyspaceId } from '../base/ids.ts'
import type { Database } from '../effects/storage.ts'
import { type Digest, LEAF_BITS, recordDigest, sliceOf } from '../protocol/hash-tree.ts'
import { KIND, partitionRange, recordKey, userKey } from './keys.ts'
import { isBare } from './record-codec.ts'

/** Read at a time, whichever is less. */
const CHUNK_KEYS = 1000
const CHUNK_BYTES = 128 * 1024
/** Read for one page: it has an end also where no key is wanted. */
const MAX_LOOKS = 10_000

export interface KeyDigest {
  readonly key: Bytes
  readonly digest: Digest
}

export interface Listing {
  /** In the order of their bytes. */
  readonly entries: readonly KeyDigest[]
  /** The last key that was looked at, to go on behind; null: there are no more. */
  readonly last: Bytes | null
}

export interface SlicePlace {
  readonly keyspaceId: KeyspaceId
  readonly partition: number
  /** Of `LEAF_BITS`. */
  readonly leaves: ReadonlySet<number>
}

/**
 * @param after looked at last; null: begin
 * @throws UNAVAILABLE when the disk fails or is closed meanwhile
 */
export async function listSlices(
  database: Database,
  { keyspaceId, partition, leaves }: SlicePlace,
  after: Bytes | null,
  maxEntries: number,
): Promise<Listing> {
  const whole = partitionRange(KIND.record, keyspaceId, partition)
  const range = after === null ? whole : { gt: recordKey(keyspaceId, partition, after), lt: whole.lt }
  const options = { ...range, highWaterMarkBytes: CHUNK_BYTES }
  const iterator = database.keys(options)
  const entries: KeyDigest[] = []
  try {
    for (let looks = 0; ; ) {
      const chunk = await iterator.nextv(CHUNK_KEYS)
      if (chunk.length === 0) return { entries, last: null }
      for (const databaseKey of chunk) {
        const key = userKey(databaseKey)
        if (leaves.has(sliceOf(hash32(key), LEAF_BITS))) {
          const record = database.getSync(databaseKey)
          if (record !== undefined && !isBare(record)) {
            entries.push({ key, digest: recordDigest(keyspaceId, key, record) })
          }
        }
        looks++
        if (entries.length >= maxEntries || looks >= MAX_LOOKS) return { entries, last: key }
      }
    }
  } catch (error) {
    throw new KvError('UNAVAILABLE', "this peer's records cannot be read now", { cause: error })
  } finally {
    await iterator.close()
  }
}
