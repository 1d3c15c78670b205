/** Chance, as a peer sees it: cryptographic in production, seeded in the simulator. */
export interface Random {
  /** A float in [0, 1). */
  float(): number
  /** `count` random bytes, owned by the caller. */
  bytes(count: number): Uint8Array
  /** A nanoid: 21 characters of `A-Za-z0-9_-`. */
  id(): string
}

/** An integer in [0, bound). */
export function randomInt(random: Random, bound: number): number {
  return Math.floor(random.float() * bound)
}

/** A new array with the same items in random order (Fisher–Yates). */
export function shuffled<T>(random: Random, items: readonly T[]): T[] {
  const result = items.slice()
  for (let i = result.length - 1; i > 0; i--) {
    const j = randomInt(random, i + 1)
    const held = result[i] as T
    result[i] = result[j] as T
    result[j] = held
  }
  return result
}
