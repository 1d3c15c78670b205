/**
 * Brings what this peer keeps for others to the owners it is meant for.
 *
 * Intuition: when an owner is back, and every few seconds, all stand-in records are walked in key order; each
 * goes to those of its owners that are up. The walk is paced, so that an owner just back is not drowned: the
 * pace halves when one is silent or overloaded, and recovers slice by slice. Who was silent is left alone
 * until the next walk. A record that its owner cannot store, as its own copy of it is damaged, is passed by.
 *
 * A peer that leaves hands on to other stand-ins what owners do not take that are down or refuse it. Where
 * every other member is an owner itself there are none: it says whom it waits for (`complaint`).
 *
 * Invariants: an owner is taken off a record only when its disk has it; a record goes when nobody is left.
 * When the owners are other ones than those it was meant for, it is meant for all owners of now; so it is
 * when one of them is excluded from an open change, as nobody waits for that one any more: the copy counted
 * in its place, and goes when all others have it, the new owners too. No record keeps those behind it from an
 * owner that takes them, however often it is refused itself.
 *
 * Source: hinted handoff, DeCandia et al., "Dynamo", 2007, section 4.6.
 */
import { type Bytes, compareBytes, toHex } from '../base/bytes.ts'
import { KvError } from '../base/error.ts'
import { firstFew } from '../base/first-few.ts'
import type { NodeId } from '../base/ids.ts'
import { type Keyspace, targetLayout } from '../protocol/configuration.ts'
import type { Era } from '../protocol/eras.ts'
import { MAX_RECORD_BYTES } from '../protocol/record.ts'
import { RecordOverflow } from '../store/record-codec.ts'
import type { StandInRecord } from '../store/stand-ins.ts'
import type { Refusal } from '../wire/data-messages.ts'
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

/** Also what nobody is sent was read: for so much a walk rests as well. */
const READ_BYTES_PER_SECOND = 16 * 1024 * 1024
/** Reading a small record costs as much as reading this. */
const LEAST_READ_BYTES = 512

/** An owner that refused so many in a row is left alone: its disk may be away. The next walk begins there. */
const MAX_REFUSED_IN_A_ROW = 64
/** To an owner that has no room for a record that one is not sent again sooner. */
const OVERFULL_REST_MS = 60_000
/** What rests; with more of them all are tried again. */
const MAX_RESTING = 4096
/** What says that an owner takes nothing now; other refusals concern the record alone. */
const SILENCING: ReadonlySet<Refusal> = new Set(['overloaded', 'stale', 'behind', 'stopping'])

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

/** What a walk found out about owners. */
interface Findings {
  readonly walk: MutableWalk
  /** They gave no answer, or take nothing now. */
  readonly silent: Set<NodeId>
  /** How many records each refused since it took one. */
  readonly refusedInARow: Map<NodeId, number>
  refused: number
  /** Of a peer that leaves: how many records each refused that nobody else keeps for it either. */
  readonly stuck: Map<NodeId, number>
  /** Behind this the next walk begins: one was left alone who refused all there. Null: from the first key. */
  resumeBehind: Bytes | null
}

type Fate = 'stored' | 'refused' | 'silent'

const REFUSED = 'damaged copies, no room for more in them, or a disk that is away may be why'
const ADVICE = "where that stays so, stop that peer and use 'kvctl remove'"

export class HintedHandoff {
  readonly #with: Coordination
  readonly #shownName: (nodeId: NodeId) => string
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
  #resumeBehind: Bytes | null = null
  /** As the last walk to the end found it. */
  #stuck: ReadonlyMap<NodeId, number> = new Map()
  /** By owner and key of the database: monotonic ms. */
  readonly #restingUntilMs = new Map<string, number>()

  /** @param shownName of a peer, for people */
  constructor(coordination: Coordination, shownName: (nodeId: NodeId) => string) {
    this.#with = coordination
    this.#shownName = shownName
    this.#background = new BackgroundJob(coordination.clock, () => this.#step())
  }

  /** The one that goes on, or the last one; null: there was nothing to deliver yet. */
  get lastWalk(): HandoffWalk | null {
    return this.#lastWalk
  }

