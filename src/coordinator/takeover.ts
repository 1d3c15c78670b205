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
import { dutiesOf } from '../protocol/ring-change.ts'
import { BackgroundJob } from './background-job.ts'
import { placesOf } from './catch-up.ts'
import type { ComparedPartition } from './comparison.ts'
import type { Coordination } from './coordination.ts'
import { damageAdvice } from './damage-advice.ts'
import { DutyLedger, type ObstructedPartition } from './duty-ledger.ts'
import { Pace } from './pace.ts'
import { type CopyProgress, NOTHING_COPIED, PartitionCopy } from './partition-copy.ts'
import { NO_PROGRESS, TreeExchange } from './tree-exchange.ts'

/** Faster than ordinary repair: the change waits for it. */
const PACE = { maxInFlight: 32, slowMs: 250 }
const FIRST_RETRY_MS = 25
const LAST_RETRY_MS = 2000
const IDLE_MS = 60_000
/** Noted in one turn of the event loop. */
const NOTED_AT_ONCE = 2048
const NOWHERE: ReadonlySet<string> = new Set()
const CANNOT = 'cannot take over what it is to own'
const HERE = 'there are records that its own disk does not give'
const OVERFULL =
  'keys have concurrent values that do not fit into one record: put or delete those without a context, ' +
  "which replaces all their values (the log names them as 'key.overfull')"
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

/** An operator gave up what could not be read then; what cannot be read later is another matter. */
interface Acceptance {
  readonly changeNumber: number
  /** By keyspace and partition: at whom. */
  readonly unreadable: ReadonlyMap<string, ReadonlySet<NodeId>>
}

