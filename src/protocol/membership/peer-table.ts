/**
 * Everyone this peer has heard of, itself excepted: their records, the order in which they are probed, random
 * choice among them, and a digest by which two tables are compared without sending them.
 *
 * Order of probing: SWIM (Das, Gupta, Motivala 2002), section 4.3. A round visits everyone once in random
 * order, newcomers are put in at a random place, each round is shuffled anew: so every failure is noticed
 * within two rounds by everyone, not only on average.
 */
import { hashText32 } from '../../base/hash.ts'
import type { NodeId } from '../../base/ids.ts'
import type { Prng } from '../../base/prng.ts'
import { isUp, type PeerRecord, type PeerView } from './peer.ts'
import type { Suspicion } from './suspicion.ts'

export interface Peer {
  record: PeerRecord
  /** Present exactly while the state is `suspect`. */
  suspicion: Suspicion | null
  lastHeardMs: number | null
  changedAtMs: number
  /** When we last saw a connection to this life refused; null: never, or something was heard since. */
  refusedAtMs: number | null
  configurationNumber: number
}

export class PeerTable {
  readonly #peers = new Map<NodeId, Peer>()
  readonly #suspects = new Set<Peer>()
  readonly #prng: Prng
  #order: NodeId[] = []
  #cursor = 0
  #upCount = 0
  readonly #digest = new TableDigest()

  /** @param self is part of the digest; tell of each new record of it by `selfChanged` */
  constructor(prng: Prng, self: PeerRecord) {
    this.#prng = prng
    this.#digest.toggle(self)
  }

  get size(): number {
    return this.#peers.size
  }

  get upCount(): number {
    return this.#upCount
  }

  get downCount(): number {
    return this.#peers.size - this.#upCount
  }

  /** 53 bits; equal for equal beliefs. */
  get digest(): number {
    return this.#digest.value
  }

  get suspects(): ReadonlySet<Peer> {
    return this.#suspects
  }

  get(nodeId: NodeId): Peer | undefined {
    return this.#peers.get(nodeId)
  }

  values(): IterableIterator<Peer> {
    return this.#peers.values()
  }

  selfChanged(before: PeerRecord, after: PeerRecord): void {
    this.#digest.toggle(before)
    this.#digest.toggle(after)
  }

  insert(record: PeerRecord, nowMs: number): Peer {
    const peer: Peer = {
      record,
      suspicion: null,
      lastHeardMs: null,
      changedAtMs: nowMs,
      refusedAtMs: null,
      configurationNumber: 0,
    }
    this.#peers.set(record.nodeId, peer)
    const place = this.#prng.int(this.#order.length + 1)
    this.#order.splice(place, 0, record.nodeId)
    if (place < this.#cursor) this.#cursor++
    if (isUp(record.state)) this.#upCount++
    this.#digest.toggle(record)
    return peer
  }

  /** `suspicion` goes with the state `suspect`. */
  replace(peer: Peer, record: PeerRecord, suspicion: Suspicion | null): void {
    this.#digest.toggle(peer.record)
    this.#digest.toggle(record)
    this.#upCount += Number(isUp(record.state)) - Number(isUp(peer.record.state))
    peer.record = record
    peer.suspicion = suspicion
    if (suspicion === null) this.#suspects.delete(peer)
    else this.#suspects.add(peer)
  }

  delete(nodeId: NodeId): void {
    const peer = this.#peers.get(nodeId)
    if (peer === undefined) return
    this.#digest.toggle(peer.record)
    if (isUp(peer.record.state)) this.#upCount--
    this.#suspects.delete(peer)
    this.#peers.delete(nodeId)
    const place = this.#order.indexOf(nodeId)
    this.#order.splice(place, 1)
    if (place < this.#cursor) this.#cursor--
  }

  /** The next one that is up in this round, or null when nobody is. */
  nextToProbe(): Peer | null {
    if (this.#upCount === 0) return null
    for (;;) {
      if (this.#cursor >= this.#order.length) {
        shuffle(this.#prng, this.#order)
        this.#cursor = 0
      }
      const peer = this.#at(this.#cursor++)
      if (isUp(peer.record.state)) return peer
    }
  }

  /**
   * Up to `count` distinct ones that `accept` allows, in random order. Among many, rare ones may be missed.
   */
  choose(count: number, accept: (peer: Peer) => boolean): readonly Peer[] {
    const size = this.#order.length
    const chosen: Peer[] = []
    if (size <= 3 * count) {
      const order = this.#order.slice()
      shuffle(this.#prng, order)
      for (const nodeId of order) {
        const peer = this.#peers.get(nodeId)
        if (chosen.length < count && peer !== undefined && accept(peer)) chosen.push(peer)
      }
      return chosen
    }
    for (let tries = 0; tries < 3 * size && chosen.length < count; tries++) {
      const peer = this.#at(this.#prng.int(size))
      if (accept(peer) && !chosen.includes(peer)) chosen.push(peer)
    }
    return chosen
  }

  /** Up to `count` distinct ones of those that are down, in random order. */
  chooseDown(count: number): readonly Peer[] {
    if (this.downCount === 0) return []
    const down = [...this.#peers.values()].filter((peer) => !isUp(peer.record.state))
    shuffle(this.#prng, down)
    return down.slice(0, count)
  }

  #at(index: number): Peer {
    return this.#peers.get(this.#order[index] as NodeId) as Peer
  }
}

export function viewOf(peer: Peer): PeerView {
  const { lastHeardMs, changedAtMs, configurationNumber } = peer
  return { ...peer.record, lastHeardMs, changedAtMs, configurationNumber }
}

/**
 * XOR of one hash per record: a change costs O(1), the order does not matter. Accusers are not part of it.
 */
class TableDigest {
  #high = 0
  #low = 0

  get value(): number {
    return (this.#high & 0x1f_ffff) * 0x1_0000_0000 + (this.#low >>> 0)
  }

  /** Puts a record in, or takes it out. */
  toggle(record: PeerRecord): void {
    const belief = `${record.nodeId} ${record.generation} ${record.incarnation} ${record.state}`
    this.#high ^= hashText32(belief, 1)
    this.#low ^= hashText32(belief, 2)
  }
}

/** Fisher–Yates, in place. */
function shuffle<T>(prng: Prng, items: T[]): void {
  for (let i = items.length - 1; i > 0; i--) {
    const j = prng.int(i + 1)
    const held = items[i] as T
    items[i] = items[j] as T
    items[j] = held
  }
}
