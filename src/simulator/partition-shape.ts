/** Shapes that a broken network takes, as the set of directed paths that are cut. */
import type { Prng } from '../base/prng.ts'
import { shuffle } from './sim-random.ts'

export const PARTITION_SHAPES = [
  'halves',
  'minority',
  'isolate',
  'oneWay',
  'ring',
  'bridge',
  'pair',
  'total',
] as const
/**
 * `halves`, `minority` (a random smaller side), `isolate` (one alone): two sides. `oneWay`: two sides, cut in
 * one direction only. `ring`: everyone reaches a majority, but no two the same one. `bridge`: two sides that
 * only one peer can reach both of. `pair`: two do not reach each other, or one not the other, and everyone
 * else reaches both. `total`: everyone alone.
 */
export type PartitionShape = (typeof PARTITION_SHAPES)[number]

/** Pairs [from, to] whose frames do not arrive. */
export type Cuts = readonly (readonly [from: string, to: string])[]

/**
 * @param hosts peers, two or more. @param clients each is on a random side, or (every third) reaches everyone
 */
export function makeCuts(
  shape: PartitionShape,
  hosts: readonly string[],
  clients: readonly string[],
  prng: Prng,
): Cuts {
  const order = shuffle(prng, hosts)
  if (shape === 'ring') return ringCuts(order)
  if (shape === 'total') return pairs(order, order)
  if (shape === 'pair') return pairs(order.slice(0, 2), order.slice(0, 2)).slice(prng.int(2))
  const size = sideSize(shape, order.length, prng)
  const bridge = shape === 'bridge' ? order.slice(-1) : []
  const rest = shape === 'bridge' ? order.slice(0, -1) : order
  const left = rest.slice(0, size)
  const right = rest.slice(size)
  for (const client of clients) {
    const side = prng.int(3)
    if (side === 0) left.push(client)
    else if (side === 1) right.push(client)
    else bridge.push(client)
  }
  return shape === 'oneWay' ? pairs(left, right) : [...pairs(left, right), ...pairs(right, left)]
}

/** Cuts between groups; hosts in none reach everyone. */
export function groupCuts(groups: readonly (readonly string[])[]): Cuts {
  return groups.flatMap((from) => groups.flatMap((to) => (from === to ? [] : pairs(from, to))))
}

function sideSize(shape: PartitionShape, count: number, prng: Prng): number {
  if (shape === 'isolate') return 1
  const half = Math.floor(count / 2)
  if (shape === 'minority') return 1 + prng.int(Math.max(1, half - 1))
  if (shape === 'bridge') return Math.floor((count - 1) / 2)
  return shape === 'oneWay' ? 1 + prng.int(count - 1) : half
}

/** Seen as a ring, everyone reaches the nearest neighbours that make, with itself, a bare majority. */
function ringCuts(order: readonly string[]): Cuts {
  const reach = Math.ceil((Math.floor(order.length / 2) + 1 - 1) / 2)
  return order.flatMap((from, i) =>
    order.flatMap((to, j) => {
      const distance = Math.min(Math.abs(i - j), order.length - Math.abs(i - j))
      return distance > reach ? [[from, to] as const] : []
    }),
  )
}

function pairs(left: readonly string[], right: readonly string[]): Cuts {
  return left.flatMap((from) => right.flatMap((to) => (from === to ? [] : [[from, to] as const])))
}
