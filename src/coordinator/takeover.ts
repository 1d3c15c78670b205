/**
 * A new owner takes over what the old owners hold: this peer's part in an open change of the ring, as
 * `protocol/ring-change.ts` asks for it. Under *begin* it first copies the partitions that it did not own
 * (`partition-copy.ts`), then it compares all its partitions that change owners with each old owner; under
 * *switch* it compares once more.
 *
 * Nothing of this is written down: what was taken over is on the disk, and after a restart the comparisons
 * find it there.
 */
import { KvError } from '../base/error.ts'
import type { KeyspaceId, NodeId } from '../base/ids.ts'
import type { Configuration } from '../protocol/configuration.ts'
import { type Duty, dutiesOf } from '../protocol/ring-change.ts'
import { BackgroundJob } from './background-job.ts'
import type { ComparedPartition } from './comparison.ts'
import type { Coordination } from './coordination.ts'
import { Pace } from './pace.ts'
import { type CopyProgress, NOTHING_COPIED, PartitionCopy } from './partition-copy.ts'
import { NO_PROGRESS, TreeExchange } from './tree-exchange.ts'

/** Faster than ordinary repair: the change waits for it. */
const PACE = { maxInFlight: 32, slowMs: 250 }
const FIRST_RETRY_MS = 25
const LAST_RETRY_MS = 2000
const IDLE_MS = 60_000

/** What people see of it. */
export interface TakeoverProgress {
  /** Monotonic ms. */
  readonly startedMs: number
  /** Null: it goes on. */
  readonly endedMs: number | null
  /** Partitions that were compared with everybody, of all that are to be. */
  readonly done: number
  readonly total: number
  readonly copied: Readonly<CopyProgress>
  /** Why the last attempt was not completed. */
  readonly failure: string | null
}

interface OpenDuty {
  readonly duty: Duty
  /** With whom it is still to be compared. */
  readonly open: Set<NodeId>
}

export class Takeover {
  readonly #with: Coordination
  readonly #pace: Pace
  readonly #job: BackgroundJob
  #copy: PartitionCopy | null = null
  /** Under which it was begun; 0: there was no change yet. */
  #phaseNumber = 0
  /** By keyspace and partition: what is not done. */
  #duties = new Map<string, OpenDuty>()
  /** By keyspace and partition: with whom it was compared in this phase. */
  #compared = new Map<string, Set<NodeId>>()
  #total = 0
  #startedMs = 0
  #endedMs: number | null = null
  #copied: CopyProgress = { ...NOTHING_COPIED }
  #failure: string | null = null
  #retryMs = FIRST_RETRY_MS

  constructor(coordination: Coordination) {
    this.#with = coordination
    this.#pace = new Pace(coordination.clock, PACE)
    this.#job = new BackgroundJob(coordination.clock, () => this.#step())
  }

  start(): void {
    this.#job.start()
  }

  /** Fulfils when nothing of it goes on. Answers to what was asked must still come, or their ends. */
  async stop(): Promise<void> {
    this.#pace.stop()
    this.#copy?.stop()
    await this.#job.stop()
  }

