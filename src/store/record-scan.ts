/**
 * Reads all records of a database once, as they are when it begins, a few at a time, so that requests have
 * the disk and the processor in between.
 */
import type { Bytes } from '../base/bytes.ts'
import type { Clock, Timer } from '../effects/clock.ts'
import type { Database } from '../effects/storage.ts'
import { KIND, kindRange } from './keys.ts'

/** Read at a time, whichever is less: some 3 ms of work. */
const CHUNK_RECORDS = 1000
const CHUNK_BYTES = 256 * 1024
/** How long the others have the processor in between, while the disk reads what comes next. */
const PAUSE_MS = 5

export class RecordScan {
  readonly #clock: Clock
  readonly #found: (databaseKey: Bytes, record: Bytes) => void
  #isStopped = false
  #pause: { readonly timer: Timer; readonly end: () => void } | null = null
  #running: Promise<boolean> = Promise.resolve(false)

  constructor(clock: Clock, found: (databaseKey: Bytes, record: Bytes) => void) {
    this.#clock = clock
    this.#found = found
  }

  /** True: everything was read. False: it was stopped. Rejects when the disk fails. */
  run(database: Database): Promise<boolean> {
    this.#running = this.#run(database)
    return this.#running
  }

  /** Fulfils when it no longer reads the database. */
  async stop(): Promise<void> {
    this.#isStopped = true
    this.#pause?.timer.cancel()
    this.#pause?.end()
    await this.#running.catch(() => undefined) // Who began it hears of the failure.
  }

  async #run(database: Database): Promise<boolean> {
    const options = { ...kindRange(KIND.record), highWaterMarkBytes: CHUNK_BYTES }
    const iterator = database.iterator(options) // It sees the database as it is now.
    try {
      let entries = await iterator.nextv(CHUNK_RECORDS)
      while (entries.length > 0 && !this.#isStopped) {
        for (const [key, record] of entries) this.#found(key, record)
        const [next] = await Promise.all([iterator.nextv(CHUNK_RECORDS), this.#rest()])
        entries = next
      }
      return !this.#isStopped
    } finally {
      await iterator.close()
    }
  }

  #rest(): Promise<void> {
    return new Promise((resolve) => {
      this.#pause = { timer: this.#clock.setTimer(PAUSE_MS, resolve), end: resolve }
    })
  }
}
