/** Asks owners what their disks hold of a key until R of them have answered under one configuration. */

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
  #candidates: NodeId[] = []
  #needed = 0
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
    const owners = ring.readOwners(this.#place.keyspace, this.#place.partition)
    this.#needed = ring.needed(this.#level, owners.length)
    this.#answers = []
    this.#standIns = []
    this.#candidates = owners.filter((owner) => owner !== this.with.selfId && this.with.isAlive(owner))
    const isOwner = owners.includes(this.with.selfId) && this.#isComplete
    const reachable = this.#candidates.length + (isOwner ? 1 : 0)
    if (reachable < this.#needed) this.#addStandIns()
    if (reachable + this.#standIns.length < this.#needed) {
      const note = owners.includes(this.with.selfId) && !isOwner ? ', without this one, which catches up' : ''
      return this.#fail(
        `${reachable} of ${owners.length} owners of this key are up${note}, ${this.#needed} are needed`,
      )
    }
    this.#askNext(this.#needed - (isOwner ? 1 : 0))
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
    return { type: 'read', id, number: this.number, ...fields, isDoubted: this.#isDoubted }
  }

  protected override took(from: NodeId, reply: PeerReply): void {
    if (reply.type === 'record') this.#take(from, reply.record)
    else this.missed(from)
  }

  protected override missed(nodeId: NodeId): void {
    const mayAnswerYet = !this.#isStandIn(nodeId) && nodeId !== this.with.selfId
    const isLast = this.#candidates.length === 0
    if (isLast && mayAnswerYet && this.with.isAlive(nodeId)) this.askAgainLater(nodeId)
    else this.declined(nodeId)
  }

  protected override declined(_nodeId: NodeId): void {
    if (this.#candidates.length > 0) return this.#askNext(1)
    const missing = this.#needed - this.outstandingCount - this.#answers.length
    if (missing <= 0) return
    this.#addStandIns()
    if (this.#candidates.length >= missing) this.#askNext(missing)
    else this.#fail(this.#tooFew)
  }

  protected override timedOut(): void {
    this.#fail(`${this.#answers.length} of ${this.#needed} owners of this key answered in time`)
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
    return this.with.store.completeness.isComplete(keyspace.id, partition)
  }

  #isStandIn(nodeId: NodeId): boolean {
    return this.#standIns.length > 0 && this.#standIns.includes(nodeId)
  }

  #askNext(count: number): void {
    for (const nodeId of this.#candidates.splice(0, count)) {
      if (nodeId === this.with.selfId) this.#readHere(true)
      else this.ask(nodeId)
    }
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
    if (this.#answers.length !== this.#needed) return
    this.#end()
    this.#done(null, this.#answers)
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
    this.#askNext(1)
    if (!this.isOver) this.#hedge = this.with.clock.setTimer(HEDGE_MS, this.#hedgeSlowOnes)
  }
}
