/**
 * Our links to the other peers: at most a pair per peer and purpose, whoever dialled. Sending dials when
 * there is none; a link that owes an answer and stays silent is cut, because a socket across a one-way cut
 * stays open and buffers without end.
 */
import { text } from '../base/bytes.ts'
import { HASH_NAME } from '../base/hash.ts'
import type { Address, ClusterId, NodeId } from '../base/ids.ts'
import type { Timer } from '../effects/clock.ts'
import type { Effects } from '../effects/effects.ts'
import type { CloseCause, Link, LinkPurpose } from '../effects/network.ts'
import { PROTOCOL_VERSION } from '../wire/frame.ts'
import type {
  Hello,
  KnownLife,
  KnownPlaces,
  PeerFacts,
  Refusal,
  Welcome,
} from '../wire/handshake-messages.ts'
import type { PeerMessage } from '../wire/peer-messages.ts'
import { isOutranked, UNKNOWN_LIFE } from './newest-life.ts'
import { PeerLink, type PeerLinkOwner } from './peer-link.ts'

const SILENCE_LIMIT_MS = 3000
const SWEEP_INTERVAL_MS = 500
/** After a failed dial the next one to that address waits: 100 ms, doubling to this. */
const MAX_BACKOFF_MS = 1000
/** More unsent bytes than this, and the other side is not reading. */
const MAX_BUFFERED_BYTES = 64 * 1024 * 1024

/**
 * What we tell others about ourselves; a function, because the cluster is learnt later and the address with
 * the port.
 */
export interface SelfFacts {
  readonly clusterId: ClusterId | null
  readonly partitionCount: number
  readonly nodeId: NodeId
  readonly generation: number
  readonly bootNonce: string
  readonly address: Address
  readonly zone: string
  readonly weight: number
  readonly version: string
  /** `EraFacts` of this peer. */
  readonly era: number
  readonly closedBelow: number
}

export interface LinksHandler {
  self(): SelfFacts
  /** Removed peers stay away. */
  isBarred(nodeId: NodeId): boolean
  /** Of another node, the newest life that was ever heard of; null: none. */
  newestLife(nodeId: NodeId): KnownLife | null
  /** The newest one that ever shook hands here; null: none. */
  newestMet(nodeId: NodeId): KnownLife | null
  /** Who is a member of the cluster, this peer included, and where. */
  places(): KnownPlaces
  /** A handshake went well. `dialled`: the address, when the dial was ours. */
  met(facts: PeerFacts, dialled: Address | null): void
  received(from: NodeId, message: PeerMessage, link: PeerLink): void
  /** A link to a peer ended, or a dial to the place where it was to be failed. */
  lost(nodeId: NodeId, link: PeerLink, cause: CloseCause): void
  /**
   * A dial ended without a handshake. `refusal`: one of the two would not; null: nobody answered, or not with
   * sense. `why`: in words for people.
   */
  dialFailed(address: Address, refusal: Refusal | null, why: string): void
}

const CAUSE_WORDS: Readonly<Record<CloseCause, string>> = {
  refused: 'nobody listens there',
  closed: 'the connection was closed',
  lost: 'no answer',
}

interface Backoff {
  readonly untilMs: number
  readonly delayMs: number
}

export class Links implements PeerLinkOwner {
  readonly #effects: Pick<Effects, 'clock' | 'network' | 'log'>
  readonly #handler: LinksHandler
  readonly #all = new Set<PeerLink>()
  /** Links that were sent something that wants an answer. */
  readonly #awaiting = new Set<PeerLink>()
  /** Every link to a peer, or being dialled to it. */
  readonly #ofNode = new Map<NodeId, Set<PeerLink>>()
  /** The one to send on, open or being dialled, by purpose and node. */
  readonly #byNode = { control: new Map<NodeId, PeerLink>(), data: new Map<NodeId, PeerLink>() }
  readonly #backoffs = new Map<Address, Backoff>()
  #sweepTimer: Timer | null = null
  #isStopped = false

  constructor(effects: Pick<Effects, 'clock' | 'network' | 'log'>, handler: LinksHandler) {
    this.#effects = effects
    this.#handler = handler
  }

