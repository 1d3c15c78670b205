/**
 * A new owner takes over what the old owners hold: this peer's part in an open change of the ring, as
 * `protocol/ring-change.ts` asks for it. Under *begin* it first copies the partitions that it did not own
 * (`partition-copy.ts`), then it compares all its partitions that change owners with each old owner; under
 * *switch* it compares once more.
 *
 * Nothing of this is written down: what was taken over is on the disk, and after a restart the comparisons
 * find it there. When the disk turns out to have lost some of it meanwhile, that is taken over once more.
 *
 * An old owner whose disk does not give a partition is gone around, where the others are enough to have each
 * write that was acknowledged: as many as must be left when owners are given up (`sourcesNeeded`). Where they
 * are not, the change waits, says for what, and an operator decides.
 */
import { KvError } from '../base/error.ts'
import { firstFew } from '../base/first-few.ts'
import type { KeyspaceId, NodeId } from '../base/ids.ts'
import type { Configuration } from '../protocol/configuration.ts'
import { placeName } from '../protocol/place-name.ts'
import { type Duty, dutiesOf, sourcesNeeded } from '../protocol/ring-change.ts'
import { BackgroundJob } from './background-job.ts'
import { placesOf } from './catch-up.ts'
import type { ComparedPartition, Obstacle } from './comparison.ts'
import type { Coordination } from './coordination.ts'
import { Pace } from './pace.ts'
import { type CopyProgress, NOTHING_COPIED, PartitionCopy } from './partition-copy.ts'
import { NO_PROGRESS, TreeExchange } from './tree-exchange.ts'

/** Faster than ordinary repair: the change waits for it. */
const PACE = { maxInFlight: 32, slowMs: 250 }
const FIRST_RETRY_MS = 25
const LAST_RETRY_MS = 2000
const IDLE_MS = 60_000
const NOWHERE: ReadonlySet<string> = new Set()
const CANNOT = 'cannot take over what it is to own'
const HERE =
  'there are records that its own disk does not give, or that have no room here: start it with an empty ' +
  "data directory, or stop it and use 'kvctl remove'"
const THERE =
  'records there are damaged; bring back the data directory there from a backup, or go on with what the ' +
  "other owners have by 'kvctl repair --accept-loss'"

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
  readonly open: ReadonlySet<NodeId>
}

/** How far a partition is in this phase. */
interface Compared {
  readonly with: Set<NodeId>
  /** What kept the last comparison with an owner from its end. */
  readonly obstacles: Map<NodeId, Obstacle>
}

/** An operator gives up what cannot be read. */
interface Acceptance {
  readonly changeNumber: number
  /** Null: of every keyspace. */
  readonly only: KeyspaceId | null
}

export class Takeover {
  readonly #with: Coordination
  readonly #shownName: (nodeId: NodeId) => string
  readonly #pace: Pace
  readonly #job: BackgroundJob
  readonly #copy: PartitionCopy
  /** Under which it was begun; 0: there was no change yet. */
  #phaseNumber = 0
  /** By keyspace and partition: what is not done. */
  #duties = new Map<string, OpenDuty>()
  /** By keyspace and partition. */
  #compared = new Map<string, Compared>()
  /** Of these, those that a disk does not give, or that cannot be stored: few, but looked at often. */
  readonly #blocked = new Set<string>()
  #acceptance: Acceptance | null = null
  #total = 0
  #startedMs = 0
  #endedMs: number | null = null
  #copied: CopyProgress = { ...NOTHING_COPIED }
  #failure: string | null = null
  #retryMs = FIRST_RETRY_MS

  /** @param shownName of a peer, for people */
  constructor(coordination: Coordination, shownName: (nodeId: NodeId) => string) {
    this.#with = coordination
    this.#shownName = shownName
    this.#pace = new Pace(coordination.clock, PACE)
    this.#job = new BackgroundJob(coordination.clock, () => this.#step())
    this.#copy = new PartitionCopy(coordination, this.#job.pauses)
  }

