/**
 * Writes that were acknowledged and still wait for the last of their owners hold their records in memory: so
 * many of them may, of so many bytes together, and the others let go at once. What an owner misses then, a
 * read or a repair brings.
 */

const MAX_LINGERING = 1024
/**
 * Of their records; the values as they came are held with them. An eighth of what requests without an answer
 * may hold: nobody waits for these.
 */
const MAX_LINGERING_BYTES = 32 * 1024 * 1024

export class LingerLimit {
  readonly #maxBytes: number
  #count = 0
  #bytes = 0

  constructor(maxBytes: number = MAX_LINGERING_BYTES) {
    this.#maxBytes = maxBytes
  }

  /** True: a record of this size may go on, until `end` is told the same. */
  begin(sizeBytes: number): boolean {
    if (this.#count >= MAX_LINGERING || this.#bytes + sizeBytes > this.#maxBytes) return false
    this.#count += 1
    this.#bytes += sizeBytes
    return true
  }

  end(sizeBytes: number): void {
    this.#count -= 1
    this.#bytes -= sizeBytes
  }
}
