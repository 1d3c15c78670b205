/**
 * Chance from a seed. Every peer and purpose has a fork of its own, so that one more draw in one place
 * changes nothing elsewhere.
 */
import type { Prng } from '../base/prng.ts'
import type { Random } from '../effects/random.ts'

const ALPHABET = 'useandom-26T198340PX75pxJACKVERYMINDBUSHWOLF_GQZbfghjklqvwyzrict'

export function createSimRandom(prng: Prng): Random {
  return {
    float: prng.float,
    bytes(count) {
      const bytes = new Uint8Array(count)
      for (let i = 0; i < count; i++) bytes[i] = prng.next()
      return bytes
    },
    id() {
      let id = ''
      for (let i = 0; i < 21; i++) id += ALPHABET.charAt(prng.next() & 63)
      return id
    },
  }
}

/** A number with the given mean whose long tail is that of waiting times: -mean · ln(1 - u). */
export function exponential(prng: Prng, mean: number): number {
  return -mean * Math.log(1 - prng.float())
}

export function between(prng: Prng, low: number, high: number): number {
  return low + prng.float() * (high - low)
}

export function chance(prng: Prng, probability: number): boolean {
  return probability > 0 && prng.float() < probability
}

/** @param items at least one */
export function pick<T>(prng: Prng, items: readonly T[]): T {
  return items[prng.int(items.length)] as T
}

/** A new array in random order (Fisher–Yates). */
export function shuffle<T>(prng: Prng, items: readonly T[]): T[] {
  const result = items.slice()
  for (let i = result.length - 1; i > 0; i--) {
    const j = prng.int(i + 1)
    const held = result[i] as T
    result[i] = result[j] as T
    result[j] = held
  }
  return result
}
