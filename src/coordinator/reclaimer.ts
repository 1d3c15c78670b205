/**
 * Brings the disk space of records back that are gone, purged or no more this peer's: LevelDB gives it back
 * when it happens to rewrite the files they lie in, which after many deletes and few writes may take for
 * ever. When enough records went and no more have gone for a while, the partitions they were in are
 * compacted, one slice after the other, each in parts of a bounded size, with pauses as long as the work, and
 * several times as long while there are requests. Not while the ring changes: every peer is busy then. A stop
 * waits for one part at most.
 */
import { KvError } from '../base/error.ts'
import type { KeyspaceId } from '../base/ids.ts'
import { Pauses } from '../cluster/pauses.ts'
import type { Coordination } from './coordination.ts'

/** Fewer are left to LevelDB. */
const MIN_RECORDS = 1000
/** Of what is left in the keyspace: compacting rewrites all that lies between what went. */
const MIN_SHARE = 0.05
/** Since the last one went. */
const QUIET_MS = 5000
/** However many go on going. */
const MAX_RECORDS = 1_000_000
/** A keyspace is compacted in so many parts at most. */
const SLICES = 16
const SHORTEST_PAUSE_MS = 50
/** Of a pause, to the work before it, when requests came meanwhile. */
const BUSY_FACTOR = 4
/** Until it is looked again whether the ring still changes. */
const HELD_MS = 500

interface Erased {
  records: number
  readonly partitions: Set<number>
}

export class Reclaimer {
  readonly #with: Coordination
  readonly #pauses: Pauses
  #erased = new Map<KeyspaceId, Erased>()
  #lastMs = 0
  #isRunning = false
  #isStopped = false
  #running: Promise<void> = Promise.resolve()

  constructor(coordination: Coordination) {
    this.#with = coordination
    this.#pauses = new Pauses(coordination.clock)
  }

  /** So many records are gone from the disk. */
  erased(keyspaceId: KeyspaceId, partition: number, count: number): void {
    if (count === 0) return
    let erased = this.#erased.get(keyspaceId)
    if (erased === undefined) {
      erased = { records: 0, partitions: new Set() }
      this.#erased.set(keyspaceId, erased)
    }
    const milestones = Math.floor(erased.records / MIN_RECORDS)
    erased.records += count
    erased.partitions.add(partition)
    this.#lastMs = this.#with.clock.monotonic()
    // Counting what is left takes longer than noting what went.
    if (this.#isRunning || this.#isStopped) return
    if (Math.floor(erased.records / MIN_RECORDS) === milestones) return
    if (!this.#isEnough(keyspaceId, erased)) return
    this.#isRunning = true
    this.#running = this.#run().finally(() => {
      this.#isRunning = false
    })
  }

  /** Fulfils when the disk is left alone. */
  async stop(): Promise<void> {
    this.#isStopped = true
    this.#pauses.stop()
    await this.#running
  }

  async #run(): Promise<void> {
    for (;;) {
      await this.#waitForQuiet()
      const enough = [...this.#erased].filter(([id, erased]) => this.#isEnough(id, erased))
      if (enough.length === 0 || this.#isStopped) return
      // Of the others what went so far counts on.
      for (const [keyspaceId] of enough) this.#erased.delete(keyspaceId)
      for (const [keyspaceId, erased] of enough) await this.#reclaim(keyspaceId, erased)
    }
  }

  #isEnough(keyspaceId: KeyspaceId, { records }: Erased): boolean {
    const left = this.#with.store.inventory.counts.of(keyspaceId).records
    return records >= MIN_RECORDS && records >= MIN_SHARE * left
  }

  async #waitForQuiet(): Promise<void> {
    const { clock } = this.#with
    const total = (): number => [...this.#erased.values()].reduce((sum, { records }) => sum + records, 0)
    while (!this.#isStopped && total() < MAX_RECORDS) {
      const restMs = this.#lastMs + QUIET_MS - clock.monotonic()
      if (restMs <= 0) break
      await this.#pauses.pause(restMs)
    }
    await this.#whileChanging()
  }

  async #whileChanging(): Promise<void> {
    const isChanging = (): boolean => this.#with.ring().configuration.phase !== 'stable'
    while (!this.#isStopped && isChanging()) await this.#pauses.pause(HELD_MS)
  }

  async #reclaim(keyspaceId: KeyspaceId, { records, partitions }: Erased): Promise<void> {
    const { clock, store, log } = this.#with
    const startMs = clock.monotonic()
    const { partitionCount } = this.#with.ring()
    const width = Math.ceil(partitionCount / SLICES)
    let beganMs = startMs
    let requestsBefore = store.requestCount
    const goOn = async (): Promise<boolean> => {
      const factor = store.requestCount === requestsBefore ? 1 : BUSY_FACTOR
      await this.#pauses.pause(Math.max(SHORTEST_PAUSE_MS, factor * (clock.monotonic() - beganMs)))
      await this.#whileChanging()
      beganMs = clock.monotonic()
      requestsBefore = store.requestCount
      return !this.#isStopped
    }
    for (let first = 0; first < partitionCount && !this.#isStopped; first += width) {
      const end = Math.min(first + width, partitionCount)
      if (![...partitions].some((partition) => partition >= first && partition < end)) continue
      try {
        await store.mortals.reclaim(keyspaceId, first, end, goOn)
      } catch (error) {
        if (!(error instanceof KvError)) throw error
        log.warn('purge.not-reclaimed', { error }) // The space comes back when LevelDB gets there.
        return
      }
      await goOn()
    }
    if (this.#isStopped) return
    log.info('purge.reclaimed', { keyspaceId, records, tookMs: Math.round(clock.monotonic() - startMs) })
  }
}
