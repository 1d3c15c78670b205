/**
 * Partitions that this peer has records of and owns no more: dropped once every member has acknowledged the
 * configuration that says so, or a later one. Until then somebody may work under an older one. And not while
 * the ring changes: then its target may be another one in the next moment, and what was taken away by one is
 * given back by the next.
 */
import { KvError } from '../base/error.ts'
import { BackgroundJob } from '../coordinator/background-job.ts'
import type { Effects } from '../effects/effects.ts'
import type { Ring } from '../protocol/ring.ts'
import type { HashTrees, TreePlace } from '../store/hash-trees.ts'
import type { Store } from '../store/store.ts'

const FIRST_RETRY_MS = 200
const LAST_RETRY_MS = 5000
const IDLE_MS = 60_000

export interface LeftoversHost {
  /** Null before the first configuration. */
  ring(): Ring | null
  isLeftOver(ring: Ring, place: TreePlace): boolean
  /** Whether every member that is not excluded has acknowledged the configuration in force here. */
  isAcknowledged(): Promise<boolean>
  /** What a person may do when the disk is damaged. */
  damageAdvice(): string
}

export class Leftovers {
  readonly #store: Store
  readonly #log: Effects['log']
  readonly #host: LeftoversHost
  readonly #job: BackgroundJob
  /** Under this configuration nothing is left over here. */
  #cleanNumber = 0
  /** Why they were not dropped, in words. */
  #obstacle: string | null = null
  #retryMs = FIRST_RETRY_MS
  readonly #listeners: ((place: TreePlace, records: number) => void)[] = []

  constructor(store: Store, { clock, log }: Pick<Effects, 'clock' | 'log'>, host: LeftoversHost) {
    this.#store = store
    this.#log = log
    this.#host = host
    this.#job = new BackgroundJob(clock, () => this.#step())
  }

  start(): void {
    this.#job.start()
  }

  /** Fulfils when nothing of it goes on. What is left the next start finds. */
  stop(): Promise<void> {
    return this.#job.stop()
  }

  /** Called when so many records are gone. */
  onDropped(listener: (place: TreePlace, records: number) => void): void {
    this.#listeners.push(listener)
  }

  configurationChanged(): void {
    this.#retryMs = FIRST_RETRY_MS
    this.#job.wake()
  }

  /** Why no change of the ring may begin, in words; null: nothing is left over here. Not amid a change. */
  get waitsFor(): string | null {
    const number = this.#host.ring()?.number ?? 0
    if (this.#cleanNumber === number) return null
    return this.complaint ?? 'drops partitions that it owns no more'
  }

  /** What does not come about unless a person does something, in words; null: all goes by itself. */
  get complaint(): string | null {
    const { complaint } = this.#store.inventory
    if (complaint !== null) return `${complaint}: ${this.#host.damageAdvice()}`
    return this.#obstacle && `${this.#obstacle}; when that stays so, ${this.#host.damageAdvice()}`
  }

  /** @returns ms until it is worth looking again */
  async #step(): Promise<number> {
    try {
      const restMs = await this.#look()
      this.#obstacle = null
      return restMs
    } catch (error) {
      if (!(error instanceof KvError)) throw error
      this.#obstacle = `cannot drop partitions that it owns no more: ${error.message}`
      this.#log.warn('leftovers.kept', { error, retryMs: this.#retryMs })
      return this.#retry()
    }
  }

  #retry(): number {
    const waitMs = this.#retryMs
    this.#retryMs = Math.min(2 * waitMs, LAST_RETRY_MS)
    return waitMs
  }

  async #look(): Promise<number> {
    const ring = this.#host.ring()
    if (ring === null || this.#cleanNumber === ring.number) return IDLE_MS
    if (ring.configuration.phase !== 'stable') return IDLE_MS
    // What was taken under an older configuration is in the trees when it is on the disk.
    await this.#store.settled()
    const trees = this.#store.hashTrees
    if (trees === null) return this.#retry()
    const left = trees
      .places()
      .filter((place) => holdsAny(trees, place) && this.#host.isLeftOver(ring, place))
    if (this.#host.ring() !== ring) return 0
    if (left.length > 0) {
      if (!(await this.#host.isAcknowledged())) return this.#retry()
      await this.#drop(ring, left)
    }
    if (this.#job.isStopped || this.#host.ring() !== ring) return 0
    this.#cleanNumber = ring.number
    return IDLE_MS
  }

  async #drop(ring: Ring, places: readonly TreePlace[]): Promise<void> {
    let records = 0
    const areLeftOver = (): boolean => !this.#job.isStopped && this.#host.ring() === ring
    await this.#store.removal.dropPartitions(places, areLeftOver, (place, count) => {
      for (const listener of this.#listeners) listener(place, count)
      records += count
    })
    this.#log.info('leftovers.dropped', { partitions: places.length, records, number: ring.number })
  }
}

/** To a tree a record without values is none. */
function holdsAny(trees: HashTrees, { keyspaceId, partition }: TreePlace): boolean {
  return trees.root(keyspaceId, partition) !== 0n || trees.counts.at(keyspaceId, partition).records !== 0
}
