/**
 * Branded strings for everything that is a name. Each is parsed once, at the edge, and trusted afterwards.
 */
import { KvError } from './error.ts'

declare const brand: unique symbol
type Brand<T, Name extends string> = T & { readonly [brand]: Name }

/** Names a peer for as long as its data directory exists: nanoid, 21 characters of `A-Za-z0-9_-`. */
export type NodeId = Brand<string, 'NodeId'>
/** Names a cluster; made by its first peer. Same alphabet as a NodeId. */
export type ClusterId = Brand<string, 'ClusterId'>
/** Names one life of a store's data; a new one after a wipe, a restore or a loss. */
export type StoreId = Brand<string, 'StoreId'>
/** The name under which a store mints dots: 64 random bits as 16 lower-case hex digits. */
export type ActorId = Brand<string, 'ActorId'>
/** `host:port`; IPv6 hosts stand in brackets. */
export type Address = Brand<string, 'Address'>
/** A keyspace's number: never used again after the keyspace was dropped. 1 … 2^32-1. */
export type KeyspaceId = Brand<number, 'KeyspaceId'>

const NAME = /^[A-Za-z0-9_-]{1,64}$/
const ACTOR = /^[0-9a-f]{16}$/
const ADDRESS = /^(?<host>[A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.%a-z]{2,64}\]):(?<port>\d{1,5})$/

/** @throws INVALID_ARGUMENT */
export function parseNodeId(text: unknown): NodeId {
  return parseName(text, 'node id') as NodeId
}

/** @throws INVALID_ARGUMENT */
export function parseClusterId(text: unknown): ClusterId {
  return parseName(text, 'cluster id') as ClusterId
}

/** @throws INVALID_ARGUMENT */
export function parseStoreId(text: unknown): StoreId {
  return parseName(text, 'store id') as StoreId
}

/** @throws INVALID_ARGUMENT */
export function parseActorId(text: unknown): ActorId {
  if (typeof text === 'string' && ACTOR.test(text)) return text as ActorId
  throw new KvError('INVALID_ARGUMENT', 'an actor id is 16 hex digits')
}

/** `host:port` with a port of 0 to 65535. A bare host is refused: say the port. @throws INVALID_ARGUMENT */
export function parseAddress(text: unknown): Address {
  const match = typeof text === 'string' ? ADDRESS.exec(text) : null
  if (match !== null && Number(match.groups?.port) <= 65535) return text as Address
  throw new KvError(
    'INVALID_ARGUMENT',
    `'${String(text)}' is not an address; write host:port, as in 127.0.0.1:7001`,
  )
}

export function makeAddress(host: string, port: number): Address {
  return parseAddress(host.includes(':') && !host.startsWith('[') ? `[${host}]:${port}` : `${host}:${port}`)
}

/** The host (without brackets) and the port of an address. */
export function splitAddress(address: Address): { readonly host: string; readonly port: number } {
  const colon = address.lastIndexOf(':')
  return { host: address.slice(0, colon).replace(/^\[|\]$/g, ''), port: Number(address.slice(colon + 1)) }
}

function parseName(text: unknown, what: string): string {
  if (typeof text === 'string' && NAME.test(text)) return text
  throw new KvError('INVALID_ARGUMENT', `a ${what} is 1 to 64 characters of A-Z a-z 0-9 _ -`)
}
