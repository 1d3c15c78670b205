/**
 * The bytes of a KeyRecord, on disk and between peers.
 *
 *     version 1 | flags 1 | checksum 4 | actors: count, (id 8, vector n)… | loose dots: count, (actor, n)…
 *     | values: count, (actor, n, flags, writeId, timestamp, [content type], [expiry], [value])…
 *
 * Actors are named once and by their position afterwards. The checksum is over the key and everything but
 * itself, so that a record that comes back under another key shows. Equal records have equal bytes: what is
 * sorted is sorted, what is absent is left out, numbers have their shortest form; other forms are refused,
 * because peers compare records by their bytes.
 */
import { assert } from '../base/assert.ts'
import type { Bytes } from '../base/bytes.ts'
import { KvError } from '../base/error.ts'
import { hash32 } from '../base/hash.ts'
import type { ActorId } from '../base/ids.ts'
import { covers } from '../protocol/dvv.ts'
import {
  type Dot,
  type DotSet,
  type DottedValue,
  type KeyRecord,
  MAX_RECORD_BYTES,
  MAX_RECORD_VALUES,
} from '../protocol/record.ts'
import { ByteReader, ByteWriter, MAX_NUMBER_BYTES, MalformedBytes } from './byte-cursor.ts'

const CODEC_VERSION = 1
const HEADER_BYTES = 6
const ACTOR_BYTES = 8
export const MAX_RECORD_ACTORS = 4096
const MAX_LOOSE_DOTS = 64 * 1024
/** Of a writeId or a content type. */
const MAX_TEXT_BYTES = 1024
const MAX_VALUE_BYTES = 64 * 1024 * 1024

/** Of a record: readers find something in it, besides tombstones. */
const LIVE = 1
/** Of a record: it has no values left, and tells only what was seen (`protocol/purge.ts`). */
const BARE = 2
/** Of a value. */
const TOMBSTONE = 1
const CONTENT_TYPE = 2
const EXPIRY = 4

/** The bytes are not a record, or not of this key: a damaged disk, or a stranger. */
export class MalformedRecord extends KvError {
  constructor(what: string) {
    super('INTERNAL', `malformed record: ${what}`)
    this.name = 'MalformedRecord'
  }
}

/** More than one record may hold: siblings that came together, from many sides of a split. */
export class RecordOverflow extends KvError {
  constructor(what: string) {
    const advice =
      'put or delete it without a context: that replaces all; get with r=1 shows what one peer has'
    super('CONFLICT', `the key has more concurrent values than a record can hold (${what}); ${advice}`)
    this.name = 'RecordOverflow'
  }
}

/** @throws RecordOverflow */
export function encodeRecord(key: Bytes, record: KeyRecord): Bytes {
  return encodeSeeded(hash32(key), record)
}

/** Values are views into `bytes`. @throws MalformedRecord */
export function decodeRecord(key: Bytes, bytes: Bytes): KeyRecord {
  return decodeSeeded(hash32(key), bytes)
}

/**
 * The same with the key's `hash32`, for who has it already. @throws RecordOverflow
 */
export function encodeSeeded(keyHash: number, record: KeyRecord): Bytes {
  const { seen, values } = record
  const actors = actorsOf(seen)
  checkLimits(actors.length, seen.loose.length, values)
  writer.begin(maxSize(record, actors.length))
  writer.byte(CODEC_VERSION)
  writer.byte(flagsOf(values))
  writer.uint32(0)
  writer.number(actors.length)
  for (const actor of actors) {
    const { high, low } = actorBits(actor)
    writer.uint32(high)
    writer.uint32(low)
    writer.number(seen.vector.get(actor) ?? 0)
  }
  writer.number(seen.loose.length)
  let position = 0
  for (const dot of seen.loose) position = writeDot(dot, actors, position)
  writer.number(values.length)
  position = 0
  for (const value of values) {
    position = writeDot(value.dot, actors, position)
    writeValue(value)
  }
  const bytes = writer.end()
  checkSize(bytes.length)
  const sum = checksum(keyHash, bytes)
  for (let i = 0; i < 4; i++) bytes[2 + i] = sum >>> (24 - 8 * i)
  return bytes
}

/** @throws MalformedRecord */
export function decodeSeeded(keyHash: number, bytes: Bytes): KeyRecord {
  verifyRecord(keyHash, bytes)
  try {
    return readRecord(new ByteReader(bytes, HEADER_BYTES), bytes[1] as number)
  } catch (error) {
    if (error instanceof MalformedBytes) throw new MalformedRecord(error.message)
    throw error
  }
}

/**
 * That these are the bytes that were written under this key; not that they have the form of a record. @throws
 * MalformedRecord
 */
export function verifyRecord(keyHash: number, bytes: Bytes): void {
  if (bytes.length < HEADER_BYTES) throw new MalformedRecord('cut short')
  if (bytes[0] !== CODEC_VERSION) throw new MalformedRecord(`version ${bytes[0]} is not known here`)
  if ((bytes[1] as number) > (LIVE | BARE)) throw new MalformedRecord('unknown flags')
  const stated = new ByteReader(bytes, 2).uint32()
  if (stated !== checksum(keyHash, bytes)) throw new MalformedRecord('its checksum does not match')
}

