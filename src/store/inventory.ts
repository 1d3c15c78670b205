/**
 * What there is on this disk, known without looking: counts, hash trees, and where records are that may be
 * purged some day. Changed when a record's batch is on disk, saved by a clean stop, taken anew in the
 * background after any other. That reads a snapshot from before the first write, so that what it finds and
 * what the writes change simply add up: counts by addition, trees by XOR.
 */
import type { Bytes } from '../base/bytes.ts'
import { hash32, hash64 } from '../base/hash.ts'
import type { KeyspaceId } from '../base/ids.ts'
import type { Timer } from '../effects/clock.ts'
import type { Effects } from '../effects/effects.ts'
import type { Database } from '../effects/storage.ts'
import { isMortal } from '../protocol/purge.ts'
import { MalformedBytes } from './byte-cursor.ts'
import type { Census } from './census.ts'
import type { LostLeaves } from './completeness.ts'
import { HashTrees, TREES_FILE, type TreePlace } from './hash-trees.ts'
import { keyspaceOf, partitionOf, userKey } from './keys.ts'
import type { Life } from './life.ts'
import { MortalPlaces } from './mortal-places.ts'
import type { PendingWrite } from './pending-writes.ts'
import { isStoredMortal } from './record-codec.ts'
import { RecordScan } from './record-scan.ts'
import { ScanPace } from './scan-pace.ts'
import { isSound, type MutableRebuild, type RebuildProgress, TreeRebuild } from './tree-rebuild.ts'

/** Where records and their trees meet the rest of the store. */
export interface InventoryHost {
  readonly effects: Pick<Effects, 'clock' | 'log' | 'storage' | 'random'>
  readonly rebuildIntervalMs: number
  /** See `RebuildHost`. */
  atBoundary(call: () => void): void
  damaged(databaseKey: Bytes): void
  requestCount(): number
  lost(lost: LostLeaves): void
}

/** A scan that met a disk which could not be read begins anew, after so long and then after twice as long… */
const FIRST_RETRY_MS = 1000
const LAST_RETRY_MS = 600_000

export class Inventory {
  readonly #host: InventoryHost
  readonly #dropped = new Set<KeyspaceId>()
  #trees = new HashTrees()
  /** All there are, unless they are being taken. */
  readonly mortal = new MortalPlaces()
  /** Null when counts and trees are exact. */
  #scan: RecordScan | null = null
  #scanPace: ScanPace
  /** Of the scan. */
  #progress: MutableRebuild | null = null
  /** Until the next scan. */
  #retry: Timer | null = null
  #isStopped = false
  /** Null while the trees are not exact. */
  #rebuild: TreeRebuild | null = null

  constructor(host: InventoryHost) {
    this.#host = host
    this.#scanPace = new ScanPace(host.effects.clock, () => host.requestCount())
  }

  /**
   * With what a clean stop saved, or else with what the database holds now, before the first write of which
   * this hears.
   */
  begin(database: Database, { holdsRecords, cleanStop, trees }: Life): void {
    const { trees: saved = null, mortal = null } = cleanStop ?? {}
    const savedTrees = saved === null || mortal === null ? null : decodeTrees(saved, trees)
    this.mortal.load(mortal ?? [])
    this.#trees = savedTrees ?? new HashTrees()
    this.#scan = null
    this.#isStopped = false
    this.#scanPace = new ScanPace(this.#host.effects.clock, () => this.#host.requestCount())
    this.#rebuild = null
    if (savedTrees === null && holdsRecords) this.#build(database, FIRST_RETRY_MS)
    else this.#schedule(database, savedTrees !== null)
  }

  /** Fulfils when it no longer reads the database. */
  async stop(): Promise<void> {
    this.#isStopped = true
    this.#retry?.cancel()
    this.#retry = null
    this.#scanPace.stop()
    await this.#scan?.stop()
    await this.#rebuild?.stop()
  }

  get isExact(): boolean {
    return this.#scan === null
  }

  /** The scan failed, and is to begin anew. */
  get isUnreadable(): boolean {
    return this.#retry !== null
  }

  /** For people: what keeps it from being known what there is, until they do something; null: nothing. */
  get complaint(): string | null {
    if (!this.isUnreadable) return null
    return 'cannot read all of its disk, and does not know what it holds'
  }

  /** Of trees: the one that goes on, or the last one; null: there was none yet. */
  get rebuild(): RebuildProgress | null {
    return this.#rebuild?.progress ?? this.#progress
  }

  /** What a tree says of records that were damaged is known to be wrong. */
  correct(keyspaceId: KeyspaceId, partition: number): void {
    this.#rebuild?.correct({ keyspaceId, partition })
  }

  /**
   * Whether this partition is on disk as its tree says. What was made of this disk itself, or still is, has
   * nothing better to be compared with.
   */
  async isAsKept(place: TreePlace): Promise<boolean> {
    return this.#rebuild === null || this.#rebuild.isAsKept(place)
  }

