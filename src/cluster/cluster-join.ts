/**
 * Becoming a member. The newcomer asks a member, any; that one hands the request to the member that drives
 * changes; a configuration that names the newcomer is the answer. It asks again until then, so nothing of
 * this needs to be remembered.
 */
import { KvError } from '../base/error.ts'
import type { NodeId } from '../base/ids.ts'
import type { Clock } from '../effects/clock.ts'
import type { Log } from '../effects/log.ts'
import { type Random, shuffled } from '../effects/random.ts'
import type { Configuration, Member } from '../protocol/configuration.ts'
import { stage } from '../protocol/staged-changes.ts'
import { majority } from '../protocol/synod.ts'
import type { ConfigurationAnswer, ConfigurationQuestion } from '../wire/configuration-messages.ts'
import { clip } from '../wire/configuration-messages.ts'
import type { ConfigurationAdoption, Decided } from './configuration-adoption.ts'
import type { ConfigurationRpc, ConfigurationTiming, PeerView } from './configuration-rpc.ts'
import type { ConfigurationSpread } from './configuration-spread.ts'
import type { Pauses } from './pauses.ts'
import type { RingChange } from './ring-change.ts'

/** Joins that are being staged at once; the others ask again. */
const MAX_STAGING = 64

type JoinRequest = Extract<ConfigurationQuestion, { type: 'joinRequest' }>
type JoinReply = Extract<ConfigurationAnswer, { type: 'joinReply' }>

export interface ClusterJoinParts {
  readonly self: Member
  /** Address or id of a dead member whose place this peer is to take; null: it is one more. */
  readonly replaces: string | null
  /** Its join is to be staged, also where joins are not. */
  readonly isManual: boolean
  readonly clock: Clock
  readonly random: Random
  readonly log: Log
  readonly timing: ConfigurationTiming
  readonly pauses: Pauses
  readonly rpc: ConfigurationRpc
  readonly peers: PeerView
  readonly adoption: ConfigurationAdoption
  readonly spread: ConfigurationSpread
  readonly ringChange: RingChange
  /** Gets a change decided that moves no data. */
  change(make: (configuration: Configuration) => Configuration): Promise<Configuration>
}

const STAGED = "is staged: 'kvctl layout plan' shows what it brings, 'kvctl layout apply' begins it"

export class ClusterJoin {
  readonly #parts: ClusterJoinParts
  /** Peers whose joins are being staged by us. */
  readonly #staging = new Set<NodeId>()
  #obstacle: string | null = null
  #isStopped = false

  constructor(parts: ClusterJoinParts) {
    this.#parts = parts
  }

  /** What our joining waits for, in words; null when we are a member, or nobody has said. */
  get pendingReason(): string | null {
    return this.#isMember() ? null : this.#obstacle
  }