export class Takeover {
  readonly #with: Coordination
  readonly #shownName: (nodeId: NodeId) => string
  readonly #pace: Pace
  readonly #job: BackgroundJob
  readonly #copy: PartitionCopy
  /** Under which it was begun; 0: there was no change yet. */
  #phaseNumber = 0
  readonly #duties: DutyLedger
  #acceptance: Acceptance | null = null
  /** Of a change that has ended it stays, for people. */
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
    this.#duties = new DutyLedger({
      isComplete: (keyspaceId, partition) =>
        coordination.store.completeness.isComplete(keyspaceId, partition),
      isGivenUp: (...found) => this.#isGivenUp(...found),
    })
  }

  start(): void {
    this.#with.store.completeness.watch(({ keyspaceId, partition }) => {
      this.#copy.forget(keyspaceId, partition)
      if (this.#duties.forget(keyspaceId, partition)) this.#goOnWithThese()
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
    const { phase, phaseNumber } = ring.configuration
    const isNewPhase = phaseNumber !== this.#phaseNumber
    if (isNewPhase) this.#beginPhase(ring.configuration)
    this.#duties.begin(dutiesOf(ring, this.#with.selfId), isNewPhase)
    if (phase !== 'stable') this.#total = this.#duties.total
    this.#with.arrivals.follow(phase === 'begun' ? this.#duties : null)
    this.#goOnWithThese()
  }

  #goOnWithThese(): void {
    if (this.#duties.open > 0) this.#endedMs = null
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
    if (this.#duties.open === 0) return null
    return this.complaint ?? "takes over what it is to own ('kvctl tasks' shows how far it is)"
  }

  /** What does not come about unless a person does something, in words; null: all goes by itself. */
  get complaint(): string | null {
    // Where nothing is to be taken over it is said of what is left over.
    if (this.#duties.open === 0) return null
    const { complaint } = this.#with.store.inventory
    if (complaint !== null) return `${complaint}: ${this.#damageAdvice}`
    const obstructed = this.#duties.obstructed()
    const here = obstructed.filter(({ obstacles }) => obstacles.includes('unreadableHere'))
    if (here.length > 0) return `${CANNOT}: of ${placesOf(here)} ${HERE}: ${this.#damageAdvice}`
    const overfull = obstructed.filter(({ obstacles }) => obstacles.includes('overfull'))
    if (overfull.length > 0) return `${CANNOT}: in ${placesOf(overfull)} ${OVERFULL}`
    const stuck = obstructed.filter(isStuck)
    if (stuck.length === 0) return null
    const peers = [...new Set(stuck.flatMap(({ left }) => left))].map(this.#shownName)
    return `${CANNOT}: ${placesOf(stuck)} cannot be read at ${firstFew(peers)}; ${THERE}`
  }

  get #damageAdvice(): string {
    return damageAdvice(this.#with.ring(), this.#with.selfId)
  }

  /**
   * An operator decides that what is known to be unreadable now is lost, where the open change waits for it.
   * @param only null: in every keyspace
   */
  acceptLoss(only: KeyspaceId | null): void {
    if (this.#duties.open === 0) return
    const { changeNumber } = this.#with.ring().configuration
    const unreadable = new Map(this.#accepted)
    for (const { keyspace, partition, left, obstacles } of this.#duties.obstructed()) {
      if (only !== null && only !== keyspace.id) continue
      const name = placeName(keyspace.id, partition)
      const sources = left.filter((_, i) => obstacles[i] === 'unreadable')
      unreadable.set(name, new Set([...(unreadable.get(name) ?? []), ...sources]))
    }
    this.#acceptance = { changeNumber, unreadable }
    this.#with.log.error('takeover.loss_accepted', { what: this.waitsFor })
    this.#duties.recount()
    this.#goOnWithThese()
  }

  /** Of the open change, or of the last one; null: there was nothing to take over. */
  get progress(): TakeoverProgress | null {
    if (this.#total === 0) return null
    return {
      startedMs: this.#startedMs,
      endedMs: this.#endedMs,
      done: this.#total - this.#duties.open,
      total: this.#total,
      copied: this.#copied,
      failure: this.#failure,
    }
  }

  #beginPhase({ phase, phaseNumber }: Configuration): void {
    this.#phaseNumber = phaseNumber
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
    if (this.#duties.open === 0) return IDLE_MS
    const { phase } = this.#with.ring().configuration
    const unsaid =
      phase === 'begun'
        ? await this.#copy.run(this.#phaseNumber, this.#duties.gained(), this.#copied)
        : NOWHERE
    for (const source of this.#duties.sources(unsaid)) {
      if (this.#job.isStopped) return 0
      if (this.#with.isAlive(source)) await this.#compareWith(source, unsaid)
    }
    if (unsaid.size > 0) this.#failure = `of ${unsaid.size} partitions no owner says yet what it holds`
    return this.#duties.open === 0 ? 0 : this.#retry()
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
      if (unsaid.size > 0 && unsaid.has(placeName(keyspaceId, partition))) return false
      return this.#duties.isOpen(keyspaceId, partition, source)
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
    const isValid = (): boolean => {
      return phaseNumber === this.#phaseNumber && lossCount === completeness.lossCount
    }
    const isNews = await this.#note(source, exchange.comparison.partitions(), isValid)
    if (isNews) this.#retryMs = FIRST_RETRY_MS
    this.#failure = failure
    const tookMs = Math.round(clock.monotonic() - startedMs)
    log.info('takeover.compared', { source, phaseNumber, ...progress, tookMs, failure })
  }

  /**
   * Whether something is whole, or known to be unreadable, that was not before.
   * @param isValid false: what was found counts for nothing any more
   */
  async #note(
    source: NodeId,
    partitions: Iterable<ComparedPartition>,
    isValid: () => boolean,
  ): Promise<boolean> {
    let isNews = false
    let count = 0
    for (const found of partitions) {
      if (!isValid()) break
      const { fewer, around: peers } = this.#duties.note(found, source)
      if (fewer > 0) isNews = true
      const { keyspaceId, partition } = found
      if (peers.length > 0) this.#with.log.warn('takeover.went_around', { keyspaceId, partition, peers })
      count += 1
      if (count % NOTED_AT_ONCE === 0) await this.#turn()
    }
    this.#endIfDone()
    return isNews
  }

  #turn(): Promise<void> {
    return new Promise((resolve) => this.#with.clock.defer(resolve))
  }

  /** What was accepted in the open change; it outlasts its phases, in which the same is met again. */
  get #accepted(): Acceptance['unreadable'] {
    const { changeNumber } = this.#with.ring().configuration
    return this.#acceptance?.changeNumber === changeNumber ? this.#acceptance.unreadable : new Map()
  }

  #isGivenUp(keyspaceId: KeyspaceId, partition: number, sources: readonly NodeId[]): boolean {
    const known = this.#accepted.get(placeName(keyspaceId, partition))
    return known !== undefined && sources.every((source) => known.has(source))
  }

  #endIfDone(): void {
    if (this.#duties.open === 0) this.#endedMs ??= this.#with.clock.monotonic()
  }
}

/** Whoever it is still to be compared with cannot read it. */
function isStuck({ obstacles }: ObstructedPartition): boolean {
  return obstacles.every((obstacle) => obstacle === 'unreadable')
}
