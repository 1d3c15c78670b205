/**
 * What is believed of whom, and why it changes: SWIM (Das, Gupta, Motivala 2002), section 4.2, with the order
 * of `peer.ts`.
 *
 * Invariant: a record is only ever replaced by one that outranks it; only a peer itself raises its
 * incarnation. Therefore whatever was said of a peer that is well, it can take back, and whoever hears it
 * take it back stays convinced.
 *
 * Deviations from SWIM: a suspect is told so at once by each accuser, and whoever holds a peer for dead says
 * so when it speaks up (the "buddy system" of Lifeguard, section IV-C, widened); somebody we hold for dead
 * has no vote on others; a "dead" learnt by push-pull is old news of unknown worth and counts as a suspicion
 * (hashicorp/memberlist).
 */
import type { NodeId } from '../../base/ids.ts'
import { MAX_MEMBERS } from '../configuration.ts'
import type { LocalView } from './local-view.ts'
import {
  compareBeliefs,
  isPlausibleGeneration,
  isUp,
  MAX_ACCUSERS,
  type PeerIdentity,
  type PeerRecord,
} from './peer.ts'
import { type Peer, viewOf } from './peer-table.ts'
import { startSuspicion, suspicionDeadlineMs } from './suspicion.ts'

export class Beliefs {
  readonly #view: LocalView

  constructor(view: LocalView) {
    this.#view = view
  }

