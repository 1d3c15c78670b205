/**
 * Who answers and who does not: SWIM (Das, Gupta, Motivala 2002), section 3, with Lifeguard's local health
 * (Dadgar, Phillips, Currey 2017, section IV-A). Ping the next peer; without an ack in time let others ping
 * it; without an ack from them either, suspect it.
 *
 * A closed link starts the same at once, with all helpers asked together with the ping. When its host refuses
 * connections, seen by us and by every helper asked (one at least, when there are others), the process is
 * gone and is declared dead without a suspicion. Silence is never a refusal: a process that was stopped, or a
 * cut cable, looks silent.
 *
 * Invariant: every verdict is about the life (nodeId, generation, address) that was probed; when the record
 * has moved on it is dropped.
 */
import type { Address, NodeId } from '../../base/ids.ts'
import { type Beliefs, isSameLife } from './beliefs.ts'
import { type LocalView, MAX_PIGGYBACK_UPDATES } from './local-view.ts'
import type { LinkEnd, MembershipMessage } from './messages.ts'
import { isUp, type PeerRecord } from './peer.ts'
import type { Peer } from './peer-table.ts'

type Ack = Extract<MembershipMessage, { type: 'ack' }>
type Nack = Extract<MembershipMessage, { type: 'nack' }>
type PingReq = Extract<MembershipMessage, { type: 'pingReq' }>

/**
 * A helper nacks after this share of the time there is, so that the nack arrives before its end: Lifeguard,
 * section IV-A.
 */
const HELPER_WAIT_SHARE = 0.8
/**
 * A refusal tells as long that nobody listens there. It concerns a life, which does not begin to listen
 * again.
 */
const REFUSAL_VALID_MS = 1000
/** Pings under way for others. More are not taken on: those who asked get no nack and blame themselves. */
const MAX_ERRANDS = 1024

type HelperAnswer = 'none' | 'silent' | 'refused'

interface Probe {
  readonly seq: number
  /** `round`: its turn has come. `urgent`: its link closed. `redial`: it is dead, maybe it is back. */
  readonly kind: 'round' | 'urgent' | 'redial'
  /** As it was when the probe began. */
  readonly target: PeerRecord
  /** When helpers are asked; infinite once they were. */
  askAtMs: number
  deadlineMs: number
  isRefused: boolean
  /** The ping may have gone down with a link, and was sent once more. */
  isRepeated: boolean
  readonly helpers: Map<NodeId, HelperAnswer>
}

/** A ping on behalf of somebody else. */
interface Errand {
  readonly seq: number
  readonly asker: NodeId
  readonly request: PingReq
  deadlineMs: number
  isRepeated: boolean
}

export class FailureDetector {
  readonly #view: LocalView
  readonly #beliefs: Beliefs
  /** Called when a peer that was dead answers. */
  readonly #revived: (nodeId: NodeId) => void
  readonly #probes = new Map<NodeId, Probe>()
  readonly #errands = new Map<number, Errand>()
  #nextRoundMs = Number.POSITIVE_INFINITY
  #roundTarget: NodeId | null = null

  constructor(view: LocalView, beliefs: Beliefs, revived: (nodeId: NodeId) => void) {
    this.#view = view
    this.#beliefs = beliefs
    this.#revived = revived
  }

  start(staggerMs: number): void {
    this.#nextRoundMs = this.#view.nowMs + staggerMs
  }

