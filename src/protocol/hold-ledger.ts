/**
 * Since when this peer holds records unchanged, for those that may be purged. A record's digest is of its key
 * and bytes, and what was replaced never comes back, so a digest found twice was held in between.
 */
import type { Digest } from './hash-tree.ts'

/** Bounds the memory: 16 bytes each. What is beyond is followed once others were purged. */
const MAX_DIGESTS = 1_000_000

interface Holds {
  /** Sorted. */
  readonly digests: BigUint64Array
  /** Monotonic ms, side by side with the digests. */
  readonly sinceMs: Float64Array
}

export class HoldLedger {
  readonly #places = new Map<string, Holds>()
  readonly #maxDigests: number
  #count = 0

  constructor(maxDigests: number = MAX_DIGESTS) {
    this.#maxDigests = maxDigests
  }

  /** These digests, and no others, are held in a place now. @param place any name */
  found(place: string, digests: readonly Digest[], nowMs: number): void {
    const before = this.#places.get(place)
    if (digests.length === 0 && before === undefined) return
    const room = this.#maxDigests - this.#count + (before?.digests.length ?? 0)
    const sorted = BigUint64Array.from(digests.slice(0, room)).sort()
    const sinceMs = Float64Array.from(sorted, (digest) => this.since(place, digest) ?? nowMs)
    this.#count += sorted.length - (before?.digests.length ?? 0)
    if (sorted.length === 0) this.#places.delete(place)
    else this.#places.set(place, { digests: sorted, sinceMs })
  }

  /** Monotonic ms; null: not known to be held. */
  since(place: string, digest: Digest): number | null {
    const holds = this.#places.get(place)
    if (holds === undefined) return null
    let low = 0
    let high = holds.digests.length
    while (low < high) {
      const middle = (low + high) >>> 1
      if ((holds.digests[middle] as Digest) < digest) low = middle + 1
      else high = middle
    }
    return holds.digests[low] === digest ? (holds.sinceMs[low] as number) : null
  }

  /** Forgets all other places. */
  retain(places: ReadonlySet<string>): void {
    for (const [place, { digests }] of this.#places) {
      if (places.has(place)) continue
      this.#places.delete(place)
      this.#count -= digests.length
    }
  }

  /** How many digests are followed. */
  get size(): number {
    return this.#count
  }
}
