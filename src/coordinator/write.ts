/**
 * One put or delete at a replica, or at a peer that stands in for one: learn what it replaces (unless the
 * client said so), mint a dot, write here and to the other owners or their stand-ins, answer when W disks
 * have it. Until a dot is minted a failure means that nothing was written, and says so.
 */
import { present } from '../base/assert.ts'
import { KvError } from '../base/error.ts'
import type { NodeId } from '../base/ids.ts'
import type { Level } from '../protocol/configuration.ts'
import { decodeContext, encodeContext, encodeDots } from '../protocol/context.ts'
import { covers, EMPTY_DOTS, unionDotSets, withDot, withDotsUpTo } from '../protocol/dvv.ts'
import type { Dot, DotSet, DottedValue, KeyRecord } from '../protocol/record.ts'
import { NAMES_ANOTHER } from '../store/dot-clashes.ts'
import { recordKey } from '../store/keys.ts'
import { encodeRecord } from '../store/record-codec.ts'
import type { StandIns } from '../store/stand-ins.ts'
import type { Store } from '../store/store.ts'
import type { PutReply, PutRequest } from '../wire/requests.ts'
import { beingRemoved, removalNote } from './being-removed.ts'
import type { Coordination, Done } from './coordination.ts'
import type { OwnerExchange } from './owner-exchange.ts'
import { type Answer, type KeyPlace, QuorumRead } from './quorum-read.ts'
import { Replication, type ReplicationTask } from './replication.ts'
import { stalled } from './stall-watch.ts'
import { liveStandIns, mayStandIn, type StandInRule } from './standing-in.ts'

/** Puts that carry a context and leave this many siblings are refused; all others go on. */
const MAX_SIBLINGS = 100
const WARN_SIBLINGS = 25
/** An actor's name is changed at most this often for one write. */
const MAX_MINTS = 3

export class Write {
  readonly #with: Coordination
  readonly #place: KeyPlace
  readonly #request: PutRequest
  readonly #seed: number
  readonly #deadlineMs: number
  readonly #done: Done<PutReply>
  /** This peer does not own the key: it keeps the record for those who do. */
  readonly #standsIn: boolean
  #step: OwnerExchange | null = null
  #mints = 0
  #isAnswered = false

  /** @param seed what contexts of this key are bound to (`contextSeed`) */
  constructor(
    coordination: Coordination,
    place: KeyPlace,
    request: PutRequest,
    seed: number,
    deadlineMs: number,
    standsIn: boolean,
    done: Done<PutReply>,
  ) {
    this.#with = coordination
    this.#place = place
    this.#request = request
    this.#seed = seed
    this.#deadlineMs = deadlineMs
    this.#standsIn = standsIn
    this.#done = done
  }

