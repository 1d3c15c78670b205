/**
 * Brings what this peer keeps for others to the owners it is meant for.
 *
 * Intuition: when an owner is back, and every few seconds, all stand-in records are walked in key order; each
 * goes to those of its owners that are up. The walk is paced, so that an owner just back is not drowned: the
 * pace halves when one is silent or overloaded, and recovers slice by slice. Who was silent is left alone
 * until the next walk.
 *
 * Invariants: an owner is taken off a record only when its disk has it; a record goes when nobody is left.
 * When the owners are other ones than those it was meant for, it is meant for all owners of now.
 *
 * Source: hinted handoff, DeCandia et al., "Dynamo", 2007, section 4.6.
 */
import { KvError } from '../base/error.ts'
import type { NodeId } from '../base/ids.ts'
import { type Keyspace, targetLayout } from '../protocol/configuration.ts'
import type { Era } from '../protocol/eras.ts'
import type { StandInRecord } from '../store/stand-ins.ts'
import { BackgroundJob } from './background-job.ts'
import type { Coordination } from './coordination.ts'

/** From one walk to the next when nobody comes back. */
const INTERVAL_MS = 5000
/** Peers come back in company: the walk begins after this. */
const SETTLE_MS = 100
/** An owner that has not answered after this is left alone for a while. */
const ANSWER_TIMEOUT_MS = 2000

/** Under way at once, at most. */
const MAX_SLICE_RECORDS = 64
const MAX_SLICE_BYTES = 1024 * 1024

/** Records a second. */
const FASTEST = 8192
const SLOWEST = 8
const FIRST = 1024
const RECOVERY = 1.25

/** One walk along all that is kept for others. */
export interface HandoffWalk {
  /** Monotonic ms. */
  readonly startedMs: number
  /** Null: it goes on. */
  readonly endedMs: number | null
  /** Records kept when it began. */
  readonly total: number
  /** Of these, those that were looked at. */
  readonly done: number
  /** A record counts for each owner that has it now. */
  readonly delivered: number
  readonly bytes: number
  /** Why it did not come to its end. */
  readonly failure: string | null
}

type MutableWalk = { -readonly [K in keyof HandoffWalk]: HandoffWalk[K] } & {
  /** Records were written meanwhile, and are to be looked at once more. */
  isPartial: boolean
}

/** What a record is handed on under. */
interface Under {
  readonly number: number
  readonly era: Era
}

export class HintedHandoff {
  readonly #with: Coordination
  readonly #background: BackgroundJob
  #ratePerSecond = FIRST
  #isWoken = false
  /**
   * The configuration under which all records were looked at: after another one owners may be other ones, and
   * even records for peers that are down must be looked at.
   */
  #lookedUnder = 0
  /** Of the change of the ring whose new owners all records have among those they are meant for. */
  #toldPhase = 0
  #isPaced = true
  /** Monotonic ms: no walk goes on after this. */
  #endsAtMs = Number.POSITIVE_INFINITY
  #stopped: Promise<void> | null = null
  #lastWalk: MutableWalk | null = null

  constructor(coordination: Coordination) {
    this.#with = coordination
    this.#background = new BackgroundJob(coordination.clock, () => this.#step())
  }

  /** The one that goes on, or the last one; null: there was nothing to deliver yet. */
  get lastWalk(): HandoffWalk | null {
    return this.#lastWalk
  }

  start(): void {
    this.#background.start(INTERVAL_MS)
  }

  /** Somebody is up again. */
  wake(): void {
    this.#isWoken = true
    this.#background.wake()
  }

  ringChanged(): void {
    this.wake()
  }

  /** Delivers once more what can be, as fast as it goes, for so long at most. Idempotent. */
  stop(withinMs: number): Promise<void> {
    this.#stopped ??= this.#stop(withinMs)
    return this.#stopped
  }

