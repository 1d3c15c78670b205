/**
 * One step of planning a layout: for one list length, choose the owners of every partition so that no peer is
 * above or below its bounds, at the lowest price.
 *
 * Intuition: start with the cheapest owners of each partition, whatever the loads. Then, while a peer has too
 * many partitions, find the cheapest chain "a gives partition p to b, b gives q to c, …" to one that has
 * room, and carry it out; likewise towards peers that have too few.
 *
 * Invariant: after each chain no other owners with the same loads are cheaper. It is the successive shortest
 * path method for minimum-cost flow (Ahuja, Magnanti and Orlin, Network Flows, section 9.7), with the
 * partitions contracted into the edges between peers.
 *
 * Deviation: two swaps of one chain in one partition may each respect the zones but not both together, which
 * no flow can express. Such a chain is undone, and that partition stands aside until another chain succeeded;
 * so with zones a plan may cost a little more than the cheapest.
 */
import { assert } from '../base/assert.ts'
import type { ZoneBounds } from './layout-fairness.ts'

/** What stays the same for all list lengths of one plan. */
export interface Board {
  readonly partitionCount: number
  readonly memberCount: number
  readonly zoneOf: Uint16Array
  readonly zoneCount: number
  /** [partition · memberCount + member]: rank in the previous list, MAX_REPLICAS for who was not in it. */
  readonly previousRank: Uint8Array
  /** Which of two members rendezvous hashing prefers: negative when `a`. */
  readonly prefer: (partition: number, a: number, b: number) => number
}

/** The question for one list length. */
export interface Level {
  /** Owners per partition. */
  readonly size: number
  /** Owners that each partition has already and keeps: `fixed.size` of each. */
  readonly fixed: Owners
  /** Owners must be among these; null: any member. */
  readonly within: Owners | null
  /** Price of an owner by its previous rank. */
  readonly prices: Int32Array
  readonly zones: ZoneBounds
  /** Least and greatest number of partitions of each member. */
  readonly low: Int32Array
  readonly high: Int32Array
}

/** `size` members of each partition, one partition after the other. */
export interface Owners {
  readonly size: number
  readonly members: Uint16Array
}

const UNREACHED = 0x7fffffff

/**
 * The owners of every partition, the fixed ones first. Bounds that cannot be kept are kept as well as was
 * found possible.
 */
export function balanceLevel(board: Board, level: Level): Owners {
  const balancer = new Balancer(board, level)
  balancer.assign()
  balancer.unload()
  balancer.topUp()
  return balancer.owners()
}

class Balancer {
  readonly #board: Board
  readonly #level: Level
  /** [partition · memberCount + member]: 1 when an owner. */
  readonly #chosen: Uint8Array
  /** [partition · zoneCount + zone]: owners there. */
  readonly #inZone: Uint16Array
  readonly #load: Int32Array
  /** Of each member, the partitions that it could give away. */
  readonly #movable: number[][]
  readonly #everyone: Uint16Array
  /** Partitions that stand aside, see above. */
  readonly #aside = new Set<number>()
  readonly #distance: Int32Array
  readonly #hops: Int32Array
  /** The last swap of the cheapest chain to each member: who gave which partition. */
  readonly #giver: Int32Array
  readonly #given: Int32Array

  constructor(board: Board, level: Level) {
    this.#board = board
    this.#level = level
    this.#chosen = new Uint8Array(board.partitionCount * board.memberCount)
    this.#inZone = new Uint16Array(board.partitionCount * board.zoneCount)
    this.#load = new Int32Array(board.memberCount)
    this.#movable = Array.from({ length: board.memberCount }, () => [])
    this.#everyone = Uint16Array.from({ length: board.memberCount }, (_, member) => member)
    this.#distance = new Int32Array(board.memberCount)
    this.#hops = new Int32Array(board.memberCount)
    this.#giver = new Int32Array(board.memberCount)
    this.#given = new Int32Array(board.memberCount)
  }

  /** Gives every partition its cheapest owners. */
  assign(): void {
    const { fixed, size } = this.#level
    for (let partition = 0; partition < this.#board.partitionCount; partition++) {
      for (let i = 0; i < fixed.size; i++) {
        this.#count(partition, fixed.members[partition * fixed.size + i] as number, 1)
      }
      for (let i = fixed.size; i < size; i++) {
        const member = this.#cheapest(partition, size - i)
        this.#count(partition, member, 1)
        this.#movable[member]?.push(partition)
      }
    }
  }

