/**
 * Asks owners what their disks hold of a key until R of them have answered under one configuration: R of each
 * list that reads need, while the ring changes. Who is in both lists is asked first, for he counts in both.
 */

import { type Bytes, equalBytes } from '../base/bytes.ts'
import { KvError } from '../base/error.ts'
import type { NodeId } from '../base/ids.ts'
import type { Timer } from '../effects/clock.ts'
import type { Keyspace, Level } from '../protocol/configuration.ts'
import type { KeyRecord } from '../protocol/record.ts'
import { decodeRecord, MalformedRecord } from '../store/record-codec.ts'
import type { PeerMessage, PeerReply } from '../wire/peer-messages.ts'
import type { Coordination, Done } from './coordination.ts'
import { OwnerExchange } from './owner-exchange.ts'
import { liveStandIns } from './standing-in.ts'

/** An owner that has not answered after this is backed up by the next one. */
const HEDGE_MS = 100

export interface Answer {
  readonly from: NodeId
  /** The record's bytes; null: it holds nothing. */
  readonly bytes: Bytes | null
  /** The same, decoded. */
  readonly record: KeyRecord | null
  /** Not from an owner: from what it keeps for one that is away. */
  readonly isStandIn: boolean
}

export interface KeyPlace {
  readonly keyspace: Keyspace
  readonly partition: number
  readonly key: Bytes
}

export class QuorumRead extends OwnerExchange {
  readonly #place: KeyPlace
  readonly #level: Level
  readonly #seenOnly: boolean
  readonly #isDoubted: boolean
  readonly #done: Done<readonly Answer[]>
  #answers: Answer[] = []
  /** Those that may still be asked, the best first. */
  #candidates: NodeId[] = []
  /** Those that were asked and have not failed, answered or not. */
  #asked: NodeId[] = []
  #lists: readonly (readonly NodeId[])[] = []
  /** How many answers of each list. */
  #needed: readonly number[] = []
  /** Why our own disk could not be asked. */
  #whyNotHere: string | null = null
  /** Those asked in place of owners that are away; empty while enough of these are up. */
  #standIns: readonly NodeId[] = []
  #hedge: Timer | null = null

  constructor(
    coordination: Coordination,
    place: KeyPlace,
    level: Level,
    seenOnly: boolean,
    deadlineMs: number,
    done: Done<readonly Answer[]>,
    isDoubted = false,
  ) {
    super(coordination, deadlineMs)
    this.#place = place
    this.#level = level
    this.#seenOnly = seenOnly
    this.#done = done
    this.#isDoubted = isDoubted
  }

