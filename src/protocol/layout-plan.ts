/**
 * Plans who owns which partition. The proposer of a configuration computes the table and ships it, so that no
 * two versions of this code can disagree about it.
 *
 * Intuition: weighted rendezvous hashing (Thaler and Ravishankar 1998; Schindelhauer and Schomaker 2005 for
 * the weights) says who should hold a partition; a cap on everybody's load corrects the luck of the hash (as
 * in Mirrokni, Thorup and Zadimoghaddam 2018); what the previous layout says goes before both, so that little
 * data moves.
 *
 * Invariants: peers in a list are distinct, and at every length its zones are as distinct and even as can be.
 * The same input gives the same table. At every length no peer is above `loadCap` of its fair load; only
 * weights and zones together, in small clusters, can leave a few partitions above it: zones come before
 * balance.
 *
 * Deviations: the whole problem, all list lengths at once, is no flow problem. So one length is settled first
 * and on its own terms, the one that most keyspaces use; shorter lists are then chosen within it, and longer
 * ones are grown from it.
 */
import { assert, present } from '../base/assert.ts'
import { utf8 } from '../base/bytes.ts'
import { hash32 } from '../base/hash.ts'
import type { NodeId } from '../base/ids.ts'
import { type Layout, MAX_REPLICAS, type Member } from './configuration.ts'
import { layoutPartitionCount, makeLayout, memberPosition, preferenceList } from './layout.ts'
import { type Board, balanceLevel, type Owners } from './layout-balance.ts'
import {
  fairCeiling,
  fairFloor,
  fairShares,
  findZones,
  loadCap,
  type ZoneBounds,
  zoneBounds,
} from './layout-fairness.ts'

/** The list length that is settled first: N of a keyspace unless somebody says otherwise. */
const USUAL_REPLICAS = 3
/** One partition too many at a usual length is worse than this many at greater lengths. */
const USUAL_PRIORITY = 1000
/** A replica that moves at the length being settled outweighs all that it may spare at others. */
const MOVE_PRICE = 16

export interface LayoutRequest {
  /** In any order; at least one. */
  readonly members: readonly Member[]
  /** What places the data so far; null when nothing does. */
  readonly previous: Layout | null
  readonly partitionCount: number
  /** Length of the lists; min(members, MAX_REPLICAS) unless given. */
  readonly depth?: number
}

export function planLayout(request: LayoutRequest): Layout {
  const { partitionCount, previous } = request
  const members = request.members.toSorted((a, b) => (a.nodeId < b.nodeId ? -1 : 1))
  const nodeIds = members.map((member) => member.nodeId)
  const depth = Math.min(request.depth ?? MAX_REPLICAS, members.length)
  assert(depth > 0 && depth <= MAX_REPLICAS, 'lists hold 1 to MAX_REPLICAS peers')
  assert(new Set(nodeIds).size === members.length, 'members are distinct')
  assert(previous === null || layoutPartitionCount(previous) === partitionCount, 'the hash space is cut once')
  const board = makeBoard(members, previous, partitionCount)
  const bounds = Array.from({ length: depth }, (_, index) => makeBounds(members, partitionCount, index + 1))
  let best = planFrom(Math.min(USUAL_REPLICAS, depth), board, bounds)
  // Lists that grow or are cut step by step can paint themselves into a corner when weights and zones differ
  // much.
  for (let anchor = USUAL_REPLICAS + 1; best.excess > 0 && anchor <= depth; anchor++) {
    const other = planFrom(anchor, board, bounds)
    if (other.excess < best.excess) best = other
  }
  return makeLayout(nodeIds, depth, best.positions)
}

/** What the plan must keep to at one list length. */
interface Bounds {
  readonly size: number
  readonly zones: ZoneBounds
  readonly low: Int32Array
  readonly high: Int32Array
  readonly cap: Int32Array
  /** [rank in the previous list]: price of an owner. */
  readonly prices: Int32Array
}

interface Plan {
  readonly positions: Uint16Array
  /** How badly its caps are broken: 0 when they hold. */
  readonly excess: number
}

/** Settles the owners at length `anchor`, then shorter and longer lists step by step. */
function planFrom(anchor: number, board: Board, bounds: readonly Bounds[]): Plan {
  const nobody = { size: 0, members: new Uint16Array(0) }
  const settled: Owners[] = []
  const settle = (size: number, fixed: Owners, within: Owners | null): Owners => {
    const owners = balanceLevel(board, { ...boundsAt(bounds, size), fixed, within })
    settled[size] = owners
    return owners
  }
  const first = settle(anchor, nobody, null)
  for (let size = anchor - 1, within = first; size >= 1; size--) within = settle(size, nobody, within)
  for (let size = anchor + 1, fixed = first; size <= bounds.length; size++) fixed = settle(size, fixed, null)
  const levels = settled.filter((owners) => owners !== undefined)
  return {
    positions: joinLevels(levels, board.partitionCount),
    excess: levels.reduce((sum, owners) => sum + excessOf(owners, boundsAt(bounds, owners.size)), 0),
  }
}

function boundsAt(bounds: readonly Bounds[], size: number): Bounds {
  return present(bounds[size - 1], 'every list length has bounds')
}