  /** Moves partitions from members that have too many. */
  unload(): void {
    const { high } = this.#level
    this.#flow(
      (member) => this.#loadOf(member) > (high[member] as number),
      (member) => this.#loadOf(member) < (high[member] as number),
    )
  }

  /** Moves partitions to members that have too few. */
  topUp(): void {
    const { low } = this.#level
    this.#flow(
      (member) => this.#loadOf(member) > (low[member] as number),
      (member) => this.#loadOf(member) < (low[member] as number),
    )
  }

  owners(): Owners {
    const { partitionCount, memberCount } = this.#board
    const { fixed, size } = this.#level
    const members = new Uint16Array(partitionCount * size)
    const filled = new Uint8Array(partitionCount)
    const add = (partition: number, member: number): void => {
      const count = filled[partition] as number
      members[partition * size + count] = member
      filled[partition] = count + 1
    }
    for (let i = 0; i < fixed.members.length; i++) add(Math.floor(i / fixed.size), fixed.members[i] as number)
    for (let member = 0; member < memberCount; member++) {
      for (const partition of this.#movable[member] ?? []) add(partition, member)
    }
    assert(
      filled.every((count) => count === size),
      'every partition has its owners',
    )
    return { size, members }
  }

  #loadOf(member: number): number {
    return this.#load[member] as number
  }

  #price(partition: number, member: number): number {
    const { memberCount, previousRank } = this.#board
    return this.#level.prices[previousRank[partition * memberCount + member] as number] as number
  }

  #candidates(partition: number): Uint16Array {
    const { within } = this.#level
    if (within === null) return this.#everyone
    return within.members.subarray(partition * within.size, (partition + 1) * within.size)
  }

  #count(partition: number, member: number, change: 1 | -1): void {
    const { memberCount, zoneCount, zoneOf } = this.#board
    const zoneSlot = partition * zoneCount + (zoneOf[member] as number)
    this.#chosen[partition * memberCount + member] = change === 1 ? 1 : 0
    this.#inZone[zoneSlot] = (this.#inZone[zoneSlot] as number) + change
    this.#load[member] = this.#loadOf(member) + change
  }

  /**
   * The cheapest next owner that leaves the zones' bounds within reach of the remaining choices, this one
   * included.
   */
  #cheapest(partition: number, remaining: number): number {
    const { memberCount, zoneCount, zoneOf, prefer } = this.#board
    const { low, high } = this.#level.zones
    let wanted = 0
    for (let zone = 0; zone < zoneCount; zone++) {
      wanted += Math.max(0, (low[zone] as number) - (this.#inZone[partition * zoneCount + zone] as number))
    }
    let best = -1
    let bestPrice = UNREACHED
    for (const member of this.#candidates(partition)) {
      if (this.#chosen[partition * memberCount + member] === 1) continue
      const zone = zoneOf[member] as number
      const inZone = this.#inZone[partition * zoneCount + zone] as number
      if (inZone >= (high[zone] as number)) continue
      if (wanted >= remaining && inZone >= (low[zone] as number)) continue
      const price = this.#price(partition, member)
      if (price > bestPrice) continue
      if (price < bestPrice || prefer(partition, member, best) < 0) best = member
      bestPrice = price
    }
    assert(best >= 0, 'the bounds of the zones leave a choice')
    return best
  }

  /** Carries out cheapest chains until no source, no sink, or no chain between them is left. */
  #flow(isSource: (member: number) => boolean, isSink: (member: number) => boolean): void {
    this.#aside.clear()
    for (;;) {
      const members = [...this.#everyone]
      const sources = members.filter(isSource)
      if (sources.length === 0 || !members.some(isSink)) return
      this.#search(sources)
      const sinks = members.filter((member) => isSink(member) && (this.#giver[member] as number) >= 0)
      if (sinks.length === 0) return
      const nearest = Math.min(...sinks.map((member) => this.#distance[member] as number))
      let carried = 0
      for (const source of sources) carried += this.#giveAway(source, nearest, isSource, isSink)
      let obstacle = -1
      for (const sink of sinks) {
        if (this.#distance[sink] !== nearest) continue
        const chain = this.#chainTo(sink)
        if (chain === null || !isSource(chain[0]?.from ?? -1)) continue
        const failed = this.#carryOut(chain)
        if (failed < 0) carried++
        else obstacle = failed
      }
      if (carried > 0) this.#aside.clear()
      else if (obstacle >= 0) this.#aside.add(obstacle)
      else return
    }
  }

  /** Cheapest chains from the sources to every member (Bellman and Ford, with a queue). */
  #search(sources: readonly number[]): void {
    const { memberCount } = this.#board
    this.#distance.fill(UNREACHED)
    this.#giver.fill(-1)
    this.#hops.fill(0)
    const queued = new Uint8Array(memberCount)
    const queue = sources.slice()
    for (const member of queue) {
      this.#distance[member] = 0
      queued[member] = 1
    }
    for (let head = 0; head < queue.length; head++) {
      const giver = queue[head] as number
      queued[giver] = 0
      // Longer chains than there are members run in a circle.
      if ((this.#hops[giver] as number) >= memberCount) continue
      for (const partition of this.#movable[giver] as number[]) {
        if (!this.#aside.has(partition)) this.#relax(giver, partition, queue, queued)
      }
    }
  }

  #relax(giver: number, partition: number, queue: number[], queued: Uint8Array): void {
    const base = (this.#distance[giver] as number) - this.#price(partition, giver)
    for (const taker of this.#candidates(partition)) {
      const distance = base + this.#price(partition, taker)
      if (distance >= (this.#distance[taker] as number) || !this.#maySwap(partition, giver, taker)) continue
      this.#distance[taker] = distance
      this.#hops[taker] = (this.#hops[giver] as number) + 1
      this.#giver[taker] = giver
      this.#given[taker] = partition
      if (queued[taker] === 1) continue
      queued[taker] = 1
      queue.push(taker)
    }
  }

  #maySwap(partition: number, giver: number, taker: number): boolean {
    const { memberCount, zoneCount, zoneOf } = this.#board
    if (this.#chosen[partition * memberCount + taker] === 1) return false
    const from = zoneOf[giver] as number
    const to = zoneOf[taker] as number
    if (from === to) return true
    const { low, high } = this.#level.zones
    const row = partition * zoneCount
    return (
      (this.#inZone[row + from] as number) > (low[from] as number) &&
      (this.#inZone[row + to] as number) < (high[to] as number)
    )
  }

  /**
   * Chains of one swap at the price of the cheapest ones: there are many, and one search finds few of them.
   */
  #giveAway(
    giver: number,
    price: number,
    isSource: (member: number) => boolean,
    isSink: (member: number) => boolean,
  ): number {
    let count = 0
    for (const partition of [...(this.#movable[giver] as number[])]) {
      if (!isSource(giver)) break
      let best = -1
      for (const taker of this.#candidates(partition)) {
        if (this.#distance[taker] !== price || !isSink(taker)) continue
        if (this.#price(partition, taker) - this.#price(partition, giver) !== price) continue
        if (!this.#maySwap(partition, giver, taker)) continue
        if (best < 0 || this.#board.prefer(partition, taker, best) < 0) best = taker
      }
      if (best < 0) continue
      this.#swap(partition, giver, best)
      count++
    }
    return count
  }

  /** The swaps of the cheapest chain, first one first; null when it runs in a circle. */
  #chainTo(sink: number): Swap[] | null {
    const chain: Swap[] = []
    for (let to = sink; (this.#giver[to] as number) >= 0; ) {
      if (chain.length > this.#board.memberCount) return null
      const from = this.#giver[to] as number
      chain.push({ partition: this.#given[to] as number, from, to })
      to = from
    }
    return chain.reverse()
  }

  /** -1, or the partition where the chain was not possible any more: then nothing was changed. */
  #carryOut(chain: readonly Swap[]): number {
    for (const [index, { partition, from, to }] of chain.entries()) {
      const possible =
        this.#chosen[partition * this.#board.memberCount + from] === 1 && this.#maySwap(partition, from, to)
      if (possible) {
        this.#swap(partition, from, to)
        continue
      }
      for (const done of chain.slice(0, index).reverse()) this.#swap(done.partition, done.to, done.from)
      return partition
    }
    return -1
  }

  #swap(partition: number, from: number, to: number): void {
    this.#count(partition, from, -1)
    this.#count(partition, to, 1)
    const left = this.#movable[from] as number[]
    left.splice(left.indexOf(partition), 1)
    this.#movable[to]?.push(partition)
  }
}

interface Swap {
  readonly partition: number
  readonly from: number
  readonly to: number
}
