/**
 * Brings one record to owners of its key until W of them have it on disk: the second half of every write, and
 * the whole of a repair. After the quorum was met it goes on with the owners that have not answered, until
 * its deadline; one that refuses then is asked once more.
 */
import type { Bytes } from '../base/bytes.ts'
import { KvError } from '../base/error.ts'
import type { ActorId, NodeId } from '../base/ids.ts'
import type { Level } from '../protocol/configuration.ts'
import type { Era } from '../protocol/eras.ts'
import { createQuorum, type Quorum } from '../protocol/quorum.ts'
import { recordKey } from '../store/keys.ts'
import { RecordOverflow } from '../store/record-codec.ts'
import type { Merged } from '../store/slot.ts'
import type { PeerMessage, PeerReply } from '../wire/peer-messages.ts'
import type { Coordination, Done } from './coordination.ts'
import { OwnerExchange } from './owner-exchange.ts'
import type { KeyPlace } from './quorum-read.ts'
import { keepStandIn, liveStandIns, mayStandIn, type StandInRule } from './standing-in.ts'

/** How many owners have it on disk, and how many that stand in for another one. */
export interface Replicated {
  readonly owners: number
  readonly standIns: number
}

export interface ReplicationTask {
  readonly place: KeyPlace
  readonly record: Bytes
  /** How many of the owners in each list. */
  readonly level: Level
  /** Which lists: those that a write needs, or for a repair those that reads need. */
  readonly lists: 'write' | 'read'
  /** The actor whose dot was minted for this record; null for a repair. */
  readonly mintedBy: ActorId | null
  /** Owners and stand-ins known to hold it already. */
  readonly holders: readonly NodeId[]
  /**
   * For owners that are not up. `selfFirst`: this peer keeps a stand-in record, and says so when it has.
   */
  readonly standIns: StandInRule
  readonly deadlineMs: number
  /** In which what the record is made of was read. */
  readonly era: Era
}

/** How our own disk is to hold the record; null: not at all. */
type OwnRole = 'owner' | 'standIn' | null

export class Replication extends OwnerExchange {
  readonly #task: ReplicationTask
  readonly #done: Done<Replicated>
  /**
   * Told how much of `mintedBy` a replica had seen, when that is anything; says whether its answer counts.
   */
  readonly #sawActor: (seenUpTo: number) => boolean
  #holders: NodeId[]
  /** Whom each stand-in stands in for; null: everybody is up. */
  #standsInFor: Map<NodeId, NodeId> | null = null
  /** Those that stood in, counted for an owner. */
  #standInCount = 0
  /** Who may still stand in; null: nobody had to yet. */
  #standIns: NodeId[] | null = null
  /** Owners that were asked once more after the quorum was met. */
  readonly #retried: NodeId[] = []
  #quorum: Quorum
  #hasFailedHere = false
  /** An owner, or who stands in for one, has no room for it beside the concurrent values it holds. */
  #isOverfull = false
  #ownRole: OwnRole
  /** How often the record was brought to our own disk anew: what is said of an earlier copy is too late. */
  #ownCopies = 0
  /** All owners are asked the same: made, and encoded, once. */
  #lastQuestion: Extract<PeerMessage, { type: 'replicate' }> | null = null
  #isAnswered = false
  #isLingering = false

  constructor(
    coordination: Coordination,
    task: ReplicationTask,
    sawActor: (seenUpTo: number) => boolean,
    done: Done<Replicated>,
  ) {
    super(coordination, task.deadlineMs)
    this.#task = task
    this.#sawActor = sawActor
    this.#done = done
    this.#holders = [...task.holders]
    coordination.eras.continue(task.era)
    this.#ownRole = this.#ownRoleNow
    this.#quorum = this.#makeQuorum()
  }

