/**
 * What a database says about itself when it is opened: whose life of the data this is, and how the life
 * before ended.
 */
import { type Bytes, text, utf8 } from '../base/bytes.ts'
import { type KeyspaceId, parseStoreId, type StoreId } from '../base/ids.ts'
import type { Random } from '../effects/random.ts'
import type { Database, Storage } from '../effects/storage.ts'
import { CLEAN_STOP_FILE, type CleanStop, decodeCleanStop } from './clean-stop.ts'
import { TREES_FILE } from './hash-trees.ts'
import { KEYSPACE_KINDS, KIND, keyspaceOf, keyspaceRange, kindRange, STORE_ID_KEY } from './keys.ts'

const SYNC: object = { sync: true }

export interface Life {
  readonly storeId: StoreId
  /** This is its first one. */
  readonly isNew: boolean
  readonly holdsRecords: boolean
  /** Null when the stop before was not clean. */
  readonly cleanStop: CleanStop | null
  /** The file with the hash trees: of use only when `cleanStop` says that it goes with it. */
  readonly trees: Bytes | null
}

/** Of a database that has no records any more. */
export function emptyLife(storeId: StoreId): Life {
  return { storeId, isNew: false, holdsRecords: false, cleanStop: null, trees: null }
}

/** A marker of a clean stop is durably gone afterwards: it is believed once. */
export async function beginLife(storage: Storage, database: Database, random: Random): Promise<Life> {
  const marker = await storage.readFile(CLEAN_STOP_FILE)
  if (marker !== null) await storage.removeFile(CLEAN_STOP_FILE)
  const known = database.getSync(STORE_ID_KEY)
  const storeId = known === undefined ? parseStoreId(random.id()) : parseStoreId(text(known))
  if (known === undefined) await syncDatabase(database, storeId)
  const cleanStop = marker === null ? null : decodeCleanStop(marker)
  const isOurs = cleanStop !== null && cleanStop.storeId === storeId
  const trees = isOurs ? await storage.readFile(TREES_FILE) : null
  const holdsRecords = await holdsAnyRecord(database)
  return { storeId, isNew: known === undefined, cleanStop: isOurs ? cleanStop : null, trees, holdsRecords }
}

/** Writes the store's id, and with it brings everything written before onto the disk. */
export async function syncDatabase(database: Database, storeId: StoreId): Promise<void> {
  await database.put(STORE_ID_KEY, utf8(storeId), SYNC)
}

async function holdsAnyRecord(database: Database): Promise<boolean> {
  const keys = await database.keys({ ...kindRange(KIND.record), limit: 1 }).all()
  return keys.length > 0
}

/** The keyspaces that have any record, in order. */
export async function keyspacesHeld(database: Database): Promise<KeyspaceId[]> {
  const ids = new Set<KeyspaceId>()
  for (const kind of KEYSPACE_KINDS) {
    const keys = database.keys(kindRange(kind))
    try {
      for (let key = await keys.next(); key !== undefined; key = await keys.next()) {
        const id = keyspaceOf(key)
        ids.add(id)
        keys.seek(keyspaceRange(kind, id).lt)
      }
    } finally {
      await keys.close()
    }
  }
  return [...ids]
}
