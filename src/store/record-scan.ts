/**
 * Reads all records of a database, or of a part of it, once, as they are when it begins, a few at a time, so
 * that requests have the disk and the processor in between.
 */
import type { Bytes } from '../base/bytes.ts'
import type { Database } from '../effects/storage.ts'
import { type KeyRange, KIND, kindRange } from './keys.ts'
import type { ScanPace } from './scan-pace.ts'

/** Read at a time, whichever is less: some 3 ms of work. */
const CHUNK_RECORDS = 500
const CHUNK_BYTES = 256 * 1024

export class RecordScan {
  readonly #pace: Pick<ScanPace, 'rest'>
  readonly #found: (databaseKey: Bytes, record: Bytes) => void
  #isStopped = false
  #running: Promise<boolean> = Promise.resolve(false)

  constructor(pace: Pick<ScanPace, 'rest'>, found: (databaseKey: Bytes, record: Bytes) => void) {
    this.#pace = pace
    this.#found = found
  }

  /** True: everything was read. False: it was stopped. Rejects when the disk fails. */
  run(database: Database, range: KeyRange = kindRange(KIND.record)): Promise<boolean> {
    this.#running = this.#run(database, range)
    return this.#running
  }

  /** Fulfils when it no longer reads the database. The pace, which may be another one's too, goes on. */
  async stop(): Promise<void> {
    this.#isStopped = true
    await this.#running.catch(() => undefined) // Who began it hears of the failure.
  }

  async #run(database: Database, range: KeyRange): Promise<boolean> {
    const options = { ...range, highWaterMarkBytes: CHUNK_BYTES }
    const iterator = database.iterator(options) // It sees the database as it is now.
    try {
      let entries = await iterator.nextv(CHUNK_RECORDS)
      while (entries.length > 0 && !this.#isStopped) {
        for (const [key, record] of entries) this.#found(key, record)
        const [next] = await Promise.all([iterator.nextv(CHUNK_RECORDS), this.#pace.rest()])
        entries = next
      }
      return !this.#isStopped
    } finally {
      await iterator.close()
    }
  }
}
