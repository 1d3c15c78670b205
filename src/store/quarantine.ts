/**
 * What a disk held before its peer began to catch up: kept under kinds of its own, where no request finds it.
 *
 * Intuition: a copy from the past holds what is still true, what was replaced since, and what was deleted
 * since so thoroughly that nobody remembers the delete. Only the others know which is which. So the whole of
 * it is put aside, and whatever they hold comes back from there without a trip over the network. What none of
 * them holds stays: not pushed, because it may have been deleted, and not dropped, because it may be the last
 * copy of a write that was not acknowledged.
 */
import type { Bytes } from '../base/bytes.ts'
import { KvError } from '../base/error.ts'
import { hash32 } from '../base/hash.ts'
import type { KeyspaceId } from '../base/ids.ts'
import type { Database } from '../effects/storage.ts'
import { mergeRecords } from '../protocol/dvv.ts'
import type { Committed } from './group-commit.ts'
import {
  type KeyRange,
  KIND,
  type Kind,
  kindRange,
  partitionRange,
  quarantineKey,
  userKey,
  withKind,
} from './keys.ts'
import { decodeSeeded, encodeSeeded } from './record-codec.ts'
import { includesRecord } from './record-merge.ts'

/** What is to be written for one that goes into quarantine. */
export interface Admission {
  readonly entry: { readonly key: Bytes; readonly value: Bytes }
  /** To be told what became of the write: only what is on disk counts. */
  readonly written: Committed
}

const CHUNK_RECORDS = 1000
const CHUNK_BYTES = 1024 * 1024

export class Quarantine {
  readonly #database: () => Database
  #size = 0

  /** @param database throws UNAVAILABLE while it is not open */
  constructor(database: () => Database) {
    this.#database = database
  }

  /** Records, of all keyspaces. */
  get size(): number {
    return this.#size
  }

  /** Counts what there is: at the start, and when the database was opened anew. */
  async load(database: Database): Promise<void> {
    let count = 0
    await inChunks(database, kindRange(KIND.quarantined), async (entries) => {
      count += entries.length
    })
    this.#size = count
  }

  /** Moves all records and stand-in records here. How many records. May be cut short, and begun again. */
  async fill(database: Database): Promise<number> {
    const records = await move(database, KIND.record, KIND.quarantined, united)
    await move(database, KIND.standIn, KIND.quarantinedStandIn, (_, record) => record)
    await this.load(database)
    return records
  }

  /** One more, damaged. Null: there is nothing left of it, or something of its key is here already. */
  add(databaseKey: Bytes, record: Bytes): Admission | null {
    const key = withKind(KIND.quarantined, databaseKey)
    if (record.length === 0 || this.#database().getSync(key) !== undefined) return null
    return { entry: { key, value: record }, written: this.#countedOne }
  }

  /** One more, sound. */
  unite(databaseKey: Bytes, record: Bytes): Admission {
    const key = withKind(KIND.quarantined, databaseKey)
    const before = this.#database().getSync(key)
    const value = united(before, record, hash32(userKey(databaseKey)))
    return { entry: { key, value }, written: before === undefined ? this.#countedOne : () => undefined }
  }

  /** What failed may be there all the same; then it is counted when the database was opened anew. */
  readonly #countedOne: Committed = (error) => {
    if (error === null) this.#size += 1
  }

  /** The one of a key; null: none. @throws UNAVAILABLE while the database is not open */
  find(keyspaceId: KeyspaceId, partition: number, key: Bytes): Bytes | null {
    return this.#database().getSync(quarantineKey(keyspaceId, partition, key)) ?? null
  }

  /**
   * Lets go of what the records of a partition say too.
   * @param held the record of a key @throws UNAVAILABLE when the disk fails
   */
  async release(
    keyspaceId: KeyspaceId,
    partition: number,
    held: (key: Bytes) => Bytes | null,
  ): Promise<void> {
    const database = this.#database()
    const range = partitionRange(KIND.quarantined, keyspaceId, partition)
    await inChunks(database, range, async (entries) => {
      const confirmed = entries.filter(([databaseKey, record]) => {
        const key = userKey(databaseKey)
        const live = held(key)
        return live !== null && includes(hash32(key), live, record)
      })
      const batch = database.batch()
      for (const [databaseKey] of confirmed) batch.del(databaseKey)
      await batch.write()
      this.#size -= confirmed.length
    })
  }
}

type Entries = readonly (readonly [Bytes, Bytes])[]

/** @throws UNAVAILABLE when the disk fails */
async function inChunks(
  database: Database,
  range: KeyRange,
  take: (entries: Entries) => Promise<void>,
): Promise<void> {
  const options = { ...range, highWaterMarkBytes: CHUNK_BYTES }
  const iterator = database.iterator(options)
  try {
    for (;;) {
      const entries = await iterator.nextv(CHUNK_RECORDS)
      if (entries.length === 0) return
      await take(entries)
    }
  } catch (error) {
    if (error instanceof KvError) throw error
    throw new KvError('UNAVAILABLE', 'what is in quarantine cannot be read now', { cause: error })
  } finally {
    await iterator.close()
  }
}

async function move(
  database: Database,
  from: Kind,
  to: Kind,
  join: (before: Bytes | undefined, record: Bytes, keyHash: number) => Bytes,
): Promise<number> {
  let count = 0
  await inChunks(database, kindRange(from), async (entries) => {
    const batch = database.batch()
    for (const [databaseKey, record] of entries) {
      const place = withKind(to, databaseKey)
      batch.put(place, join(database.getSync(place), record, hash32(userKey(databaseKey))))
      batch.del(databaseKey)
    }
    await batch.write()
    count += entries.length
  })
  return count
}

/** This is not the first time: what was put aside then stays too. */
function united(before: Bytes | undefined, record: Bytes, keyHash: number): Bytes {
  if (before === undefined) return record
  try {
    return encodeSeeded(keyHash, mergeRecords(decodeSeeded(keyHash, before), decodeSeeded(keyHash, record)))
  } catch {
    return record // One of the two is damaged, or together they are too large: the newer one.
  }
}

function includes(keyHash: number, live: Bytes, record: Bytes): boolean {
  try {
    return includesRecord(decodeSeeded(keyHash, live), decodeSeeded(keyHash, record))
  } catch {
    return false // What cannot be read is kept for whoever can.
  }
}
