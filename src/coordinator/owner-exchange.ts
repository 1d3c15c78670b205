/**
 * One question put to several owners of a partition, or to those that stand in for them, under one
 * configuration number. What the three kinds of it share: who was asked, what a refusal means, asking again,
 * starting over when the configuration changes.
 */
import type { KeyspaceId, NodeId } from '../base/ids.ts'
import type { Exchange } from '../cluster/rpc.ts'
import type { Timer } from '../effects/clock.ts'
import type { PeerMessage, PeerReply } from '../wire/peer-messages.ts'
import type { Coordination } from './coordination.ts'

/**
 * An owner that was unreachable, overloaded or behind is asked again after this, then after twice as long…
 */
const FIRST_ASK_AGAIN_MS = 50
const LAST_ASK_AGAIN_MS = 1000
/** One that is behind fetches what it lacks at once: a few milliseconds. */
const FIRST_BEHIND_MS = 5

export abstract class OwnerExchange implements Exchange {
  readonly kind = 'data'
  protected readonly with: Coordination
  /** Monotonic ms. */
  protected readonly deadlineMs: number
  /** Under which all answers must be given. */
  protected number = 0
  /** Owners are few: searching an array beats a set, and costs nothing to make. */
  #outstanding: NodeId[] = []
  #id = 0
  #isOver = false
  #askAgain: NodeId[] = []
  #askAgainMs = FIRST_ASK_AGAIN_MS
  #timer: Timer | null = null

  constructor(coordination: Coordination, deadlineMs: number) {
    this.with = coordination
    this.deadlineMs = deadlineMs
  }

  protected abstract question(id: number, to: NodeId): PeerMessage
  protected abstract readonly questionBytes: number
  /** An owner's answer that is not a refusal; not called twice for one question. */
  protected abstract took(from: NodeId, reply: PeerReply): void
  /** This owner gave no answer: not reachable, link lost, or it cannot. */
  protected abstract missed(nodeId: NodeId): void
  /** This owner will give no answer, however often it is asked under this number. */
  protected abstract declined(nodeId: NodeId): void
  /** What this owner holds is more than a record can hold, with what it was sent or alone. */
  protected overflowed(nodeId: NodeId): void {
    this.declined(nodeId)
  }
  /**
   * An owner works under a newer configuration and did nothing; `restart` comes when we have it too, or came
   * already and was ignored.
   */
  protected turnedStale(): void {}
  /** The deadline passed. */
  protected abstract timedOut(): void
  /** The configuration changed: what was answered counts for nothing now. */
  abstract restart(): void

  protected begin(): void {
    this.number = this.with.ring().number
    this.#outstanding = []
    this.#askAgain = []
    this.#askAgainMs = FIRST_ASK_AGAIN_MS
    this.with.rpc.end(this.#id) // A new id: answers given under the old number find nobody.
    this.#id = this.with.rpc.begin(this, Math.max(0, this.deadlineMs - this.with.clock.monotonic()))
  }

  protected finish(): void {
    this.#isOver = true
    this.#timer?.cancel()
    this.#timer = null
    this.with.rpc.end(this.#id)
  }

  protected get isOver(): boolean {
    return this.#isOver
  }

  protected ask(nodeId: NodeId): void {
    if (this.#isOver) return
    if (!this.#outstanding.includes(nodeId)) this.#outstanding.push(nodeId)
    const message = this.question(this.#id, nodeId)
    if (this.with.rpc.ask(nodeId, 'data', message, this.questionBytes)) return
    this.#settle(nodeId)
    this.missed(nodeId)
  }

  protected askAgainLater(nodeId: NodeId): void {
    if (this.#isOver) return
    this.#askAgain.push(nodeId)
    this.#timer ??= this.with.clock.setTimer(this.#askAgainMs, () => {
      this.#timer = null
      this.#askAgainMs = Math.min(LAST_ASK_AGAIN_MS, 2 * this.#askAgainMs)
      const nodeIds = this.#askAgain
      this.#askAgain = []
      for (const again of nodeIds) this.ask(again)
    })
  }

  /** The configuration in force has no such keyspace: it was dropped meanwhile. */
  protected isDropped(keyspaceId: KeyspaceId): boolean {
    return this.with.ring().keyspaceById(keyspaceId) === null
  }

  protected get outstandingCount(): number {
    return this.#outstanding.length + this.#askAgain.length
  }

  answered(from: NodeId, reply: PeerReply): void {
    if (!this.#settle(from)) return
    if (reply.type === 'eraClosed') this.missed(from)
    else if (reply.type !== 'refused') this.took(from, reply)
    else if (reply.reason === 'stale') {
      this.turnedStale()
      this.with.sawNumber(from, reply.number)
    } else if (reply.reason === 'behind') {
      if (this.#askAgainMs === FIRST_ASK_AGAIN_MS) this.#askAgainMs = FIRST_BEHIND_MS
      this.askAgainLater(from)
    } else if (reply.reason === 'overfull') this.overflowed(from)
    else if (reply.reason === 'notOwner') this.declined(from)
    else this.missed(from)
  }

  lost(nodeId: NodeId): void {
    if (this.#settle(nodeId)) this.missed(nodeId)
  }

  /** True when an answer of this peer was outstanding; it is not any more. */
  #settle(nodeId: NodeId): boolean {
    const place = this.#outstanding.indexOf(nodeId)
    if (place < 0) return false
    this.#outstanding.splice(place, 1)
    return true
  }

  expired(): void {
    if (!this.#isOver) this.timedOut()
  }
}
