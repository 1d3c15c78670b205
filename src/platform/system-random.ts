/**
 * Chance from the operating system's generator, drawn in pools: one call for a few bytes costs as much as one
 * for thousands.
 */
import { randomFillSync } from 'node:crypto'
import { nanoid } from 'nanoid'
import type { Random } from '../effects/random.ts'

const POOL_BYTES = 8192

export function createSystemRandom(): Random {
  const pool = Buffer.allocUnsafe(POOL_BYTES)
  let used = POOL_BYTES
  /** Where `count` fresh bytes of the pool begin; no byte is given out twice. */
  const take = (count: number): number => {
    if (used + count > POOL_BYTES) {
      randomFillSync(pool)
      used = 0
    }
    const offset = used
    used += count
    return offset
  }
  return {
    float() {
      const offset = take(7)
      // 53 bits, as many as a float's mantissa holds.
      return ((pool[offset] as number) % 32) * 2 ** -5 + pool.readUIntBE(offset + 1, 6) * 2 ** -53
    },
    bytes(count) {
      const bytes = new Uint8Array(count)
      if (count > POOL_BYTES) return randomFillSync(bytes)
      const offset = take(count)
      bytes.set(pool.subarray(offset, offset + count))
      return bytes
    },
    id: () => nanoid(),
  }
}
