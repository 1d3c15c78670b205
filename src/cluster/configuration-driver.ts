/**
 * This peer's part in the cluster's configuration: it keeps the newest decided one
 * (`configuration-adoption.ts`), votes on the next (`votes.ts`), gets changes decided
 * (`configuration-decision.ts`, `configuration-proposer.ts`), spreads and acknowledges
 * (`configuration-spread.ts`), drives the open change of the ring when it is its turn (`ring-change.ts`), and
 * joins a cluster or lets others join (`cluster-join.ts`).
 */
import { unreachable } from '../base/assert.ts'
import { KvError } from '../base/error.ts'
import type { ClusterId, NodeId } from '../base/ids.ts'
import type { Effects } from '../effects/effects.ts'
import type { Configuration, Member } from '../protocol/configuration.ts'
import { firstConfiguration, renewAcceptor } from '../protocol/configuration-change.ts'
import type { Lacks } from '../protocol/lacks.ts'
import { membersWaitedFor } from '../protocol/ring-change.ts'
import type { AcceptorRequest, Standing } from '../protocol/synod.ts'
import { encodeConfiguration } from '../wire/configuration-codec.ts'
import { type ConfigurationAnswer, type ConfigurationQuestion, clip } from '../wire/configuration-messages.ts'
import { ClusterJoin } from './cluster-join.ts'
import { type AdoptListener, ConfigurationAdoption, type Decided } from './configuration-adoption.ts'
import { ConfigurationDecision } from './configuration-decision.ts'
import { ConfigurationProposer } from './configuration-proposer.ts'
import {
  type ConfigurationRpc,
  type ConfigurationTiming,
  DEFAULT_CONFIGURATION_TIMING,
  type PeerView,
} from './configuration-rpc.ts'
import { ConfigurationSpread } from './configuration-spread.ts'
import { LossCheck, type OnLoss } from './loss-check.ts'
import { Pauses } from './pauses.ts'
import { RingChange } from './ring-change.ts'
import { Acceptor } from './votes.ts'

/** Until those who did not say that they have a configuration are told again. */
const TELL_AGAIN_MS = 200
/** How long it is tried to stage the join of a peer, before that asks again. */
const STAGE_TIMEOUT_MS = 5000

type ChangeOf = (configuration: Configuration) => Configuration

export interface ConfigurationDriverParts {
  readonly identity: Member & { readonly bootNonce: string }
  readonly effects: Pick<Effects, 'clock' | 'random' | 'storage' | 'log'>
  /** Address or id of a dead member whose place this peer is to take when it joins. */
  readonly replaces: string | null
  /** A cluster that it founds stages changes of the ring; where it joins its join is staged. */
  readonly isManual: boolean
  readonly rpc: ConfigurationRpc
  readonly peers: PeerView
  /** Why this peer is not ready for the next step of a change of the ring, in words; null: it is. */
  readonly waitsFor: () => string | null
  /** What this peer may have acknowledged and does not hold, or its disk does not give. */
  readonly lacks: () => Lacks
}

export class ConfigurationDriver {
  readonly #parts: ConfigurationDriverParts
  readonly #pauses: Pauses
  readonly #acceptor: Acceptor
  readonly #adoption: ConfigurationAdoption
  readonly #spread: ConfigurationSpread
  readonly #decision: ConfigurationDecision
  readonly #ringChange: RingChange
  readonly #join: ClusterJoin
  #isStopped = false

