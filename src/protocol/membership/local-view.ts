/**
 * What the parts of the membership machine share: this peer itself, everyone it knows, the news it owes, and
 * what the step gives out.
 */
import type { Address, NodeId } from '../../base/ids.ts'
import type { Prng } from '../../base/prng.ts'
import { BroadcastQueue } from './broadcast-queue.ts'
import { LocalHealth } from './local-health.ts'
import type { MembershipMessage, MembershipOutput } from './messages.ts'
import type { PeerIdentity, PeerRecord } from './peer.ts'
import { PeerTable } from './peer-table.ts'
import { type MembershipOptions, retransmitLimit } from './timing.ts'

/** News in one gossip message. */
export const MAX_GOSSIP_UPDATES = 64
/** News that ride on a ping or an ack. */
export const MAX_PIGGYBACK_UPDATES = 8

export class LocalView {
  readonly options: MembershipOptions
  readonly table: PeerTable
  readonly health = new LocalHealth()
  readonly broadcasts = new BroadcastQueue()
  /** Monotonic ms of the step that runs. */
  nowMs = 0
  configurationNumber = 0
  /** Those whom the configuration names; null before the first one. */
  members: ReadonlySet<NodeId> | null = null
  /** Somebody came to where a stranger that is down may have been, or the other way round. */
  isSweepDue = false
  #self: PeerRecord
  #forgotten: Set<NodeId> = new Set()
  #outputs: MembershipOutput[] = []
  #lastSeq = 0

  constructor(self: PeerIdentity, options: MembershipOptions, prng: Prng) {
    this.options = options
    this.#self = { ...self, incarnation: 0, state: 'alive', accusers: [] }
    this.table = new PeerTable(prng, this.#self)
  }

  get self(): PeerRecord {
    return this.#self
  }

  get isLeaving(): boolean {
    return this.#self.state === 'left'
  }

  /** Peers that are up, this one included. */
  get upCount(): number {
    return this.table.upCount + 1
  }

  /** Changes what is said of this peer, and says so to everyone. */
  changeSelf(change: Partial<Pick<PeerRecord, 'generation' | 'incarnation' | 'state'>>): void {
    const before = this.#self
    this.#self = { ...before, ...change }
    this.table.selfChanged(before, this.#self)
    this.broadcasts.add(this.#self.nodeId)
  }

  isForgotten(nodeId: NodeId): boolean {
    return this.#forgotten.has(nodeId)
  }

  /** For good: nothing is heard of it any more. */
  forget(nodeId: NodeId): void {
    this.#forgotten.add(nodeId)
    this.drop(nodeId)
  }

  /** Until it is heard of again. */
  drop(nodeId: NodeId): void {
    this.table.delete(nodeId)
    this.broadcasts.remove(nodeId)
  }

  /** Known to be no member of the cluster. */
  isStranger(nodeId: NodeId): boolean {
    return this.members !== null && !this.members.has(nodeId)
  }

  nextSeq(): number {
    this.#lastSeq = this.#lastSeq === 0xffff_ffff ? 1 : this.#lastSeq + 1
    return this.#lastSeq
  }

  /** The news that most need passing on; each counts as passed on once. */
  takeNews(count: number): PeerRecord[] {
    const news: PeerRecord[] = []
    for (const nodeId of this.broadcasts.take(count, retransmitLimit(this.options, this.upCount))) {
      const record = nodeId === this.#self.nodeId ? this.#self : this.table.get(nodeId)?.record
      if (record !== undefined) news.push(record)
    }
    return news
  }

  output(output: MembershipOutput): void {
    this.#outputs.push(output)
  }

  takeOutputs(): readonly MembershipOutput[] {
    const outputs = this.#outputs
    this.#outputs = []
    return outputs
  }

  /** To a peer at the address where we know it; dropped when we do not know it. */
  send(to: NodeId, message: MembershipMessage): void {
    const address = this.table.get(to)?.record.address
    if (address !== undefined) this.sendAt(to, address, message)
  }

  sendAt(to: NodeId, address: Address, message: MembershipMessage): void {
    this.output({ type: 'send', to, address, message })
  }

  /** Tells one peer these records now, next to what is passed on anyway. */
  tell(to: NodeId, updates: readonly PeerRecord[]): void {
    this.send(to, { type: 'gossip', configuration: this.configurationNumber, updates })
  }
}