  start(): void {
    this.with.hedges.earn()
    this.begin()
    const ring = this.with.ring()
    const { selfId, isAlive } = this.with
    this.#lists = ring.readLists(this.#place.keyspace, this.#place.partition)
    this.#needed = ring.needed(this.#level, this.#lists)
    this.#answers = []
    this.#asked = []
    this.#standIns = []
    const owners = ring.readOwners(this.#place.keyspace, this.#place.partition)
    const all = this.#lists.length === 1 ? owners : byUsefulness(this.#lists)
    this.#candidates = all.filter((owner) => owner !== selfId && isAlive(owner) && !ring.isExcluded(owner))
    const isOwner = all.includes(selfId) && this.#isComplete
    if (isOwner) this.#asked.push(selfId)
    if (this.#findShortList() !== null) this.#addStandIns()
    const short = this.#findShortList()
    if (short !== null) return this.#fail(this.#shortage(short, isOwner))
    this.#askMissing()
    if (isOwner) this.#readHere(false)
    if (!this.isOver) this.#hedge ??= this.with.clock.setTimer(HEDGE_MS, this.#hedgeSlowOnes)
  }

  override restart(): void {
    if (!this.isDropped(this.#place.keyspace.id)) return this.start()
    this.#end()
    const name = this.#place.keyspace.name
    this.#done(new KvError('NOT_FOUND', `keyspace '${name}' was dropped meanwhile`), null)
  }

  protected override get questionBytes(): number {
    return this.#place.key.length
  }

  protected override question(id: number, to: NodeId): PeerMessage {
    const { keyspace, key } = this.#place
    const asStandIn = this.#isStandIn(to)
    const fields = { keyspaceId: keyspace.id, key, seenOnly: this.#seenOnly, asStandIn }
    return { type: 'read', id, number: this.number, ...fields, isDoubted: this.#isDoubted, isLost: null }
  }

  protected override took(from: NodeId, reply: PeerReply): void {
    if (reply.type === 'record') this.#take(from, reply.record)
    else this.missed(from)
  }

  protected override missed(nodeId: NodeId): void {
    const mayAnswerYet = !this.#isStandIn(nodeId) && nodeId !== this.with.selfId
    const isLast = !this.#candidates.some((other) => this.#mayReplace(nodeId, other))
    if (isLast && mayAnswerYet && this.with.isAlive(nodeId)) this.askAgainLater(nodeId)
    else this.declined(nodeId)
  }

  protected override declined(nodeId: NodeId): void {
    this.#asked = this.#asked.filter((asked) => asked !== nodeId)
    if (this.#findShortList() !== null) this.#addStandIns()
    if (this.#findShortList() === null) this.#askMissing()
    else this.#fail(this.#tooFew)
  }

  protected override timedOut(): void {
    const short = this.#lists.findIndex((list, i) => this.#countAnswers(list) < (this.#needed[i] as number))
    const count = this.#countAnswers(this.#lists[short] as readonly NodeId[])
    this.#fail(`${count} of ${this.#needed[short]} owners of this key answered in time`)
  }

  #countAnswers(list: readonly NodeId[]): number {
    return this.#answers.filter(({ from, isStandIn }) => isStandIn || list.includes(from)).length
  }

  /** How many of a list were asked, so far: all, where there is one list, as there is but for changes. */
  #countAsked(list: readonly NodeId[]): number {
    if (this.#lists.length === 1) return this.#asked.length
    return this.#asked.filter((nodeId) => list.includes(nodeId) || this.#isStandIn(nodeId)).length
  }

  /** Of which too few were asked, or can still be; null: none. */
  #findShortList(): number | null {
    if (this.#lists.length === 1) {
      return this.#asked.length + this.#candidates.length < (this.#needed[0] as number) ? 0 : null
    }
    const short = this.#lists.findIndex((list, i) => {
      const left = this.#candidates.filter((nodeId) => list.includes(nodeId) || this.#isStandIn(nodeId))
      return this.#countAsked(list) + left.length < (this.#needed[i] as number)
    })
    return short < 0 ? null : short
  }

  #shortage(short: number, isAskedHere: boolean): string {
    const list = this.#lists[short] as readonly NodeId[]
    const up = list.filter(
      (nodeId) => this.#asked.includes(nodeId) || this.#candidates.includes(nodeId),
    ).length
    const isLeftOut = list.includes(this.with.selfId) && !isAskedHere
    const { selfId, ring } = this.with
    const cause = ring().isExcluded(selfId) ? 'is being removed' : 'catches up'
    const note = isLeftOut ? `, without this one, which ${cause}` : ''
    return `${up} of ${list.length} owners of this key are up${note}, ${this.#needed[short]} are needed`
  }

  /** Counts wherever the other one would have. */
  #mayReplace(nodeId: NodeId, other: NodeId): boolean {
    if (this.#isStandIn(other)) return true
    return this.#lists.some((list) => list.includes(nodeId) && list.includes(other))
  }

  get #tooFew(): string {
    const few = 'too few owners of this key are up, or hold what is kept for those that are down'
    return this.#whyNotHere === null ? few : `this peer cannot be read: ${this.#whyNotHere}`
  }

  /** Once: there are no others to add. */
  #addStandIns(): void {
    if (this.#standIns.length > 0) return
    const { keyspace, partition } = this.#place
    const isOwner = this.with.ring().isOwner(this.with.selfId, keyspace, partition)
    this.#standIns = liveStandIns(this.with, this.#place, isOwner ? 'others' : 'selfFirst')
    this.#candidates.push(...this.#standIns)
  }

  /** What our own disk says of the key counts: it is not catching up. */
  get #isComplete(): boolean {
    const { keyspace, partition } = this.#place
    return this.with.isComplete(keyspace.id, partition)
  }

  #isStandIn(nodeId: NodeId): boolean {
    return this.#standIns.length > 0 && this.#standIns.includes(nodeId)
  }

