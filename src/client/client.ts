/**
 * The client library: `put`, `get` and `delete` for programs. It knows the ring and asks an owner of the key;
 * requests do not wait for each other; when a peer fails it asks another one.
 */
import { type Bytes, isWellFormed, text, utf8 } from '../base/bytes.ts'
import { KvError } from '../base/error.ts'
import type { Address } from '../base/ids.ts'
import type { Random } from '../effects/random.ts'
import type { Level } from '../protocol/configuration.ts'
import { checkKeyspaceName, checkOptionNames, checkTimeout, wrong } from '../wire/request-check.ts'
import { DEFAULT_KEYSPACE, DEFAULT_TIMEOUT_MS, type FoundValue, type KvService } from '../wire/requests.ts'
import { RemoteService } from './remote-service.ts'
import { type ClientEffects, Router } from './router.ts'

export interface ClientOptions {
  /** Any peers of the cluster, at least one; the others are learnt from them. */
  readonly peers: readonly Address[]
  /** Ask these peers and no others, whoever owns the key: to see the cluster as they do. Default false. */
  readonly pinned?: boolean
  /** For requests that name none. */
  readonly keyspace?: string
  /** Of requests that name none, ms. */
  readonly timeoutMs?: number
}

export interface RequestOptions {
  readonly keyspace?: string | undefined
  readonly timeoutMs?: number | undefined
}

export interface WriteOptions extends RequestOptions {
  /** What an earlier `get` or `put` of this key returned: replaces exactly what that saw. */
  readonly context?: string | null | undefined
  /** How many owners must have it on disk. */
  readonly w?: Level | undefined
  /** Without a context: do not ask the others what there is to replace. */
  readonly blind?: boolean | undefined
}

export interface PutOptions extends WriteOptions {
  readonly contentType?: string | undefined
  /** Ms after which readers do not see it any more; without it they always do. */
  readonly ttlMs?: number | undefined
}

export interface GetOptions extends RequestOptions {
  /** How many owners must answer. */
  readonly r?: Level | undefined
}

export interface Written {
  /** Pass it to the next put or delete of this key. */
  readonly context: string
  readonly owners: number
  readonly standIns: number
}

export interface Found {
  /** The newest value; null when there is none. */
  readonly value: Bytes | null
  /** `value` as text, null when there is none. */
  text(): string | null
  /** All values: more than one when they were written concurrently. Newest first. */
  readonly values: readonly FoundValue[]
  /** How many values stand beside the newest. */
  readonly siblings: number
  /** Pass it to a put or delete to replace all of this; null when nothing was ever written. */
  readonly context: string | null
  readonly owners: number
  readonly standIns: number
}

const CLIENT_OPTIONS = ['peers', 'pinned', 'keyspace', 'timeoutMs']
const REQUEST_OPTIONS = ['keyspace', 'timeoutMs']
const GET_OPTIONS = [...REQUEST_OPTIONS, 'r']
const WRITE_OPTIONS = [...REQUEST_OPTIONS, 'context', 'w', 'blind']
const PUT_OPTIONS = [...WRITE_OPTIONS, 'contentType', 'ttlMs']

/** @throws INVALID_ARGUMENT */
export function createClient(options: ClientOptions, effects: ClientEffects): Client {
  return new Client(options, effects)
}

export class Client {
  /** The requests in full, and what there is beside keys: status, ring, keyspaces. */
  readonly service: KvService
  readonly #router: Router
  readonly #random: Random
  readonly #keyspace: string
  readonly #timeoutMs: number

  constructor(options: ClientOptions, effects: ClientEffects) {
    checkOptionNames(options, CLIENT_OPTIONS, 'a client')
    const { keyspace = DEFAULT_KEYSPACE, timeoutMs = DEFAULT_TIMEOUT_MS } = options
    checkKeyspaceName(keyspace)
    checkTimeout(timeoutMs)
    if (options.peers.length === 0)
      throw new KvError('INVALID_ARGUMENT', 'a client needs the address of at least one peer')
    this.#router = new Router(options.peers, effects, options.pinned)
    this.#random = effects.random
    this.#keyspace = keyspace
    this.#timeoutMs = timeoutMs
    this.service = new RemoteService(this.#router, timeoutMs)
  }

  /**
   * Resolves when W owners have it on disk.
   * @throws UNAVAILABLE, OVERLOADED: nothing was written; TIMEOUT_UNKNOWN: it may have been;
   * INVALID_ARGUMENT, NOT_FOUND, TOO_LARGE, CONFLICT
   */
  async put(key: string | Bytes, value: string | Bytes, options: PutOptions = {}): Promise<Written> {
    checkOptionNames(options, PUT_OPTIONS, 'put')
    if (value === undefined || value === null)
      throw wrong('value', value, 'text or bytes; to remove a key use delete')
    return this.#write(key, toBytes('value', value), options)
  }

  /** As `put`. Deleting what is not there is no error. */
  async delete(key: string | Bytes, options: WriteOptions = {}): Promise<Written> {
    checkOptionNames(options, WRITE_OPTIONS, 'delete')
    return this.#write(key, null, options)
  }

  /** @throws UNAVAILABLE: R owners did not answer in time; INVALID_ARGUMENT, NOT_FOUND (the keyspace) */
  async get(key: string | Bytes, options: GetOptions = {}): Promise<Found> {
    checkOptionNames(options, GET_OPTIONS, 'get')
    const reply = await this.service.get({
      keyspace: options.keyspace ?? this.#keyspace,
      key: toBytes('key', key),
      r: options.r ?? null,
      timeoutMs: options.timeoutMs ?? this.#timeoutMs,
    })
    const value = reply.values[0]?.value ?? null
    return {
      value,
      text: () => (value === null ? null : text(value)),
      values: reply.values,
      siblings: Math.max(0, reply.values.length - 1),
      context: reply.context,
      owners: reply.owners,
      standIns: reply.standIns,
    }
  }

  /** Ends the connections; requests under way reject. Idempotent. */
  close(): void {
    this.#router.close()
  }

  #write(key: string | Bytes, value: Bytes | null, options: PutOptions): Promise<Written> {
    return this.service.put({
      keyspace: options.keyspace ?? this.#keyspace,
      key: toBytes('key', key),
      value,
      contentType: options.contentType ?? null,
      context: options.context ?? null,
      blind: options.blind ?? false,
      w: options.w ?? null,
      writeId: this.#random.id(),
      timeoutMs: options.timeoutMs ?? this.#timeoutMs,
      ttlMs: options.ttlMs ?? null,
    })
  }
}

/** @throws INVALID_ARGUMENT */
function toBytes(what: 'key' | 'value', given: string | Bytes): Bytes {
  if (typeof given === 'string') {
    if (isWellFormed(given)) return utf8(given)
    throw new KvError('INVALID_ARGUMENT', `the ${what} has half a surrogate pair in it; give it as bytes`)
  }
  if (given instanceof Uint8Array) return given
  throw wrong(what, given, 'text or bytes (a string, a Uint8Array or a Buffer)')
}
