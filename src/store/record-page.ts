/** Some records of a partition, one after the other: what goes to a new owner at once. */
import type { Bytes } from '../base/bytes.ts'
import { KvError } from '../base/error.ts'
import { hash32 } from '../base/hash.ts'
import type { Database } from '../effects/storage.ts'
import type { TreePlace } from './hash-trees.ts'
import { KIND, partitionRange, recordKey, userKey } from './keys.ts'
import { isSound } from './tree-rebuild.ts'

/** Keys and records are side by side, in the order of the keys. */
export interface RecordPage {
  readonly keys: readonly Bytes[]
  readonly records: readonly Bytes[]
  /** To go on behind; null: there are no more. */
  readonly last: Bytes | null
  readonly bytes: number
}

const CHUNK_RECORDS = 500

/**
 * Ends with the record that makes it as large as it may be. Records that are damaged are left out: this peer
 * has not got them, others do.
 * @param after null: from the first @throws UNAVAILABLE when the disk fails or is closed meanwhile
 */
export async function readPage(
  database: Database,
  { keyspaceId, partition }: TreePlace,
  after: Bytes | null,
  maxRecords: number,
  maxBytes: number,
): Promise<RecordPage> {
  const whole = partitionRange(KIND.record, keyspaceId, partition)
  const range = after === null ? whole : { gt: recordKey(keyspaceId, partition, after), lt: whole.lt }
  const options = { ...range, highWaterMarkBytes: maxBytes }
  const iterator = database.iterator(options)
  const keys: Bytes[] = []
  const records: Bytes[] = []
  let last: Bytes | null = null
  let looks = 0
  let bytes = 0
  try {
    while (looks < maxRecords && bytes < maxBytes) {
      const entries = await iterator.nextv(Math.min(CHUNK_RECORDS, maxRecords - looks))
      if (entries.length === 0) return { keys, records, last: null, bytes }
      for (const [databaseKey, record] of entries) {
        const key = userKey(databaseKey)
        looks += 1
        bytes += key.length + record.length
        last = key
        if (!isSound(hash32(key), record)) continue
        keys.push(key)
        records.push(record)
      }
    }
    return { keys, records, last, bytes }
  } catch (error) {
    throw new KvError('UNAVAILABLE', "this peer's records cannot be read now", { cause: error })
  } finally {
    await iterator.close()
  }
}
