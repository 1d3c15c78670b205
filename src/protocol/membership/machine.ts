/**
 * Who is in the cluster and who of them is up: SWIM (Das, Gupta, Motivala: "SWIM: Scalable Weakly-consistent
 * Infection-style Process Group Membership Protocol", 2002) with Lifeguard (Dadgar, Phillips, Currey:
 * "Lifeguard: Local Health Awareness for More Accurate Failure Detection", 2017), after the rules of
 * hashicorp/memberlist, carried over links that end when a process ends.
 *
 * Intuition: everyone pings everyone else in turn, so the work per peer does not grow with the cluster;
 * whoever gets no answer asks others before it says so, says so to everyone, and gives the accused time to
 * deny it. News rides on the pings and on a little gossip.
 *
 * Invariants: beliefs only move up in the order of `peer.ts`; only a peer itself can outrank what is said of
 * it; somebody is always tried again while anybody is dead. So no healthy peer stays dead once it can be
 * reached, and nobody who was forgotten comes back. One who is down and is no member of the cluster is
 * dropped after a while, and at once when somebody else is up at its address, so that peers that came once do
 * not fill the table; whoever of them comes again is met anew. Not while nobody is up: a peer that is cut off
 * may not know who was made a member since.
 *
 * A peer that was stalled blames itself first: the time in which it did not run counts against nobody, its
 * health gets worse, and when it was away for longer than the shortest suspicion, it refutes its own death
 * before it heard of it.
 *
 * Deviations are named in the files of this folder: `peer.ts` (order), `beliefs.ts`, `suspicion.ts`,
 * `broadcast-queue.ts`, `failure-detector.ts` (refused links), `dissemination.ts`, `reconnection.ts`.
 */
import { assert, unreachable } from '../../base/assert.ts'
import type { Address, NodeId } from '../../base/ids.ts'
import { createPrng, type Prng } from '../../base/prng.ts'
import { Beliefs, isSameLife } from './beliefs.ts'
import { Dissemination } from './dissemination.ts'
import { FailureDetector } from './failure-detector.ts'
import { LocalView, MAX_PIGGYBACK_UPDATES } from './local-view.ts'
import type { MembershipInput, MembershipMessage, MembershipOutput } from './messages.ts'
import { isUp, type LifeState, type PeerIdentity, type PeerRecord, type PeerView } from './peer.ts'
import { viewOf } from './peer-table.ts'
import { Reconnection } from './reconnection.ts'
import { DEFAULT_MEMBERSHIP_OPTIONS, type MembershipOptions, minSuspicionMs } from './timing.ts'

/** Whoever leaves tells this many itself; they tell the others. */
const MAX_FAREWELLS = 64

/**
 * A loop that is always a little late still has to find the dead: short delays are forgiven this often, long
 * ones always.
 */
const GRACE_INTERVAL_MS = 1000

/** How often those who are down are looked through for strangers. */
const STRANGER_SWEEP_MS = 5_000

export interface Membership {
  /** @param nowMs monotonic; never less than before. The outputs are to be performed in order. */
  step(input: MembershipInput, nowMs: number): readonly MembershipOutput[]
  /** When the next `timer` is due; at once before the first step; infinite when nothing is to be done. */
  readonly nextWakeMs: number
  /** What is said of this peer. */
  readonly self: PeerRecord
  /** 0 (healthy) … 7. */
  readonly healthScore: number
  /** Everyone else, in no order. */
  peers(): readonly PeerView[]
  get(nodeId: NodeId): PeerView | null
  /** Null for one that is not known. Also of this peer itself. */
  stateOf(nodeId: NodeId): LifeState | null
  /** Null for one that is not known. Also of this peer itself. */
  addressOf(nodeId: NodeId): Address | null
}

/** @param self generation from 1. @param seed the same seed and inputs give the same outputs */
export function createMembership(
  self: PeerIdentity,
  options: Partial<MembershipOptions>,
  seed: string | number,
): Membership {
  assert(self.generation >= 1, 'generations begin at 1')
  return new Machine(self, { ...DEFAULT_MEMBERSHIP_OPTIONS, ...options }, createPrng(seed))
}

class Machine implements Membership {
  readonly #prng: Prng
  readonly #view: LocalView
  readonly #beliefs: Beliefs
  readonly #detector: FailureDetector
  readonly #dissemination: Dissemination
  readonly #reconnection: Reconnection
  #nextWakeMs = Number.NEGATIVE_INFINITY
  #lastGraceMs = Number.NEGATIVE_INFINITY
  #nextSweepMs = 0
  #isStarted = false