  /** Takes a link that a peer dialled. */
  accept(link: Link, purpose: LinkPurpose): void {
    const peerLink = new PeerLink(this, this.#effects.clock, purpose, null)
    this.#begin(peerLink)
    peerLink.channel.attach(link)
    link.setHandler(peerLink.channel)
  }

  /** Finds out who is at an address; the handler's `met` tells. */
  dial(address: Address): void {
    if (this.#mayDial(address)) this.#dial(address, null, 'control')
  }

  /**
   * The link that would carry a message now, dialled when there is none; null when the last dial failed a
   * moment ago.
   */
  to(nodeId: NodeId, address: Address, purpose: 'control' | 'data'): PeerLink | null {
    const existing = this.#byNode[purpose].get(nodeId)
    if (existing !== undefined) return existing
    if (this.#isStopped || !this.#mayDial(address)) return null
    const link = this.#dial(address, nodeId, purpose)
    if (!link.isClosed) this.#byNode[purpose].set(nodeId, link)
    return link
  }

  /** Sends on a link and holds it to an answer. False: dropped. */
  ask(link: PeerLink, message: PeerMessage, payloadBytes: number): boolean {
    if (!link.send(message, payloadBytes)) return false
    link.expectAnswer(this.#effects.clock.monotonic())
    this.#awaiting.add(link)
    this.#sweepTimer ??= this.#effects.clock.setTimer(SWEEP_INTERVAL_MS, this.#sweep)
    return true
  }

  /** Ends every link to a peer: it was declared dead, or removed. */
  cut(nodeId: NodeId, reason: string): void {
    for (const link of [...(this.#ofNode.get(nodeId) ?? [])]) link.terminate(reason)
  }

  stop(): void {
    this.#isStopped = true
    this.#sweepTimer?.cancel()
    this.#sweepTimer = null
    for (const link of [...this.#all]) link.close()
  }

  hello(expects: NodeId | null): Hello {
    return { ...this.#facts(), type: 'hello', expects }
  }

  judge(
    facts: PeerFacts,
    expects: NodeId | null,
    isOurDial: boolean,
  ): Welcome | { readonly refused: Refusal } {
    const refused = this.#objection(facts, expects, isOurDial)
    return refused === null ? { ...this.#facts(), type: 'welcome' } : { refused }
  }

  lifeOf(nodeId: NodeId): KnownLife {
    const self = this.#handler.self()
    if (nodeId !== self.nodeId) return this.#handler.newestLife(nodeId) ?? UNKNOWN_LIFE
    if (this.#isStopped) return UNKNOWN_LIFE
    const { generation, bootNonce, address } = self
    return { generation, bootNonce, isUp: true, isSelf: true, address }
  }

  places(): KnownPlaces {
    return this.#handler.places()
  }

  /** A bug of ours, or a disk from before there was a limit. */
  unsendable(link: PeerLink, message: PeerMessage, why: string): void {
    const to = link.facts?.nodeId ?? link.expects
    const key = 'key' in message ? text(message.key) : null
    this.#effects.log.error('link.unsendable', { to, type: message.type, key, why })
  }

  opened(link: PeerLink): void {
    const facts = link.facts
    if (facts === null || link.purpose === 'client') return
    if (link.dialledAddress !== null) this.#backoffs.delete(link.dialledAddress)
    for (const other of [...this.#note(facts.nodeId, link)]) {
      if (other.facts !== null && other.facts.generation < facts.generation) other.terminate('restarted')
    }
    const links = this.#byNode[link.purpose]
    const existing = links.get(facts.nodeId)
    // Two peers may dial each other at once: both links live, and both sides send on the one the smaller id
    // dialled.
    if (
      existing === undefined ||
      !existing.isOpen ||
      this.#dialler(link, facts) < this.#dialler(existing, facts)
    ) {
      links.set(facts.nodeId, link)
    }
    this.#handler.met(facts, link.dialledAddress)
  }

  received(link: PeerLink, message: PeerMessage): void {
    if (link.facts !== null) this.#handler.received(link.facts.nodeId, message, link)
  }

  closed(link: PeerLink, cause: CloseCause, why: string | null): void {
    this.#all.delete(link)
    this.#awaiting.delete(link)
    const nodeId = link.facts?.nodeId ?? link.expects
    if (link.dialledAddress !== null && link.facts === null) {
      this.#backOff(link.dialledAddress)
      this.#handler.dialFailed(link.dialledAddress, link.refusal, why ?? CAUSE_WORDS[cause])
    }
    if (nodeId === null || link.purpose === 'client') return
    const others = this.#ofNode.get(nodeId)
    others?.delete(link)
    if (others?.size === 0) this.#ofNode.delete(nodeId)
    const links = this.#byNode[link.purpose]
    if (links.get(nodeId) === link) {
      links.delete(nodeId)
      for (const other of others ?? []) {
        if (other.isOpen && other.purpose === link.purpose) links.set(nodeId, other)
      }
    }
    if (!this.#isStopped) this.#handler.lost(nodeId, link, cause)
  }

  #objection(facts: PeerFacts, expects: NodeId | null, isOurDial: boolean): Refusal | null {
    const self = this.#handler.self()
    const { nodeId, clusterId, protocolVersion, hashName, partitionCount } = facts
    const refusal = (kind: Refusal['kind'], reason: string): Refusal => ({ kind, reason })
    if (this.#isStopped) return refusal('stopping', 'this peer is stopping')
    if (protocolVersion !== PROTOCOL_VERSION) {
      const advice = 'run the same kvnode version'
      return refusal(
        'version',
        `protocol version ${protocolVersion}, here it is ${PROTOCOL_VERSION}: ${advice}`,
      )
    }
    if (hashName !== HASH_NAME) return refusal('hash', `hash ${hashName}, here it is ${HASH_NAME}`)
    if (nodeId === self.nodeId) return refusal('self', 'this address is that of the peer itself')
    if (expects !== null && expects !== self.nodeId) {
      return refusal('somebodyElse', `node ${expects} was expected here, but this is ${self.nodeId}`)
    }
    if (clusterId !== null && self.clusterId !== null && clusterId !== self.clusterId) {
      return refusal(
        'otherCluster',
        `cluster ${clusterId}, here it is ${self.clusterId}: these are two clusters`,
      )
    }
    // A peer without a cluster joins that of the peers it was told of, not that of whoever dials its address.
    if (self.clusterId === null && (clusterId === null || !isOurDial)) {
      return refusal('noCluster', 'this peer is in no cluster yet')
    }
    if (partitionCount !== 0 && self.partitionCount !== 0 && partitionCount !== self.partitionCount) {
      return refusal('partitions', `${partitionCount} partitions, here there are ${self.partitionCount}`)
    }
    // One we dialled is not told, here and below: it finds out when it dials. And what we say is not of us.
    if (this.#handler.isBarred(nodeId)) {
      const reason = `node ${nodeId} was removed from this cluster and cannot come back`
      return refusal(isOurDial ? 'somebodyElse' : 'removed', reason)
    }
    // What others say of a newer one may be wrong: it is for those who can ask there (`life-claims.ts`).
    const newest = this.#handler.newestMet(nodeId)
    if (newest === null || !isOutranked(facts, newest)) return null
    const where = `${newest.isUp ? 'runs' : 'ran'} as generation ${newest.generation} at ${newest.address}`
    return refusal(isOurDial ? 'somebodyElse' : 'outranked', `node ${nodeId} ${where}`)
  }

  #facts(): PeerFacts {
    return { ...this.#handler.self(), protocolVersion: PROTOCOL_VERSION, hashName: HASH_NAME }
  }

  #dialler(link: PeerLink, facts: PeerFacts): NodeId {
    return link.dialledAddress === null ? facts.nodeId : this.#handler.self().nodeId
  }

  #dial(address: Address, expects: NodeId | null, purpose: 'control' | 'data'): PeerLink {
    const link = new PeerLink(this, this.#effects.clock, purpose, { address, expects })
    this.#begin(link)
    link.channel.attach(this.#effects.network.dial(address, purpose, link.channel))
    return link
  }

  #begin(link: PeerLink): void {
    this.#all.add(link)
    if (link.expects !== null) this.#note(link.expects, link)
  }

  /** @returns all links of the peer, this one among them */
  #note(nodeId: NodeId, link: PeerLink): ReadonlySet<PeerLink> {
    const links = this.#ofNode.get(nodeId) ?? new Set()
    this.#ofNode.set(nodeId, links.add(link))
    return links
  }

  #mayDial(address: Address): boolean {
    const backoff = this.#backoffs.get(address)
    return !this.#isStopped && (backoff === undefined || backoff.untilMs <= this.#effects.clock.monotonic())
  }

  #backOff(address: Address): void {
    const delayMs = Math.min(MAX_BACKOFF_MS, 2 * (this.#backoffs.get(address)?.delayMs ?? 50))
    this.#backoffs.set(address, { delayMs, untilMs: this.#effects.clock.monotonic() + delayMs })
  }

  readonly #sweep = (): void => {
    this.#sweepTimer = null
    const now = this.#effects.clock.monotonic()
    for (const link of [...this.#awaiting]) {
      const silenceMs = link.silenceMs(now)
      if (silenceMs === null) this.#awaiting.delete(link)
      else if (silenceMs > SILENCE_LIMIT_MS) link.terminate('silent for too long')
      else if (link.channel.bufferedBytes > MAX_BUFFERED_BYTES)
        link.terminate('does not read what it is sent')
    }
    for (const [address, backoff] of this.#backoffs) {
      if (backoff.untilMs + 10 * MAX_BACKOFF_MS < now) this.#backoffs.delete(address)
    }
    if (this.#awaiting.size > 0 && !this.#isStopped) {
      this.#sweepTimer = this.#effects.clock.setTimer(SWEEP_INTERVAL_MS, this.#sweep)
    }
  }
}