  /** Asks every owner that is up, and stand-ins for the others; not those that hold it, and not ourselves. */
  start(): void {
    this.begin()
    this.#standsInFor = null
    this.#standInCount = 0
    this.#standIns = null
    const { keyspace, partition } = this.#task.place
    const ring = this.with.ring()
    for (const owner of ring.allOwners(keyspace, partition)) {
      if (ring.isExcluded(owner)) this.#replaceOwner(owner)
      else if (this.#holders.includes(owner)) this.#quorum.ack(owner)
      else if (owner === this.with.selfId) this.#waitForSelf()
      else if (this.with.isAlive(owner)) this.ask(owner)
      else this.#replaceOwner(owner)
    }
    this.#check()
  }

  /** Our own disk has it. @param copy 0: the one with which this began */
  storedHere(copy = 0): void {
    if (copy === this.#ownCopies) this.#stored(this.with.selfId)
  }

  /** @param error our own disk failed: what happened to the record there is unknown; or it has no room */
  failedHere(error: KvError, copy = 0): void {
    if (this.isOver || copy !== this.#ownCopies) return
    this.#hasFailedHere = true
    this.#isOverfull ||= error instanceof RecordOverflow
    this.#quorum.fail(this.#standsInFor?.get(this.with.selfId) ?? this.with.selfId)
    this.#check()
  }

  /** Nobody is asked any more, and `done` is not called any more. */
  abandon(): void {
    this.finish()
  }

  /**
   * Answers under the old number count for nothing. What our own disk holds we know without asking, as long
   * as we own the key and lost no records: what was held then may have been put aside. Who did not own it
   * under some number since may have dropped it, and what a stand-in kept may be handed over and gone: it is
   * stored anew before it counts.
   */
  override restart(): void {
    if (this.isOver) return
    if (this.isDropped(this.#task.place.keyspace.id)) {
      this.finish()
      return this.#answer('the keyspace was dropped meanwhile')
    }
    const role = this.#ownRoleNow
    const isHeldHere = role === this.#ownRole && this.#holders.includes(this.with.selfId)
    const isSure = isHeldHere && role === 'owner' && this.#isWhole
    const isAnew = role !== null && (role !== this.#ownRole || (isHeldHere && !isSure))
    if (isAnew) {
      this.#ownCopies += 1
      this.#hasFailedHere = false
    }
    this.#ownRole = role
    this.#holders = isSure ? [this.with.selfId] : []
    this.#quorum = this.#makeQuorum()
    this.start()
    if (isAnew && !this.isOver) this.#storeHere(role)
  }

  #storeHere(role: OwnRole): void {
    const { place, record } = this.#task
    const { keyspace, partition, key } = place
    const { store, ring } = this.with
    const copy = this.#ownCopies
    const stored: Merged = (error) => {
      if (error === null) this.storedHere(copy)
      else this.failedHere(error, copy)
    }
    if (role === 'owner') store.merge(keyspace, partition, key, record, null, stored)
    else keepStandIn(store, place, ring().allOwners(keyspace, partition), record, null, stored)
  }

  get #ownRoleNow(): OwnRole {
    const { keyspace, partition } = this.#task.place
    if (this.with.ring().isOwner(this.with.selfId, keyspace, partition)) return 'owner'
    return this.#standInRule === 'selfFirst' ? 'standIn' : null
  }

  /** Under the ring as it is now: a stand-in may have become an owner, or be leaving. */
  get #standInRule(): StandInRule {
    const { standIns, place } = this.#task
    return standIns === 'selfFirst' && !mayStandIn(this.with, place) ? 'others' : standIns
  }

  get #isWhole(): boolean {
    const { keyspace, partition } = this.#task.place
    return this.with.store.completeness.isComplete(keyspace.id, partition)
  }

  protected override get questionBytes(): number {
    return this.#task.record.length
  }

  protected override question(id: number, to: NodeId): PeerMessage {
    const standInFor = this.#standsInFor?.get(to) ?? null
    const last = this.#lastQuestion
    if (last?.id === id && last.standInFor === standInFor) return last
    const { place, record, mintedBy, era } = this.#task
    this.#lastQuestion = {
      type: 'replicate',
      id,
      number: this.number,
      keyspaceId: place.keyspace.id,
      key: place.key,
      record,
      mintedBy,
      standInFor,
      era,
    }
    return this.#lastQuestion
  }