  /** Takes in what `from` says of somebody. `passOn`: it is news to others too. */
  hear(claim: PeerRecord, from: NodeId, passOn = true): void {
    const view = this.#view
    if (view.isForgotten(claim.nodeId)) return
    const isSelf = claim.nodeId === view.self.nodeId
    const known = isSelf ? view.self : view.table.get(claim.nodeId)?.record
    if (!isPlausibleGeneration(claim.generation, known?.generation ?? null)) return
    if (isSelf) {
      this.#hearOfSelf(claim, from)
      return
    }
    if (claim.state !== 'alive' && claim.nodeId !== from && this.#holdsForDead(from)) return
    const peer = view.table.get(claim.nodeId)
    if (peer === undefined) {
      // Or those who forget a dead stranger at different times would remind each other for ever.
      const isOver = !isUp(claim.state) && from !== view.self.nodeId && view.isStranger(claim.nodeId)
      if (!isOver) this.#introduce(claim, passOn)
      return
    }
    const rank = compareBeliefs(claim, peer.record)
    if (rank > 0) this.#adopt(peer, claim, passOn)
    else if (rank === 0 && claim.state === 'suspect') this.#confirm(peer, claim.accusers)
  }

  /** The same for a record out of a full state. */
  hearInFull(claim: PeerRecord, from: NodeId, passOn: boolean): void {
    const isKnown = this.#view.table.get(claim.nodeId) !== undefined
    if (claim.state !== 'dead') this.hear(claim, from, passOn)
    else if (isKnown || claim.nodeId === this.#view.self.nodeId) {
      this.hear({ ...claim, state: 'suspect', accusers: [from] }, from, passOn)
    } else this.hear(claim, from, false)
  }

  /** A handshake with somebody: that life is alive, or was at least born. */
  meet(facts: PeerIdentity): void {
    this.hear({ ...facts, incarnation: 0, state: 'alive', accusers: [] }, facts.nodeId)
  }

  /** Our probe of this life failed, begun when its incarnation was the given one. */
  accuse(peer: Peer, incarnation: number): void {
    const { self } = this.#view
    this.hear({ ...peer.record, incarnation, state: 'suspect', accusers: [self.nodeId] }, self.nodeId)
    if (peer.record.state === 'suspect') this.#view.tell(peer.record.nodeId, [peer.record])
  }

  declareDead(peer: Peer): void {
    this.#adopt(peer, { ...peer.record, state: 'dead', accusers: [] }, true)
  }

  /** Suspects whose time is up are dead. */
  expireSuspicions(): void {
    for (const peer of [...this.#view.table.suspects]) {
      if (this.#deadlineMs(peer) <= this.#view.nowMs) this.declareDead(peer)
    }
  }

  get nextExpiryMs(): number {
    let next = Number.POSITIVE_INFINITY
    for (const peer of this.#view.table.suspects) next = Math.min(next, this.#deadlineMs(peer))
    return next
  }

  /** Time in which we did not run does not count against anybody. */
  postpone(byMs: number): void {
    for (const peer of this.#view.table.suspects) {
      if (peer.suspicion === null) continue
      peer.suspicion = { ...peer.suspicion, startedAtMs: peer.suspicion.startedAtMs + byMs }
    }
  }

  /** Says that we are alive, above whatever was said so far. */
  refute(claimedIncarnation: number): void {
    const incarnation = Math.max(claimedIncarnation, this.#view.self.incarnation) + 1
    this.#view.changeSelf({ incarnation })
  }

  /** The same above a life that is no other one of ours. */
  rise(generation: number): void {
    const { self } = this.#view
    if (generation > self.generation) this.#view.changeSelf({ generation, incarnation: 0 })
  }

  #hearOfSelf(claim: PeerRecord, from: NodeId): void {
    const view = this.#view
    const { self } = view
    const { generation, bootNonce, address } = claim
    if (generation > self.generation || (generation === self.generation && bootNonce !== self.bootNonce)) {
      view.output({ type: 'outranked', generation, bootNonce, address })
      return
    }
    if (view.isLeaving) return
    const isOutdated = generation < self.generation || claim.incarnation < self.incarnation
    if (!isOutdated) {
      if (claim.state === 'alive' && claim.incarnation === self.incarnation) return
      this.refute(claim.incarnation)
      view.health.worsen(1)
    } else if (claim.state === 'alive' && generation === self.generation) return
    view.tell(from, [view.self])
  }

  #introduce(record: PeerRecord, passOn: boolean): void {
    const { table, options, upCount, nowMs, broadcasts } = this.#view
    if (table.size >= MAX_MEMBERS) return
    const peer = table.insert(record, nowMs)
    if (record.state === 'suspect') table.replace(peer, record, startSuspicion(options, upCount + 1, nowMs))
    if (passOn) broadcasts.add(record.nodeId)
    this.#view.isSweepDue ||= isUp(record.state) && table.downCount > 0
    this.#view.output({ type: 'changed', nodeId: record.nodeId, before: null, after: viewOf(peer) })
  }

  #adopt(peer: Peer, record: PeerRecord, passOn: boolean): void {
    const { table, options, upCount, nowMs, broadcasts } = this.#view
    const before = viewOf(peer)
    const isSuspect = record.state === 'suspect'
    table.replace(peer, record, isSuspect ? startSuspicion(options, upCount, nowMs) : null)
    if (record.state === 'alive' || !isSameLife(before, record)) peer.refusedAtMs = null
    if (passOn) broadcasts.add(record.nodeId)
    if (before.state === record.state && isSameLife(before, record)) return
    peer.changedAtMs = nowMs
    this.#view.isSweepDue ||= !isUp(record.state) && this.#view.isStranger(record.nodeId)
    this.#view.output({ type: 'changed', nodeId: record.nodeId, before, after: viewOf(peer) })
  }

  /** Others accuse a suspect too. */
  #confirm(peer: Peer, accusers: readonly NodeId[]): void {
    const all = [...new Set([...peer.record.accusers, ...accusers])].slice(0, MAX_ACCUSERS)
    if (all.length === peer.record.accusers.length) return
    this.#view.table.replace(peer, { ...peer.record, accusers: all }, peer.suspicion)
    this.#view.broadcasts.add(peer.record.nodeId)
  }

  #holdsForDead(nodeId: NodeId): boolean {
    const peer = this.#view.table.get(nodeId)
    return peer !== undefined && !isUp(peer.record.state)
  }

  #deadlineMs(peer: Peer): number {
    if (peer.suspicion === null) return Number.POSITIVE_INFINITY
    return suspicionDeadlineMs(peer.suspicion, peer.record.accusers.length)
  }
}

/** Evidence is about a life: a nodeId, its generation, and the address where it is. */
export function isSameLife(a: PeerIdentity, b: Pick<PeerIdentity, 'generation' | 'address'>): boolean {
  return a.generation === b.generation && a.address === b.address
}