  /** As many more as lists lack. */
  #askMissing(): void {
    if (this.#lists.length === 1) return this.#askNext((this.#needed[0] as number) - this.#asked.length)
    const chosen: NodeId[] = []
    for (;;) {
      const list = this.#lists.find((each, i) => this.#countAsked(each) < (this.#needed[i] as number))
      if (list === undefined) break
      const next = this.#candidates.findIndex((nodeId) => list.includes(nodeId) || this.#isStandIn(nodeId))
      if (next < 0) break
      const [nodeId] = this.#candidates.splice(next, 1) as [NodeId]
      this.#asked.push(nodeId)
      chosen.push(nodeId)
    }
    for (const nodeId of chosen) this.#askOne(nodeId)
  }

  /** Where there is one list. */
  #askNext(count: number): void {
    if (count <= 0) return
    const chosen = this.#candidates.splice(0, count)
    this.#asked.push(...chosen)
    for (const nodeId of chosen) this.#askOne(nodeId)
  }

  #askOne(nodeId: NodeId): void {
    if (nodeId === this.with.selfId) this.#readHere(true)
    else this.ask(nodeId)
  }

  #readHere(asStandIn: boolean): void {
    const { keyspace, partition, key } = this.#place
    const { store } = this.with
    let bytes: Bytes | null
    try {
      bytes = (asStandIn ? store.standIns : store).read(keyspace.id, partition, key)
    } catch (error) {
      if (!(error instanceof KvError)) throw error
      // Our copy is damaged or the disk away: another owner has it.
      this.#whyNotHere = store.outage
      return this.missed(this.with.selfId)
    }
    if (asStandIn || !this.#isDoubted || bytes === null) return this.#take(this.with.selfId, bytes)
    const { number } = this
    void store.isAsKept(keyspace.id, partition).then((isAsKept) => {
      if (this.isOver || number !== this.number) return // It was begun anew.
      if (isAsKept) this.#take(this.with.selfId, bytes)
      else this.missed(this.with.selfId)
    })
  }

  /**
   * A record that cannot be read is no answer: other owners have it. Nor is nothing from a stand-in: it never
   * had what was written before. To know what a write replaces it will do.
   */
  #take(from: NodeId, bytes: Bytes | null): void {
    if (this.isOver) return
    const isStandIn = this.#isStandIn(from)
    if (isStandIn && bytes === null && !this.#seenOnly) return this.missed(from)
    let record: KeyRecord | null
    try {
      record = bytes === null ? null : this.#decoded(bytes)
    } catch (error) {
      if (!(error instanceof MalformedRecord)) throw error
      this.with.log.warn('record.malformed', { from, error })
      return this.missed(from)
    }
    this.#answers.push({ from, bytes, record, isStandIn })
    if (!this.#isMet) return
    this.#end()
    this.#done(null, this.#answers)
  }

  get #isMet(): boolean {
    if (this.#lists.length === 1) return this.#answers.length >= (this.#needed[0] as number)
    return this.#lists.every((list, i) => this.#countAnswers(list) >= (this.#needed[i] as number))
  }

  /** Owners that agree send the same bytes: decoded once. */
  #decoded(bytes: Bytes): KeyRecord | null {
    const same = this.#answers.find((answer) => answer.bytes !== null && equalBytes(answer.bytes, bytes))
    return same === undefined ? decodeRecord(this.#place.key, bytes) : same.record
  }

  #fail(why: string): void {
    if (this.isOver) return
    this.#end()
    // For a write it was about what there is to replace: that has no r, and can be done without.
    const advice = this.#seenOnly ? 'try again, or write blind' : 'try again, or ask with a lower r'
    this.#done(new KvError('UNAVAILABLE', `the read quorum was not met: ${why}; ${advice}`), null)
  }

  #end(): void {
    this.#hedge?.cancel()
    this.#hedge = null
    this.finish()
  }

  readonly #hedgeSlowOnes = (): void => {
    this.#hedge = null
    if (this.#candidates.length === 0 || !this.with.hedges.spend()) return
    const nodeId = this.#candidates.shift() as NodeId
    this.#asked.push(nodeId)
    this.#askOne(nodeId)
    if (!this.isOver) this.#hedge = this.with.clock.setTimer(HEDGE_MS, this.#hedgeSlowOnes)
  }
}

/** Those in every list first. */
function byUsefulness(lists: readonly (readonly NodeId[])[]): readonly NodeId[] {
  const all = [...new Set(lists.toReversed().flat())]
  const isInAll = (nodeId: NodeId): boolean => lists.every((list) => list.includes(nodeId))
  return [...all.filter(isInAll), ...all.filter((nodeId) => !isInAll(nodeId))]
}
