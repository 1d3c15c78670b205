/** Nonsense to send: frames that were valid once, and frames that never were. */
import { type Bytes, concatBytes, equalBytes } from '../../src/base/bytes.ts'
import { hash32 } from '../../src/base/hash.ts'
import type { Prng } from '../../src/base/prng.ts'
import { decodeRecord, MalformedRecord } from '../../src/store/record-codec.ts'
import type { ClientRequest } from '../../src/wire/client-messages.ts'
import { decodeConfiguration } from '../../src/wire/configuration-codec.ts'
import { packFrame, unpackFrame } from '../../src/wire/frame.ts'
import { pack } from '../../src/wire/msgpack.ts'
import type { PeerMessage } from '../../src/wire/peer-messages.ts'
import { MalformedMessage, type MessageCodec } from '../../src/wire/schema.ts'

const MAX_GARBAGE_BYTES = 2_000
/** Tries at a change that leaves a message valid. */
const MAX_TRIES = 20
const EDGES = [0, 1, 2, 255, 65_535, 2 ** 31, 2 ** 32 - 1, 2 ** 53 - 1]
/** Of a frame. */
const CHECKSUM_BYTES = 4

export type AnyCodec = MessageCodec<PeerMessage> | MessageCodec<ClientRequest>

/**
 * Damage done to a recorded frame: on its way, which its checksum shows, or by whoever made it, checksum
 * included. What is a valid message still, such as another number where any number may stand, is forged and
 * not mangled, and never returned.
 */
export function mangleFrame(prng: Prng, frame: Bytes, other: Bytes, codec: AnyCodec): Bytes {
  for (;;) {
    const mangled = (MANGLERS[prng.int(MANGLERS.length)] as Mangler)(prng, frame, other)
    if (!equalBytes(mangled, frame) && !isValid(mangled, codec)) return mangled
  }
}

/** A lie: a message that is valid, but not what was recorded. Null when the frame offers no room for one. */
export function forgeFrame(prng: Prng, frame: Bytes, codec: AnyCodec): Bytes | null {
  for (let tries = 0; tries < MAX_TRIES; tries++) {
    const messages = unpackFrame(frame) as unknown[][]
    for (let changes = 1 + prng.int(3); changes > 0; changes--)
      forgeSomewhere(prng, messages[prng.int(messages.length)] as unknown[], 1)
    const forged = packFrame(messages)
    if (!equalBytes(forged, frame) && isValid(forged, codec)) return forged
  }
  return null
}

/** Bytes that nobody ever sent, most of them under a right checksum. */
export function inventFrame(prng: Prng): Bytes {
  const packed = inventPacked(prng)
  return prng.float() < 0.2 ? packed : seal(packed)
}

/** With what is packed into it: a record, a configuration. */
function isValid(frame: Bytes, codec: AnyCodec): boolean {
  try {
    for (const raw of unpackFrame(frame)) {
      const message = codec.decode(raw)
      if (message.type === 'replicate') decodeRecord(message.key, message.record)
      if (message.type === 'adopt' && message.configuration !== null)
        decodeConfiguration(message.configuration)
      if (message.type === 'vote') decodeConfiguration(message.value)
    }
    return true
  } catch (error) {
    if (error instanceof MalformedMessage || error instanceof MalformedRecord) return false
    throw error
  }
}

function seal(packed: Bytes): Bytes {
  const checksum = hash32(packed)
  return concatBytes(
    Uint8Array.from({ length: CHECKSUM_BYTES }, (_, i) => checksum >>> (8 * i)),
    packed,
  )
}

function mangleSealedBytes(prng: Prng, frame: Bytes, other: Bytes): Bytes {
  return seal(mangleBytes(prng, frame.subarray(CHECKSUM_BYTES), other.subarray(CHECKSUM_BYTES)))
}

/** One part is not what it should be: of another type, out of range, too long, too deep, missing. */
function mangleParts(prng: Prng, frame: Bytes): Bytes {
  const messages = unpackFrame(frame) as unknown[][]
  replaceSomewhere(prng, messages[prng.int(messages.length)] as unknown[])
  return packFrame(messages)
}

/** Bytes within a message: a key, a value, a record, a configuration. */
function mangleInside(prng: Prng, frame: Bytes): Bytes {
  const messages = unpackFrame(frame) as unknown[][]
  for (const message of messages) {
    for (const [at, part] of message.entries())
      if (part instanceof Uint8Array && part.length > 0) message[at] = mangleBytes(prng, part, part)
  }
  return packFrame(messages)
}

