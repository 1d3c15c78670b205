/**
 * What lies between two hosts, each way on its own: a latency, and whatever faults are in force there. Faults
 * add up: a path is as bad as the worst of those that touch it.
 */
import type { Prng } from '../base/prng.ts'
import { between, chance, exponential } from './sim-random.ts'

/** Trouble on a set of paths. Everything is optional: what is missing is in order. */
export interface PathFault {
  /** Which directed paths. */
  readonly touches: (from: string, to: string) => boolean
  /** Nothing gets through. */
  readonly cut?: boolean
  /** Chance that a frame vanishes. */
  readonly loss?: number
  /** Chance that a frame comes twice. */
  readonly duplication?: number
  /** Chance that a frame overtakes or is overtaken. */
  readonly reordering?: number
  /** Added to each frame's way: uniform between the two. */
  readonly delayMs?: readonly [number, number]
  /** From time to time a path stands still for up to so long. */
  readonly clogMs?: number
}

export interface Path {
  readonly isCut: boolean
  readonly loss: number
  readonly duplication: number
  readonly reordering: number
  /** One way's latency at this time, a clog included. */
  latencyMs(nowMs: number): number
}

export interface Paths {
  between(from: string, to: string): Path
  /** Puts a fault in force; the returned function takes it away. */
  add(fault: PathFault): () => void
  clear(): void
  /** No fault is in force. */
  readonly isClear: boolean
}

export interface LatencyOptions {
  /** No frame is faster. */
  readonly minMs: number
  /** Mean of what comes on top, with the long tail of waiting times. */
  readonly tailMs: number
}

/** A frame that meets a clog waits for its end; one frame in so many begins one. */
const CLOG_CHANCE = 0.002

interface PathState extends Path {
  clogUntilMs: number
}

export function createPaths(prng: Prng, latency: LatencyOptions): Paths {
  let faults: readonly PathFault[] = []
  const healthy = makePath(prng, latency, [])
  const states = new Map<string, Map<string, PathState>>()

  const change = (next: readonly PathFault[]): void => {
    faults = next
    states.clear()
  }

  return {
    between(from, to) {
      if (faults.length === 0) return healthy
      let row = states.get(from)
      if (row === undefined) {
        row = new Map()
        states.set(from, row)
      }
      let state = row.get(to)
      if (state === undefined) {
        const touching = faults.filter((fault) => fault.touches(from, to))
        state = makePath(prng, latency, touching)
        row.set(to, state)
      }
      return state
    },
    add(fault) {
      change([...faults, fault])
      return () => change(faults.filter((other) => other !== fault))
    },
    clear() {
      change([])
    },
    get isClear() {
      return faults.length === 0
    },
  }
}

function makePath(prng: Prng, latency: LatencyOptions, faults: readonly PathFault[]): PathState {
  const worst = (read: (fault: PathFault) => number | undefined): number =>
    faults.reduce((most, fault) => Math.max(most, read(fault) ?? 0), 0)
  const delayLow = worst((fault) => fault.delayMs?.[0])
  const delayHigh = worst((fault) => fault.delayMs?.[1])
  const clogMs = worst((fault) => fault.clogMs)
  return {
    isCut: faults.some((fault) => fault.cut === true),
    loss: worst((fault) => fault.loss),
    duplication: worst((fault) => fault.duplication),
    reordering: worst((fault) => fault.reordering),
    clogUntilMs: 0,
    latencyMs(nowMs) {
      let total = latency.minMs + exponential(prng, latency.tailMs)
      if (delayHigh > 0) total += between(prng, delayLow, delayHigh)
      if (clogMs === 0) return total
      if (nowMs >= this.clogUntilMs && chance(prng, CLOG_CHANCE)) {
        this.clogUntilMs = nowMs + between(prng, clogMs / 10, clogMs)
      }
      return total + Math.max(0, this.clogUntilMs - nowMs)
    },
  }
}
