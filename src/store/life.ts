/**
 * What a database says about itself when it is opened: whose life of the data this is, and how the life
 * before ended.
 */
import { text, utf8 } from '../base/bytes.ts'
import { parseStoreId, type StoreId } from '../base/ids.ts'
import type { Random } from '../effects/random.ts'
import type { Database, Storage } from '../effects/storage.ts'
import { CLEAN_STOP_FILE, type CleanStop, decodeCleanStop } from './clean-stop.ts'
import { KIND, kindRange } from './keys.ts'

const STORE_ID_KEY = Uint8Array.of(KIND.meta, 1)
const SYNC: object = { sync: true }

export interface Life {
  readonly storeId: StoreId
  readonly holdsRecords: boolean
  /** Null when the stop before was not clean. */
  readonly cleanStop: CleanStop | null
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
  return { storeId, cleanStop: isOurs ? cleanStop : null, holdsRecords: await holdsAnyRecord(database) }
}

/** Writes the store's id, and with it brings everything written before onto the disk. */
export async function syncDatabase(database: Database, storeId: StoreId): Promise<void> {
  await database.put(STORE_ID_KEY, utf8(storeId), SYNC)
}

export async function holdsAnyRecord(database: Database): Promise<boolean> {
  const keys = await database.keys({ ...kindRange(KIND.record), limit: 1 }).all()
  return keys.length > 0
}