  constructor(self: PeerIdentity, options: MembershipOptions, prng: Prng) {
    this.#prng = prng
    this.#view = new LocalView(self, options, prng)
    this.#beliefs = new Beliefs(this.#view)
    this.#dissemination = new Dissemination(this.#view, this.#beliefs, prng)
    this.#detector = new FailureDetector(this.#view, this.#beliefs, (nodeId) =>
      this.#dissemination.wantSync(nodeId),
    )
    this.#reconnection = new Reconnection(this.#view, this.#detector, prng)
  }

  get nextWakeMs(): number {
    return this.#nextWakeMs
  }

  get self(): PeerRecord {
    return this.#view.self
  }

  get healthScore(): number {
    return this.#view.health.score
  }

  peers(): readonly PeerView[] {
    return Array.from(this.#view.table.values(), viewOf)
  }

  get(nodeId: NodeId): PeerView | null {
    const peer = this.#view.table.get(nodeId)
    return peer === undefined ? null : viewOf(peer)
  }

  stateOf(nodeId: NodeId): LifeState | null {
    return this.#recordOf(nodeId)?.state ?? null
  }

  addressOf(nodeId: NodeId): Address | null {
    return this.#recordOf(nodeId)?.address ?? null
  }

  step(input: MembershipInput, nowMs: number): readonly MembershipOutput[] {
    const lastStepMs = this.#view.nowMs
    if (this.#isStarted) {
      assert(nowMs >= lastStepMs, 'monotonic time does not go back')
      this.#view.nowMs = nowMs
      this.#noticeStall(lastStepMs)
    } else {
      this.#view.nowMs = nowMs
      this.#start()
    }
    this.#take(input)
    if (this.#view.isLeaving) {
      this.#nextWakeMs = Number.POSITIVE_INFINITY
      return this.#view.takeOutputs()
    }
    this.#beliefs.expireSuspicions()
    this.#dropStrangers()
    this.#detector.wake()
    this.#reconnection.wake()
    this.#dissemination.wake()
    this.#nextWakeMs = Math.min(
      this.#beliefs.nextExpiryMs,
      this.#detector.nextWakeMs,
      this.#reconnection.nextWakeMs,
      this.#dissemination.nextWakeMs,
    )
    return this.#view.takeOutputs()
  }

  #recordOf(nodeId: NodeId): PeerRecord | undefined {
    return nodeId === this.#view.self.nodeId ? this.#view.self : this.#view.table.get(nodeId)?.record
  }

  #start(): void {
    this.#isStarted = true
    this.#detector.start(this.#prng.float() * this.#view.options.probeIntervalMs)
    this.#dissemination.start()
    this.#reconnection.start()
  }

  /**
   * This step comes late: our event loop was busy, or the whole process was stopped. What happened since the
   * step before is not known, so that time counts against nobody.
   */
  #noticeStall(lastStepMs: number): void {
    const { nowMs, options } = this.#view
    if (nowMs - this.#nextWakeMs <= options.ackTimeoutMs / 2 || this.#view.isLeaving) return
    this.#stalled(nowMs - lastStepMs)
  }

  #stalled(awayMs: number): void {
    const { health, table, options, upCount, nowMs } = this.#view
    health.worsen(1)
    if (awayMs >= GRACE_INTERVAL_MS || nowMs - this.#lastGraceMs >= GRACE_INTERVAL_MS) {
      this.#lastGraceMs = nowMs
      this.#beliefs.postpone(awayMs)
      this.#detector.postpone(awayMs)
    }
    if (awayMs < minSuspicionMs(options, upCount) || table.upCount === 0) return
    this.#beliefs.refute(0)
    this.#dissemination.wantSync(null)
  }

  #take(input: MembershipInput): void {
    switch (input.type) {
      case 'timer':
        return
      case 'message':
        this.#receive(input.from, input.message)
        return
      case 'linkClosed':
        if (!this.#view.isLeaving) this.#detector.linkClosed(input.nodeId, input.cause, input.address)
        return
      case 'met':
        this.#meet(input)
        return
      case 'learn':
        this.#learn(input)
        return
      case 'forget':
        this.#forget(input.nodeIds)
        return
      case 'configuration':
        if (input.number <= this.#view.configurationNumber) return
        this.#view.configurationNumber = input.number
        this.#view.members = new Set(input.members)
        return
      case 'rise':
        if (!this.#view.isLeaving) this.#beliefs.rise(input.generation)
        return
      case 'leave':
        this.#leave()
        return
      default:
        unreachable(input)
    }
  }

  #receive(from: NodeId, message: MembershipMessage): void {
    if (this.#view.isForgotten(from)) return
    const sender = this.#view.table.get(from)
    if (sender !== undefined) sender.lastHeardMs = this.#view.nowMs
    if ('configuration' in message) {
      const { configuration } = message
      if (sender !== undefined)
        sender.configurationNumber = Math.max(sender.configurationNumber, configuration)
      if (configuration > this.#view.configurationNumber) {
        this.#view.output({ type: 'configurationSeen', from, number: configuration })
      }
    }
    if ('updates' in message) for (const update of message.updates) this.#beliefs.hear(update, from)
    switch (message.type) {
      case 'ping':
        this.#answer(from, message)
        return
      case 'ack':
        this.#detector.onAck(from, message)
        return
      case 'nack':
        this.#detector.onNack(from, message)
        return
      case 'pingReq':
        this.#detector.onPingReq(from, message)
        return
      case 'gossip':
        this.#tellTruth(from)
        return
      case 'compare':
        this.#tellTruth(from)
        this.#dissemination.onCompare(from, message)
        return
      case 'pushPull':
        this.#tellTruth(from)
        this.#dissemination.onPushPull(from, message)
        return
      default:
        unreachable(message)
    }
  }

  #answer(from: NodeId, ping: Extract<MembershipMessage, { type: 'ping' }>): void {
    const { self, configurationNumber } = this.#view
    const updates = this.#view.takeNews(MAX_PIGGYBACK_UPDATES)
    if (ping.generation !== self.generation && !updates.includes(self)) updates.push(self)
    const asker = this.#view.table.get(from)?.record
    if (asker !== undefined && asker.state !== 'alive' && !updates.includes(asker)) updates.push(asker)
    const { generation } = self
    this.#view.send(from, {
      type: 'ack',
      seq: ping.seq,
      generation,
      configuration: configurationNumber,
      updates,
    })
  }

  /** Whoever we hold for dead and who speaks to us is told, so that it can refute. */
  #tellTruth(to: NodeId): void {
    const record = this.#view.table.get(to)?.record
    if (record !== undefined && !isUp(record.state)) this.#view.tell(to, [record])
  }

  #meet(input: Extract<MembershipInput, { type: 'met' }>): void {
    const { facts, dialled } = input
    const { table, nowMs, self } = this.#view
    this.#reconnection.met(facts.nodeId, dialled, facts.address)
    if (facts.nodeId === self.nodeId || this.#view.isForgotten(facts.nodeId)) return
    const before = table.get(facts.nodeId)?.record
    this.#beliefs.meet(facts)
    const peer = table.get(facts.nodeId)
    if (peer === undefined) return
    peer.lastHeardMs = nowMs
    const isNews = dialled !== null && (before === undefined || !isUp(before.state))
    const isUseful = isUp(peer.record.state) && (isNews || !this.#dissemination.hasSynced)
    if (isUseful) this.#dissemination.wantSync(facts.nodeId)
    if (isSameLife(peer.record, facts)) this.#tellTruth(facts.nodeId)
    else this.#view.tell(facts.nodeId, [peer.record])
  }

  #learn(input: Extract<MembershipInput, { type: 'learn' }>): void {
    const unknown = { generation: 0, bootNonce: '', meta: { zone: '', weight: 1, version: '' } }
    const { self, table } = this.#view
    for (const { nodeId, address } of input.peers) {
      if (nodeId === self.nodeId || table.get(nodeId) !== undefined) continue
      const record = { ...unknown, nodeId, address, incarnation: 0, state: 'dead', accusers: [] } as const
      this.#beliefs.hear(record, self.nodeId, false)
    }
    this.#reconnection.hurry()
  }

  #forget(nodeIds: readonly NodeId[]): void {
    for (const nodeId of nodeIds) {
      if (nodeId === this.#view.self.nodeId || this.#view.isForgotten(nodeId)) continue
      const before = this.get(nodeId)
      this.#detector.forget(nodeId)
      this.#view.forget(nodeId)
      if (before !== null) this.#view.output({ type: 'changed', nodeId, before, after: null })
    }
  }

  #dropStrangers(): void {
    const { nowMs, table, options, self } = this.#view
    if (!this.#view.isSweepDue && nowMs < this.#nextSweepMs) return
    this.#view.isSweepDue = false
    this.#nextSweepMs = nowMs + STRANGER_SWEEP_MS
    if (table.upCount === 0 || table.downCount === 0) return
    const everyone = [...table.values()]
    const strangers = everyone.filter(({ record }) => {
      return !isUp(record.state) && this.#view.isStranger(record.nodeId)
    })
    if (strangers.length === 0) return
    const up = everyone.filter(({ record }) => isUp(record.state))
    const taken = new Set([self.address, ...up.map(({ record }) => record.address)])
    for (const peer of strangers) {
      const { nodeId, address } = peer.record
      if (nowMs - peer.changedAtMs < options.strangerMemoryMs && !taken.has(address)) continue
      const before = viewOf(peer)
      this.#detector.forget(nodeId)
      this.#view.drop(nodeId)
      this.#view.output({ type: 'changed', nodeId, before, after: null })
    }
  }

  #leave(): void {
    if (this.#view.isLeaving) return
    this.#view.changeSelf({ state: 'left' })
    for (const peer of this.#view.table.choose(MAX_FAREWELLS, (candidate) => isUp(candidate.record.state))) {
      this.#view.tell(peer.record.nodeId, [this.#view.self])
    }
  }
}
