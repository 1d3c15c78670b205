/**
 * Gets a configuration decided: drives the proposer machine of `protocol/synod.ts` with questions to the
 * acceptors, this peer's own included. Proposers that meet retreat for a random time, or they could overtake
 * each other for ever ("Paxos Made Simple", section 2.4: "It's easy to construct a scenario in which two
 * proposers each keep issuing a sequence of proposals").
 */
import { assert } from '../base/assert.ts'
import { type Bytes, equalBytes } from '../base/bytes.ts'
import { KvError } from '../base/error.ts'
import type { NodeId } from '../base/ids.ts'
import type { Effects } from '../effects/effects.ts'
import {
  type AcceptorAnswer,
  type AcceptorRequest,
  type Ballot,
  type Proposer,
  question,
  receiveAnswer,
  startProposer,
} from '../protocol/synod.ts'
import type { ConfigurationAnswer } from '../wire/configuration-messages.ts'
import type { Decided } from './configuration-adoption.ts'
import type { ConfigurationRpc, ConfigurationTiming } from './configuration-rpc.ts'
import type { Pauses } from './pauses.ts'

const FIRST_RETREAT_MS = 20
const MAX_RETREAT_MS = 1000
/**
 * A question without an answer is repeated this often within a round: the first copy may be lost, and asking
 * again does no harm.
 */
const MAX_QUESTIONS = 4

export interface ProposalResult {
  /** What is decided now, newer than the base; null: nothing that we know of. */
  readonly decided: Decided | null
  /**
   * Whether `value` may have been chosen although `decided` is something else: null, or of a number further
   * on.
   */
  readonly isUnknown: boolean
}

export interface ProposerParts {
  readonly identity: { readonly nodeId: NodeId; readonly bootNonce: string }
  readonly effects: Pick<Effects, 'clock' | 'random'>
  readonly timing: ConfigurationTiming
  readonly pauses: Pauses
  readonly rpc: ConfigurationRpc
  current(): Decided | null
  /** This peer's own acceptor. */
  answerSelf(request: AcceptorRequest): Promise<AcceptorAnswer>
  /** Decoded, checked; null when that cannot be a configuration of this cluster. */
  parse(bytes: Bytes): Decided | null
  /** Gives an acceptor that is behind the configuration it lacks. */
  bring(to: NodeId, decided: Decided): Promise<unknown>
}

interface Round {
  proposer: Proposer
  /** Newer than the base: an acceptor told that the number was decided. */
  learned: Decided | null
  /** Somebody was asked to vote for the value given, not for one that the promises told. */
  isOwnAtVote: boolean
  isOver: boolean
}

export class ConfigurationProposer {
  readonly #parts: ProposerParts
  #highestRound = 0
  #isStopped = false

  constructor(parts: ProposerParts) {
    this.#parts = parts
  }

  /** Tries until a successor of `base` is decided, ours or another, or until the deadline (monotonic ms). */
  async propose(base: Decided, value: Bytes, deadlineMs: number): Promise<ProposalResult> {
    const { clock, random } = this.#parts.effects
    let retreatMs = FIRST_RETREAT_MS
    let isUnknown = false
    while (!this.#isStopped) {
      const newer = this.#newerThan(base)
      if (newer !== null) return { decided: newer, isUnknown }
      const round = await this.#run(base, value, deadlineMs)
      const { stage, value: carried } = round.proposer
      if (stage === 'chosen') {
        const decided = this.#parts.parse(carried)
        assert(decided !== null, 'acceptors vote for nothing but configurations')
        return { decided, isUnknown: false }
      }
      isUnknown ||= round.isOwnAtVote
      if (round.learned !== null) return { decided: round.learned, isUnknown }
      const restMs = deadlineMs - clock.monotonic()
      if (restMs <= 0) break
      await this.#parts.pauses.pause(Math.min(restMs, retreatMs * (0.5 + random.float())))
      retreatMs = Math.min(MAX_RETREAT_MS, retreatMs * 2)
    }
    return { decided: this.#newerThan(base), isUnknown }
  }

  stop(): void {
    this.#isStopped = true
  }

  #newerThan(base: Decided): Decided | null {
    const current = this.#parts.current()
    return current !== null && current.configuration.number > base.configuration.number ? current : null
  }

