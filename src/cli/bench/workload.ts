/**
 * The mixes of the Yahoo! Cloud Serving Benchmark (Cooper et al., "Benchmarking Cloud Serving Systems with
 * YCSB", SoCC 2010, section 5), and two plain ones.
 */
import type { Prng } from '../../base/prng.ts'

export const WORKLOADS = ['a', 'b', 'c', 'd', 'f', 'put', 'get'] as const
export type WorkloadName = (typeof WORKLOADS)[number]

export type Operation = 'read' | 'update' | 'insert' | 'read-modify-write'

export interface Workload {
  readonly help: string
  /** Shares that add up to 1. */
  readonly mix: Readonly<Partial<Record<Operation, number>>>
  readonly keys: 'zipfian' | 'latest' | 'uniform'
}

/** YCSB's `e` reads ranges, which there are no requests for yet. */
export const WORKLOAD_TABLE: Readonly<Record<WorkloadName, Workload>> = {
  a: { help: 'half reads, half updates', mix: { read: 0.5, update: 0.5 }, keys: 'zipfian' },
  b: { help: '95 % reads, 5 % updates', mix: { read: 0.95, update: 0.05 }, keys: 'zipfian' },
  c: { help: 'reads only', mix: { read: 1 }, keys: 'zipfian' },
  d: { help: '95 % reads of what is new, 5 % inserts', mix: { read: 0.95, insert: 0.05 }, keys: 'latest' },
  f: {
    help: 'half reads, half read-modify-writes',
    mix: { read: 0.5, 'read-modify-write': 0.5 },
    keys: 'zipfian',
  },
  put: { help: 'updates of evenly chosen keys', mix: { update: 1 }, keys: 'uniform' },
  get: { help: 'reads of evenly chosen keys', mix: { read: 1 }, keys: 'uniform' },
}

export function chooseOperation(workload: Workload, prng: Prng): Operation {
  let rest = prng.float()
  let chosen: Operation = 'read'
  for (const [operation, share] of Object.entries(workload.mix) as [Operation, number][]) {
    chosen = operation
    rest -= share
    if (rest < 0) break
  }
  return chosen
}

/** Gives the position of a key among `count` keys, which may have grown since the call before. */
export type KeyChooser = (count: number, prng: Prng) => number

export function createKeyChooser(kind: Workload['keys'], keyCount: number): KeyChooser {
  if (kind === 'uniform') return (count, prng) => prng.int(count)
  const zipfian = createZipfian(keyCount)
  if (kind === 'latest') return (count, prng) => Math.max(0, count - 1 - zipfian(prng))
  // Scattered, so that popular keys are not neighbours: multiplication by an odd constant, as in Fibonacci
  // hashing.
  return (_count, prng) => (Math.imul(zipfian(prng), 0x9e3779b1) >>> 0) % keyCount
}

const THETA = 0.99

/**
 * Rank 0 is the most frequent (Gray et al., "Quickly Generating Billion-Record Synthetic Databases", SIGMOD
 * 1994).
 */
function createZipfian(count: number): (prng: Prng) => number {
  let zeta = 0
  for (let rank = 1; rank <= count; rank++) zeta += 1 / rank ** THETA
  const alpha = 1 / (1 - THETA)
  const zetaOfTwo = 1 + 0.5 ** THETA
  const eta = (1 - (2 / count) ** (1 - THETA)) / (1 - zetaOfTwo / zeta)
  return (prng) => {
    const u = prng.float()
    const scaled = u * zeta
    if (scaled < 1) return 0
    if (scaled < zetaOfTwo) return Math.min(1, count - 1)
    return Math.min(count - 1, Math.floor(count * (eta * u - eta + 1) ** alpha))
  }
}
