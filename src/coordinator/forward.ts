/**
 * A write that came to a peer which is no replica of its key, or whose disk is away: handed on, once, to the
 * first owner that is up.
 */
import { KvError } from '../base/error.ts'
import type { NodeId } from '../base/ids.ts'
import { outageError } from '../store/outage.ts'
import type { PeerMessage, PeerReply } from '../wire/peer-messages.ts'
import type { PutReply, PutRequest } from '../wire/requests.ts'
import { removalNote } from './being-removed.ts'
import type { Coordination, Done } from './coordination.ts'
import { OwnerExchange } from './owner-exchange.ts'
import type { KeyPlace } from './quorum-read.ts'
import { liveStandIns } from './standing-in.ts'

export class Forward extends OwnerExchange {
  readonly #place: KeyPlace
  readonly #request: PutRequest
  readonly #done: Done<PutReply>
  /** Owners that said, or showed, that they did nothing. */
  readonly #declined = new Set<NodeId>()
  #asked: NodeId | null = null
  #why: KvError | null

  /** @param outage why this peer does not write it itself; null: the key is not its own */
  constructor(
    coordination: Coordination,
    place: KeyPlace,
    request: PutRequest,
    deadlineMs: number,
    outage: string | null,
    done: Done<PutReply>,
  ) {
    super(coordination, deadlineMs)
    this.#declined.add(coordination.selfId)
    this.#why = outage === null ? null : outageError(outage)
    this.#place = place
    this.#request = request
    this.#done = done
  }

  start(): void {
    this.begin()
    this.#next(null, null)
  }

  /** An owner that was handed the write may be doing it: no second one is asked. */
  override restart(): void {
    if (this.#asked === null) this.start()
  }

  protected override get questionBytes(): number {
    return this.#request.value?.length ?? 0
  }

  protected override question(id: number): PeerMessage {
    const timeoutMs = Math.max(1, Math.floor(this.deadlineMs - this.with.clock.monotonic()))
    return { ...this.#request, type: 'forwardPut', id, number: this.number, timeoutMs }
  }

  protected override took(from: NodeId, reply: PeerReply): void {
    if (reply.type === 'forwardDone') {
      this.#end(null, { context: reply.context, owners: reply.owners, standIns: reply.standIns })
    } else if (reply.type === 'forwardFailed') {
      const error = new KvError(reply.code, reply.message)
      if (error.retryable) this.#next(from, error)
      else this.#end(error, null)
    } else this.missed(from)
  }

  /**
   * Not reachable or refused: nothing was done there. (A link that broke after the write was handed over
   * comes to `lost`.)
   */
  protected override missed(nodeId: NodeId): void {
    this.#next(nodeId, null)
  }

  protected override declined(nodeId: NodeId): void {
    this.#next(nodeId, null)
  }

  /** When the newer configuration came here while the write was on its way, no `restart` will follow. */
  protected override turnedStale(): void {
    this.#asked = null
    if (this.with.ring().number > this.number) this.start()
  }

  override lost(nodeId: NodeId): void {
    if (nodeId === this.#asked) this.#end(unknown('the link to the peer that wrote it broke'), null)
  }

  protected override timedOut(): void {
    if (this.#asked === null) this.#end(unavailable('no owner of this key could be reached in time'), null)
    else this.#end(unknown('the peer that wrote it did not answer in time'), null)
  }

  /**
   * @param declined who did nothing
   * @param why what he said; the answer, when nobody is left to ask
   */
  #next(declined: NodeId | null, why: KvError | null): void {
    this.#asked = null
    if (declined !== null) this.#declined.add(declined)
    this.#why = why ?? this.#why
    const ring = this.with.ring()
    const owners = ring.allOwners(this.#place.keyspace, this.#place.partition)
    const isLeft = (nodeId: NodeId): boolean =>
      !this.#declined.has(nodeId) && this.with.isAlive(nodeId) && !ring.isExcluded(nodeId)
    const next = owners.find(isLeft) ?? liveStandIns(this.with, this.#place, 'others').find(isLeft)
    if (next === undefined) {
      const why = `no owner of this key can be reached${removalNote(ring, owners)}`
      return this.#end(this.#why ?? unavailable(why), null)
    }
    this.#asked = next
    this.ask(next)
  }

  #end(error: KvError | null, reply: PutReply | null): void {
    if (this.isOver) return
    this.finish()
    this.#done(error, reply)
  }
}

function unavailable(why: string): KvError {
  return new KvError('UNAVAILABLE', `nothing was written: ${why}; try again`)
}

function unknown(why: string): KvError {
  return new KvError(
    'TIMEOUT_UNKNOWN',
    `the write may or may not have been applied: ${why}; read the key to see`,
  )
}
