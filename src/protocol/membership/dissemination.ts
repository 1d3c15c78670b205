/**
 * How news travels: a few random peers are told every so often (SWIM, section 4.1, and hashicorp/memberlist's
 * separate gossip), and now and then two peers compare everything they believe, which repairs what gossip
 * missed (anti-entropy, memberlist's push-pull).
 *
 * Deviations: newcomers compare more often; nothing is sent when there is no news; a push-pull begins by
 * comparing digests and goes on only when they differ; the reply to a full state holds only what outranks it.
 */
import type { NodeId } from '../../base/ids.ts'
import type { Prng } from '../../base/prng.ts'
import type { Beliefs } from './beliefs.ts'
import { type LocalView, MAX_GOSSIP_UPDATES } from './local-view.ts'
import type { MembershipMessage } from './messages.ts'
import { compareBeliefs, isUp, type PeerRecord } from './peer.ts'
import { pushPullIntervalMs } from './timing.ts'

type PushPull = Extract<MembershipMessage, { type: 'pushPull' }>
type Compare = Extract<MembershipMessage, { type: 'compare' }>

/**
 * When many join at once, gossip misses some; so a newcomer compares after this long, then at doubling
 * intervals up to the usual one.
 */
const FIRST_PUSH_PULL_MS = 1000
/**
 * Whoever meets many at once, at a common start or when a partition heals, exchanges full states with one of
 * them, and with the next one only after this: it has the same to say.
 */
const SYNC_INTERVAL_MS = 500

export class Dissemination {
  readonly #view: LocalView
  readonly #beliefs: Beliefs
  #lastGossipMs = Number.NEGATIVE_INFINITY
  readonly #prng: Prng
  #nextPushPullMs = Number.POSITIVE_INFINITY
  #newcomerIntervalMs = FIRST_PUSH_PULL_MS
  #lastSyncMs = Number.NEGATIVE_INFINITY
  /** With whom we still have to exchange full states; null: nobody. Repeated until a state arrives. */
  #wanted: { readonly nodeId: NodeId | null; atMs: number } | null = null
  /** Until the first full state arrived, everything in it is news to us alone. */
  #hasSynced = false

  constructor(view: LocalView, beliefs: Beliefs, prng: Prng) {
    this.#view = view
    this.#beliefs = beliefs
    this.#prng = prng
  }

  start(): void {
    this.#planPushPull()
  }

  get hasSynced(): boolean {
    return this.#hasSynced
  }

  get nextWakeMs(): number {
    const { table, broadcasts } = this.#view
    if (table.upCount === 0) return Number.POSITIVE_INFINITY
    const gossipMs = broadcasts.size > 0 ? this.#nextGossipMs : Number.POSITIVE_INFINITY
    return Math.min(gossipMs, this.#nextPushPullMs, this.#wanted?.atMs ?? Number.POSITIVE_INFINITY)
  }

  /** Does what is due. */
  wake(): void {
    const { nowMs, table, broadcasts } = this.#view
    if (this.#nextPushPullMs <= nowMs) {
      this.#planPushPull()
      this.#compare()
    }
    if (table.upCount === 0) return
    if (this.#wanted !== null && this.#wanted.atMs <= nowMs) this.#sync(this.#wanted.nodeId)
    if (broadcasts.size > 0 && this.#nextGossipMs <= nowMs) {
      this.#lastGossipMs = nowMs
      this.#gossip()
    }
  }

  /** Exchanges full states with this peer (null: with anyone), from now on until it worked. */
  wantSync(nodeId: NodeId | null): void {
    if (this.#wanted !== null && (nodeId === null || nodeId === this.#wanted.nodeId)) return
    this.#wanted = { nodeId, atMs: Math.max(this.#view.nowMs, this.#lastSyncMs + SYNC_INTERVAL_MS) }
  }

  onCompare(from: NodeId, compare: Compare): void {
    if (compare.digest !== this.#view.table.digest) this.#push(from)
  }

  onPushPull(from: NodeId, state: PushPull): void {
    const isNews = this.#hasSynced
    this.#hasSynced = true
    this.#wanted = null
    for (const record of state.peers) this.#beliefs.hearInFull(record, from, isNews)
    if (!state.wantsReply) return
    const theirs = new Map(state.peers.map((record) => [record.nodeId, record]))
    const peers = this.#everything().filter((ours) => {
      const known = theirs.get(ours.nodeId)
      return known === undefined || compareBeliefs(ours, known) > 0
    })
    this.#view.send(from, {
      type: 'pushPull',
      configuration: this.#view.configurationNumber,
      wantsReply: false,
      peers,
    })
  }

  get #nextGossipMs(): number {
    return this.#lastGossipMs + this.#view.options.gossipIntervalMs
  }

  #planPushPull(): void {
    const { nowMs, options, upCount } = this.#view
    const intervalMs = Math.min(this.#newcomerIntervalMs, pushPullIntervalMs(options, upCount))
    this.#newcomerIntervalMs = 2 * intervalMs
    // Spread, so that peers started together do not all compare together for ever.
    this.#nextPushPullMs = nowMs + intervalMs * (0.5 + this.#prng.float())
  }

  #gossip(): void {
    const { table, options } = this.#view
    for (const peer of table.choose(options.gossipFanout, (candidate) => isUp(candidate.record.state))) {
      const updates = this.#view.takeNews(MAX_GOSSIP_UPDATES)
      if (updates.length === 0) return
      this.#view.tell(peer.record.nodeId, updates)
    }
  }

  #compare(): void {
    const { table, configurationNumber } = this.#view
    const [partner] = table.choose(1, (peer) => peer.record.state === 'alive')
    if (partner === undefined) return
    const message = { type: 'compare', configuration: configurationNumber, digest: table.digest } as const
    this.#view.send(partner.record.nodeId, message)
  }

  #sync(nodeId: NodeId | null): void {
    const { table, nowMs, options } = this.#view
    const named = nodeId === null ? undefined : table.get(nodeId)
    const isNamedUp = named !== undefined && isUp(named.record.state)
    const partner = isNamedUp ? named : table.choose(1, (peer) => isUp(peer.record.state))[0]
    this.#wanted = { nodeId, atMs: nowMs + options.redialIntervalMs }
    this.#lastSyncMs = nowMs
    if (partner !== undefined) this.#push(partner.record.nodeId)
  }

  #push(to: NodeId): void {
    const configuration = this.#view.configurationNumber
    this.#view.send(to, { type: 'pushPull', configuration, wantsReply: true, peers: this.#everything() })
  }

  #everything(): PeerRecord[] {
    const records = [this.#view.self]
    for (const peer of this.#view.table.values()) records.push(peer.record)
    return records
  }
}