  start(): void {
    this.#with.store.completeness.watch(({ keyspaceId, partition }) => {
      this.#copy.forget(keyspaceId, partition)
      const hadCompared = this.#compared.delete(placeName(keyspaceId, partition))
      if (hadCompared && this.#with.hasRing()) this.configurationChanged()
    })
    this.#job.start()
  }

  /** Fulfils when nothing of it goes on. Answers to what was asked must still come, or their ends. */
  async stop(): Promise<void> {
    this.#pace.stop()
    this.#copy.stop()
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
      const name = placeName(duty.keyspace.id, duty.partition)
      const open = this.#openOf(duty)
      if (open.size > 0) this.#duties.set(name, { duty, open })
    }
    if (this.#duties.size > 0) this.#endedMs = null
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
    if (this.#duties.size === 0) return null
    return this.complaint ?? "takes over what it is to own ('kvctl tasks' shows how far it is)"
  }

  /** What does not come about unless a person does something, in words; null: all goes by itself. */
  get complaint(): string | null {
    const { complaint } = this.#with.store.inventory
    if (this.#duties.size === 0 || complaint !== null) return complaint
    const open = [...this.#blocked].flatMap((name) => this.#duties.get(name) ?? [])
    const here = open.filter(({ duty }) => this.#obstacles(duty).includes('unreadableHere'))
    if (here.length > 0) return `${CANNOT}: of ${placesOf(here.map(({ duty }) => duty))} ${HERE}`
    const stuck = open.filter(({ duty }) => this.#isStuck(duty))
    if (stuck.length === 0) return null
    const peers = [...new Set(stuck.flatMap((each) => [...each.open]))].map(this.#shownName)
    const places = placesOf(stuck.map(({ duty }) => duty))
    return `${CANNOT}: ${places} cannot be read at ${firstFew(peers)}; ${THERE}`
  }

  /**
   * An operator decides that what cannot be read is lost, where the open change waits for it.
   * @param only null: in every keyspace
   */
  acceptLoss(only: KeyspaceId | null): void {
    if (this.#duties.size === 0) return
    const { changeNumber } = this.#with.ring().configuration
    this.#acceptance = { changeNumber, only }
    this.#with.log.error('takeover.loss_accepted', { what: this.waitsFor })
    this.configurationChanged()
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
    this.#blocked.clear()
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
    const unsaid = phase === 'begun' ? await this.#copyGained() : NOWHERE
    const comparable = [...this.#duties].filter(([name]) => !unsaid.has(name))
    const sources = new Set(comparable.flatMap(([, { open }]) => [...open]))
    for (const source of sources) {
      if (this.#job.isStopped) return 0
      if (this.#with.isAlive(source)) await this.#compareWith(source, unsaid)
    }
    if (unsaid.size > 0) this.#failure = `of ${unsaid.size} partitions no owner says yet what it holds`
    return this.#duties.size === 0 ? 0 : this.#retry()
  }

  /** @returns as `PartitionCopy.run` */
  async #copyGained(): Promise<ReadonlySet<string>> {
    const gained = [...this.#duties.values()].filter(({ duty }) => duty.isGained).map(({ duty }) => duty)
    if (gained.length === 0) {
      this.#copied.expectedBytes ??= 0
      return NOWHERE
    }
    return this.#copy.run(this.#phaseNumber, gained, this.#copied)
  }

  /** @param unsaid partitions that are left out */
  async #compareWith(source: NodeId, unsaid: ReadonlySet<string>): Promise<void> {
    const { clock, log, ring } = this.#with
    const { completeness } = this.#with.store
    const { lossCount } = completeness
    const phaseNumber = this.#phaseNumber
    const startedMs = clock.monotonic()
    const progress = { ...NO_PROGRESS }
    const includes = (keyspaceId: KeyspaceId, partition: number): boolean => {
      const name = placeName(keyspaceId, partition)
      return !unsaid.has(name) && this.#duties.get(name)?.open.has(source) === true
    }
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
    // What was found lost meanwhile may have been compared by a tree that said it was there.
    const isValid = phaseNumber === this.#phaseNumber && lossCount === completeness.lossCount
    const isNews = isValid && this.#note(source, exchange.comparison.partitions)
    if (isNews) this.#retryMs = FIRST_RETRY_MS
    this.#failure = failure
    const tookMs = Math.round(clock.monotonic() - startedMs)
    log.info('takeover.compared', { source, phaseNumber, ...progress, tookMs, failure })
  }

  /** Whether something is whole, or known to be unreadable, that was not before. */
  #note(source: NodeId, partitions: readonly ComparedPartition[]): boolean {
    let isNews = false
    for (const { keyspaceId, partition, isWhole, obstacle } of partitions) {
      const name = placeName(keyspaceId, partition)
      const compared = this.#compared.get(name) ?? { with: new Set(), obstacles: new Map() }
      this.#compared.set(name, compared)
      if (obstacle === null) compared.obstacles.delete(source)
      else compared.obstacles.set(source, obstacle)
      const isBlocked = [...compared.obstacles.values()].some((one) => one !== 'incomplete')
      if (isBlocked) this.#blocked.add(name)
      else this.#blocked.delete(name)
      if (isWhole) compared.with.add(source)
      const found = this.#duties.get(name)
      if (found === undefined) continue
      const open = this.#openOf(found.duty)
      if (open.size < found.open.size) isNews = true
      if (open.size > 0) this.#duties.set(name, { ...found, open })
      else this.#end(name, found.duty)
    }
    this.#endIfDone()
    return isNews
  }

  #end(name: string, duty: Duty): void {
    const { keyspace, partition } = duty
    this.#duties.delete(name)
    this.#with.arrivals.end(keyspace.id, partition)
    if (this.#obstacles(duty).length === 0) return
    const peers = this.#notComparedWith(duty)
    this.#with.log.warn('takeover.went_around', { keyspace: keyspace.name, partition, peers })
  }

  /** With whom a partition is still to be compared; nobody: what this peer is to take over is here. */
  #openOf(duty: Duty): ReadonlySet<NodeId> {
    const name = placeName(duty.keyspace.id, duty.partition)
    if (!this.#compared.has(name)) return new Set(duty.sources)
    const left = this.#notComparedWith(duty)
    const isOver = this.#isStuck(duty) && (this.#areEnough(duty, left.length) || this.#isGivenUp(duty))
    return new Set(isOver ? [] : left)
  }

  #notComparedWith({ keyspace, partition, sources }: Duty): NodeId[] {
    const compared = this.#compared.get(placeName(keyspace.id, partition))
    return sources.filter((source) => compared?.with.has(source) !== true)
  }

  /** Those that it was compared with, and this peer, where it has all that it acknowledged itself. */
  #areEnough({ keyspace, partition, sources, ownerCount, isGained }: Duty, left: number): boolean {
    const isOwn = !isGained && this.#with.store.completeness.isComplete(keyspace.id, partition)
    return sources.length - left + (isOwn ? 1 : 0) >= sourcesNeeded(ownerCount)
  }

  #isGivenUp({ keyspace }: Duty): boolean {
    if (this.#acceptance === null) return false
    const { changeNumber, only } = this.#acceptance
    const isOpen = changeNumber === this.#with.ring().configuration.changeNumber
    return isOpen && (only === null || only === keyspace.id)
  }

  /** Whoever it is still to be compared with cannot read it. */
  #isStuck(duty: Duty): boolean {
    return this.#obstacles(duty).every((obstacle) => obstacle === 'unreadable')
  }

  /** What keeps it from being compared with each of the rest; null: it was not tried, or goes on. */
  #obstacles(duty: Duty): (Obstacle | null)[] {
    const compared = this.#compared.get(placeName(duty.keyspace.id, duty.partition))
    return this.#notComparedWith(duty).map((source) => compared?.obstacles.get(source) ?? null)
  }

  #endIfDone(): void {
    if (this.#duties.size === 0) this.#endedMs ??= this.#with.clock.monotonic()
  }
}