  start(): void {
    const shortage = this.#shortage()
    if (shortage !== null) return this.#finish(shortage, null)
    const { context, blind } = this.#request
    if (context !== null) return this.#attempt(() => this.#mintOver(decodeContext(context, this.#seed)))
    const { keyspace, partition, key } = this.#place
    const isOverfull = this.#with.store.overfull.has(recordKey(keyspace.id, partition, key))
    if (blind || (keyspace.conflicts === 'lww' && this.#isInformed && !isOverfull))
      return this.#attempt(() => this.#mintOver(null))
    const collected: Done<readonly Answer[]> = (error, answers) => {
      this.#step = null
      if (error !== null) return this.#finish(nothingWritten(error), null)
      // The round took its time: who was up before it may be down now, and nothing is written yet.
      const obstacle = this.#with.stalls.hasJustStalled ? stalled() : this.#shortage()
      if (obstacle !== null) return this.#finish(obstacle, null)
      this.#attempt(() =>
        this.#mintOver(this.#seenBy(present(answers, 'a read without an error has answers'))),
      )
    }
    const level = isOverfull ? this.#allThatAreUp : 'quorum'
    const read = new QuorumRead(this.#with, this.#place, level, true, this.#deadlineMs, collected)
    this.#step = read
    read.start()
  }

  restart(): void {
    this.#step?.restart()
  }

  /** Nothing was written yet when this throws: a full queue, a damaged copy, a record that came damaged. */
  #attempt(run: () => void): void {
    try {
      run()
    } catch (error) {
      if (!(error instanceof KvError)) throw error
      this.#finish(error, null)
    }
  }

  /**
   * An error when W owners or stand-ins are not up in every layout that takes writes: said before anything is
   * written.
   */
  #shortage(): KvError | null {
    const ring = this.#with.ring()
    if (ring.isExcluded(this.#with.selfId)) return beingRemoved()
    if (this.#standsIn && !mayStandIn(this.#with, this.#place)) {
      return new KvError(
        'UNAVAILABLE',
        'nothing was written: this peer stands in for owners no more; try again',
      )
    }
    const lists = ring.writeOwners(this.#place.keyspace, this.#place.partition)
    const allNeeded = ring.needed(this.#level, lists)
    for (const [i, owners] of lists.entries()) {
      const needed = allNeeded[i] as number
      const up = owners.filter((owner) => this.#isUp(owner)).length
      if (up < needed && up + this.#standInCount(owners) < needed) {
        const why = `${up} of ${owners.length} owners of this key are up, ${needed} are needed`
        const note = removalNote(ring, owners)
        const advice = `try again, or write ${this.#easier}`
        return new KvError('UNAVAILABLE', `nothing was written: ${why}${note}; ${advice}`)
      }
    }
    return null
  }

  /** How many of these owners somebody can stand in for: those of the other layout may come first. */
  #standInCount(owners: readonly NodeId[]): number {
    const { keyspace, partition } = this.#place
    const all = this.#with.ring().allOwners(keyspace, partition)
    const standIns = liveStandIns(this.#with, this.#place, this.#standInRule).length
    const replaced = all.filter((owner) => !this.#isUp(owner)).slice(0, standIns)
    return owners.filter((owner) => replaced.includes(owner)).length
  }

  /** Who is being removed is not, whatever it does. */
  #isUp(owner: NodeId): boolean {
    if (this.#with.ring().isExcluded(owner)) return false
    return owner === this.#with.selfId || this.#with.isAlive(owner)
  }

  get #isOwner(): boolean {
    const { keyspace, partition } = this.#place
    return this.#with.ring().isOwner(this.#with.selfId, keyspace, partition)
  }

  get #standInRule(): StandInRule {
    return this.#standsIn ? 'selfFirst' : 'others'
  }

  /** What this peer holds of the key is all it ever acknowledged. */
  get #isInformed(): boolean {
    const { keyspace, partition } = this.#place
    return this.#standsIn || this.#with.isComplete(keyspace.id, partition)
  }

  /** Where this peer keeps its copy. */
  get #copies(): Store | StandIns {
    return this.#standsIn ? this.#with.store.standIns : this.#with.store
  }

  /**
   * As many owners of each list that reads need as are up, a quorum at least. They hold so many concurrent
   * values of the key, and different ones, that a write which leaves some of them has no room.
   */
  get #allThatAreUp(): Level {
    const ring = this.#with.ring()
    const lists = ring.readLists(this.#place.keyspace, this.#place.partition)
    const quorums = ring.needed('quorum', lists)
    const up = lists.map((owners) => owners.filter((owner) => this.#isUp(owner)).length)
    for (let level = Math.max(...up); level > 0; level--) {
      const needed = lists.map(({ length }) => Math.min(level, length))
      if (needed.every((count, i) => count >= (quorums[i] ?? 0) && count <= (up[i] ?? 0))) return level
    }
    return 'quorum'
  }

  get #level() {
    return this.#request.w ?? this.#place.keyspace.w
  }

  /** What fewer peers are needed for. Otherwise a read quorum is asked first, whatever w is. */
  get #easier(): string {
    const { context, blind } = this.#request
    const looksFirst = context === null && !blind && this.#place.keyspace.conflicts !== 'lww'
    return looksFirst ? 'blind and with a lower w' : 'with a lower w'
  }

  get #owners(): readonly NodeId[] {
    return this.#with.ring().allOwners(this.#place.keyspace, this.#place.partition)
  }

  #seenBy(answers: readonly Answer[]): DotSet {
    let seen = EMPTY_DOTS
    for (const { record } of answers) {
      if (record !== null) seen = unionDotSets(seen, record.seen)
    }
    return seen
  }

