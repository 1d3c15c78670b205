/**
 * How many records, keys and bytes each keyspace has on this disk. Kept exact by every write; saved by a
 * clean stop, counted anew in the background after any other. That counting reads a snapshot from before the
 * first write, so what it finds and what the writes change simply add up.
 */
import type { Bytes } from '../base/bytes.ts'
import type { KeyspaceId } from '../base/ids.ts'
import type { Clock, Timer } from '../effects/clock.ts'
import type { Log } from '../effects/log.ts'
import type { Database } from '../effects/storage.ts'
import { KIND, keyspaceOf, kindRange, userKey } from './keys.ts'
import { isLive } from './record-codec.ts'

/** Records read at a time, and how long the others have the disk in between. */
const CHUNK_RECORDS = 500
const PAUSE_MS = 5

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
  readonly #clock: Clock
  readonly #log: Log
  readonly #dropped = new Set<KeyspaceId>()
  #counts = new Map<KeyspaceId, MutableCount>()
  /** Null when the counts are exact. */
  #counting: Counting | null = null
  /** Whether there were records when the counting began. */
  #heldRecords = false

  constructor(clock: Clock, log: Log) {
    this.#clock = clock
    this.#log = log
  }

  /** With the counts of a clean stop. */
  resume(saved: KeyCountEntries): void {
    this.#counts = new Map(saved.map(([id, count]) => [id, { ...count }]))
  }

  /** Counts what the database holds now, before the first write of which this hears. */
  begin(database: Database, heldRecords: boolean): void {
    this.#counts = new Map()
    this.#heldRecords = heldRecords
    this.#counting = null
    if (!heldRecords) return
    const counting = new Counting(this.#clock, (key, record) => {
      if (this.#counting === counting) this.wrote(key, -1, false, record)
    })
    this.#counting = counting
    counting.run(database).then(
      (isComplete) => {
        if (isComplete && this.#counting === counting) this.#counting = null
      },
      (error: unknown) => this.#log.error('store.count-failed', { error }),
    )
  }

  /** Fulfils when it no longer reads the database. */
  async stop(): Promise<void> {
    await this.#counting?.stop()
  }

  get isExact(): boolean {
    return this.#counting === null
  }

  /** True when there is any record on disk, counted or not. */
  get holdsRecords(): boolean {
    return (!this.isExact && this.#heldRecords) || this.total.records > 0
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

  /** A record is on disk. @param sizeBefore bytes of the record it replaced; -1: none */
  wrote(databaseKey: Bytes, sizeBefore: number, liveBefore: boolean, record: Bytes): void {
    const keyspaceId = keyspaceOf(databaseKey)
    if (this.#dropped.has(keyspaceId)) return
    const count = this.#countOf(keyspaceId)
    count.keys += Number(isLive(record)) - Number(liveBefore)
    count.bytes += record.length - Math.max(0, sizeBefore)
    if (sizeBefore >= 0) return
    count.records += 1
    count.bytes += userKey(databaseKey).length
  }

  /** @param heldRecords whether any other keyspace has records */
  drop(keyspaceId: KeyspaceId, heldRecords: boolean): void {
    this.#dropped.add(keyspaceId)
    this.#counts.delete(keyspaceId)
    this.#heldRecords = heldRecords
  }

  #countOf(keyspaceId: KeyspaceId): MutableCount {
    const known = this.#counts.get(keyspaceId)
    if (known !== undefined) return known
    const count = { ...NONE }
    this.#counts.set(keyspaceId, count)
    return count
  }
}

class Counting {
  readonly #clock: Clock
  readonly #found: (key: Bytes, record: Bytes) => void
  #isStopped = false
  #pause: { readonly timer: Timer; readonly end: () => void } | null = null
  #running: Promise<boolean> = Promise.resolve(false)

  constructor(clock: Clock, found: (key: Bytes, record: Bytes) => void) {
    this.#clock = clock
    this.#found = found
  }

  /** True: everything was counted. False: it was stopped. */
  run(database: Database): Promise<boolean> {
    this.#running = this.#run(database)
    return this.#running
  }

  async stop(): Promise<void> {
    this.#isStopped = true
    this.#pause?.timer.cancel()
    this.#pause?.end()
    await this.#running.catch(() => undefined) // Who began it hears of the failure.
  }

  async #run(database: Database): Promise<boolean> {
    const iterator = database.iterator(kindRange(KIND.record)) // It sees the database as it is now.
    try {
      while (!this.#isStopped) {
        const entries = await iterator.nextv(CHUNK_RECORDS)
        if (entries.length === 0) return true
        for (const [key, record] of entries) this.#found(key, record)
        if (!this.#isStopped) await this.#rest()
      }
      return false
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
