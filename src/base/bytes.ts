/**
 * Bytes are `Uint8Array`s (often Node's `Buffer`, which is one). Whoever receives bytes may read but not
 * change them.
 */

export type Bytes = Uint8Array

const encoder = new TextEncoder()
const decoder = new TextDecoder('utf-8', { ignoreBOM: true })
const strictDecoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

export const EMPTY_BYTES: Bytes = new Uint8Array(0)

export function utf8(text: string): Bytes {
  return encoder.encode(text)
}

/** Half a surrogate pair has no UTF-8: U+FFFD would stand for it, and different texts would become equal. */
export function isWellFormed(text: string): boolean {
  return !LONE_SURROGATE.test(text)
}

const LONE_SURROGATE = /\p{Surrogate}/u

/** Text of UTF-8 bytes; malformed sequences become U+FFFD. */
export function text(bytes: Bytes): string {
  return decoder.decode(bytes)
}

/** Text of UTF-8 bytes, or null when they are not valid UTF-8. */
export function strictText(bytes: Bytes): string | null {
  try {
    return strictDecoder.decode(bytes)
  } catch {
    return null // The decoder's only failure is malformed input, which is the answer.
  }
}

/** Lexicographic by unsigned byte, shorter first: -1, 0 or 1. The order of keys in the store. */
export function compareBytes(a: Bytes, b: Bytes): -1 | 0 | 1 {
  const length = Math.min(a.length, b.length)
  for (let i = 0; i < length; i++) {
    const difference = (a[i] as number) - (b[i] as number)
    if (difference !== 0) return difference < 0 ? -1 : 1
  }
  if (a.length === b.length) return 0
  return a.length < b.length ? -1 : 1
}

export function equalBytes(a: Bytes, b: Bytes): boolean {
  return a.length === b.length && compareBytes(a, b) === 0
}

export function concatBytes(...parts: readonly Bytes[]): Bytes {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0))
  let offset = 0
  for (const part of parts) {
    whole.set(part, offset)
    offset += part.length
  }
  return whole
}

/** Bytes of one's own. (`slice` of a `Buffer` would share them.) */
export function copyBytes(bytes: Bytes): Bytes {
  return new Uint8Array(bytes)
}

export function toHex(bytes: Bytes): string {
  let hex = ''
  for (const byte of bytes) hex += byte.toString(16).padStart(2, '0')
  return hex
}

/** Bytes of an even number of hex digits, or null. */
export function fromHex(hex: string): Bytes | null {
  if (hex.length % 2 !== 0 || !/^[0-9a-fA-F]*$/.test(hex)) return null
  const bytes = new Uint8Array(hex.length / 2)
  for (let i = 0; i < bytes.length; i++) bytes[i] = Number.parseInt(hex.slice(2 * i, 2 * i + 2), 16)
  return bytes
}
