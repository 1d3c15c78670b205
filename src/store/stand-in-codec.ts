/**
 * The bytes of a stand-in record on disk: whom it is meant for, and a record as owners keep it.
 *
 *     version 1 | checksum 4 | targets: count, node id… (sorted) | the record's bytes
 *
 * The checksum is over the key and everything but itself; the record has its own as well.
 */
import type { Bytes } from '../base/bytes.ts'
import { KvError } from '../base/error.ts'
import { hash32 } from '../base/hash.ts'
import { type NodeId, parseNodeId } from '../base/ids.ts'
import { ByteReader, ByteWriter, MAX_NUMBER_BYTES, MalformedBytes } from './byte-cursor.ts'
import { MalformedRecord } from './record-codec.ts'

const CODEC_VERSION = 1
const HEADER_BYTES = 5
const MAX_TARGETS = 4096
/** Of a node id. */
const MAX_TEXT_BYTES = 64

export interface StandInValue {
  /** Owners that may lack it. Sorted, never empty. */
  readonly targets: readonly NodeId[]
  readonly record: Bytes
}

/** @param keyHash `hash32` of the user's key */
export function encodeStandIn(keyHash: number, { targets, record }: StandInValue): Bytes {
  writer.begin(HEADER_BYTES + (targets.length + 1) * (MAX_TEXT_BYTES + MAX_NUMBER_BYTES) + record.length)
  writer.byte(CODEC_VERSION)
  writer.uint32(0)
  writer.number(targets.length)
  for (const target of targets) writer.text(target)
  writer.bytes(record)
  const bytes = writer.end()
  const sum = checksum(keyHash, bytes)
  for (let i = 0; i < 4; i++) bytes[1 + i] = sum >>> (24 - 8 * i)
  return bytes
}

/** The record is a view into `bytes`, and is not checked here. @throws MalformedRecord */
export function decodeStandIn(keyHash: number, bytes: Bytes): StandInValue {
  if (bytes[0] !== CODEC_VERSION) throw new MalformedRecord(`version ${bytes[0]} is not known here`)
  if (bytes.length < HEADER_BYTES) throw new MalformedRecord('cut short')
  if (new ByteReader(bytes, 1).uint32() !== checksum(keyHash, bytes)) {
    throw new MalformedRecord('its checksum does not match')
  }
  try {
    return readStandIn(bytes)
  } catch (error) {
    // A name that is none, too.
    if (error instanceof MalformedBytes || error instanceof KvError) throw new MalformedRecord(error.message)
    throw error
  }
}

const writer = new ByteWriter()

function checksum(keyHash: number, bytes: Bytes): number {
  return hash32(bytes.subarray(HEADER_BYTES), keyHash)
}

function readStandIn(bytes: Bytes): StandInValue {
  const reader = new ByteReader(bytes, HEADER_BYTES)
  const count = reader.number(MAX_TARGETS)
  if (count === 0) throw new MalformedBytes('a stand-in record for nobody')
  const targets: NodeId[] = []
  for (let i = 0; i < count; i++) targets.push(parseNodeId(reader.text(MAX_TEXT_BYTES)))
  return { targets, record: reader.rest() }
}
