/**
 * A frame: the messages to one receiver in one turn of the event loop, packed together with msgpackr as an
 * array of messages, after a checksum of 4 bytes.
 *
 * The checksum is there because most damage leaves a message that is valid: another value, a greater
 * generation, a later configuration, which everyone would believe and pass on. TCP's 16 bits do not keep it
 * away (Stone and Partridge, "When the CRC and TCP Checksum Disagree", 2000).
 */
import type { Bytes } from '../base/bytes.ts'
import { hash32 } from '../base/hash.ts'
import { MAX_RECORD_BYTES, MAX_VALUE_BYTES } from '../protocol/record.ts'
import { packBehind, unpack } from './msgpack.ts'
import { MalformedMessage } from './schema.ts'

/**
 * The version of everything in `wire/`; peers and clients of another one are refused in the handshake. From 2
 * on write messages carry eras, and owners purge.
 */
export const PROTOCOL_VERSION = 3
/** No frame is larger; a link that brings one is cut. The largest record fits, and what shares its frame. */
export const MAX_FRAME_BYTES = MAX_RECORD_BYTES + 8 * 1024 * 1024
/** A sender starts a new frame past this. */
export const FRAME_TARGET_BYTES = 1024 * 1024
/** Of a client's frame: the largest value comes behind one byte less than that, and keys and names beside. */
export const MAX_CLIENT_FRAME_BYTES = FRAME_TARGET_BYTES + MAX_VALUE_BYTES + 3 * 1024 * 1024
export const MAX_FRAME_MESSAGES = 16 * 1024
const CHECKSUM_BYTES = 4

/** @param messages what codecs' `encode` gave. The result is the caller's. */
export function packFrame(messages: readonly unknown[][]): Bytes {
  const frame = packBehind(CHECKSUM_BYTES, messages)
  const checksum = hash32(frame.subarray(CHECKSUM_BYTES))
  for (let i = 0; i < CHECKSUM_BYTES; i++) frame[i] = checksum >>> (8 * i)
  return frame
}

/** Messages for codecs' `decode`; bytes in them are views into the frame. @throws MalformedMessage */
export function unpackFrame(frame: Bytes): unknown[] {
  const packed = frame.subarray(CHECKSUM_BYTES)
  if (frame.length < CHECKSUM_BYTES || readChecksum(frame) !== hash32(packed))
    throw new MalformedMessage('the frame was damaged on its way')
  const raw = unpack(packed)
  if (!Array.isArray(raw) || raw.length > MAX_FRAME_MESSAGES) {
    throw new MalformedMessage('a frame is an array of messages')
  }
  return raw
}

function readChecksum(frame: Bytes): number {
  let checksum = 0
  for (let i = CHECKSUM_BYTES - 1; i >= 0; i--) checksum = checksum * 256 + (frame[i] as number)
  return checksum
}