  get counts(): Census {
    return this.#trees.counts
  }

  /** Null for a while after a stop that was not clean. */
  get trees(): HashTrees | null {
    return this.isExact ? this.#trees : null
  }

  /** A record is on disk, or gone from it. */
  wrote({ keyHash, key, before, value, record }: PendingWrite): void {
    this.#note(keyHash, key, before, value)
    if (value === null || this.#dropped.has(keyspaceOf(key))) return
    if (!(record === null || record === undefined ? isStoredMortal(value) : isMortal(record))) return
    this.mortal.add(keyspaceOf(key), partitionOf(key))
  }

  drop(keyspaceId: KeyspaceId): void {
    this.#dropped.add(keyspaceId)
    this.#trees.drop(keyspaceId)
    this.mortal.drop(keyspaceId)
  }

  /** For a clean stop's marker, at the end: the checksum of what was saved. Null while it is not exact. */
  async save(): Promise<string | null> {
    if (!this.isExact || this.#rebuild?.isCorrect === false) return null
    const bytes = this.#trees.encode()
    await this.#host.effects.storage.writeFile(TREES_FILE, bytes)
    return checksum(bytes)
  }

  #note(keyHash: number, databaseKey: Bytes, before: Bytes | null, record: Bytes | null): void {
    if (this.#dropped.has(keyspaceOf(databaseKey))) return
    this.#trees.wrote(keyHash, databaseKey, before, record)
  }

  /** On a schedule, from now on. */
  #schedule(database: Database, areKept: boolean): void {
    const { effects, rebuildIntervalMs: intervalMs, atBoundary, damaged, lost, requestCount } = this.#host
    const isDropped = (id: KeyspaceId): boolean => this.#dropped.has(id)
    const host = { effects, intervalMs, atBoundary, damaged, lost, requestCount, isDropped }
    this.#rebuild = new TreeRebuild(host, database, this.#trees)
    this.#rebuild.start(areKept)
  }

  /** In one go, now. @param retryMs when the disk cannot be read */
  #build(database: Database, retryMs: number): void {
    const { clock, log } = this.#host.effects
    const startedMs = clock.monotonic()
    const none = { endedMs: null, failure: null, done: 0, total: null, at: null, differingLeaves: 0 }
    const progress: MutableRebuild = { startedMs, ...none }
    this.#progress = progress
    let isAt = -1
    const scan = new RecordScan(this.#scanPace, (databaseKey, record) => {
      if (this.#scan !== scan) return
      const partition = partitionOf(databaseKey)
      if (partition !== isAt) progress.at = { keyspaceId: keyspaceOf(databaseKey), partition }
      isAt = partition
      const keyHash = hash32(userKey(databaseKey))
      if (!isSound(keyHash, record)) this.#host.damaged(databaseKey)
      this.#note(keyHash, databaseKey, null, record)
      if (isStoredMortal(record)) this.mortal.add(keyspaceOf(databaseKey), partition)
    })
    this.#scan = scan
    scan.run(database).then(
      (isComplete) => {
        if (!isComplete || this.#scan !== scan) return
        this.#scan = null
        progress.endedMs = clock.monotonic()
        const { records } = this.counts.total
        log.info('store.counted', { records, tookMs: Math.round(progress.endedMs - startedMs) })
        this.#schedule(database, false)
      },
      (error: unknown) => {
        progress.endedMs = clock.monotonic()
        progress.failure = 'the disk could not be read, and is tried again; the log says more'
        log.error('store.count-failed', { error, retryMs })
        if (!this.#isStopped && this.#scan === scan) this.#buildLater(database, retryMs)
      },
    )
  }

  /** From the start: what was written meanwhile was counted on top of half a snapshot. */
  #buildLater(database: Database, afterMs: number): void {
    const scan = this.#scan
    const build = (): void => {
      if (this.#isStopped || this.#scan !== scan) return
      this.#trees = new HashTrees()
      this.#build(database, Math.min(2 * afterMs, LAST_RETRY_MS))
    }
    this.#retry = this.#host.effects.clock.setTimer(afterMs, () => {
      this.#retry = null
      this.#host.atBoundary(build) // What is committed is in the snapshot, and the rest is told of.
    })
  }
}

/** Null when they are not those of that stop: one after it was cut short. */
function decodeTrees(saved: string, bytes: Bytes | null): HashTrees | null {
  if (bytes === null || checksum(bytes) !== saved) return null
  try {
    return HashTrees.decode(bytes)
  } catch (error) {
    if (!(error instanceof MalformedBytes)) throw error
    return null // Ours by its checksum, yet of another version: as good as none.
  }
}

function checksum(bytes: Bytes): string {
  return hash64(bytes).toString(16)
}