  /** Why this peer cannot leave before a person does something, in words; null: all goes by itself. */
  get complaint(): string | null {
    if (!this.#with.hasRing() || !this.#isLeaving) return null
    const refusals = [...this.#stuck].filter(([owner]) => !this.#isGivenUp(owner))
    if (refusals.length === 0) return null
    const owners = refusals.map(([owner, count]) => `${this.#shownName(owner)} refuses ${count}`)
    const what = `of the records that it keeps for others ${firstFew(owners)}`
    return `cannot leave: ${what}, and no other peer may keep those; ${REFUSED}: ${ADVICE}`
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
    const refusedInARow = new Map<NodeId, number>()
    const stuck = new Map<NodeId, number>()
    const findings: Findings = {
      ...{ walk, silent: new Set<NodeId>(), refusedInARow, refused: 0, stuck, resumeBehind: null },
    }
    try {
      const isWhole = await this.#deliverAll(this.#resumeBehind, findings)
      if (isWhole) this.#stuck = stuck
      if (isWhole && !walk.isPartial && number === this.#with.ring().number) {
        this.#lookedUnder = number
        this.#toldPhase = phase
      }
      walk.failure = failureOf(findings)
    } catch (error) {
      if (!(error instanceof KvError)) throw error
      walk.failure = error.message
      log.warn('handoff.interrupted', { error }) // The disk is away.
    }
    this.#resumeBehind = findings.resumeBehind
    walk.endedMs = clock.monotonic()
  }

  /**
   * From behind this key to the last one, and from the first one to here.
   * @returns whether all were looked at: else there was no time left
   */
  async #deliverAll(from: Bytes | null, findings: Findings): Promise<boolean> {
    let isPastEnd = from === null
    for (let after = from; ; ) {
      after = await this.#deliverSlice(after, findings)
      if (after === null && isPastEnd) return true
      if (this.#remainingMs <= 0) return false
      if (after === null) isPastEnd = true
      else if (isPastEnd && from !== null && compareBytes(after, from) >= 0) return true
    }
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
  async #deliverSlice(after: Bytes | null, findings: Findings): Promise<Bytes | null> {
    const { clock, eras } = this.#with
    const { silent, walk } = findings
    const startMs = clock.monotonic()
    const maxRecords = Math.max(1, Math.min(MAX_SLICE_RECORDS, Math.floor(this.#ratePerSecond / 8)))
    const silentBefore = silent.size
    const deliveredBefore = walk.delivered
    const era = eras.begin()
    const { sentCount, readBytes, next } = await this.#deliverBehind(
      after,
      maxRecords,
      findings,
      era,
    ).finally(() => eras.end(era))
    if (silent.size > silentBefore) this.#ratePerSecond = Math.max(SLOWEST, this.#ratePerSecond / 2)
    else if (walk.delivered > deliveredBefore) {
      this.#ratePerSecond = Math.min(FASTEST, this.#ratePerSecond * RECOVERY)
    }
    const seconds = Math.max(sentCount / this.#ratePerSecond, readBytes / READ_BYTES_PER_SECOND)
    const restMs = startMs + 1000 * seconds - clock.monotonic()
    if (this.#isPaced && restMs > 0) await this.#background.pauses.pause(restMs)
    return next
  }

  async #deliverBehind(
    after: Bytes | null,
    maxRecords: number,
    findings: Findings,
    era: Era,
  ): Promise<{ readonly sentCount: number; readonly readBytes: number; readonly next: Bytes | null }> {
    const { standIns, next } = await this.#with.store.standIns.slice(after, maxRecords, MAX_SLICE_BYTES)
    // All of them, also when one fails: the era may end only when nothing that was sent under it goes on.
    const ends = await Promise.allSettled(standIns.map((each) => this.#deliver(each, findings, era)))
    let sentCount = 0
    for (const end of ends) {
      if (end.status === 'rejected') throw end.reason
      sentCount += end.value
    }
    findings.walk.done += standIns.length
    const readBytes = standIns.reduce((sum, each) => sum + Math.max(LEAST_READ_BYTES, sizeOf(each)), 0)
    return { sentCount, readBytes, next }
  }

  /** @returns to how many it was sent */
  async #deliver(standIn: StandInRecord, findings: Findings, era: Era): Promise<number> {
    const ring = this.#with.ring()
    const { walk } = findings
    const keyspace = ring.keyspaceById(standIn.keyspaceId)
    if (keyspace === null) return 0 // It was dropped, and its records are about to be.
    const targets = this.#targetsOf(standIn, keyspace)
    const mayTake = (target: NodeId): boolean => this.#with.isAlive(target) && !ring.isExcluded(target)
    const reachable = targets.filter((target) => mayTake(target) && !isLeftAlone(target, findings))
    const under = { number: ring.number, era }
    const fates = await Promise.all(reachable.map((target) => this.#hand(keyspace, standIn, target, under)))
    fates.forEach((fate, i) => {
      note(findings, reachable[i] as NodeId, fate, standIn.databaseKey)
    })
    const reached = new Set(reachable.filter((_, i) => fates[i] === 'stored'))
    if (this.#isLeaving) {
      const left = targets.filter((target) => !reached.has(target))
      for (const target of await this.#pass(keyspace, standIn, left, under, findings)) reached.add(target)
    }
    walk.delivered += reached.size
    walk.bytes += reachable.length * sizeOf(standIn)
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

  /**
   * Somebody else stands in for those who are not up, or refuse it.
   * @returns for whom
   */
  async #pass(
    keyspace: Keyspace,
    standIn: StandInRecord,
    targets: readonly NodeId[],
    under: Under,
    findings: Findings,
  ): Promise<readonly NodeId[]> {
    const { silent, stuck } = findings
    const { isAlive } = this.#with
    const ring = this.#with.ring()
    const others = ring.standIns(keyspace, ring.partitionOf(standIn.key))
    const passed: NodeId[] = []
    for (const target of targets) {
      if (isAlive(target) && silent.has(target)) continue // It takes nothing now, and is asked again.
      const heir = others.find((nodeId) => isAlive(nodeId) && !isLeftAlone(nodeId, findings))
      const fate = heir === undefined ? 'refused' : await this.#hand(keyspace, standIn, heir, under, target)
      if (heir !== undefined) note(findings, heir, fate, standIn.databaseKey)
      if (fate === 'stored') passed.push(target)
      else if (isAlive(target)) stuck.set(target, (stuck.get(target) ?? 0) + 1)
    }
    return passed
  }

  /**
   * While owners change a record from before is meant for the new ones too: those it was meant for may go
   * before the new ones have seen what they were handed.
   */
  #targetsOf({ targets, key }: StandInRecord, keyspace: Keyspace): readonly NodeId[] {
    const ring = this.#with.ring()
    const partition = ring.partitionOf(key)
    const owners = ring.allOwners(keyspace, partition).filter((owner) => !this.#isGivenUp(owner))
    if (owners.length === 0) return targets // Nobody could have it instead.
    const now = targetsNow(targets, owners, this.#with.selfId)
    const [, after] = ring.writeOwners(keyspace, partition)
    if (after === undefined || this.#toldPhase === ring.configuration.phaseNumber) return now
    const added = after.filter((owner) => owners.includes(owner) && !now.includes(owner))
    return added.length === 0 ? now : [...now, ...added].sort()
  }

  /**
   * It comes to have nothing in the open change. Before a change is open it may be the only one whom the
   * record is meant for, and who takes its place is not known.
   */
  #isGivenUp(owner: NodeId): boolean {
    const ring = this.#with.ring()
    return ring.configuration.phase !== 'stable' && ring.isExcluded(owner)
  }

  /** Stored: it is on the owner's disk. */
  async #hand(
    keyspace: Keyspace,
    standIn: StandInRecord,
    to: NodeId,
    under: Under,
    standInFor: NodeId | null = null,
  ): Promise<Fate> {
    const { key, record } = standIn
    const { selfId, store, rpc, clock } = this.#with
    const resting = `${to} ${toHex(standIn.databaseKey)}`
    if ((this.#restingUntilMs.get(resting) ?? 0) > clock.monotonic()) return 'refused'
    if (record.length > MAX_RECORD_BYTES) return this.#rest(resting)
    if (to === selfId) {
      const partition = this.#with.ring().partitionOf(key)
      return new Promise((resolve) => {
        const stored = (error: KvError | null): void => {
          if (error === null) resolve('stored')
          else resolve(error instanceof RecordOverflow ? this.#rest(resting) : 'refused')
        }
        store.merge(keyspace, partition, key, record, null, stored)
      })
    }
    const timeoutMs = Math.max(1, Math.min(ANSWER_TIMEOUT_MS, this.#remainingMs))
    const fields = { ...under, keyspaceId: keyspace.id, key, record, mintedBy: null, standInFor }
    try {
      const question = (id: number) => ({ type: 'replicate', id, ...fields }) as const
      const reply = await rpc.call(to, 'data', timeoutMs, question, record.length)
      if (reply.type === 'stored') return 'stored'
      if (reply.type !== 'refused') return 'refused'
      if (reply.reason === 'overfull') return this.#rest(resting)
      if (reply.reason === 'stale') this.#with.sawNumber(to, reply.number)
      return SILENCING.has(reply.reason) ? 'silent' : 'refused'
    } catch (error) {
      if (!(error instanceof KvError)) throw error
      return 'silent' // No answer in time, or no link.
    }
  }

  /** It has as much of this key as a record can hold: millions of bytes are not to be sent in every walk. */
  #rest(resting: string): Fate {
    if (this.#restingUntilMs.size >= MAX_RESTING) this.#restingUntilMs.clear()
    this.#restingUntilMs.set(resting, this.#with.clock.monotonic() + OVERFULL_REST_MS)
    return 'refused'
  }
}

function note(findings: Findings, owner: NodeId, fate: Fate, databaseKey: Bytes): void {
  const { silent, refusedInARow } = findings
  if (fate === 'silent') silent.add(owner)
  if (fate === 'stored') refusedInARow.delete(owner)
  if (fate !== 'refused') return
  findings.refused += 1
  refusedInARow.set(owner, (refusedInARow.get(owner) ?? 0) + 1)
  if (isLeftAlone(owner, findings)) findings.resumeBehind ??= databaseKey
}

function isLeftAlone(owner: NodeId, { silent, refusedInARow }: Findings): boolean {
  return silent.has(owner) || (refusedInARow.get(owner) ?? 0) >= MAX_REFUSED_IN_A_ROW
}

/** For people. */
function failureOf({ silent, refused }: Findings): string | null {
  if (silent.size > 0) return `${silent.size} of its owners did not take what was sent`
  if (refused === 0) return null
  const advice = "'kvctl status' tells whose disk is damaged or away; they are sent again in the next walk"
  return `owners could not store ${refused} of the records: ${advice}`
}

function sizeOf({ key, record }: StandInRecord): number {
  return key.length + record.length
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
