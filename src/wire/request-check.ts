/**
 * What programs may hand over, checked before anything is sent or begun: a peer cuts a link that brings a
 * malformed message, and whoever made the mistake would learn nothing of it. Every failure is
 * INVALID_ARGUMENT (TOO_LARGE for a value that no message can carry) and says what is allowed.
 */
import type { Bytes } from '../base/bytes.ts'
import { KvError } from '../base/error.ts'
import type { KeyspaceId } from '../base/ids.ts'
import { type Level, MAX_MEMBERS, MAX_REPLICAS } from '../protocol/configuration.ts'
import { MAX_CONTEXT_LENGTH } from '../protocol/context.ts'
import { MAX_VALUE_BYTES } from '../protocol/record.ts'
import {
  DEFAULT_KEYSPACE_OPTIONS,
  type GetRequest,
  type KeyspaceInfo,
  type KeyspaceOptions,
  type KeyspaceShape,
  MAX_KEY_BYTES,
  type PutRequest,
} from './requests.ts'
import { parseRoundName, type RepairRequest } from './tasks.ts'
import { MAX_TTL_MS } from './ttl.ts'

export const MAX_CONTENT_TYPE_LENGTH = 255
const MAX_NAME_LENGTH = 64
const MAX_KEYSPACE_ID = 0xffff_ffff
const MAX_TIMEOUT_MS = 600_000
const LEVELS = `one, quorum, all or a whole number from 1 to ${MAX_MEMBERS}`

type Check = (value: unknown) => boolean

/** @throws INVALID_ARGUMENT, TOO_LARGE */
export function checkPut(request: PutRequest): void {
  checkRequest(request)
  const { value, contentType, context, blind, w, writeId, ttlMs } = request
  if (value !== null && !(value instanceof Uint8Array))
    throw wrong('value', value, 'bytes, or null to delete')
  const size = value?.length ?? 0
  if (size > MAX_VALUE_BYTES)
    throw new KvError('TOO_LARGE', `the value has ${size} bytes; at most ${MAX_VALUE_BYTES} can be sent`)
  if (contentType !== null && !isText(contentType, 0, MAX_CONTENT_TYPE_LENGTH))
    throw wrong('contentType', contentType, `text of at most ${MAX_CONTENT_TYPE_LENGTH} characters`)
  if (context !== null && !isText(context, 1, MAX_CONTEXT_LENGTH))
    throw wrong('context', context, 'the text that a get or put of the same key returned')
  if (typeof blind !== 'boolean') throw wrong('blind', blind, 'true or false')
  if (blind && context !== null) throw invalid('blind and context exclude each other; give one of them')
  if (w !== null && levelOf(w) === null) throw wrong('w', w, LEVELS)
  if (!isText(writeId, 1, MAX_NAME_LENGTH))
    throw wrong('writeId', writeId, `text of 1 to ${MAX_NAME_LENGTH} characters`)
  if (ttlMs === null) return
  if (value === null) throw invalid('a delete does not expire; leave ttlMs out')
  if (!isWhole(ttlMs, 1, MAX_TTL_MS)) throw wrong('ttlMs', ttlMs, `a whole number from 1 to ${MAX_TTL_MS}`)
}

/** @throws INVALID_ARGUMENT */
export function checkGet(request: GetRequest): void {
  checkRequest(request)
  if (request.r !== null && levelOf(request.r) === null) throw wrong('r', request.r, LEVELS)
}

/** @throws INVALID_ARGUMENT */
export function checkKey(key: Bytes): void {
  if (!(key instanceof Uint8Array)) throw wrong('key', key, `1 to ${MAX_KEY_BYTES} bytes`)
  if (key.length >= 1 && key.length <= MAX_KEY_BYTES) return
  throw invalid(`the key ${key.length === 0 ? 'is empty' : `has ${key.length} bytes`}; ${KEY_RULE}`)
}

const KEY_RULE = `a key has 1 to ${MAX_KEY_BYTES} bytes`

/** Of a keyspace: whether there is one of that name is known to peers. @throws INVALID_ARGUMENT */
export function checkKeyspaceName(name: string, option = 'keyspace'): void {
  if (!isText(name, 1, MAX_NAME_LENGTH))
    throw wrong(option, name, `the name of a keyspace, 1 to ${MAX_NAME_LENGTH} characters`)
}

/** @throws INVALID_ARGUMENT */
export function checkKeyspaceId(id: KeyspaceId): void {
  if (!isWhole(id, 1, MAX_KEYSPACE_ID)) throw wrong('id', id, 'the id of a keyspace')
}

/** The keyspace of that name. @throws INVALID_ARGUMENT, NOT_FOUND */
export function keyspaceNamed(keyspaces: readonly KeyspaceInfo[], name: string): KeyspaceInfo {
  checkKeyspaceName(name, 'name')
  const found = keyspaces.find((keyspace) => keyspace.name === name)
  if (found !== undefined) return found
  throw new KvError('NOT_FOUND', `there is no keyspace '${name}'; kvctl keyspace list shows those there are`)
}

/** @throws INVALID_ARGUMENT */
export function checkRepair(request: RepairRequest): void {
  checkOptionNames(request, ['keyspace', 'round', 'acceptLoss'], 'a repair')
  const { acceptLoss } = request
  if (acceptLoss !== undefined && typeof acceptLoss !== 'boolean')
    throw wrong('acceptLoss', acceptLoss, 'true or false')
  if (request.keyspace !== null) checkKeyspaceName(request.keyspace)
  parseRoundName(request.round)
}

