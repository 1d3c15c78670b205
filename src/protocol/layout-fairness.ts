/**
 * What a fair layout is: how much of the ring each peer should hold, how far above that it may be, and how
 * the replicas of one partition spread over zones.
 *
 * Intuition: pour `count` replicas of a partition over the members in proportion to their weights. No member
 * can hold more than one of them, and no zone more than its even part, so what does not fit there flows over
 * to the others (water-filling).
 *
 * Invariant: for each `count` the shares add up to `count`, and a member's share never falls as `count`
 * grows. So the lists that are fair at one length can be cut to, or grown from, lists that are fair at
 * another.
 */
import { present } from '../base/assert.ts'
import type { Member } from './configuration.ts'

/** A peer may exceed its fair load by this much, or by the rounding to whole partitions. */
const SLACK = 0.05
/** Fair loads are sums of fractions: what lies this close to a whole number is one. */
const ROUNDING = 1e-6
const BISECTIONS = 80

export interface Zones {
  readonly count: number
  /** Of each member, in order. */
  readonly zoneOf: Uint16Array
  /** Members in each zone. */
  readonly sizes: Uint16Array
}

/** How many replicas of one partition each zone may hold: at least, at most. */
export interface ZoneBounds {
  readonly low: Uint16Array
  readonly high: Uint16Array
}

export function findZones(members: readonly Member[]): Zones {
  const numbers = new Map<string, number>()
  const zoneOf = new Uint16Array(members.length)
  members.forEach((member, index) => {
    const zone = numbers.get(member.zone) ?? numbers.size
    numbers.set(member.zone, zone)
    zoneOf[index] = zone
  })
  const sizes = new Uint16Array(numbers.size)
  for (const zone of zoneOf) sizes[zone] = (sizes[zone] as number) + 1
  return { count: numbers.size, zoneOf, sizes }
}

/**
 * Distinct zones first, then as even as the sizes of the zones allow: each zone holds `level` replicas or,
 * where it is that small, all its members; what is left goes one each to zones that have more.
 */
export function zoneBounds(zones: Zones, count: number): ZoneBounds {
  let level = 0
  while (level < count && totalAt(zones.sizes, level + 1) <= count) level++
  return {
    low: zones.sizes.map((size) => Math.min(size, level)),
    high: zones.sizes.map((size) => Math.min(size, level + 1)),
  }
}

function totalAt(sizes: Uint16Array, level: number): number {
  return sizes.reduce((sum, size) => sum + Math.min(size, level), 0)
}

/**
 * Of `count` replicas of every partition, how many each member should hold, from 0 to 1: its part of the
 * partitions. In the order of `members`; adds up to min(count, members).
 */
export function fairShares(members: readonly Member[], count: number): Float64Array {
  const zones = findZones(members)
  const replicas = Math.min(count, members.length)
  const bounds = zoneBounds(zones, replicas)
  const shares = new Float64Array(members.length)
  zoneShares(members, zones, bounds, replicas).forEach((share, zone) => {
    fillZone(members, zones, zone, share, shares)
  })
  return shares
}

/**
 * The common water level at which the zones, each kept within its bounds, hold all replicas: found by
 * bisection.
 */
function zoneShares(
  members: readonly Member[],
  zones: Zones,
  bounds: ZoneBounds,
  replicas: number,
): Float64Array {
  let low = 0
  let high = 1 / Math.min(...members.map((member) => member.weight))
  let shares = new Float64Array(zones.count)
  for (let i = 0; i < BISECTIONS; i++) {
    const level = (low + high) / 2
    shares = new Float64Array(zones.count)
    members.forEach((member, index) => {
      const zone = zones.zoneOf[index] as number
      shares[zone] = (shares[zone] as number) + Math.min(1, level * member.weight)
    })
    shares = shares.map((share, zone) =>
      Math.min(Math.max(share, bounds.low[zone] as number), bounds.high[zone] as number),
    )
    if (shares.reduce((sum, share) => sum + share, 0) < replicas) low = level
    else high = level
  }
  return shares
}

/** Splits a zone's share by weight; who would get more than 1 gets 1, and the rest is split again. */
function fillZone(
  members: readonly Member[],
  zones: Zones,
  zone: number,
  share: number,
  shares: Float64Array,
): void {
  let open = members.map((_, index) => index).filter((index) => zones.zoneOf[index] === zone)
  let rest = share
  while (open.length > 0) {
    const perWeight = rest / open.reduce((sum, index) => sum + weightOf(members, index), 0)
    const capped = open.filter((index) => perWeight * weightOf(members, index) >= 1)
    for (const index of open) shares[index] = Math.min(1, perWeight * weightOf(members, index))
    if (capped.length === 0) return
    rest = Math.max(0, rest - capped.length)
    open = open.filter((index) => !capped.includes(index))
  }
}

function weightOf(members: readonly Member[], index: number): number {
  return present(members[index], 'the index is a member’s').weight
}

/** The most partitions that a peer with this fair load may hold: max(⌈fair⌉, ⌊1.05 · fair⌋). */
export function loadCap(fairLoad: number): number {
  return Math.max(fairCeiling(fairLoad), Math.floor((1 + SLACK) * fairLoad + ROUNDING))
}

export function fairCeiling(fairLoad: number): number {
  return Math.ceil(fairLoad - ROUNDING)
}

export function fairFloor(fairLoad: number): number {
  return Math.floor(fairLoad + ROUNDING)
}
