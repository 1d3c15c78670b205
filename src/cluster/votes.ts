/**
 * The acceptor of this peer: the machine of `protocol/synod.ts` over a file of its own. What it promises or
 * votes is on disk before the answer leaves, so a promise never falls across a restart.
 *
 * Its identity, the acceptorId, lives and dies with the file. When that is missing or damaged (both copies),
 * or is known to be a copy from the past, the peer is a new acceptor: whatever it promised under the old id
 * no longer binds it, and for that reason it has no vote until a later configuration names the new id.
 */
import type { Bytes } from '../base/bytes.ts'
import { KvError } from '../base/error.ts'
import type { Effects } from '../effects/effects.ts'
import {
  type AcceptorAnswer,
  type AcceptorRequest,
  answer,
  NO_VOTES,
  type Standing,
  type Votes,
} from '../protocol/synod.ts'
import { MAX_ACCEPTOR_ID_LENGTH, MAX_CONFIGURATION_BYTES } from '../wire/configuration-codec.ts'
import { ballot } from '../wire/configuration-messages.ts'
import { pack, unpack } from '../wire/msgpack.ts'
import { bytes, MalformedMessage, optional, string, struct, uint } from '../wire/schema.ts'
import { openCopy, TwinFile } from './twin-file.ts'

export const VOTES_FILE = 'votes'

const votesShape = {
  acceptorId: string(MAX_ACCEPTOR_ID_LENGTH),
  number: uint(),
  promised: optional(ballot),
  accepted: optional(struct({ ballot, value: bytes(MAX_CONFIGURATION_BYTES) })),
} as const
/** The payload of `VOTES_FILE`. */
export const votesCodec = struct(votesShape)

export type AcceptorVotes = Votes & { readonly acceptorId: string }

/** Requests that wait for the disk; more are turned away. */
const MAX_WAITING = 256

export class Acceptor {
  readonly #file: TwinFile
  readonly #effects: Pick<Effects, 'storage' | 'random' | 'log'>
  #acceptorId = ''
  #votes: Votes = NO_VOTES
  #waiting = 0
  #last: Promise<unknown> = Promise.resolve()
  #isStopped = false

  constructor(effects: Pick<Effects, 'storage' | 'random' | 'log'>) {
    this.#effects = effects
    this.#file = new TwinFile(effects.storage, effects.log, VOTES_FILE)
  }

  get acceptorId(): string {
    return this.#acceptorId
  }

  /** @param isRolledBack the directory is known to be a copy from the past @throws INTERNAL */
  async load(isRolledBack: boolean): Promise<void> {
    const payload = isRolledBack ? null : await this.#file.read()
    const found = payload === null ? null : this.#decode(payload)
    if (found !== null) {
      this.#acceptorId = found.acceptorId
      this.#votes = { number: found.number, promised: found.promised, accepted: found.accepted }
      return
    }
    this.#acceptorId = this.#effects.random.id()
    this.#votes = NO_VOTES
    await this.#save(NO_VOTES)
  }

  /**
   * Requests are taken one after the other.
   * @param standing asked when it is the request's turn
   * @throws INTERNAL when the votes could not be written, UNAVAILABLE when stopping, OVERLOADED; then there
   * is no answer
   */
  answer(request: AcceptorRequest, standing: () => Standing): Promise<AcceptorAnswer> {
    if (this.#waiting >= MAX_WAITING)
      return Promise.reject(new KvError('OVERLOADED', 'too many votes at once'))
    this.#waiting++
    const turn = this.#last.then(() => this.#answerNow(request, standing()))
    this.#last = turn.then(
      () => this.#waiting--,
      () => this.#waiting--, // The one who asked is told; the next request does not depend on it.
    )
    return turn
  }

  /** Answers no more; fulfils when nothing is being written. */
  async stop(): Promise<void> {
    this.#isStopped = true
    await this.#last
  }

  async #answerNow(request: AcceptorRequest, standing: Standing): Promise<AcceptorAnswer> {
    if (this.#isStopped) throw new KvError('UNAVAILABLE', 'this peer is stopping')
    const step = answer(this.#votes, standing, request)
    if (step.votes !== this.#votes) {
      // When the write fails the disk may hold either; nobody was told of the new votes, so both are true.
      await this.#save(step.votes)
      this.#votes = step.votes
    }
    return step.answer
  }

  #save(votes: Votes): Promise<void> {
    return this.#file.write(pack(votesCodec.encode({ acceptorId: this.#acceptorId, ...votes })))
  }

  #decode(payload: Bytes): AcceptorVotes | null {
    try {
      return decodePayload(payload)
    } catch (error) {
      if (!(error instanceof MalformedMessage)) throw error
      this.#effects.log.error('votes.unreadable', { error })
      return null
    }
  }
}

/** What a votes file says. @throws MalformedMessage when it is damaged */
export function decodeVotes(file: Bytes): AcceptorVotes {
  const copy = openCopy(VOTES_FILE, file)
  if (copy === null) throw new MalformedMessage('a damaged votes file')
  return decodePayload(copy.payload)
}

function decodePayload(payload: Bytes): AcceptorVotes {
  return votesCodec.decode(unpack(payload))
}
