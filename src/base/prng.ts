/**
 * sfc32 (Chris Doty-Humphrey, PractRand): a small seeded generator for machines that must be deterministic.
 * Not for secrets.
 */
export interface Prng {
  /** 32 unsigned bits. */
  next(): number
  /** A float in [0, 1). */
  float(): number
  /** An integer in [0, bound). */
  int(bound: number): number
  /** An independent generator; the same label gives the same one. Does not advance this one. */
  fork(label: string): Prng
}

/** @param seed any text or number: the same seed gives the same sequence on every machine. */
export function createPrng(seed: string | number): Prng {
  const name = String(seed)
  let [a, b, c, counter] = [mix(name, 0x9e3779b9), mix(name, 0x243f6a88), mix(name, 0xb7e15162), 1]
  const next = (): number => {
    const sum = (a + b + counter) | 0
    counter = (counter + 1) | 0
    a = b ^ (b >>> 9)
    b = (c + (c << 3)) | 0
    c = ((c << 21) | (c >>> 11)) + sum
    return sum >>> 0
  }
  for (let i = 0; i < 12; i++) next()
  const float = (): number => next() / 0x1_0000_0000
  return {
    next,
    float,
    int: (bound) => Math.floor(float() * bound),
    fork: (label) => createPrng(`${name}/${label}`),
  }
}

/** FNV-1a over UTF-16 code units, started from `basis`. */
function mix(name: string, basis: number): number {
  let state = basis
  for (let i = 0; i < name.length; i++) state = Math.imul(state ^ name.charCodeAt(i), 0x01000193)
  return state | 0
}