  async #stop(withinMs: number): Promise<void> {
    this.#endsAtMs = this.#with.clock.monotonic() + withinMs
    this.#isPaced = false
    await this.#background.stop()
    await this.#walk()
  }

  /** @returns ms to the next walk */
  async #step(): Promise<number> {
    if (this.#isWoken) {
      this.#isWoken = false
      await this.#background.pauses.pause(SETTLE_MS)
    }
    if (!this.#background.isStopped) await this.#walk()
    return this.#isWoken ? 0 : INTERVAL_MS
  }

  /** Does not reject: what fails is tried in the next walk. */
  async #walk(): Promise<void> {
    if (!this.#hasWork()) return
    const { clock, store, log } = this.#with
    const walk: MutableWalk = {
      ...{ startedMs: clock.monotonic(), endedMs: null, total: store.standIns.total.records },
      ...{ done: 0, delivered: 0, bytes: 0, failure: null, isPartial: false },
    }
    this.#lastWalk = walk
    const { number } = this.#with.ring()
    const phase = this.#phase
    const silent = new Set<NodeId>()
    try {
      let after: Uint8Array | null = null
      do after = await this.#deliverSlice(after, silent, walk)
      while (after !== null && this.#remainingMs > 0)
      if (after === null && !walk.isPartial && number === this.#with.ring().number) {
        this.#lookedUnder = number
        this.#toldPhase = phase
      }
      if (silent.size > 0) walk.failure = `${silent.size} of its owners did not take what was sent`
    } catch (error) {
      if (!(error instanceof KvError)) throw error
      walk.failure = error.message
      log.warn('handoff.interrupted', { error }) // The disk is away.
    }
    walk.endedMs = clock.monotonic()
  }

  /** True when a record may be meant for somebody who is up, or is no owner any more, or cannot be read. */
  #hasWork(): boolean {
    const { standIns } = this.#with.store
    const targets = [...standIns.counts().keys()]
    if (!this.#with.hasRing()) return false
    if (standIns.isInexact) return true
    if (targets.length === 0) return false
    const isNew = this.#lookedUnder !== this.#with.ring().number
    return isNew || this.#isLeaving || targets.some((target) => this.#with.isAlive(target))
  }

  get #phase(): number {
    return this.#with.ring().configuration.phaseNumber
  }

  get #remainingMs(): number {
    return this.#endsAtMs - this.#with.clock.monotonic()
  }

  /** @returns where the next slice begins; null: this was the last one */
  async #deliverSlice(
    after: Uint8Array | null,
    silent: Set<NodeId>,
    walk: MutableWalk,
  ): Promise<Uint8Array | null> {
    const { clock, eras } = this.#with
    const startMs = clock.monotonic()
    const maxRecords = Math.max(1, Math.min(MAX_SLICE_RECORDS, Math.floor(this.#ratePerSecond / 8)))
    const silentBefore = silent.size
    const era = eras.begin()
    const { sent, next } = await this.#deliverBehind(after, maxRecords, silent, era, walk).finally(() =>
      eras.end(era),
    )
    const sentCount = sent.reduce((sum, count) => sum + count, 0)
    if (silent.size > silentBefore) this.#ratePerSecond = Math.max(SLOWEST, this.#ratePerSecond / 2)
    else if (sentCount > 0) this.#ratePerSecond = Math.min(FASTEST, this.#ratePerSecond * RECOVERY)
    const restMs = startMs + (1000 * sentCount) / this.#ratePerSecond - clock.monotonic()
    if (this.#isPaced && restMs > 0) await this.#background.pauses.pause(restMs)
    return next
  }

  async #deliverBehind(
    after: Uint8Array | null,
    maxRecords: number,
    silent: Set<NodeId>,
    era: Era,
    walk: MutableWalk,
  ): Promise<{ readonly sent: readonly number[]; readonly next: Uint8Array | null }> {
    const slice = await this.#with.store.standIns.slice(after, maxRecords, MAX_SLICE_BYTES)
    const sent = await Promise.all(slice.standIns.map((standIn) => this.#deliver(standIn, silent, era, walk)))
    walk.done += slice.standIns.length
    return { sent, next: slice.next }
  }

  /** @returns to how many it was sent */
  async #deliver(standIn: StandInRecord, silent: Set<NodeId>, era: Era, walk: MutableWalk): Promise<number> {
    const ring = this.#with.ring()
    const keyspace = ring.keyspaceById(standIn.keyspaceId)
    if (keyspace === null) return 0 // It was dropped, and its records are about to be.
    const targets = this.#targetsOf(standIn, keyspace)
    const reachable = targets.filter((target) => this.#with.isAlive(target) && !silent.has(target))
    const under = { number: ring.number, era }
    const answers = await Promise.all(
      reachable.map((target) => this.#hand(keyspace, standIn, target, under, silent)),
    )
    const reached = new Set(reachable.filter((_, i) => answers[i]))
    if (this.#isLeaving) await this.#pass(keyspace, standIn, targets, reached, under, silent)
    walk.delivered += reached.size
    walk.bytes += reachable.length * (standIn.key.length + standIn.record.length)
    if (reached.size > 0 || targets !== standIn.targets) {
      const isNoted = this.#with.store.standIns.delivered(standIn, targets, reached)
      if (!isNoted) walk.isPartial = true
    }
    return reachable.length
  }

  /** This peer is to be no member any more: others go on standing in. */
  get #isLeaving(): boolean {
    const { configuration } = this.#with.ring()
    return !targetLayout(configuration).members.includes(this.#with.selfId)
  }

  /** Somebody else stands in for those who are not up. */
  async #pass(
    keyspace: Keyspace,
    standIn: StandInRecord,
    targets: readonly NodeId[],
    reached: Set<NodeId>,
    under: Under,
    silent: Set<NodeId>,
  ): Promise<void> {
    const ring = this.#with.ring()
    const others = ring.standIns(keyspace, ring.partitionOf(standIn.key))
    const heir = others.find((nodeId) => this.#with.isAlive(nodeId) && !silent.has(nodeId))
    if (heir === undefined) return
    for (const target of targets) {
      if (reached.has(target) || this.#with.isAlive(target)) continue
      if (await this.#hand(keyspace, standIn, heir, under, silent, target)) reached.add(target)
    }
  }

  /**
   * While owners change a record from before is meant for the new ones too: those it was meant for may go
   * before the new ones have seen what they were handed.
   */
  #targetsOf({ targets, key }: StandInRecord, keyspace: Keyspace): readonly NodeId[] {
    const ring = this.#with.ring()
    const partition = ring.partitionOf(key)
    const now = targetsNow(targets, ring.allOwners(keyspace, partition), this.#with.selfId)
    const [, after] = ring.writeOwners(keyspace, partition)
    if (after === undefined || this.#toldPhase === ring.configuration.phaseNumber) return now
    return after.every((owner) => now.includes(owner)) ? now : [...new Set([...now, ...after])].sort()
  }

  /** True: it is on the owner's disk. */
  async #hand(
    keyspace: Keyspace,
    { key, record }: StandInRecord,
    to: NodeId,
    under: Under,
    silent: Set<NodeId>,
    standInFor: NodeId | null = null,
  ): Promise<boolean> {
    const { selfId, store, rpc } = this.#with
    if (to === selfId) {
      const partition = this.#with.ring().partitionOf(key)
      return new Promise((resolve) => {
        store.merge(keyspace, partition, key, record, null, (error) => resolve(error === null))
      })
    }
    const timeoutMs = Math.max(1, Math.min(ANSWER_TIMEOUT_MS, this.#remainingMs))
    const fields = { ...under, keyspaceId: keyspace.id, key, record, mintedBy: null, standInFor }
    try {
      const reply = await rpc.call(to, 'data', timeoutMs, (id) => ({ type: 'replicate', id, ...fields }))
      if (reply.type === 'stored') return true
      if (reply.type === 'refused' && reply.reason === 'stale') this.#with.sawNumber(to, reply.number)
    } catch (error) {
      if (!(error instanceof KvError)) throw error // No answer in time, or no link.
    }
    silent.add(to)
    return false
  }
}

/** Sorted as they are kept. A stand-in that became an owner itself is one of them. */
function targetsNow(
  targets: readonly NodeId[],
  owners: readonly NodeId[],
  selfId: NodeId,
): readonly NodeId[] {
  if (!targets.every((target) => owners.includes(target))) return [...owners].sort()
  return owners.includes(selfId) && !targets.includes(selfId) ? [...targets, selfId].sort() : targets
}
