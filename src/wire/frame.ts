/**
 * A frame: the messages to one receiver in one turn of the event loop, packed together with msgpackr as an array of messages.
 */
import type { Bytes } from '../base/bytes.ts'
import { pack, unpack } from './msgpack.ts'
import { MalformedMessage } from './schema.ts'

/** The version of everything in `wire/`; peers and clients of another one are refused in the handshake. */
export const PROTOCOL_VERSION = 1
/** No frame is larger; a link that brings one is cut. */
export const MAX_FRAME_BYTES = 16 * 1024 * 1024
/** A sender starts a new frame past this. */
export const FRAME_TARGET_BYTES = 1024 * 1024
export const MAX_FRAME_MESSAGES = 16 * 1024

/** @param messages what codecs' `encode` gave. The result is the caller's. */
export function packFrame(messages: readonly unknown[][]): Bytes {
  return pack(messages)
}

/** Messages for codecs' `decode`; bytes in them are views into the frame. @throws MalformedMessage */
export function unpackFrame(frame: Bytes): unknown[] {
  const raw = unpack(frame)
  if (!Array.isArray(raw) || raw.length > MAX_FRAME_MESSAGES) {
    throw new MalformedMessage('a frame is an array of messages')
  }
  return raw
}
