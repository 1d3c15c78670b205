/** Records as they are on disk: from the cache, or else from the database, checked against their checksum. */
import { type Bytes, EMPTY_BYTES } from '../base/bytes.ts'
import { KvError } from '../base/error.ts'
import { hash32 } from '../base/hash.ts'
import type { Log } from '../effects/log.ts'
import type { Database } from '../effects/storage.ts'
import type { KeyRecord } from '../protocol/record.ts'
import type { DiskDamage } from './disk-damage.ts'
import { userKey } from './keys.ts'
import type { PendingWrite } from './pending-writes.ts'
import { RecordCache } from './record-cache.ts'
import { decodeSeeded, verifyRecord } from './record-codec.ts'

const CACHE_BYTES = 32 * 1024 * 1024

export class DiskRecords {
  readonly #log: Log
  readonly #damage: DiskDamage
  readonly #cache = new RecordCache(CACHE_BYTES)
  #database: Database
  #requestCount = 0

  constructor(log: Log, damage: DiskDamage, database: Database) {
    this.#log = log
    this.#damage = damage
    this.#database = database
  }

  /** Records that were asked for, ever. */
  get requestCount(): number {
    return this.#requestCount
  }

  /** Another database, of which nothing is known. */
  begin(database: Database): void {
    this.#database = database
    this.#cache.clear()
  }

  /** Null: none. @throws UNAVAILABLE when it is damaged, or the disk fails */
  read(keyHash: number, databaseKey: Bytes): Bytes | null {
    this.#requestCount += 1
    const cached = this.#cache.get(keyHash, databaseKey)
    if (cached !== null) return cached
    try {
      const record = this.#database.getSync(databaseKey)
      if (record === undefined) return null
      verifyRecord(keyHash, record)
      this.#cache.put(keyHash, databaseKey, record)
      return record
    } catch (error) {
      this.#damage.note(databaseKey)
      throw this.#damaged(error)
    }
  }

  /** The bytes of a record that is damaged, as far as there are any; null: it is sound, or there is none. */
  damagedBytes(keyHash: number, databaseKey: Bytes): Bytes | null {
    let record: Bytes | undefined
    try {
      record = this.#database.getSync(databaseKey)
      if (record !== undefined) verifyRecord(keyHash, record)
      return null
    } catch {
      return record ?? EMPTY_BYTES // What was wrong was said when it was found.
    }
  }

  /** @throws UNAVAILABLE when it is damaged */
  decode(keyHash: number, record: Bytes): KeyRecord {
    try {
      return decodeSeeded(keyHash, record)
    } catch (error) {
      throw this.#damaged(error)
    }
  }

  /** It is on disk now. A copy that was new here is not kept at hand: what is asked for would have to go. */
  wrote({ keyHash, key, value, record }: PendingWrite): void {
    if (value === null) this.#cache.remove(keyHash)
    else if (record !== undefined) this.#cache.put(keyHash, key, value)
  }

  /** Found by a reading of the disk: what is known of it here is not what the disk holds. */
  damaged(databaseKey: Bytes): void {
    this.#cache.remove(hash32(userKey(databaseKey)))
    this.#damage.note(databaseKey)
  }

  /** Records went from the disk without a word here. */
  forget(): void {
    this.#cache.clear()
  }

  #damaged(error: unknown): KvError {
    this.#log.error('store.damaged', { error })
    const message = "nothing was written: this peer's copy of the key cannot be read; try another peer"
    return new KvError('UNAVAILABLE', message, { cause: error })
  }
}