  protected override took(from: NodeId, reply: PeerReply): void {
    if (reply.type !== 'stored') return this.missed(from)
    const wasSeen = this.#task.mintedBy !== null && reply.seenUpTo > 0
    if (wasSeen && !this.#sawActor(reply.seenUpTo)) this.missed(from)
    else this.#stored(from)
  }

  protected override missed(nodeId: NodeId): void {
    const isStandIn = this.#standsInFor?.has(nodeId) === true
    const wasRetried = this.#isAnswered && this.#retried.includes(nodeId)
    if (isStandIn || wasRetried || !this.with.isAlive(nodeId)) return this.declined(nodeId)
    if (this.#isAnswered) this.#retried.push(nodeId)
    this.askAgainLater(nodeId)
  }

  protected override declined(nodeId: NodeId): void {
    this.#replaceOwner(this.#standsInFor?.get(nodeId) ?? nodeId)
    this.#check()
  }

  /** Nobody stands in for it: it is there, and would have no room for what is kept for it either. */
  protected override overflowed(nodeId: NodeId): void {
    const { keyspace, partition, key } = this.#task.place
    this.with.store.overfull.note(recordKey(keyspace.id, partition, key))
    this.#isOverfull = true
    this.#quorum.fail(this.#standsInFor?.get(nodeId) ?? nodeId)
    this.#check()
  }

  protected override finish(): void {
    if (this.#isLingering) this.with.lingers.end(this.#task.record.length)
    this.#isLingering = false
    if (!this.isOver) this.with.eras.end(this.#task.era)
    super.finish()
  }

  protected override timedOut(): void {
    this.finish()
    this.#answer(`${this.#quorum.ackedCount} owners confirmed it in time, which is too few`)
  }

  #makeQuorum(): Quorum {
    const ring = this.with.ring()
    const { place, level, lists: which } = this.#task
    const { keyspace, partition } = place
    const lists =
      which === 'write' ? ring.writeOwners(keyspace, partition) : ring.readLists(keyspace, partition)
    return createQuorum(lists, ring.needed(level, lists), ring.configuration.excluded)
  }

  /** Our own disk answers through `storedHere` and `failedHere`, perhaps before a new configuration came. */
  #waitForSelf(): void {
    if (this.#hasFailedHere) this.#quorum.fail(this.with.selfId)
  }

  #stored(nodeId: NodeId): void {
    if (this.isOver) return
    if (!this.#holders.includes(nodeId)) this.#holders.push(nodeId)
    const owner = this.#standsInFor?.get(nodeId)
    if (owner === undefined) this.#quorum.ack(nodeId)
    else this.#ackFor(owner)
    this.#check()
  }

  /** The next one in the list stands in for an owner that is not up: each for one owner, one for each. */
  #replaceOwner(owner: NodeId): void {
    this.#standIns ??= [...liveStandIns(this.with, this.#task.place, this.#standInRule)]
    const standIn = this.#standIns.shift()
    if (standIn === undefined) {
      this.#quorum.fail(owner)
      return
    }
    this.#standsInFor ??= new Map()
    this.#standsInFor.set(standIn, owner)
    if (this.#holders.includes(standIn)) this.#ackFor(owner)
    else if (standIn !== this.with.selfId) this.ask(standIn)
  }

  #ackFor(owner: NodeId): void {
    const before = this.#quorum.ackedCount
    this.#quorum.ackFor(owner)
    this.#standInCount += this.#quorum.ackedCount - before
  }

  #check(): void {
    if (this.isOver) return
    if (this.#quorum.met) this.#answer(null)
    else if (this.#quorum.impossible) {
      this.finish()
      return this.#answer(this.#obstacle)
    }
    if (this.#isAnswered && !this.#mayLinger()) this.finish()
  }

  get #obstacle(): string {
    const { outage } = this.with.store
    if (outage !== null) return `this peer: ${outage}`
    if (!this.#isOverfull) return 'too many owners of this key went down'
    const what = 'owners of this key hold so many concurrent values that it does not fit beside them'
    return `${what} (write it again without a context: that replaces all of them)`
  }

  /** To bring the record to the owners that have not answered yet, while there are few that do. */
  #mayLinger(): boolean {
    if (this.outstandingCount === 0) return false
    this.#isLingering ||= this.with.lingers.begin(this.#task.record.length)
    return this.#isLingering
  }

  /** True after it failed for want of room at an owner. */
  get isOverfull(): boolean {
    return this.#isOverfull
  }

  #answer(why: string | null): void {
    if (this.#isAnswered) return
    this.#isAnswered = true
    const standIns = this.#standInCount
    if (why === null) return this.#done(null, { owners: this.#quorum.ackedCount - standIns, standIns })
    this.#done(
      new KvError(
        'TIMEOUT_UNKNOWN',
        `the write may or may not have been applied: ${why}; read the key to see`,
      ),
      null,
    )
  }
}
