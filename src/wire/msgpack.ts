/**
 * One value to msgpack bytes and back, for what lies on disk or travels inside a message. Frames have their
 * own (`frame.ts`).
 */
import { Packr, RESERVE_START_SPACE, Unpackr } from 'msgpackr'
import type { Bytes } from '../base/bytes.ts'
import { MalformedMessage } from './schema.ts'

const packr = new Packr({ useRecords: false, variableMapSize: true })
const unpackr = new Unpackr({ useRecords: false, mapsAsObjects: false })

/**
 * @param value numbers, strings, bytes, booleans, null, and arrays of these: equal values give equal bytes.
 * The caller owns the result.
 */
export function pack(value: unknown): Bytes {
  return packr.pack(value)
}

/** As `pack`, with room for up to 255 bytes in front, whose content is undefined. */
export function packBehind(reservedBytes: number, value: unknown): Bytes {
  return packr.pack(value, RESERVE_START_SPACE | reservedBytes)
}

/** Bytes in the value are views into the input. @throws MalformedMessage */
export function unpack(bytes: Bytes): unknown {
  try {
    return unpackr.unpack(bytes)
  } catch (error) {
    // Whatever garbage makes msgpackr throw (RangeError on deep nesting included) is the sender's mistake.
    throw new MalformedMessage(error instanceof Error ? error.message : 'not msgpack')
  }
}