/** Lists in which the first k are the owners at length k. */
function joinLevels(levels: readonly Owners[], partitionCount: number): Uint16Array {
  const depth = levels.length
  const positions = new Uint16Array(partitionCount * depth)
  for (let partition = 0; partition < partitionCount; partition++) {
    const listed = new Set<number>()
    for (const { size, members } of levels) {
      for (const member of members.subarray(partition * size, (partition + 1) * size)) {
        if (listed.has(member)) continue
        positions[partition * depth + listed.size] = member
        listed.add(member)
      }
      assert(listed.size === size, 'each length adds one owner')
    }
  }
  return positions
}

/** By how much peers are above their caps; lists in use count most. */
function excessOf(owners: Owners, { cap, size }: Bounds): number {
  const loads = new Int32Array(cap.length)
  for (const member of owners.members) loads[member] = (loads[member] as number) + 1
  const excess = loads.reduce((sum, load, member) => sum + Math.max(0, load - (cap[member] as number)), 0)
  return size <= USUAL_REPLICAS ? excess * USUAL_PRIORITY : excess
}

function makeBounds(members: readonly Member[], partitionCount: number, size: number): Bounds {
  const fair = fairShares(members, size).map((share) => share * partitionCount)
  return {
    size,
    zones: zoneBounds(findZones(members), size),
    low: Int32Array.from(fair, fairFloor),
    high: Int32Array.from(fair, fairCeiling),
    cap: Int32Array.from(fair, loadCap),
    prices: Int32Array.from({ length: MAX_REPLICAS + 1 }, (_, rank) =>
      rank < size ? rank - size : MOVE_PRICE + rank - size,
    ),
  }
}

function makeBoard(members: readonly Member[], previous: Layout | null, partitionCount: number): Board {
  const zones = findZones(members)
  const scores = makeScores(members)
  return {
    partitionCount,
    memberCount: members.length,
    zoneOf: zones.zoneOf,
    zoneCount: zones.count,
    previousRank: findRanks(members, previous, partitionCount),
    prefer: (partition, a, b) => scores(partition, a) - scores(partition, b) || a - b,
  }
}

/** [partition · members + member]: rank in the previous list, MAX_REPLICAS for who was not in it. */
function findRanks(members: readonly Member[], previous: Layout | null, partitionCount: number): Uint8Array {
  const ranks = new Uint8Array(partitionCount * members.length).fill(MAX_REPLICAS)
  if (previous === null) return ranks
  const indexes = new Map(members.map((member, index) => [member.nodeId, index]))
  const indexOf = previous.members.map((nodeId) => indexes.get(nodeId))
  for (let partition = 0; partition < partitionCount; partition++) {
    for (let rank = 0; rank < previous.depth; rank++) {
      const index = indexOf[memberPosition(previous, partition, rank)]
      if (index !== undefined) ranks[partition * members.length + index] = rank
    }
  }
  return ranks
}

/** Weighted rendezvous hashing: the member with the least −ln(hash) / weight comes first. */
function makeScores(members: readonly Member[]): (partition: number, member: number) => number {
  const seeds = Uint32Array.from(members, (member) => hash32(utf8(member.nodeId)))
  const weights = Float64Array.from(members, (member) => member.weight)
  return (partition, member) => {
    const hash = scramble((seeds[member] as number) ^ scramble(partition + 1))
    return -Math.log((hash + 0.5) / 2 ** 32) / (weights[member] as number)
  }
}

/**
 * Every bit of the input changes about half of the 32 unsigned bits that come out (the end of MurmurHash3,
 * Appleby).
 */
function scramble(input: number): number {
  let bits = input
  bits = Math.imul(bits ^ (bits >>> 16), 0x85ebca6b)
  bits = Math.imul(bits ^ (bits >>> 13), 0xc2b2ae35)
  return (bits ^ (bits >>> 16)) >>> 0
}

export interface LayoutMove {
  readonly partition: number
  /** Becomes an owner. */
  readonly nodeId: NodeId
}

export interface LayoutMoves {
  /** By partition, then preference. */
  readonly moves: readonly LayoutMove[]
  /** The fewest moves with which any table could give all peers the loads they have in the new one. */
  readonly ideal: number
}

/** Which replicas have to be copied when the first `replicas` of each list hold the data. */
export function layoutMoves(from: Layout, to: Layout, replicas: number): LayoutMoves {
  const moves: LayoutMove[] = []
  const gains = new Map<NodeId, number>()
  const gain = (nodeId: NodeId, change: number): void => {
    gains.set(nodeId, (gains.get(nodeId) ?? 0) + change)
  }
  for (let partition = 0; partition < layoutPartitionCount(to); partition++) {
    const before = preferenceList(from, partition, replicas)
    for (const nodeId of before) gain(nodeId, -1)
    for (const nodeId of preferenceList(to, partition, replicas)) {
      gain(nodeId, 1)
      if (!before.includes(nodeId)) moves.push({ partition, nodeId })
    }
  }
  return { moves, ideal: [...gains.values()].reduce((sum, change) => sum + Math.max(0, change), 0) }
}