export function checkTimeout(timeoutMs: number): void {
  if (!isWhole(timeoutMs, 1, MAX_TIMEOUT_MS))
    throw wrong('timeoutMs', timeoutMs, `a whole number from 1 to ${MAX_TIMEOUT_MS}`)
}

const oneOf =
  (...words: readonly string[]): Check =>
  (value) =>
    words.includes(value as string)
const isLevel: Check = (value) => levelOf(value) !== null

const KEYSPACE_OPTIONS: Readonly<Record<keyof KeyspaceOptions, readonly [Check, allowed: string]>> = {
  strategy: [oneOf('ring', 'full'), 'ring or full'],
  replicas: [
    (value) => isWhole(value, 1, MAX_REPLICAS),
    `a whole number from 1 to ${MAX_REPLICAS}; for a copy on every peer use the strategy full`,
  ],
  conflicts: [oneOf('siblings', 'lww'), 'siblings or lww'],
  quorum: [oneOf('sloppy', 'strict'), 'sloppy or strict'],
  r: [isLevel, LEVELS],
  w: [isLevel, LEVELS],
  durability: [oneOf('disk', 'os'), 'disk or os'],
}

/** What is left out has its default. @throws INVALID_ARGUMENT */
export function completeKeyspaceOptions(given: Partial<KeyspaceOptions>): KeyspaceOptions {
  checkOptionNames(given, Object.keys(KEYSPACE_OPTIONS), 'a keyspace')
  const present = Object.entries(given).filter(([, value]) => value !== undefined)
  for (const [name, value] of present) {
    const [check, allowed] = KEYSPACE_OPTIONS[name as keyof KeyspaceOptions]
    if (!check(value)) throw wrong(name, value, allowed)
  }
  if (given.strategy === 'full' && given.replicas !== undefined) throw replicasOfFull()
  return { ...DEFAULT_KEYSPACE_OPTIONS, ...Object.fromEntries(present) }
}

const ALTERABLE: readonly (keyof KeyspaceShape)[] = ['strategy', 'replicas', 'quorum', 'r', 'w']

/** What is left out stays. @throws INVALID_ARGUMENT */
export function checkKeyspaceShape(given: Partial<KeyspaceShape>): void {
  checkOptionNames(given, ALTERABLE, 'an alteration of a keyspace')
  const present = Object.entries(given).filter(([, value]) => value !== undefined)
  if (present.length === 0) throw invalid(`nothing to change: give any of ${ALTERABLE.join(', ')}`)
  for (const [name, value] of present) {
    const [check, allowed] = KEYSPACE_OPTIONS[name as keyof KeyspaceShape]
    if (!check(value)) throw wrong(name, value, allowed)
  }
  if (given.strategy === 'full' && given.replicas !== undefined) throw replicasOfFull()
}

function replicasOfFull(): KvError {
  const advice = 'leave replicas out, or use the strategy ring'
  return invalid(`strategy full and replicas exclude each other, every peer has a copy: ${advice}`)
}

/** A misspelt option must not pass for one that was left out. @throws INVALID_ARGUMENT */
export function checkOptionNames(options: object, known: readonly string[], whose: string): void {
  if (typeof options !== 'object' || options === null || Array.isArray(options))
    throw wrong('options', options, `an object with ${known.join(', ')}`)
  for (const name of Object.keys(options)) {
    if (known.includes(name)) continue
    throw invalid(`${whose} has no option '${name.slice(0, MAX_NAME_LENGTH)}'; known: ${known.join(', ')}`)
  }
}

/** The level that a number or word means, or null. */
export function levelOf(value: unknown): Level | null {
  if (value === 'one' || value === 'quorum' || value === 'all') return value
  return isWhole(value, 1, MAX_MEMBERS) ? value : null
}

/** An argument that is not what it should be, shown as far as that helps. */
export function wrong(name: string, value: unknown, allowed: string): KvError {
  return invalid(`${name} is ${shown(value)}; allowed: ${allowed}`)
}

function checkRequest(request: PutRequest | GetRequest): void {
  if (typeof request !== 'object' || request === null)
    throw wrong('the request', request, 'an object with keyspace, key and so on')
  checkKeyspaceName(request.keyspace)
  checkKey(request.key)
  checkTimeout(request.timeoutMs)
}

function isText(value: unknown, minLength: number, maxLength: number): boolean {
  return typeof value === 'string' && value.length >= minLength && value.length <= maxLength
}

function isWhole(value: unknown, min: number, max: number): value is number {
  return typeof value === 'number' && Number.isInteger(value) && value >= min && value <= max
}

function shown(value: unknown): string {
  switch (typeof value) {
    case 'string':
      return value.length <= MAX_NAME_LENGTH ? `'${value}'` : `text of ${value.length} characters`
    case 'number':
    case 'boolean':
    case 'undefined':
      return String(value)
    case 'object':
      return value === null ? 'null' : `of type ${value.constructor?.name ?? 'object'}`
    default:
      return `of type ${typeof value}`
  }
}

function invalid(message: string): KvError {
  return new KvError('INVALID_ARGUMENT', message)
}