  constructor(parts: ConfigurationDriverParts, options: Partial<ConfigurationTiming> = {}) {
    const { identity, effects, rpc, peers } = parts
    const { nodeId, zone, weight } = identity
    const { clock, random, log } = effects
    const timing: ConfigurationTiming = { ...DEFAULT_CONFIGURATION_TIMING, ...options }
    const adoption = new ConfigurationAdoption(effects)
    const current = (): Decided | null => adoption.current
    const shared = { timing, rpc, peers, log, clock, random, adoption, current }
    const acceptor = new Acceptor(effects)
    const pauses = new Pauses(clock)
    const spread = new ConfigurationSpread({
      ...shared,
      self: nodeId,
      acceptorId: () => acceptor.acceptorId,
      waitsFor: parts.waitsFor,
      pending: () => clip(this.#ringChange.obstacle),
    })
    const proposer = new ConfigurationProposer({
      ...shared,
      identity,
      effects,
      pauses,
      answerSelf: (request) => acceptor.answer(request, () => this.#standing()),
      parse: (bytes) => spread.parse(bytes),
      bring: (to, decided) => spread.bring(to, decided),
    })
    const decision = new ConfigurationDecision(nodeId, clock, adoption, proposer, spread, (peer) =>
      peers.isAlive(peer),
    )
    const ringChange = new RingChange({
      ...shared,
      self: nodeId,
      spread,
      losses: new LossCheck({ ...shared, self: nodeId, spread, lacks: parts.lacks }),
      decide: (base, next, timeoutMs) => decision.decide(base, next, clock.monotonic() + timeoutMs),
      pause: (ms) => pauses.pause(ms),
    })
    this.#parts = parts
    this.#pauses = pauses
    this.#acceptor = acceptor
    this.#adoption = adoption
    this.#spread = spread
    this.#decision = decision
    this.#ringChange = ringChange
    const self = { nodeId, zone, weight }
    const { replaces, isManual } = parts
    const change = (make: ChangeOf) => decision.change(make, STAGE_TIMEOUT_MS)
    this.#join = new ClusterJoin({ ...shared, self, replaces, isManual, pauses, spread, ringChange, change })
  }

  /**
   * The newest decided configuration known here; null before the first. It may not name this peer any more.
   */
  get current(): Configuration | null {
    return this.#adoption.current?.configuration ?? null
  }

  /** The bytes of `current`, as they were decided. */
  get currentBytes(): Uint8Array | null {
    return this.#adoption.current?.bytes ?? null
  }

  get acceptorId(): string {
    return this.#acceptor.acceptorId
  }

  /** This peer is no acceptor, or is the one that the configuration names. */
  get isVoteSound(): boolean {
    const { nodeId } = this.#parts.identity
    const named = this.current?.acceptors.find((acceptor) => acceptor.nodeId === nodeId)
    return named === undefined || named.acceptorId === this.#acceptor.acceptorId
  }

  /**
   * For people, one sentence: what the open change, or our own joining, waits for; null when nothing is open.
   */
  get pendingReason(): string | null {
    return this.#ringChange.pendingReason ?? this.#join.pendingReason
  }

  /**
   * Called once a configuration is on disk, before anyone is told that we have it. Within the call: end the
   * requests of older numbers, and refuse such from then on. What `waitsFor` says next is about this one.
   */
  onAdopt(listener: AdoptListener): void {
    this.#adoption.onAdopt(listener)
  }

  /**
   * Reads the disk. Once, before everything else; listeners are not told.
   * @param isRolledBack the data directory is known to be a copy from the past: its votes are void
   * @throws INTERNAL
   */
  async load(isRolledBack = false): Promise<void> {
    await this.#adoption.load()
    await this.#acceptor.load(isRolledBack)
  }

  /** Makes a cluster of this peer alone. @throws CONFLICT when it is in one already; INTERNAL */
  async found(clusterId: ClusterId, partitionCount: number): Promise<void> {
    if (this.#adoption.current !== null) throw new KvError('CONFLICT', 'this peer is in a cluster already')
    const { identity, effects } = this.#parts
    const { nodeId, zone, weight } = identity
    const configuration = firstConfiguration({
      clusterId,
      member: { nodeId, zone, weight },
      acceptorId: this.#acceptor.acceptorId,
      partitionCount,
      isManual: this.#parts.isManual,
      nowMs: effects.clock.now(),
    })
    await this.#adoption.adopt({ configuration, bytes: encodeConfiguration(configuration) })
  }

  /** Goes on with whatever is open. Once, when others can be asked. */
  start(): void {
    this.#adoption.onAdopt(() => {
      this.#pauses.wake()
      this.#ringChange.nudge()
    })
    this.#ringChange.nudge()
  }

  /**
   * Asks the members, one after the other and for as long as it takes, to be made one.
   * @throws CONFLICT when that will never be, the message says why; UNAVAILABLE when stopped
   */
  join(): Promise<void> {
    return this.#join.join()
  }

  /** Whether every member that is not excluded says that it has the configuration in force here. */
  async isAcknowledged(): Promise<boolean> {
    const decided = this.#adoption.current
    if (decided === null) return false
    const waitedFor = membersWaitedFor(decided.configuration)
    const acks = await this.#spread.collect(decided, waitedFor)
    return acks.length === waitedFor.length
  }

  /**
   * Sees to it that those who vote about the next configuration have this one, so that they can go on without
   * this peer. @returns whether most of them do; false when they did not say so in time
   */
  async tellAcceptors(timeoutMs: number): Promise<boolean> {
    const { effects } = this.#parts
    const deadlineMs = effects.clock.monotonic() + timeoutMs
    while (!this.#isStopped) {
      const decided = this.#adoption.current
      if (decided === null) return false
      const acceptors = decided.configuration.acceptors.map(({ nodeId }) => nodeId)
      const acks = await this.#spread.collect(decided, acceptors)
      if (2 * acks.length > acceptors.length) return true
      const restMs = deadlineMs - effects.clock.monotonic()
      if (restMs <= 0) return false
      await this.#pauses.pause(Math.min(TELL_AGAIN_MS, restMs))
    }
    return false
  }

  /** Membership heard that a peer has this configuration. */
  configurationSeen(from: NodeId, number: number): void {
    this.#spread.seen(from, number)
  }

  /** Somebody appeared, died or came back. */
  peersChanged(): void {
    this.#ringChange.peersChanged()
  }

  /**
   * Answers another peer.
   * @throws KvError: there is no answer (the disk failed, we are stopping, or the question makes no sense)
   */
  async answer(question: ConfigurationQuestion): Promise<ConfigurationAnswer> {
    if (this.#isStopped) throw new KvError('UNAVAILABLE', 'this peer is stopping')
    switch (question.type) {
      case 'prepare':
      case 'vote':
        return this.#answerBallot(question)
      case 'adopt':
        return this.#answerAdopt(question)
      case 'joinRequest':
        return this.#join.answer(question)
      case 'askLacks': {
        const lacks = [...this.#parts.lacks()].map(([keyspaceId, partitions]) => ({ keyspaceId, partitions }))
        return { type: 'lacksReply', number: this.#adoption.number, lacks }
      }
      case 'fetchConfiguration': {
        const current = this.#adoption.current
        const isNewer = current !== null && current.configuration.number > question.above
        return { type: 'configurationReply', configuration: isNewer ? current.bytes : null }
      }
      default:
        return unreachable(question)
    }
  }

  /**
   * Gets a change decided that moves no data, such as `createKeyspace` and `dropKeyspace` make.
   * @param change gives the successor of a configuration, the same object when there is nothing to change, or
   * throws a KvError; called again on newer configurations
   * @returns the configuration that has the change; it is in force here
   * @throws what `change` throws; UNAVAILABLE, OVERLOADED when it was not done; TIMEOUT_UNKNOWN when it may
   * come about yet
   */
  proposeChange(
    change: (configuration: Configuration) => Configuration,
    timeoutMs: number,
  ): Promise<Configuration> {
    return this.#decision.change(change, timeoutMs)
  }

  /**
   * As `proposeChange`, of a change of the ring: when all members it concerns are ready for it.
   * @param onLoss see `RingChange.alter`
   */
  changeRing(change: ChangeOf, timeoutMs: number, onLoss?: OnLoss): Promise<Configuration> {
    return this.#ringChange.alter(change, timeoutMs, onLoss)
  }

  /**
   * Gets this peer's acceptor named again when the configuration names another id of it: it lost its votes.
   * @throws as `proposeChange`
   */
  async renewAcceptor(timeoutMs: number): Promise<void> {
    if (this.isVoteSound) return
    const { nodeId } = this.#parts.identity
    const { acceptorId } = this.#acceptor
    const nowMs = this.#parts.effects.clock.now()
    const renew = (base: Configuration) => renewAcceptor(base, { nodeId, acceptorId }, nowMs)
    await this.#decision.change(renew, timeoutMs)
    this.#parts.effects.log.info('acceptor.renewed', { acceptorId })
  }

  /** Idempotent. Fulfils when nothing of ours is being written. */
  async stop(): Promise<void> {
    this.#isStopped = true
    this.#join.stop()
    this.#ringChange.stop()
    this.#decision.stop()
    this.#spread.stop()
    this.#pauses.stop()
    await Promise.all([this.#acceptor.stop(), this.#adoption.stop()])
  }

  #standing(): Standing {
    const configuration = this.current
    if (configuration === null) return { decided: 0, named: false }
    const { nodeId } = this.#parts.identity
    const { acceptorId } = this.#acceptor
    const named = configuration.acceptors.some(
      (one) => one.nodeId === nodeId && one.acceptorId === acceptorId,
    )
    return { decided: configuration.number, named }
  }

  async #answerBallot(request: AcceptorRequest): Promise<ConfigurationAnswer> {
    if (request.type === 'vote') {
      const value = this.#spread.parse(request.value)
      if (value?.configuration.number !== request.number) {
        throw new KvError('INVALID_ARGUMENT', 'a vote was asked for something that is not that configuration')
      }
    }
    const reply = await this.#acceptor.answer(request, () => this.#standing())
    if (reply.type !== 'voteRefused') return reply
    const decided = reply.reason === 'decided' ? this.#adoption.current : null
    return { ...reply, configuration: decided?.bytes ?? null }
  }

  async #answerAdopt(
    question: Extract<ConfigurationQuestion, { type: 'adopt' }>,
  ): Promise<ConfigurationAnswer> {
    if (question.configuration !== null && question.number >= this.#adoption.number) {
      const decided = this.#spread.parse(question.configuration)
      if (decided?.configuration.number !== question.number) {
        throw new KvError('INVALID_ARGUMENT', 'what was to be adopted is not that configuration')
      }
      await this.#spread.take(decided)
    }
    this.#ringChange.toldObstacle(question.number, question.pending)
    return { type: 'adopted', ...this.#spread.acknowledge() }
  }
}