/** True when a record holds a value that is not a tombstone. */
export function isLive(bytes: Bytes): boolean {
  return ((bytes[1] as number) & LIVE) !== 0
}

/** True when a record holds no value at all. */
export function isBare(bytes: Bytes): boolean {
  return ((bytes[1] as number) & BARE) !== 0
}

/** `isMortal` of the record that these bytes are; false when they cannot be read. */
export function isStoredMortal(bytes: Bytes): boolean {
  if (!isLive(bytes)) return true
  try {
    return hasMortalValue(new ByteReader(bytes, HEADER_BYTES))
  } catch (error) {
    if (error instanceof MalformedBytes) return false
    throw error
  }
}

const writer = new ByteWriter()

/** Before room is made for it. */
function checkLimits(actors: number, loose: number, values: readonly DottedValue[]): void {
  if (actors > MAX_RECORD_ACTORS) throw new RecordOverflow(`${MAX_RECORD_ACTORS} writers`)
  if (values.length > MAX_RECORD_VALUES) throw new RecordOverflow(`${MAX_RECORD_VALUES} values`)
  if (loose > MAX_LOOSE_DOTS) throw new RecordOverflow(`${MAX_LOOSE_DOTS} dots`)
  checkSize(values.reduce((sum, { value }) => sum + (value?.length ?? 0), 0))
}

function checkSize(sizeBytes: number): void {
  if (sizeBytes > MAX_RECORD_BYTES) throw new RecordOverflow(`${MAX_RECORD_BYTES} bytes`)
}

function flagsOf(values: readonly DottedValue[]): number {
  if (values.length === 0) return BARE
  return values.some(({ value }) => value !== null) ? LIVE : 0
}

/** Every write and every look of a purge asks: without making the record. */
function hasMortalValue(reader: ByteReader): boolean {
  for (let actors = reader.number(MAX_RECORD_ACTORS); actors > 0; actors--) {
    reader.bytes(ACTOR_BYTES)
    reader.number()
  }
  for (let dots = reader.number(MAX_LOOSE_DOTS); dots > 0; dots--) skipDot(reader)
  for (let values = reader.number(MAX_RECORD_VALUES); values > 0; values--) {
    skipDot(reader)
    const flags = reader.byte()
    if ((flags & (TOMBSTONE | EXPIRY)) !== 0) return true
    reader.bytes(reader.number(MAX_TEXT_BYTES))
    reader.number()
    if ((flags & CONTENT_TYPE) !== 0) reader.bytes(reader.number(MAX_TEXT_BYTES))
    reader.bytes(reader.number(MAX_VALUE_BYTES))
  }
  return false
}

function skipDot(reader: ByteReader): void {
  reader.number()
  reader.number()
}

/** Version and flags go in by way of the seed, which saves putting the parts together. */
function checksum(keyHash: number, bytes: Bytes): number {
  const header = ((bytes[0] as number) << 8) | (bytes[1] as number)
  return hash32(bytes.subarray(HEADER_BYTES), (keyHash ^ header) >>> 0)
}

function maxSize({ seen, values }: KeyRecord, actorCount: number): number {
  const fixed = HEADER_BYTES + 3 * MAX_NUMBER_BYTES
  let size = fixed + actorCount * (ACTOR_BYTES + MAX_NUMBER_BYTES) + seen.loose.length * 2 * MAX_NUMBER_BYTES
  for (const { writeId, contentType, value } of values) {
    // A UTF-16 code unit takes at most three bytes of UTF-8.
    size += 8 * MAX_NUMBER_BYTES + 3 * (writeId.length + (contentType?.length ?? 0)) + (value?.length ?? 0)
  }
  return size
}

/** Sorted. */
function actorsOf(seen: DotSet): ActorId[] {
  const actors = [...seen.vector.keys()]
  for (const { actor } of seen.loose) {
    if (!seen.vector.has(actor) && actors.at(-1) !== actor) actors.push(actor)
  }
  return actors.length < 2 ? actors : actors.sort()
}

/** @param from where to look for the dot's actor: dots are sorted. @returns where it was */
function writeDot(dot: Dot, actors: readonly ActorId[], from: number): number {
  let position = from
  while (position < actors.length && actors[position] !== dot.actor) position++
  assert(position < actors.length, 'dots are sorted, and every dot of a value is in `seen`')
  writer.number(position)
  writer.number(dot.n)
  return position
}

function writeValue({ value, contentType, writeId, timestamp, expiresAtMs }: DottedValue): void {
  const typed = contentType === null ? 0 : CONTENT_TYPE
  const expires = expiresAtMs === null ? 0 : EXPIRY
  writer.byte((value === null ? TOMBSTONE : 0) | typed | expires)
  writer.text(writeId)
  writer.number(timestamp)
  if (contentType !== null) writer.text(contentType)
  if (expiresAtMs !== null) writer.number(expiresAtMs)
  if (value !== null) {
    writer.number(value.length)
    writer.bytes(value)
  }
}

