/**
 * What a run did, boiled down to one number: a rolling hash over every event, message and disk write. Equal
 * seeds must give equal hashes, in any process; a difference means that something outside the seed (a real
 * clock, an unordered iteration, …) leaked in.
 */
import type { Bytes } from '../base/bytes.ts'
import { hash32 } from '../base/hash.ts'

export interface Trace {
  /** Something happened at a virtual time. */
  event(timeMs: number, sequence: number): void
  /** Bytes went somewhere. `kind` tells messages from disk writes, `place` the link or the disk. */
  bytes(kind: number, place: number, bytes: Bytes): void
  /** A name for what happened, such as a fault. */
  text(text: string): void
  /** 8 hex digits of the hash, a dash, the number of things hashed. */
  digest(): string
}

export const TRACE_MESSAGE = 1
export const TRACE_DISK = 2

export function createTrace(): Trace {
  let state = 0x811c9dc5
  let count = 0
  const float = new Float64Array(1)
  const words = new Uint32Array(float.buffer)
  const mix = (word: number): void => {
    state = Math.imul(state ^ word, 0x01000193)
    state ^= state >>> 15
  }
  return {
    event(timeMs, sequence) {
      count++
      float[0] = timeMs
      mix(words[0] as number)
      mix(words[1] as number)
      mix(sequence)
    },
    bytes(kind, place, bytes) {
      count++
      mix(kind)
      mix(place)
      state = hash32(bytes, state >>> 0) | 0
    },
    text(text) {
      count++
      for (let i = 0; i < text.length; i++) mix(text.charCodeAt(i))
    },
    digest: () => `${(state >>> 0).toString(16).padStart(8, '0')}-${count}`,
  }
}
