/**
 * Keys of which some owner cannot take all concurrent values, because they are more than one record may hold.
 *
 * Intuition: a record is read, sent and written as a whole, so it has a limit; merging may not drop what was
 * written concurrently, so past the limit it is refused, and each owner keeps what it has. Nothing is lost,
 * and no message outgrows its receiver, but the owners cannot agree by themselves: a write that replaces the
 * values must come. Until then they are told not to send each other the same in vain.
 */
import { type Bytes, text, toHex } from '../base/bytes.ts'
import type { Clock } from '../effects/clock.ts'
import type { Log } from '../effects/log.ts'
import type { Digest } from '../protocol/hash-tree.ts'
import { keyspaceOf, userKey } from './keys.ts'
import { RecordOverflow } from './record-codec.ts'

/** More of them are met again when there is room. */
const MAX_KNOWN = 1024
/** Of one key: how many different copies its owners may have. */
const MAX_VAIN = 256
/** Who has not met it again after this does not know that it still is. */
const REMEMBERED_MS = 30 * 60_000

interface OverfullKey {
  metMs: number
  /** Of the two records that could not be merged, XORed: the same from both sides. */
  readonly vain: Set<Digest>
}

export class Overfull {
  readonly #clock: Clock
  readonly #log: Log
  /** By key of the database; those met longest ago first. */
  readonly #known = new Map<string, OverfullKey>()

  constructor(clock: Clock, log: Log) {
    this.#clock = clock
    this.#log = log
  }

  get count(): number {
    this.#forgetOld()
    return this.#known.size
  }

  /**
   * @param databaseKey of its record
   * @param vain the digests of two copies that do not go together, XORed
   */
  note(databaseKey: Bytes, vain: Digest | null = null): void {
    this.#forgetOld()
    const name = toHex(databaseKey)
    const known = this.#known.get(name) ?? null
    if (known === null && this.#known.size >= MAX_KNOWN) return
    const entry = known ?? { metMs: 0, vain: new Set<Digest>() }
    entry.metMs = this.#clock.monotonic()
    if (vain !== null && entry.vain.size < MAX_VAIN) entry.vain.add(vain)
    this.#known.delete(name)
    this.#known.set(name, entry)
    if (known !== null) return
    const place = { keyspaceId: keyspaceOf(databaseKey), key: text(userKey(databaseKey)) }
    const advice = 'put or delete it without a context: that replaces all its concurrent values'
    this.#log.error('key.overfull', { ...place, advice })
  }

  has(databaseKey: Bytes): boolean {
    if (this.#known.size === 0) return false
    this.#forgetOld()
    return this.#known.has(toHex(databaseKey))
  }

  /** Two copies with these digests, XORed, were tried: what one of them has does not fit beside the other. */
  isVain(databaseKey: Bytes, difference: Digest): boolean {
    return this.has(databaseKey) && this.#known.get(toHex(databaseKey))?.vain.has(difference) === true
  }

  /** What was held was replaced: whoever still has too much says so again. */
  settled(databaseKey: Bytes): void {
    if (this.#known.size > 0) this.#known.delete(toHex(databaseKey))
  }

  /** Encodes a merged record; notes the key when that is too much. @throws RecordOverflow */
  watched(databaseKey: Bytes, encode: () => Bytes): Bytes {
    try {
      return encode()
    } catch (error) {
      if (error instanceof RecordOverflow) this.note(databaseKey)
      throw error
    }
  }

  #forgetOld(): void {
    const sinceMs = this.#clock.monotonic() - REMEMBERED_MS
    for (const [name, { metMs }] of this.#known) {
      if (metMs > sinceMs) return
      this.#known.delete(name)
    }
  }
}
