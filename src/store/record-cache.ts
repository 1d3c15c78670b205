/**
 * Copies of the records that were written or read last, as they are on disk.
 *
 * Intuition: one array of bytes, written round and round; whoever comes finds his place by the key's hash in
 * a table of positions, where the newest entry takes the place of whoever was there. So there is no object
 * for each record, nothing for the garbage collector to look at, and no list to keep in order: first in,
 * first out, but a record that is written again with the same length stays where it is.
 *
 * Invariant: for a key that was told to `put`, `get` gives what `put` was told last, or nothing. A key has
 * one place in the table, so that no older entry of it is ever found again.
 */
import type { Bytes } from '../base/bytes.ts'
import { ByteWriter } from './byte-cursor.ts'

/** A place in the table for each so many bytes: records are seldom smaller. */
const BYTES_PER_PLACE = 64
const FIRST_BYTES = 64 * 1024
/** Larger records are not kept: they would push out too many others. */
const LARGEST_SHARE = 64
/** Key hash 4 | length of the key 2 | length of the record 4. */
const HEADER_BYTES = 10
const NOWHERE = -1

export class RecordCache {
  readonly #maxBytes: number
  readonly #writer = new ByteWriter()
  #bytes: Bytes
  #view: DataView
  /** By the key's hash: where its entry begins, counted from the first byte ever written. */
  #places: Float64Array
  /** How far it was written, counted likewise. */
  #end = 0

  /** @param maxBytes a power of two; it begins with less, and grows */
  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes
    this.#bytes = new Uint8Array(Math.min(FIRST_BYTES, maxBytes))
    this.#view = new DataView(this.#bytes.buffer)
    this.#places = emptyPlaces(this.#bytes.length)
  }

  /** The caller's own copy; null: not here. */
  get(keyHash: number, databaseKey: Bytes): Bytes | null {
    const start = this.#find(keyHash, databaseKey)
    if (start === NOWHERE) return null
    const length = this.#view.getUint32(start + 6)
    const record = start + HEADER_BYTES + databaseKey.length
    this.#writer.begin(length)
    this.#writer.bytes(this.#bytes.subarray(record, record + length))
    return this.#writer.end()
  }

  /** This is on disk now. */
  put(keyHash: number, databaseKey: Bytes, record: Bytes): void {
    const start = this.#find(keyHash, databaseKey)
    if (start !== NOWHERE && this.#view.getUint32(start + 6) === record.length) {
      this.#bytes.set(record, start + HEADER_BYTES + databaseKey.length)
      return
    }
    const size = HEADER_BYTES + databaseKey.length + record.length
    if (size * LARGEST_SHARE > this.#maxBytes) {
      if (start !== NOWHERE) this.remove(keyHash)
      return
    }
    while (this.#end + size > this.#bytes.length && this.#bytes.length < this.#maxBytes) this.#grow()
    this.#append(size, keyHash, databaseKey, record)
  }

  /** Nothing is known of this key, nor of those with the same hash. */
  remove(keyHash: number): void {
    this.#places[keyHash & (this.#places.length - 1)] = NOWHERE
  }

  clear(): void {
    this.#places.fill(NOWHERE)
  }

  #append(size: number, keyHash: number, databaseKey: Bytes, record: Bytes): void {
    const capacity = this.#bytes.length
    const left = capacity - (this.#end % capacity)
    if (size > left) this.#end += left
    const start = this.#end % capacity
    this.#view.setUint32(start, keyHash)
    this.#view.setUint16(start + 4, databaseKey.length)
    this.#view.setUint32(start + 6, record.length)
    this.#bytes.set(databaseKey, start + HEADER_BYTES)
    this.#bytes.set(record, start + HEADER_BYTES + databaseKey.length)
    this.#places[keyHash & (this.#places.length - 1)] = this.#end
    this.#end += size
  }

  /** Where in the array the key's entry begins. */
  #find(keyHash: number, databaseKey: Bytes): number {
    const place = this.#places[keyHash & (this.#places.length - 1)] as number
    const capacity = this.#bytes.length
    if (place === NOWHERE || place < this.#end - capacity) return NOWHERE
    const start = place % capacity
    if (this.#view.getUint32(start) !== keyHash) return NOWHERE
    if (this.#view.getUint16(start + 4) !== databaseKey.length) return NOWHERE
    for (let i = 0, at = start + HEADER_BYTES; i < databaseKey.length; i++, at++) {
      if (this.#bytes[at] !== databaseKey[i]) return NOWHERE
    }
    return start
  }

  /** What is in the table stays in it; what fell out of it may be out of date. */
  #grow(): void {
    const [bytes, places] = [this.#bytes, this.#places]
    this.#bytes = new Uint8Array(bytes.length * 2)
    this.#bytes.set(bytes)
    this.#view = new DataView(this.#bytes.buffer)
    this.#places = emptyPlaces(this.#bytes.length)
    for (const place of places) {
      if (place !== NOWHERE) this.#places[this.#view.getUint32(place) & (this.#places.length - 1)] = place
    }
  }
}

function emptyPlaces(capacity: number): Float64Array {
  return new Float64Array(capacity / BYTES_PER_PLACE).fill(NOWHERE)
}
