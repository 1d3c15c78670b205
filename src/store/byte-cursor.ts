/**
 * Writing and reading compact binary forms, byte by byte: faster than `DataView` and `TextEncoder` for short
 * fields.
 */
import { assert } from '../base/assert.ts'
import { type Bytes, strictText, utf8 } from '../base/bytes.ts'

/**
 * Numbers are written 7 bits a byte, the lowest first (LEB128); split here so that both halves fit into
 * 32-bit arithmetic.
 */
const HALF_BITS = 28
const HALF = 2 ** HALF_BITS
const MAX_HIGH_HALF = (Number.MAX_SAFE_INTEGER - (HALF - 1)) / HALF
const SLAB_BYTES = 64 * 1024
/** Longer results get a buffer of their own, so that a slab is not mostly waste. */
const MAX_SLAB_SHARE_BYTES = 16 * 1024

/** Longest form of a number. */
export const MAX_NUMBER_BYTES = 8

/** Cuts results from slabs: one allocation for many small ones. What is cut off is never written again. */
export class ByteWriter {
  #slab = new Uint8Array(SLAB_BYTES)
  #slabUsed = 0
  #bytes = this.#slab
  #start = 0
  #at = 0

  /** Begins a result of at most `maxBytes`. */
  begin(maxBytes: number): void {
    if (maxBytes > MAX_SLAB_SHARE_BYTES) {
      this.#bytes = new Uint8Array(maxBytes)
      this.#start = 0
    } else {
      if (this.#slabUsed + maxBytes > SLAB_BYTES) {
        this.#slab = new Uint8Array(SLAB_BYTES)
        this.#slabUsed = 0
      }
      this.#bytes = this.#slab
      this.#start = this.#slabUsed
    }
    this.#at = this.#start
  }

  /** The result, the caller's to keep. */
  end(): Bytes {
    if (this.#bytes === this.#slab) this.#slabUsed = this.#at
    return this.#bytes.subarray(this.#start, this.#at)
  }

  byte(value: number): void {
    this.#bytes[this.#at++] = value
  }

  uint16(value: number): void {
    this.byte(value >>> 8)
    this.byte(value)
  }

  uint32(value: number): void {
    this.byte(value >>> 24)
    this.byte(value >>> 16)
    this.byte(value >>> 8)
    this.byte(value)
  }

  /** A whole number from 0 to 2^53 - 1. */
  number(value: number): void {
    assert(Number.isSafeInteger(value) && value >= 0, 'a number to be written is whole and not negative')
    if (value < HALF) {
      this.#half(value)
      return
    }
    const low = value % HALF
    for (let shift = 0; shift < HALF_BITS; shift += 7) this.byte(((low >>> shift) & 0x7f) | 0x80)
    this.#half((value - low) / HALF)
  }

  bytes(value: Bytes): void {
    this.#bytes.set(value, this.#at)
    this.#at += value.length
  }

  /** Length and UTF-8. */
  text(value: string): void {
    const begin = this.#at
    if (value.length < 0x80) {
      this.byte(value.length)
      let i = 0
      for (; i < value.length; i++) {
        const unit = value.charCodeAt(i)
        if (unit >= 0x80) break
        this.byte(unit)
      }
      if (i === value.length) return
    }
    this.#at = begin
    const encoded = utf8(value)
    this.number(encoded.length)
    this.bytes(encoded)
  }

  #half(value: number): void {
    let rest = value
    while (rest >= 0x80) {
      this.byte((rest & 0x7f) | 0x80)
      rest >>>= 7
    }
    this.byte(rest)
  }
}

/** Thrown by a reader: the bytes are not what a writer writes. */
export class MalformedBytes extends Error {
  constructor(what: string) {
    super(what)
    this.name = 'MalformedBytes'
  }
}

/**
 * Reads what `ByteWriter` wrote and refuses everything else, such as a number in a longer form than needed.
 */
export class ByteReader {
  readonly #bytes: Bytes
  #at: number

  constructor(bytes: Bytes, offset = 0) {
    this.#bytes = bytes
    this.#at = offset
  }

  byte(): number {
    const value = this.#bytes[this.#at++]
    if (value === undefined) throw new MalformedBytes('cut short')
    return value
  }

  uint16(): number {
    return (this.byte() << 8) | this.byte()
  }

  uint32(): number {
    return ((this.byte() << 24) | (this.byte() << 16) | (this.byte() << 8) | this.byte()) >>> 0
  }

  number(max: number = Number.MAX_SAFE_INTEGER): number {
    let low = 0
    let value = -1
    for (let shift = 0; shift < HALF_BITS; shift += 7) {
      const byte = this.byte()
      low |= (byte & 0x7f) << shift
      if (byte < 0x80) {
        if (byte === 0 && shift > 0) throw new MalformedBytes('a number in too long a form')
        value = low
        break
      }
    }
    if (value < 0) value = low + this.#highHalf() * HALF
    if (value > max) throw new MalformedBytes('a number out of range')
    return value
  }

  /** A view. */
  bytes(length: number): Bytes {
    const end = this.#at + length
    if (end > this.#bytes.length) throw new MalformedBytes('cut short')
    const value = this.#bytes.subarray(this.#at, end)
    this.#at = end
    return value
  }

  text(maxBytes: number): string {
    const length = this.number(maxBytes)
    const begin = this.#at
    let value = ''
    for (let i = 0; i < length; i++) {
      const byte = this.byte()
      if (byte >= 0x80) {
        this.#at = begin
        return this.#anyText(length)
      }
      value += String.fromCharCode(byte)
    }
    return value
  }

  /** All that is left. A view. */
  rest(): Bytes {
    return this.bytes(this.#bytes.length - this.#at)
  }

  get isAtEnd(): boolean {
    return this.#at >= this.#bytes.length
  }

  end(): void {
    if (this.#at !== this.#bytes.length) throw new MalformedBytes('bytes behind the end')
  }

  #highHalf(): number {
    let high = 0
    for (let shift = 0; shift < HALF_BITS; shift += 7) {
      const byte = this.byte()
      high |= (byte & 0x7f) << shift
      if (byte >= 0x80) continue
      if (byte === 0) throw new MalformedBytes('a number in too long a form')
      if (high > MAX_HIGH_HALF) break
      return high
    }
    throw new MalformedBytes('a number out of range')
  }

  #anyText(length: number): string {
    const value = strictText(this.bytes(length))
    if (value === null) throw new MalformedBytes('a text that is not UTF-8')
    return value
  }
}
