/** What a comparison asks of the other owner: within a deadline, at a pace, under one configuration. */
import { KvError } from '../base/error.ts'
import type { NodeId } from '../base/ids.ts'
import type { Pauses } from '../cluster/pauses.ts'
import type { PeerMessage, PeerReply } from '../wire/peer-messages.ts'
import type { Coordination } from './coordination.ts'
import type { Pace } from './pace.ts'

const CALL_TIMEOUT_MS = 5000
/** Until a peer that has too much to do is asked again, and how often. */
const BUSY_PAUSE_MS = 250
const MAX_BUSY_ANSWERS = 20
/** Of a message without its keys and values. */
const MESSAGE_BYTES = 40

type Asked<M> = M extends unknown ? Omit<M, 'id' | 'number'> : never
type Question = Asked<Extract<PeerMessage, { readonly id: number; readonly number: number }>>

export class ExchangeCalls {
  readonly #with: Coordination
  readonly #pace: Pace
  readonly #pauses: Pauses
  readonly #peer: NodeId
  readonly #number: number
  readonly #progress: { bytes: number }

  /** @param progress the bytes that go either way are added to it */
  constructor(
    coordination: Coordination,
    pace: Pace,
    pauses: Pauses,
    peer: NodeId,
    progress: { bytes: number },
  ) {
    this.#with = coordination
    this.#pace = pace
    this.#pauses = pauses
    this.#peer = peer
    this.#number = coordination.ring().number
    this.#progress = progress
  }

  /** Null: a refusal that concerns this record alone. */
  async askOrFail<T extends PeerReply['type']>(
    type: T,
    question: Question,
    sentBytes = 0,
  ): Promise<Extract<PeerReply, { type: T }> | null> {
    const reply = await this.#call(question, sentBytes)
    if (reply.type === 'refused' && (reply.reason === 'failed' || reply.reason === 'overfull')) return null
    return this.#expect(type, reply)
  }

  async ask<T extends PeerReply['type']>(
    type: T,
    question: Question,
  ): Promise<Extract<PeerReply, { type: T }>> {
    return this.#expect(type, await this.#call(question, 0))
  }

  #expect<T extends PeerReply['type']>(type: T, reply: PeerReply): Extract<PeerReply, { type: T }> {
    if (reply.type === type) return reply as Extract<PeerReply, { type: T }>
    if (reply.type !== 'refused')
      throw new KvError('INTERNAL', `peer ${this.#peer} answered with ${reply.type}`)
    if (reply.reason === 'stale') this.#with.sawNumber(this.#peer, reply.number)
    throw new KvError('UNAVAILABLE', `peer ${this.#peer} will not compare now: ${reply.reason}`)
  }

  async #call(question: Question, sentBytes: number): Promise<PeerReply> {
    for (let busy = 0; ; busy++) {
      const call = (): Promise<PeerReply> => {
        this.checkNumber()
        const message = (id: number): PeerMessage =>
          ({ ...question, id, number: this.#number }) as PeerMessage
        return this.#with.rpc.call(this.#peer, 'data', CALL_TIMEOUT_MS, message, sentBytes)
      }
      const asked = sizeOfQuestion(question) + sentBytes
      this.#progress.bytes += asked
      const reply = await this.#pace.run(call, (answer) => asked + sizeOf(answer))
      this.#progress.bytes += sizeOf(reply)
      const isBusy = reply.type === 'refused' && reply.reason === 'overloaded'
      if (!isBusy || busy >= MAX_BUSY_ANSWERS) return reply
      this.#pace.slowDown()
      await this.#pauses.pause(BUSY_PAUSE_MS)
    }
  }

  /** @throws UNAVAILABLE */
  checkNumber(): void {
    if (this.#with.ring().number === this.#number) return
    throw new KvError('UNAVAILABLE', 'the configuration changed meanwhile')
  }
}

/** Without a record, which is counted by whoever sends it. */
function sizeOfQuestion(question: Question): number {
  switch (question.type) {
    case 'slices':
      return MESSAGE_BYTES + 2 * question.places.length
    case 'listKeys':
      return MESSAGE_BYTES + 2 * question.leaves.length
    case 'digests':
      return question.keys.reduce((sum, key) => sum + key.length + 2, MESSAGE_BYTES)
    default:
      return MESSAGE_BYTES
  }
}

function sizeOf(reply: PeerReply): number {
  switch (reply.type) {
    case 'rootsDone':
      return MESSAGE_BYTES + 11 * reply.roots.length
    case 'slicesDone':
      return MESSAGE_BYTES + 8 * reply.children.length
    case 'keysDone':
      return reply.keys.reduce((sum, key) => sum + key.length + 12, MESSAGE_BYTES)
    case 'record':
      return MESSAGE_BYTES + (reply.record?.length ?? 0)
    default:
      return MESSAGE_BYTES
  }
}
