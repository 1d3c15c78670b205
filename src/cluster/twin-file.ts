/**
 * A small file kept twice, under two names, each with a checksum: for what must survive one damaged file.
 * `write` fulfils when both copies are on disk, so either of them holds all that was ever promised, and the
 * one that is sound is enough.
 *
 * A copy is: 64-bit checksum of the rest and the name, 64-bit sequence number, payload; big-endian.
 */
import { type Bytes, concatBytes, utf8 } from '../base/bytes.ts'
import { hash64 } from '../base/hash.ts'
import type { Log } from '../effects/log.ts'
import type { Storage } from '../effects/storage.ts'

const HEADER_BYTES = 16

export interface Copy {
  /** Rises with every write. */
  readonly sequence: bigint
  readonly payload: Bytes
}

export class TwinFile {
  readonly #storage: Pick<Storage, 'readFile' | 'writeFile'>
  readonly #log: Log
  readonly #name: string
  #sequence = 0n

  constructor(storage: Pick<Storage, 'readFile' | 'writeFile'>, log: Log, name: string) {
    this.#storage = storage
    this.#log = log
    this.#name = name
  }

  /**
   * The payload written last; null when neither copy is there and sound. Mends a copy that is missing, old or
   * damaged.
   * @throws INTERNAL when the disk cannot be read
   */
  async read(): Promise<Bytes | null> {
    const copies: (Copy | null)[] = []
    for (const name of twinNames(this.#name)) {
      copies.push(this.#open(name, await this.#storage.readFile(name)))
    }
    const newest = newestOf(copies)
    if (newest === null) return null
    this.#sequence = newest.sequence
    if (copies.every((copy) => copy?.sequence === newest.sequence)) return newest.payload
    try {
      await this.write(newest.payload)
    } catch (error) {
      // One sound copy is enough to go on with; the next write makes both.
      this.#log.warn('twin_file.not_mended', { file: this.#name, error })
    }
    return newest.payload
  }

  /** One write at a time. @throws INTERNAL: it may or may not be on disk */
  async write(payload: Bytes): Promise<void> {
    this.#sequence += 1n
    const header = new Uint8Array(HEADER_BYTES)
    const view = new DataView(header.buffer)
    view.setBigUint64(8, this.#sequence)
    const copy = concatBytes(header, payload)
    new DataView(copy.buffer).setBigUint64(0, checksum(this.#name, copy))
    // One after the other: a crash in the middle of one leaves the other whole.
    for (const name of twinNames(this.#name)) await this.#storage.writeFile(name, copy)
  }

  #open(name: string, bytes: Bytes | null): Copy | null {
    const copy = bytes === null ? null : openCopy(this.#name, bytes)
    if (copy === null && bytes !== null) this.#log.warn('twin_file.damaged', { file: name })
    return copy
  }
}

/** The names of the two. */
export function twinNames(name: string): readonly string[] {
  return [name, `${name}.copy`]
}

/** Of the copies that are there the newest sound one, for who only looks; null: none is sound. */
export function newestCopy(name: string, found: readonly Bytes[]): Copy | null {
  return newestOf(found.map((bytes) => openCopy(name, bytes)))
}

function newestOf(copies: readonly (Copy | null)[]): Copy | null {
  let newest: Copy | null = null
  for (const copy of copies) {
    if (copy !== null && (newest === null || copy.sequence > newest.sequence)) newest = copy
  }
  return newest
}

/** What one copy holds; null when it is damaged. @param name the twins' name, not that of the copy */
export function openCopy(name: string, bytes: Bytes): Copy | null {
  if (bytes.length < HEADER_BYTES) return null
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  if (view.getBigUint64(0) !== checksum(name, bytes)) return null
  return { sequence: view.getBigUint64(8), payload: bytes.subarray(HEADER_BYTES) }
}

function checksum(name: string, copy: Bytes): bigint {
  return hash64(concatBytes(utf8(name), copy.subarray(8)))
}