function inventPacked(prng: Prng): Bytes {
  switch (prng.int(8)) {
    case 0:
      return garbage(prng, prng.int(MAX_GARBAGE_BYTES))
    case 1:
      return new Uint8Array(0)
    case 2: // Arrays in arrays, deeper than any stack.
      return new Uint8Array(1 + prng.int(100_000)).fill(0x91)
    case 3: // A list that says it is longer than the frame.
      return concatBytes(Uint8Array.of(0xdd, 0xff, 0xff, 0xff, 0xff), garbage(prng, prng.int(100)))
    case 4: // The same of a text, bytes, a map, an extension.
      return concatBytes(
        Uint8Array.of(0x91, [0xdb, 0xc6, 0xdf, 0xc9][prng.int(4)] as number, 0x7f, 0xff, 0xff, 0xff),
        garbage(prng, prng.int(100)),
      )
    case 5: // Every extension that msgpack libraries know or do not know.
      return concatBytes(Uint8Array.of(0x91, 0xc7, prng.int(64), prng.int(256)), garbage(prng, 64))
    case 6:
      return pack([oddMessage(prng)])
    default:
      return pack(oddValue(prng, 3))
  }
}

type Mangler = (prng: Prng, frame: Bytes, other: Bytes) => Bytes
const MANGLERS: readonly Mangler[] = [mangleBytes, mangleSealedBytes, mangleParts, mangleInside]

/** Some bytes flipped, lost, added, repeated, or those of another frame. */
export function mangleBytes(prng: Prng, frame: Bytes, other: Bytes): Bytes {
  const at = prng.int(frame.length)
  const length = 1 + prng.int(Math.min(64, frame.length))
  switch (prng.int(8)) {
    case 0:
      return flipBits(prng, frame, 1)
    case 1:
      return flipBits(prng, frame, 2 + prng.int(8))
    case 2:
      return frame.subarray(0, at)
    case 3:
      return concatBytes(frame, garbage(prng, length))
    case 4:
      return concatBytes(frame.subarray(0, at), frame.subarray(at + length))
    case 5:
      return concatBytes(frame.subarray(0, at), frame.subarray(at, at + length), frame.subarray(at))
    case 6:
      return concatBytes(frame.subarray(0, at), other.subarray(prng.int(other.length)))
    default:
      return concatBytes(frame.subarray(0, at), garbage(prng, length), frame.subarray(at + length))
  }
}

function flipBits(prng: Prng, frame: Bytes, count: number): Bytes {
  const flipped = new Uint8Array(frame)
  for (let i = 0; i < count; i++) {
    const at = prng.int(flipped.length)
    flipped[at] = (flipped[at] as number) ^ (1 << prng.int(8))
  }
  return flipped
}

function replaceSomewhere(prng: Prng, list: unknown[]): void {
  const at = prng.int(list.length)
  const item = list[at]
  if (Array.isArray(item) && item.length > 0 && prng.float() < 0.7) return replaceSomewhere(prng, item)
  if (prng.float() < 0.1) list.splice(at, 1)
  else list[at] = oddValue(prng, 2)
}

function forgeSomewhere(prng: Prng, list: unknown[], from = 0): void {
  const at = from + prng.int(Math.max(1, list.length - from))
  const item = list[at]
  if (Array.isArray(item)) {
    if (item.length > 0 && prng.float() < 0.8) forgeSomewhere(prng, item)
    else list[at] = prng.float() < 0.5 ? [] : [...item, ...item]
  } else if (typeof item === 'number') {
    const near = item + prng.int(5) - 2
    list[at] = prng.float() < 0.5 ? EDGES[prng.int(EDGES.length)] : near
  } else if (typeof item === 'boolean') list[at] = !item
  else if (typeof item === 'string') list[at] = item.slice(1) + item.slice(0, 1)
  else if (item instanceof Uint8Array && item.length > 0) list[at] = mangleBytes(prng, item, item)
  else list[at] = oddValue(prng, 0)
}

function oddMessage(prng: Prng): unknown[] {
  return [prng.int(100), ...Array.from({ length: prng.int(12) }, () => oddValue(prng, 2))]
}

function oddValue(prng: Prng, depth: number): unknown {
  switch (prng.int(depth > 0 ? 13 : 10)) {
    case 0:
      return null
    case 1:
      return prng.float() < 0.5
    case 2:
      return -1 - prng.int(1000)
    case 3:
      return prng.float() * 10 ** prng.int(300)
    case 4:
      return [Number.NaN, Number.POSITIVE_INFINITY, -0, 2 ** 53, 2 ** 64, 5e-324][prng.int(6)]
    case 5:
      return BigInt(prng.next()) * 0x1_0000_0000n
    case 6:
      return 'x'.repeat(prng.int(70_000))
    case 7:
      return ['__proto__', 'constructor', '', '\u0000', '../../etc', '\ud800', '127.0.0.1:1'][prng.int(7)]
    case 8:
      return garbage(prng, prng.int(MAX_GARBAGE_BYTES))
    case 9:
      return prng.int(300)
    case 10:
      return Array.from({ length: prng.int(20) }, () => oddValue(prng, depth - 1))
    case 11:
      return new Map([[oddValue(prng, 0), oddValue(prng, depth - 1)]])
    default:
      return { [String(oddValue(prng, 0)).slice(0, 50)]: oddValue(prng, depth - 1) }
  }
}

function garbage(prng: Prng, length: number): Bytes {
  const bytes = new Uint8Array(length)
  for (let i = 0; i < length; i++) bytes[i] = prng.next()
  return bytes
}