  /** One ballot, from its preparation to the end. */
  async #run(base: Decided, value: Bytes, deadlineMs: number): Promise<Round> {
    const { number, acceptors } = base.configuration
    const voters = acceptors.map(({ nodeId }) => nodeId)
    const round: Round = {
      proposer: startProposer(number + 1, this.#nextBallot(), voters, value),
      learned: null,
      isOwnAtVote: false,
      isOver: false,
    }
    await this.#askAll(round, base, deadlineMs)
    if (round.learned === null && round.proposer.stage === 'voting') {
      round.isOwnAtVote = equalBytes(round.proposer.value, value)
      await this.#askAll(round, base, deadlineMs)
    }
    round.isOver = true
    this.#highestRound = Math.max(this.#highestRound, round.proposer.overtakenBy?.round ?? 0)
    return round
  }

  /** A round is used once in the life of this process, whatever the number. */
  #nextBallot(): Ballot {
    const { nodeId, bootNonce } = this.#parts.identity
    this.#highestRound += 1
    return { round: this.#highestRound, nodeId, bootNonce }
  }

  /**
   * Fulfils when the proposer is in another stage, when it is known that it will not be, or at the deadline.
   */
  #askAll(round: Round, base: Decided, deadlineMs: number): Promise<void> {
    const { stage, acceptors } = round.proposer
    const request = question(round.proposer)
    if (request === null) return Promise.resolve()
    const { clock } = this.#parts.effects
    return new Promise((resolve) => {
      let open = acceptors.length
      const finish = (): void => {
        timer.cancel()
        resolve()
      }
      const timer = clock.setTimer(Math.max(0, deadlineMs - clock.monotonic()), finish)
      const isOver = (): boolean => round.isOver || round.learned !== null || round.proposer.stage !== stage
      const take = (from: NodeId, reply: AcceptorAnswer | null): void => {
        if (!isOver() && reply !== null) round.proposer = receiveAnswer(round.proposer, from, reply)
        open -= 1
        if (open === 0 || isOver()) finish()
      }
      for (const to of acceptors) {
        void this.#ask(to, request, round, base, isOver).then((reply) => take(to, reply))
      }
    })
  }

  /** An acceptor's answer; null when there is none. Does not reject. */
  async #ask(
    to: NodeId,
    request: AcceptorRequest,
    round: Round,
    base: Decided,
    isOver: () => boolean,
  ): Promise<AcceptorAnswer | null> {
    const { timing, pauses } = this.#parts
    for (let attempt = 1; attempt <= MAX_QUESTIONS && !isOver() && !this.#isStopped; attempt++) {
      try {
        const reply = await this.#askOnce(to, request)
        if (reply.type !== 'voteRefused') return reply
        if (reply.reason === 'decided' && reply.configuration !== null) {
          const learned = this.#parts.parse(reply.configuration)
          if (learned !== null && learned.configuration.number >= request.number) round.learned ??= learned
        }
        if (reply.reason !== 'behind') return reply
        await this.#parts.bring(to, base)
      } catch (error) {
        if (!(error instanceof KvError)) throw error
        // No answer from this acceptor: a majority of the others may do.
        if (error.code === 'TIMEOUT_UNKNOWN') continue
        await pauses.pause(timing.retryMs / 2)
      }
    }
    return null
  }

  async #askOnce(to: NodeId, request: AcceptorRequest): Promise<VoteAnswer> {
    const { identity, rpc, timing } = this.#parts
    if (to === identity.nodeId) {
      const reply = await this.#parts.answerSelf(request)
      return reply.type === 'voteRefused' ? { ...reply, configuration: null } : reply
    }
    const reply = await rpc.call(to, request, timing.callTimeoutMs)
    if (reply.type === 'promise' || reply.type === 'voted' || reply.type === 'voteRefused') return reply
    throw new KvError('INTERNAL', `peer ${to} answered a ballot with '${reply.type}'`)
  }
}

type VoteAnswer = Extract<ConfigurationAnswer, { type: 'promise' | 'voted' | 'voteRefused' }>
