/**
 * From "this should be the next configuration" to a decided one that is adopted here and on its way to
 * everybody.
 */
import { equalBytes } from '../base/bytes.ts'
import { KvError, toKvError } from '../base/error.ts'
import type { NodeId } from '../base/ids.ts'
import type { Clock } from '../effects/clock.ts'
import { losesAcceptor, reseat } from '../protocol/acceptor-seats.ts'
import type { Configuration } from '../protocol/configuration.ts'
import { membersWaitedFor } from '../protocol/ring-change.ts'
import { encodeConfiguration } from '../wire/configuration-codec.ts'
import type { ConfigurationAdoption, Decided } from './configuration-adoption.ts'
import type { ConfigurationProposer, ProposalResult } from './configuration-proposer.ts'
import type { ConfigurationSpread } from './configuration-spread.ts'
import { Pauses } from './pauses.ts'

/** Proposals of this peer that wait for their turn; more are turned away. */
const MAX_WAITING = 256
/** Whoever had a change made is answered when the members that are up know of it, or after this long. */
const KNOWN_WITHIN_MS = 1000

export interface Decision {
  /** The configuration in force that is ours; null when ours was not chosen, as far as we see. */
  readonly ours: Configuration | null
  /** Whether ours may have been chosen nevertheless. */
  readonly isUnknown: boolean
}

export class ConfigurationDecision {
  readonly #self: NodeId
  readonly #clock: Clock
  readonly #adoption: ConfigurationAdoption
  readonly #proposer: ConfigurationProposer
  readonly #spread: ConfigurationSpread
  readonly #isAlive: (nodeId: NodeId) => boolean
  readonly #turns: Pauses
  readonly #spreading: Pauses
  #waiting = 0
  #isProposing = false
  #isStopped = false

  constructor(
    self: NodeId,
    clock: Clock,
    adoption: ConfigurationAdoption,
    proposer: ConfigurationProposer,
    spread: ConfigurationSpread,
    isAlive: (nodeId: NodeId) => boolean,
  ) {
    this.#self = self
    this.#clock = clock
    this.#adoption = adoption
    this.#proposer = proposer
    this.#spread = spread
    this.#isAlive = isAlive
    this.#turns = new Pauses(clock)
    this.#spreading = new Pauses(clock)
  }

  /**
   * Proposes `next` as the successor of `base`, adopts what is decided, and lets everybody know.
   * @param deadlineMs monotonic
   * @throws OVERLOADED when too many wait; INTERNAL when the disk fails
   */
  async decide(base: Decided, next: Configuration, deadlineMs: number): Promise<Decision> {
    const seated = losesAcceptor(base.configuration, next) ? await this.#reseated(base, next) : next
    const value = encodeConfiguration({ ...seated, decidedBy: this.#self })
    const { decided, isUnknown } = await this.#inTurn(
      () => this.#proposer.propose(base, value, deadlineMs),
      deadlineMs,
    )
    if (decided === null || this.#isStopped) return { ours: null, isUnknown }
    const { number, members } = decided.configuration
    if (number > this.#adoption.number) {
      // All at once, not we first: until everybody has it, requests wait for those who have it not. Who has
      // left with it is to know that too.
      const everyone = [...members, ...base.configuration.members].map(({ nodeId }) => nodeId)
      void this.#spread.collect(decided, [...new Set(everyone)])
    }
    await this.#spread.take(decided)
    if (number > next.number) return { ours: null, isUnknown }
    return { ours: equalBytes(decided.bytes, value) ? decided.configuration : null, isUnknown: false }
  }

  /**
   * Gets a change decided that moves no data. Fulfils when the members that are up have it in force, as far
   * as they said so soon: the next request may go to any of them.
   * @param change gives the successor of a configuration, the same object when there is nothing to change, or
   * throws a KvError; called again on newer configurations
   * @returns the configuration that has the change
   * @throws what `change` throws; UNAVAILABLE, OVERLOADED when it was not done; TIMEOUT_UNKNOWN when it may
   * come about yet
   */
  async change(
    change: (configuration: Configuration) => Configuration,
    timeoutMs: number,
  ): Promise<Configuration> {
    const deadlineMs = this.#clock.monotonic() + timeoutMs
    let isUnknown = false
    do {
      const base = this.#adoption.current
      if (base === null) throw new KvError('UNAVAILABLE', 'this peer is in no cluster yet')
      const next = apply(change, base.configuration, isUnknown)
      if (next === base.configuration) {
        if (isUnknown) await this.#untilKnown(deadlineMs)
        return next
      }
      const decision = await this.decide(base, next, deadlineMs)
      if (decision.ours !== null) {
        await this.#untilKnown(deadlineMs)
        return decision.ours
      }
      isUnknown ||= decision.isUnknown
    } while (!this.#isStopped && this.#clock.monotonic() < deadlineMs)
    if (isUnknown) throw unconfirmed()
    throw new KvError('UNAVAILABLE', 'no majority of the acceptors answered in time; nothing was changed')
  }

  stop(): void {
    this.#isStopped = true
    this.#proposer.stop()
    this.#turns.stop()
    this.#spreading.stop()
  }

  /** With others in the seats of those who are given up with it, as far as enough of them are up. */
  async #reseated(base: Decided, next: Configuration): Promise<Configuration> {
    const up = membersWaitedFor(next).filter(this.#isAlive)
    return reseat(next, await this.#spread.collect(base, up))
  }

  async #untilKnown(deadlineMs: number): Promise<void> {
    const decided = this.#adoption.current
    if (decided === null) return
    const upMembers = decided.configuration.members.map(({ nodeId }) => nodeId).filter(this.#isAlive)
    const restMs = Math.max(0, deadlineMs - this.#clock.monotonic())
    await this.#spreading.pause(Math.min(KNOWN_WITHIN_MS, restMs), this.#spread.collect(decided, upMembers))
  }

  /** One proposal at a time, or those of one peer would overtake each other. */
  async #inTurn(run: () => Promise<ProposalResult>, deadlineMs: number): Promise<ProposalResult> {
    if (this.#waiting >= MAX_WAITING) throw new KvError('OVERLOADED', 'too many changes at once; try again')
    this.#waiting++
    try {
      while (this.#isProposing) {
        const restMs = deadlineMs - this.#clock.monotonic()
        if (restMs <= 0 || this.#isStopped) return { decided: null, isUnknown: false }
        await this.#turns.pause(restMs)
      }
    } finally {
      this.#waiting--
    }
    this.#isProposing = true
    try {
      return await run()
    } finally {
      this.#isProposing = false
      this.#turns.wake()
    }
  }
}

/**
 * @param isUnknown an earlier attempt may have succeeded: then a failure on top of it may be our own doing
 */
export function apply(
  change: (configuration: Configuration) => Configuration,
  configuration: Configuration,
  isUnknown: boolean,
): Configuration {
  try {
    return change(configuration)
  } catch (error) {
    throw isUnknown ? unconfirmed(error) : toKvError(error)
  }
}

function unconfirmed(cause?: unknown): KvError {
  return new KvError('TIMEOUT_UNKNOWN', 'the change was not confirmed in time; it may come about yet', {
    cause,
  })
}
