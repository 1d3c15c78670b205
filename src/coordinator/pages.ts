/** A listing as one row of entries, of which a page at a time is in memory. */
import type { Bytes } from '../base/bytes.ts'
import type { KeyDigest, Listing } from '../store/slice-listing.ts'

export class Pages {
  readonly #fetch: (after: Bytes | null) => Promise<Listing>
  #page: Listing | null = null
  #at = 0

  constructor(fetch: (after: Bytes | null) => Promise<Listing>) {
    this.#fetch = fetch
  }

  /** The first that was not taken; null: there are no more. */
  async peek(): Promise<KeyDigest | null> {
    for (;;) {
      const entry = this.#page?.entries[this.#at]
      if (entry !== undefined) return entry
      if (this.#page !== null && this.#page.last === null) return null
      this.#page = await this.#fetch(this.#page?.last ?? null)
      this.#at = 0
    }
  }

  take(): void {
    this.#at += 1
  }
}
