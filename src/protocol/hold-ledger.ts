/**
 * Since when this peer holds records unchanged, for those that may be purged. A record's digest is of its key
 * and bytes, and what was replaced never comes back, so a digest found twice was held in between.
 *
 * Intuition: when there are more than there is room for, the smallest digests are followed. A purge needs
 * every owner to follow the same record, and digests are the same for all of them, spread evenly: so whatever
 * order owners meet records in, one follows what the other one follows, up to the smaller of two bounds. What
 * was purged makes room, and the bound rises by as much as that room is of what is left above it.
 */
import type { Digest } from './hash-tree.ts'

/** Bounds the memory: 16 bytes each. */
const MAX_DIGESTS = 1_000_000
/** To find the bound: as exact as a sixteen millionth of it. */
const BISECTIONS = 24
const DIGEST_END: Digest = 2n ** 64n

interface Holds {
  /** Sorted. */
  readonly digests: BigUint64Array
  /** Monotonic ms, side by side with the digests. */
  readonly sinceMs: Float64Array
  /** How many were found, followed or not. */
  readonly found: number
  /** All of them below it are followed. */
  readonly bound: Digest
}

const EMPTY = { digests: new BigUint64Array(0), sinceMs: new Float64Array(0), found: 0 }

export class HoldLedger {
  readonly #places = new Map<string, Holds>()
  readonly #maxDigests: number
  /** When it is exceeded, or there is room for a quarter more, the bound moves to here. */
  readonly #wanted: number
  #bound = DIGEST_END
  #count = 0
  #foundCount = 0
  /** Places where not all is followed that lies below the bound. */
  #behind = 0

  constructor(maxDigests: number = MAX_DIGESTS) {
    this.#maxDigests = maxDigests
    this.#wanted = Math.ceil((maxDigests * 7) / 8)
  }

  /** These digests, and no others, are held in a place now. @param place any name */
  found(place: string, digests: readonly Digest[], nowMs: number): void {
    const bound = this.#bound
    const before = this.#places.get(place) ?? { ...EMPTY, bound }
    const followed = bound === DIGEST_END ? digests : digests.filter((digest) => digest < bound)
    const sorted = BigUint64Array.from(followed).sort()
    const sinceMs = Float64Array.from(sorted, (digest) => this.since(place, digest) ?? nowMs)
    this.#foundCount += digests.length - before.found
    this.#count += sorted.length - before.digests.length
    if (before.bound < bound) this.#behind -= 1
    if (digests.length === 0) this.#places.delete(place)
    else this.#places.set(place, { digests: sorted, sinceMs, found: digests.length, bound })
    if (this.#count > this.#maxDigests) this.#lower()
    else if (bound < DIGEST_END && this.#behind === 0 && this.#count < (this.#wanted * 3) / 4) this.#raise()
  }

  /** Monotonic ms; null: not known to be held. */
  since(place: string, digest: Digest): number | null {
    const holds = this.#places.get(place)
    if (holds === undefined) return null
    const at = placeOf(holds.digests, digest)
    return holds.digests[at] === digest ? (holds.sinceMs[at] as number) : null
  }

  /** Forgets all other places. */
  retain(places: ReadonlySet<string>): void {
    for (const [place, { digests, found, bound }] of this.#places) {
      if (places.has(place)) continue
      if (bound < this.#bound) this.#behind -= 1
      this.#places.delete(place)
      this.#count -= digests.length
      this.#foundCount -= found
    }
  }

  /** How many digests are followed. */
  get size(): number {
    return this.#count
  }

  /** How many were found, followed or not. */
  get foundCount(): number {
    return this.#foundCount
  }

  /** What lies above is spread evenly: so much more of it as there is room for. */
  #raise(): void {
    const left = this.#foundCount - this.#count
    const more = Math.max(1, this.#wanted - this.#count)
    const step = left === 0 ? DIGEST_END : ((DIGEST_END - this.#bound) * BigInt(more)) / BigInt(left)
    this.#bound = this.#bound + step < DIGEST_END ? this.#bound + step : DIGEST_END
    this.#behind = this.#places.size
  }

  /** To the smallest that there is room for. */
  #lower(): void {
    let [low, high] = [0n, this.#bound]
    for (let i = 0; i < BISECTIONS; i++) {
      const middle = (low + high) / 2n
      let below = 0
      for (const { digests } of this.#places.values()) below += placeOf(digests, middle)
      if (below <= this.#wanted) low = middle
      else high = middle
    }
    this.#bound = low
    this.#behind = 0
    for (const [place, { digests, sinceMs, found, bound }] of this.#places) {
      if (bound < low) this.#behind += 1
      if (bound <= low) continue
      const end = placeOf(digests, low)
      this.#count -= digests.length - end
      const kept = { digests: digests.slice(0, end), sinceMs: sinceMs.slice(0, end) }
      this.#places.set(place, { ...kept, found, bound: low })
    }
  }
}

/** Of the first that is not smaller. */
function placeOf(digests: BigUint64Array, digest: Digest): number {
  let low = 0
  let high = digests.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if ((digests[middle] as Digest) < digest) low = middle + 1
    else high = middle
  }
  return low
}