function readRecord(reader: ByteReader, flags: number): KeyRecord {
  const actors: ActorId[] = []
  const vector = new Map<ActorId, number>()
  const actorCount = reader.number(MAX_RECORD_ACTORS)
  for (let i = 0; i < actorCount; i++) {
    const actor = actorOf(reader.uint32(), reader.uint32())
    const previous = actors.at(-1)
    if (previous !== undefined && previous >= actor) throw new MalformedBytes('actors out of order')
    actors.push(actor)
    const n = reader.number()
    if (n > 0) vector.set(actor, n)
  }
  const loose = readLoose(reader, actors, vector)
  const seen: DotSet = { vector, loose }
  const values: DottedValue[] = []
  const valueCount = reader.number(MAX_RECORD_VALUES)
  for (let i = 0; i < valueCount; i++) {
    const value = readValue(reader, actors)
    const previous = values.at(-1)
    if (previous !== undefined && !isAfter(value.dot, previous.dot))
      throw new MalformedBytes('values out of order')
    if (!covers(seen, value.dot)) throw new MalformedBytes('a value whose dot was not seen')
    values.push(value)
  }
  if (flagsOf(values) !== flags) throw new MalformedBytes('a flag that contradicts the values')
  reader.end()
  return { seen, values }
}

const NO_DOTS: readonly Dot[] = []

function readLoose(
  reader: ByteReader,
  actors: readonly ActorId[],
  vector: ReadonlyMap<ActorId, number>,
): readonly Dot[] {
  const looseCount = reader.number(MAX_LOOSE_DOTS)
  if (looseCount === 0 && vector.size === actors.length) return NO_DOTS
  const loose: Dot[] = []
  const named = new Set(vector.keys())
  for (let i = 0; i < looseCount; i++) {
    const dot = readDot(reader, actors)
    const previous = loose.at(-1)
    if (previous !== undefined && !isAfter(dot, previous)) throw new MalformedBytes('loose dots out of order')
    if ((vector.get(dot.actor) ?? 0) >= dot.n) throw new MalformedBytes('a loose dot that the vector covers')
    named.add(dot.actor)
    loose.push(dot)
  }
  if (named.size !== actors.length) throw new MalformedBytes('an actor without dots')
  return loose
}

function readDot(reader: ByteReader, actors: readonly ActorId[]): Dot {
  const actor = actors[reader.number(MAX_RECORD_ACTORS)]
  if (actor === undefined) throw new MalformedBytes('a dot of an actor that is not named')
  const n = reader.number()
  if (n === 0) throw new MalformedBytes('a dot below 1')
  return { actor, n }
}

function isAfter(dot: Dot, previous: Dot): boolean {
  return dot.actor === previous.actor ? dot.n > previous.n : dot.actor > previous.actor
}

function readValue(reader: ByteReader, actors: readonly ActorId[]): DottedValue {
  const dot = readDot(reader, actors)
  const flags = reader.byte()
  if (flags > (TOMBSTONE | CONTENT_TYPE | EXPIRY)) throw new MalformedBytes('unknown flags')
  const writeId = reader.text(MAX_TEXT_BYTES)
  const timestamp = reader.number()
  const contentType = (flags & CONTENT_TYPE) === 0 ? null : reader.text(MAX_TEXT_BYTES)
  const expiresAtMs = (flags & EXPIRY) === 0 ? null : reader.number()
  const value = (flags & TOMBSTONE) === 0 ? reader.bytes(reader.number(MAX_VALUE_BYTES)) : null
  return { dot, value, contentType, writeId, timestamp, expiresAtMs }
}

interface ActorBits {
  readonly id: ActorId
  readonly high: number
  readonly low: number
}

/**
 * The same few actors come again and again: both directions of the translation are remembered, in a table
 * where a newcomer takes the place of whoever was there.
 */
const REMEMBERED = 1024
const bitsById = new Map<ActorId, ActorBits>()
const actorsByBits = new Array<ActorBits | undefined>(REMEMBERED).fill(undefined)

function actorBits(id: ActorId): ActorBits {
  const known = bitsById.get(id)
  if (known !== undefined) return known
  const bits = { id, high: Number.parseInt(id.slice(0, 8), 16), low: Number.parseInt(id.slice(8), 16) }
  if (bitsById.size >= REMEMBERED) bitsById.clear()
  bitsById.set(id, bits)
  return bits
}

function actorOf(high: number, low: number): ActorId {
  const place = (high ^ low) & (REMEMBERED - 1)
  const known = actorsByBits[place]
  if (known !== undefined && known.high === high && known.low === low) return known.id
  const id = (high.toString(16).padStart(8, '0') + low.toString(16).padStart(8, '0')) as ActorId
  actorsByBits[place] = { id, high, low }
  return id
}