  get nextWakeMs(): number {
    let next = this.#view.table.upCount > 0 ? this.#nextRoundMs : Number.POSITIVE_INFINITY
    for (const probe of this.#probes.values()) next = Math.min(next, probe.askAtMs, probe.deadlineMs)
    for (const errand of this.#errands.values()) next = Math.min(next, errand.deadlineMs)
    return next
  }

  /** Does what is due. */
  wake(): void {
    const { nowMs } = this.#view
    for (const probe of [...this.#probes.values()]) {
      if (probe.deadlineMs <= nowMs) this.#fail(probe)
      else if (probe.askAtMs <= nowMs) this.#askHelpers(probe)
    }
    for (const errand of [...this.#errands.values()]) {
      if (errand.deadlineMs <= nowMs) this.#finishErrand(errand, false)
    }
    if (this.#nextRoundMs <= nowMs) {
      this.#nextRoundMs = nowMs + this.#view.options.probeIntervalMs
      this.#probeNext()
    }
  }

  /** Time in which we did not run does not count against anybody. */
  postpone(byMs: number): void {
    for (const probe of this.#probes.values()) {
      probe.askAtMs += byMs
      probe.deadlineMs += byMs
    }
    for (const errand of this.#errands.values()) errand.deadlineMs += byMs
  }

  /** Asks a dead peer whether it is back. */
  redial(peer: Peer): void {
    if (!this.#probes.has(peer.record.nodeId)) this.#begin(peer, 'redial')
  }

  forget(nodeId: NodeId): void {
    const probe = this.#probes.get(nodeId)
    if (probe !== undefined) this.#close(probe)
  }

  linkClosed(nodeId: NodeId, cause: LinkEnd, address: Address | null): void {
    const peer = this.#view.table.get(nodeId)
    if (peer === undefined || (address !== null && address !== peer.record.address)) return
    if (cause === 'refused') this.#refused(peer)
    else this.#repeat(peer)
    const probe = this.#probes.get(nodeId)
    if (probe !== undefined) this.#hurry(probe)
    else if (isUp(peer.record.state)) this.#begin(peer, 'urgent')
  }

  onAck(from: NodeId, ack: Ack): void {
    const errand = this.#errands.get(ack.seq)
    if (errand !== undefined && errand.request.target === from) {
      this.#errands.delete(ack.seq)
      const configuration = this.#view.configurationNumber
      const { seq } = errand.request
      const { generation } = ack
      this.#view.send(errand.asker, { type: 'ack', seq, generation, configuration, updates: [] })
      return
    }
    for (const probe of this.#probes.values()) {
      if (probe.seq !== ack.seq) continue
      if (probe.target.nodeId === from || probe.helpers.has(from)) this.#succeed(probe, ack)
      return
    }
  }

  onNack(from: NodeId, nack: Nack): void {
    for (const probe of this.#probes.values()) {
      if (probe.seq !== nack.seq || !probe.helpers.has(from)) continue
      probe.helpers.set(from, nack.refused ? 'refused' : 'silent')
      this.#judge(probe)
      return
    }
  }

  onPingReq(from: NodeId, request: PingReq): void {
    const view = this.#view
    if (this.#errands.size >= MAX_ERRANDS || view.isForgotten(request.target)) return
    const peer = view.table.get(request.target)
    if (peer !== undefined && isSameLife(peer.record, request) && this.#isRefused(peer)) {
      view.send(from, { type: 'nack', seq: request.seq, refused: true })
      return
    }
    const errand: Errand = {
      seq: view.nextSeq(),
      asker: from,
      request,
      deadlineMs: view.nowMs + request.waitMs,
      isRepeated: false,
    }
    this.#errands.set(errand.seq, errand)
    this.#runErrand(errand)
  }

  #probeNext(): void {
    // One probe of the round at a time: when ours are slow, let there be fewer.
    if (this.#roundTarget !== null) return
    const peer = this.#view.table.nextToProbe()
    if (peer === null || this.#probes.has(peer.record.nodeId)) return
    this.#begin(peer, 'round')
    this.#roundTarget = peer.record.nodeId
  }

  #begin(peer: Peer, kind: Probe['kind']): void {
    const { options, health, nowMs } = this.#view
    const probe: Probe = {
      seq: this.#view.nextSeq(),
      kind,
      target: peer.record,
      askAtMs: kind === 'redial' ? Number.POSITIVE_INFINITY : nowMs + options.ackTimeoutMs * health.stretch,
      deadlineMs: nowMs + options.probeIntervalMs * health.stretch,
      isRefused: this.#isRefused(peer),
      isRepeated: false,
      helpers: new Map(),
    }
    this.#probes.set(peer.record.nodeId, probe)
    this.#ping(probe)
    if (kind === 'urgent') this.#askHelpers(probe)
  }

  /** A suspect, or one that we hold for dead, is told so with the ping: Lifeguard, section IV-C. */
  #ping(probe: Probe): void {
    const { nodeId, address, generation } = probe.target
    const updates = this.#view.takeNews(MAX_PIGGYBACK_UPDATES)
    const record = this.#view.table.get(nodeId)?.record
    if (record !== undefined && record.state !== 'alive' && !updates.includes(record)) updates.push(record)
    const configuration = this.#view.configurationNumber
    this.#view.sendAt(nodeId, address, { type: 'ping', seq: probe.seq, generation, configuration, updates })
  }

  #askHelpers(probe: Probe): void {
    probe.askAtMs = Number.POSITIVE_INFINITY
    const wanted = this.#view.options.helperCount
    const helpers = this.#view.table.choose(wanted, (peer) => this.#canHelp(peer, probe))
    for (const helper of helpers) this.#askHelper(probe, helper.record.nodeId)
    this.#judge(probe)
  }

  #askHelper(probe: Probe, helper: NodeId): void {
    const { nodeId, generation, address } = probe.target
    const remainingMs = probe.deadlineMs - this.#view.nowMs
    const waitMs = Math.max(1, Math.floor(HELPER_WAIT_SHARE * remainingMs))
    probe.helpers.set(helper, 'none')
    this.#view.send(helper, { type: 'pingReq', seq: probe.seq, target: nodeId, generation, address, waitMs })
  }

  #canHelp(peer: Peer, probe: Probe): boolean {
    const { nodeId, state } = peer.record
    if (state !== 'alive' || nodeId === probe.target.nodeId || probe.helpers.has(nodeId)) return false
    return !this.#isRefused(peer) && this.#probes.get(nodeId)?.kind !== 'urgent'
  }

  /** Something is wrong with the link to it: do not wait for the ack before others are asked. */
  #hurry(probe: Probe): void {
    if (probe.kind !== 'redial' && probe.askAtMs !== Number.POSITIVE_INFINITY) this.#askHelpers(probe)
    else this.#judge(probe)
  }

  /** A link is gone, and with it perhaps what was on its way: pings are sent once more. */
  #repeat(peer: Peer): void {
    const { nodeId } = peer.record
    const probe = this.#probes.get(nodeId)
    if (probe !== undefined && !probe.isRepeated) {
      probe.isRepeated = true
      this.#ping(probe)
    }
    for (const errand of this.#errands.values()) {
      if (errand.request.target !== nodeId || errand.isRepeated) continue
      errand.isRepeated = true
      this.#runErrand(errand)
    }
  }

  #refused(peer: Peer): void {
    const { nodeId } = peer.record
    peer.refusedAtMs = this.#view.nowMs
    const probe = this.#probes.get(nodeId)
    if (probe !== undefined && isSameLife(probe.target, peer.record)) probe.isRefused = true
    for (const errand of [...this.#errands.values()]) {
      if (errand.request.target === nodeId && isSameLife(peer.record, errand.request))
        this.#finishErrand(errand, true)
    }
    for (const other of [...this.#probes.values()]) {
      if (other.helpers.get(nodeId) !== 'none') continue
      // A helper that refuses connections was not asked at all: another takes its place.
      other.helpers.delete(nodeId)
      const [instead] = this.#view.table.choose(1, (candidate) => this.#canHelp(candidate, other))
      if (instead !== undefined) this.#askHelper(other, instead.record.nodeId)
      this.#judge(other)
    }
  }

  /** Dead, when it is certain that its process is gone. */
  #judge(probe: Probe): void {
    if (!probe.isRefused) return
    if (probe.kind === 'redial') {
      this.#close(probe)
      return
    }
    if (probe.askAtMs !== Number.POSITIVE_INFINITY) return
    for (const answer of probe.helpers.values()) if (answer !== 'refused') return
    const peer = this.#view.table.get(probe.target.nodeId)
    if (probe.helpers.size === 0 && this.#view.table.upCount > 1) return
    this.#close(probe)
    if (peer !== undefined && isUp(peer.record.state) && isSameLife(peer.record, probe.target)) {
      this.#beliefs.declareDead(peer)
    }
  }

  #succeed(probe: Probe, ack: Ack): void {
    this.#close(probe)
    const { nodeId, generation } = probe.target
    // Another life answered: that is no news of this one.
    if (ack.generation !== generation && probe.kind !== 'redial') return
    const peer = this.#view.table.get(nodeId)
    if (peer !== undefined) {
      peer.lastHeardMs = this.#view.nowMs
      peer.refusedAtMs = null
    }
    if (probe.kind === 'redial') this.#revived(nodeId)
    else this.#view.health.improve()
  }

  #fail(probe: Probe): void {
    this.#close(probe)
    if (probe.kind === 'redial') return
    const answers = [...probe.helpers.values()]
    const missing = answers.filter((answer) => answer === 'none').length
    this.#view.health.worsen(answers.length > 0 ? missing : 1)
    const peer = this.#view.table.get(probe.target.nodeId)
    if (peer === undefined || !isUp(peer.record.state) || !isSameLife(peer.record, probe.target)) return
    this.#beliefs.accuse(peer, probe.target.incarnation)
  }

  #close(probe: Probe): void {
    const { nodeId } = probe.target
    if (this.#probes.get(nodeId) === probe) this.#probes.delete(nodeId)
    if (this.#roundTarget === nodeId) this.#roundTarget = null
  }

  #runErrand(errand: Errand): void {
    const { target, address, generation } = errand.request
    const configuration = this.#view.configurationNumber
    this.#view.sendAt(target, address, {
      type: 'ping',
      seq: errand.seq,
      generation,
      configuration,
      updates: [],
    })
  }

  #finishErrand(errand: Errand, refused: boolean): void {
    this.#errands.delete(errand.seq)
    this.#view.send(errand.asker, { type: 'nack', seq: errand.request.seq, refused })
  }

  #isRefused(peer: Peer): boolean {
    return peer.refusedAtMs !== null && this.#view.nowMs - peer.refusedAtMs <= REFUSAL_VALID_MS
  }
}
