/**
 * Writes that were acknowledged and still wait for the last of their owners hold their records in memory: so
 * many of them may, and the others let go at once. What an owner misses then, a read or a repair brings.
 */

const MAX_LINGERING = 1024

export class LingerLimit {
  #count = 0

  /** True: it may go on, until `end`. */
  begin(): boolean {
    if (this.#count >= MAX_LINGERING) return false
    this.#count += 1
    return true
  }

  end(): void {
    this.#count -= 1
  }
}