  /**
   * @param replaced null: what this store holds
   * @param isSure what is beside that on this disk was compared with what was written
   */
  #mintOver(replaced: DotSet | null, isSure = false): void {
    const { keyspace, partition, key } = this.#place
    const held = this.#copies.newest(keyspace.id, partition, key)
    const context = replaced ?? held?.seen ?? EMPTY_DOTS
    const twin = held?.values.find((value) => value.writeId === this.#request.writeId)
    const siblings = held === null ? 0 : countSurvivors(held, context)
    const isDoubtful = held !== null && siblings > 0 && !this.#standsIn && this.#with.store.isOld(held)
    if (isDoubtful && !isSure) return this.#verify(replaced)
    if (siblings >= WARN_SIBLINGS) this.#with.log.warn('key.siblings', { keyspace: keyspace.name, siblings })
    if (held !== null && twin !== undefined) return this.#replicateAgain(held, twin.dot)
    if (siblings >= MAX_SIBLINGS && this.#request.context !== null) {
      const advice = 'get the key again and put with the context that returns'
      return this.#finish(
        new KvError('CONFLICT', `nothing was written: the key has ${siblings} siblings; ${advice}`),
        null,
      )
    }
    this.#mint(held, context)
  }

  /** An old value would go along to all owners: it may have been purged since, and this disk fell back. */
  #verify(replaced: DotSet | null): void {
    const { keyspace, partition } = this.#place
    const { clock } = this.#with
    const restMs = Math.max(0, this.#deadlineMs - clock.monotonic())
    const timer = clock.setTimer(restMs, () => {
      const late = 'this peer did not get to look at its copy of the key in time; try again'
      this.#finish(new KvError('UNAVAILABLE', `nothing was written: ${late}`), null)
    })
    void this.#with.store.isAsKept(keyspace.id, partition).then((isAsKept) => {
      timer.cancel()
      if (this.#isAnswered) return // Its client may have tried elsewhere since.
      const why = "nothing was written: this peer's copy of the key is in doubt; try another peer"
      const obstacle = this.#with.stalls.hasJustStalled ? stalled() : this.#shortage()
      if (!isAsKept) this.#finish(new KvError('UNAVAILABLE', why), null)
      else if (obstacle !== null) this.#finish(obstacle, null)
      else this.#attempt(() => this.#mintOver(replaced, true))
    })
  }

  #mint(held: KeyRecord | null, context: DotSet): void {
    const { keyspace, partition, key } = this.#place
    const { value, contentType, writeId, ttlMs } = this.#request
    this.#mints += 1
    let replication: Replication | null = null
    const stored = (error: KvError | null): void => {
      if (error === null) replication?.storedHere()
      else replication?.failedHere(error)
    }
    const expiresAtMs = ttlMs === null ? null : this.#with.clock.now() + ttlMs
    const fields = { value, contentType, writeId, expiresAtMs }
    const { store } = this.#with
    const minted = this.#standsIn
      ? store.standIns.put(keyspace, partition, key, this.#owners, context, fields, stored)
      : store.put(keyspace, partition, key, context, fields, stored)
    const replyContext = this.#replyContext(held, context, minted.dot)
    replication = this.#replicate(minted.record, context, minted.dot, true, replyContext)
  }

  /**
   * What was replaced plus the new dot. When nothing else of its actor is left beside it, what that actor
   * minted for the key before was replaced long ago: then the dot stands for all of it, and contexts stay
   * short however many puts go on from each other. (A stand-in forgets what it handed over: it cannot tell.)
   */
  #replyContext(held: KeyRecord | null, context: DotSet, dot: Dot): DotSet {
    const isBeside = (value: DottedValue): boolean =>
      value.dot.actor === dot.actor && !covers(context, value.dot)
    if (this.#standsIn || held?.values.some(isBeside) === true) return withDot(context, dot)
    return withDotsUpTo(context, dot)
  }

  /**
   * The client sent this write before: no second dot, the first one is brought to W disks. What it replaced
   * then is not known any more, but what the client said.
   */
  #replicateAgain(held: KeyRecord, dot: Dot): void {
    const { keyspace, partition, key } = this.#place
    const record = encodeRecord(key, held)
    let replication: Replication | null = null
    const stored = (error: KvError | null): void => {
      if (error === null) replication?.storedHere()
      else replication?.failedHere(error)
    }
    const { store } = this.#with
    if (this.#standsIn) store.standIns.merge(keyspace, partition, key, this.#owners, record, null, stored)
    else store.merge(keyspace, partition, key, record, null, stored)
    const { context: given } = this.#request
    const context = given === null ? EMPTY_DOTS : decodeContext(given, this.#seed)
    replication = this.#replicate(record, context, dot, false, withDot(context, dot))
  }

  #replicate(
    record: Uint8Array,
    context: DotSet,
    dot: Dot,
    isFresh: boolean,
    replyContext: DotSet,
  ): Replication {
    const task: ReplicationTask = {
      place: this.#place,
      record,
      level: this.#level,
      lists: 'write',
      mintedBy: isFresh ? dot.actor : null,
      holders: [],
      standIns: this.#standInRule,
      deadlineMs: this.#deadlineMs,
      era: this.#with.eras.current,
    }
    const replication: Replication = new Replication(
      this.#with,
      task,
      (seenUpTo) => this.#isOurs(replication, context, dot, seenUpTo),
      (error, result) => {
        if (error !== null) return this.#finish(error, null)
        this.#finish(null, {
          context: encodeContext(replyContext, this.#seed) ?? encodeDots([dot], this.#seed),
          owners: result?.owners ?? 0,
          standIns: result?.standIns ?? 0,
        })
      },
    )
    this.#step = replication
    replication.start()
    return replication
  }

  /**
   * A replica had seen dots of our actor on this key that our own store knows nothing of: somebody else mints
   * under our name (a cloned or rolled-back directory), and what we just wrote may look superseded there. A
   * new name, and the write once more under it. Where the very dot names another value, that value is
   * somebody else's: it is not replaced.
   * @returns whether the replica's answer counts
   */
  #isOurs(replication: Replication, context: DotSet, dot: Dot, seenUpTo: number): boolean {
    const isTaken = seenUpTo === NAMES_ANOTHER
    // The partition was dropped since, with what was minted: nothing here tells of later dots, or takes more.
    if (!this.#standsIn && !this.#isOwner) return !isTaken
    const ours = this.#mintedUpTo(dot)
    if (ours === null) return false
    // A partition may have been dropped and gained back: the dot was minted here all the same. After a failed
    // write it may have been minted and lost, so it does not count under the new name.
    const isCurrent = this.#copies.actor === dot.actor
    if (seenUpTo <= (isCurrent ? Math.max(ours, dot.n) : ours)) return true
    if (this.#mints > MAX_MINTS) return !isTaken
    // What was kept here went with the name it was minted under: an owner has it already.
    if (!isTaken && this.#standsIn && !isCurrent) return true
    replication.abandon()
    // A name that was given up meanwhile, as after a failed write, has minted more than is known here now.
    if (isCurrent || isTaken) this.#with.log.error('actor.impostor', { actor: dot.actor, seenUpTo, ours })
    if (isCurrent) this.#copies.renewActor()
    try {
      this.#mint(null, isTaken ? context : withDot(context, dot))
    } catch (error) {
      if (!(error instanceof KvError)) throw error
      this.#finish(unconfirmed(error), null)
    }
    return false
  }

  /** How far this store knows the dot's actor on this key; null while its disk is away. */
  #mintedUpTo({ actor }: Dot): number | null {
    const { keyspace, partition, key } = this.#place
    try {
      return this.#copies.newest(keyspace.id, partition, key)?.seen.vector.get(actor) ?? 0
    } catch (error) {
      if (!(error instanceof KvError)) throw error
      return null
    }
  }

  #finish(error: KvError | null, reply: PutReply | null): void {
    if (this.#isAnswered) return
    this.#isAnswered = true
    this.#done(error, reply)
  }
}

function countSurvivors(record: KeyRecord, context: DotSet): number {
  return record.values.reduce((count, value) => (covers(context, value.dot) ? count : count + 1), 0)
}

/** The read before a write failed: for the writer that means his write was not tried. */
function nothingWritten(error: KvError): KvError {
  return new KvError(error.code, `nothing was written: ${error.message}`, { cause: error })
}

/** A second attempt at a write failed: the first one may still be found. */
function unconfirmed(error: KvError): KvError {
  const message = 'the write may or may not have been applied: it could not be confirmed; read the key to see'
  return new KvError('TIMEOUT_UNKNOWN', message, { cause: error })
}