  /** Within the call: what arrives, and is not here yet, is known to the requests that come next. */
  configurationChanged(): void {
    const ring = this.#with.ring()
    const { configuration } = ring
    if (configuration.phaseNumber !== this.#phaseNumber) this.#beginPhase(configuration)
    const duties = dutiesOf(ring, this.#with.selfId)
    // Of a change that has ended it stays, for people.
    if (configuration.phase !== 'stable') this.#total = duties.length
    this.#duties = new Map()
    for (const duty of duties) {
      const name = nameOf(duty.keyspace.id, duty.partition)
      const compared = this.#compared.get(name)
      const open = new Set(duty.sources.filter((source) => compared?.has(source) !== true))
      if (open.size > 0) this.#duties.set(name, { duty, open })
    }
    const missing = [...this.#duties.values()].filter(({ duty }) => duty.isGained).map(({ duty }) => duty)
    this.#with.arrivals.begin(configuration.phase === 'begun' ? missing : [])
    this.#endIfDone()
    this.wake()
  }

  /** Somebody came back, or there is news. */
  wake(): void {
    this.#retryMs = FIRST_RETRY_MS
    this.#job.wake()
  }

  /** What the open change still waits for here, in words; null: for nothing. */
  get waitsFor(): string | null {
    return this.#duties.size === 0 ? null : "takes over what it is to own ('kvctl tasks' shows how far it is)"
  }

  /** Of the open change, or of the last one; null: there was nothing to take over. */
  get progress(): TakeoverProgress | null {
    if (this.#total === 0) return null
    return {
      startedMs: this.#startedMs,
      endedMs: this.#endedMs,
      done: this.#total - this.#duties.size,
      total: this.#total,
      copied: this.#copied,
      failure: this.#failure,
    }
  }

  #beginPhase({ phase, phaseNumber }: Configuration): void {
    this.#phaseNumber = phaseNumber
    this.#compared = new Map()
    this.#failure = null
    if (phase !== 'begun') return
    this.#startedMs = this.#with.clock.monotonic()
    this.#endedMs = null
    this.#copied = { ...NOTHING_COPIED }
  }

  /** @returns ms until it is worth looking again */
  async #step(): Promise<number> {
    try {
      return await this.#goOn()
    } catch (error) {
      if (!(error instanceof KvError)) throw error
      this.#failure = error.message
      this.#with.log.debug('takeover.interrupted', { error })
      return this.#retry()
    }
  }

  #retry(): number {
    const waitMs = this.#retryMs
    this.#retryMs = Math.min(2 * waitMs, LAST_RETRY_MS)
    return waitMs
  }

  async #goOn(): Promise<number> {
    if (this.#duties.size === 0) return IDLE_MS
    const { phase } = this.#with.ring().configuration
    if (phase === 'begun') await this.#copyGained()
    const sources = new Set([...this.#duties.values()].flatMap(({ open }) => [...open]))
    for (const source of sources) {
      if (this.#job.isStopped) return 0
      if (this.#with.isAlive(source)) await this.#compareWith(source)
    }
    return this.#duties.size === 0 ? 0 : this.#retry()
  }

  async #copyGained(): Promise<void> {
    const gained = [...this.#duties.values()].filter(({ duty }) => duty.isGained).map(({ duty }) => duty)
    if (gained.length === 0) {
      this.#copied.expectedBytes ??= 0
      return
    }
    this.#copy ??= new PartitionCopy(this.#with, this.#job.pauses)
    await this.#copy.run(this.#phaseNumber, gained, this.#copied)
  }

  async #compareWith(source: NodeId): Promise<void> {
    const { clock, log, ring } = this.#with
    const phaseNumber = this.#phaseNumber
    const startedMs = clock.monotonic()
    const progress = { ...NO_PROGRESS }
    const includes = (keyspaceId: KeyspaceId, partition: number): boolean =>
      this.#duties.get(nameOf(keyspaceId, partition))?.open.has(source) === true
    const exchange = new TreeExchange(this.#with, this.#pace, this.#job.pauses, source, progress, {
      includes,
    })
    let failure: string | null = null
    try {
      await exchange.run(ring().configuration.keyspaces)
    } catch (error) {
      if (!(error instanceof KvError)) throw error
      failure = error.message
    }
    // What was compared before something failed counts. With nothing new it is tried again ever later.
    const isNews = phaseNumber === this.#phaseNumber && this.#note(source, exchange.comparison.partitions)
    if (isNews) this.#retryMs = FIRST_RETRY_MS
    this.#failure = failure
    const tookMs = Math.round(clock.monotonic() - startedMs)
    log.info('takeover.compared', { source, phaseNumber, ...progress, tookMs, failure })
  }

  /** Whether something is whole that was not before. */
  #note(source: NodeId, partitions: readonly ComparedPartition[]): boolean {
    let isNews = false
    for (const { keyspaceId, partition, isWhole } of partitions) {
      if (!isWhole) continue
      const name = nameOf(keyspaceId, partition)
      this.#compared.set(name, (this.#compared.get(name) ?? new Set()).add(source))
      const found = this.#duties.get(name)
      if (found?.open.delete(source) === true) isNews = true
      if (found?.open.size !== 0) continue
      this.#duties.delete(name)
      this.#with.arrivals.end(keyspaceId, partition)
    }
    this.#endIfDone()
    return isNews
  }

  #endIfDone(): void {
    if (this.#duties.size === 0) this.#endedMs ??= this.#with.clock.monotonic()
  }
}

function nameOf(keyspaceId: KeyspaceId, partition: number): string {
  return `${keyspaceId}/${partition}`
}