  /**
   * Fulfils when a configuration names this peer.
   * @throws CONFLICT when that will never be; UNAVAILABLE when stopped
   */
  async join(): Promise<void> {
    const { random, timing, pauses } = this.#parts
    while (!this.#isStopped && !this.#isMember()) {
      const isTaken = await this.#askAround()
      if (this.#isStopped || this.#isMember()) break
      // Whoever has taken the request gets time for it; asking again keeps it alive.
      await pauses.pause(timing.retryMs * (isTaken ? 2 : 0.5) * (0.5 + random.float()))
    }
    if (!this.#isMember()) throw new KvError('UNAVAILABLE', 'this peer is stopping')
  }

  /** Answers a newcomer, or a member that hands on his request. */
  async answer(request: JoinRequest): Promise<JoinReply> {
    const { adoption, spread, ringChange, self } = this.#parts
    const current = adoption.current
    if (current === null) return notTaken('the peer that was asked is in no cluster yet')
    if (current.configuration.members.some(({ nodeId }) => nodeId === request.nodeId)) {
      void spread.bring(request.nodeId, current)
      return taken(ringChange.pendingReason)
    }
    const { isManual, staged } = current.configuration
    const isStaged = staged.some(({ nodeId, kind }) => nodeId === request.nodeId && kind === 'join')
    if (isStaged) return taken(`the join of ${this.#parts.peers.nameOf(request.nodeId)} ${STAGED}`)
    const driver = ringChange.driver()
    if (driver === null) return notTaken('the peer that was asked is no member any more')
    if (driver !== self.nodeId && !request.isForwarded) return this.#handOn(request, driver)
    try {
      const { nodeId, zone, weight, replaces } = request
      const member = { nodeId, zone, weight }
      const replaced = ringChange.checkJoin(member, replaces)
      if (isManual || request.isStaged) this.#stage(current.configuration, member, replaced)
      else ringChange.join(member, replaced)
    } catch (error) {
      if (!(error instanceof KvError)) throw error
      // Whose place it is to take may have joined, and died, under a number that is not known here yet.
      const isFinal = !error.retryable && (request.replaces === null || (await this.#isNewest(current)))
      return isFinal ? refused(error.message) : notTaken(error.message)
    }
    return taken(ringChange.pendingReason)
  }

  /** A majority of those who vote on the next number knows of none. */
  async #isNewest(current: Decided): Promise<boolean> {
    const { self, peers, spread } = this.#parts
    const acceptors = current.configuration.acceptors.map(({ nodeId }) => nodeId)
    const isUp = (nodeId: NodeId): boolean => nodeId === self.nodeId || peers.isAlive(nodeId)
    const acks = await spread.collect(current, acceptors.filter(isUp))
    return acks.length >= majority(acceptors.length)
  }

  /** Goes on behind the answer: who joins asks again. @throws CONFLICT, INVALID_ARGUMENT */
  #stage(configuration: Configuration, member: Member, replaces: NodeId | null): void {
    const { change, clock, log } = this.#parts
    const { nodeId } = member
    const make = (base: Configuration): Configuration => {
      return stage(base, { kind: 'join', ...member, replaces }, clock.now())
    }
    make(configuration)
    if (this.#staging.has(nodeId) || this.#staging.size >= MAX_STAGING) return
    this.#staging.add(nodeId)
    change(make)
      .catch((error: unknown) => log.debug('join.not_staged', { peer: nodeId, error }))
      .finally(() => this.#staging.delete(nodeId))
  }

  stop(): void {
    this.#isStopped = true
  }

  #isMember(): boolean {
    const members = this.#parts.adoption.current?.configuration.members ?? []
    return members.some(({ nodeId }) => nodeId === this.#parts.self.nodeId)
  }

  /** @returns whether somebody will see to it @throws CONFLICT when it will never be */
  async #askAround(): Promise<boolean> {
    const { random, peers } = this.#parts
    for (const candidate of shuffled(random, peers.known())) {
      if (!peers.isAlive(candidate)) continue
      if (await this.#ask(candidate)) return true
      if (this.#isStopped || this.#isMember()) break
    }
    return false
  }

  /** @returns whether the peer will see to it @throws CONFLICT when it will never be */
  async #ask(candidate: NodeId): Promise<boolean> {
    const { self, replaces, isManual, rpc, timing, peers, log } = this.#parts
    const words = { replaces, isStaged: isManual, isForwarded: false }
    const request: JoinRequest = { type: 'joinRequest', ...self, ...words }
    let reply: ConfigurationAnswer
    try {
      // Twice the time, because the peer that is asked may have to ask another.
      reply = await rpc.call(candidate, request, 2 * timing.callTimeoutMs)
    } catch (error) {
      log.debug('join.not_answered', { peer: candidate, error })
      this.#obstacle = `${peers.nameOf(candidate)} was asked to let this peer join and did not answer`
      return false
    }
    if (reply.type !== 'joinReply') return false
    if (reply.refusal !== null) throw new KvError('CONFLICT', reply.refusal)
    this.#obstacle = reply.pending
    return reply.isTaken
  }

  async #handOn(request: JoinRequest, driver: NodeId): Promise<JoinReply> {
    const { rpc, timing, peers } = this.#parts
    try {
      const reply = await rpc.call(driver, { ...request, isForwarded: true }, timing.callTimeoutMs)
      if (reply.type === 'joinReply') return reply
    } catch {
      // The newcomer is told who does not answer, and asks again.
    }
    return notTaken(`${peers.nameOf(driver)}, which lets peers join, does not answer`)
  }
}

/** The request is in good hands; `pending`: what it has to wait for, if anything. */
function taken(pending: string | null): JoinReply {
  return { type: 'joinReply', isTaken: true, refusal: null, pending: clip(pending) }
}

/** Nobody works on it now; asking again, or somebody else, may help. */
function notTaken(pending: string): JoinReply {
  return { type: 'joinReply', isTaken: false, refusal: null, pending: clip(pending) }
}

function refused(refusal: string): JoinReply {
  return { type: 'joinReply', isTaken: false, refusal: clip(refusal), pending: null }
}
