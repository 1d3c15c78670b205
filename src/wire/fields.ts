/** Fields that several message tables use, with their limits. */
import { type ErrorCode, isErrorCode } from '../base/error.ts'
import type { KeyspaceId } from '../base/ids.ts'
import { parseActorId, parseAddress, parseClusterId, parseNodeId } from '../base/ids.ts'
import type { Level } from '../protocol/configuration.ts'
import { MAX_CONTEXT_LENGTH } from '../protocol/context.ts'
import { MAX_GENERATION } from '../protocol/membership/peer.ts'
import { MAX_RECORD_BYTES, MAX_VALUE_BYTES } from '../protocol/record.ts'
import { MAX_KEY_BYTES } from './requests.ts'
import { bool, bytes, type Field, MalformedMessage, optional, parsed, string, uint, word } from './schema.ts'

const MAX_LEVEL = 4096
/** Keys that are too long get an answer that says so, up to this. */
const MAX_CARRIED_KEY_BYTES = 64 * 1024

export const requestId = uint()
export const configurationNumber = uint()
export const generation = uint(MAX_GENERATION)
export const keyspaceId = uint(0xffff_ffff) as Field<number> as Field<KeyspaceId>
export const keyspaceName = string(1024)
export const key = bytes(MAX_KEY_BYTES, 1)
export const carriedKey = bytes(MAX_CARRIED_KEY_BYTES)
export const record = bytes(MAX_RECORD_BYTES)
/** How large a value may be is the receiving node's option; this is what a message can carry at all. */
export const value = bytes(MAX_VALUE_BYTES)
export const context = string(MAX_CONTEXT_LENGTH)
export const contentType = string(256)
export const writeId = string(64)
export const timeoutMs = uint(600_000)
export const nodeId = parsed(parseNodeId)
export const clusterId = parsed(parseClusterId)
export const address = parsed(parseAddress)
export const actorId = parsed(parseActorId)
export const strategy = word(['ring', 'full'])
export const conflicts = word(['siblings', 'lww'])
export const quorumKind = word(['sloppy', 'strict'])
export const durability = word(['disk', 'os'])
export const phase = word(['stable', 'begun', 'switched'])

/** A number of answers, or one of the words. */
export const level: Field<Level> = {
  encode: (value) => value,
  decode(raw) {
    if (raw === 'one' || raw === 'quorum' || raw === 'all') return raw
    if (typeof raw === 'number' && Number.isInteger(raw) && raw >= 1 && raw <= MAX_LEVEL) return raw
    throw new MalformedMessage('not a level')
  },
}

export const errorCode = parsed((raw): ErrorCode => {
  if (isErrorCode(raw)) return raw
  throw new MalformedMessage('not an error code')
})

/**
 * The fields of a PutRequest: as a client sends it, and as a peer forwards it. Keys and values are judged by
 * the node.
 */
export const putRequestShape = {
  keyspace: keyspaceName,
  key: carriedKey,
  value: optional(value),
  contentType: optional(contentType),
  context: optional(context),
  blind: bool,
  w: optional(level),
  writeId,
  timeoutMs,
  ttlMs: optional(uint()),
} as const

export const putReplyShape = { context, owners: uint(MAX_LEVEL), standIns: uint(MAX_LEVEL) } as const

export const errorShape = { code: errorCode, message: string(4096) } as const
