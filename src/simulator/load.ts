/**
 * What clients do to the cluster while faults strike: puts, deletes and reads of a few keys through the real
 * client library, some with contexts, fresh or old, some without, at all levels, in several keyspaces; all of
 * it recorded for the checkers.
 */
import { text, utf8 } from '../base/bytes.ts'
import { type KvError, toKvError } from '../base/error.ts'
import { hashText32 } from '../base/hash.ts'
import type { KeyspaceId } from '../base/ids.ts'
import type { Prng } from '../base/prng.ts'
import type { Client } from '../client/client.ts'
import type { Keyspace, Level } from '../protocol/configuration.ts'
import { contextSeed, decodeContext } from '../protocol/context.ts'
import type { DotSet } from '../protocol/record.ts'
import { DEFAULT_KEYSPACE_OPTIONS, type KeyspaceOptions } from '../wire/requests.ts'
import {
  type HistoryObserver,
  type KeyspaceFacts,
  levelCount,
  type Place,
  placeOf,
  type ReadOperation,
  type WriteOperation,
} from './history.ts'
import type { Scheduler } from './scheduler.ts'
import { chance, exponential, pick } from './sim-random.ts'

/** Their keyspaces are made before the load begins. */
export const LOAD_KEYSPACES: Readonly<Record<string, KeyspaceOptions>> = {
  siblings: { ...DEFAULT_KEYSPACE_OPTIONS, quorum: 'strict' },
  lww: { ...DEFAULT_KEYSPACE_OPTIONS, conflicts: 'lww', quorum: 'strict' },
}

export interface LoadOptions {
  readonly scheduler: Scheduler
  readonly clients: readonly Client[]
  readonly clusterId: string
  readonly keyspaces: readonly Keyspace[]
  readonly peerCount: number
  readonly observers: readonly HistoryObserver[]
  readonly prng: Prng
  /** Client operations in a virtual second, all clients together. */
  readonly ratePerSecond: number
  readonly keyCount: number
}

export interface LoadCounts {
  reads: number
  readsAnswered: number
  writes: number
  writesAcknowledged: number
  writesUnknown: number
  /** Answers with more than one value. */
  siblingReads: number
}

export interface Load {
  readonly counts: LoadCounts
  readonly places: readonly { readonly keyspace: KeyspaceFacts; readonly key: string }[]
  /** Operations that have not ended. */
  readonly underWay: number
  begin(): void
  /** No new operations. */
  end(): void
  /** Reads a key, recorded and checked as the others are. Why it failed, or null when it did not. */
  read(keyspace: KeyspaceFacts, key: string, r: Level): Promise<KvError | null>
}

/** What a client remembers of a key: the contexts it was given, newest last. */
type Memory = Map<Place, string[]>
const MAX_REMEMBERED = 4
/** Operations of one client under way at once; past it the client waits. */
const MAX_UNDER_WAY = 64

export function createLoad(options: LoadOptions): Load {
  const { scheduler, clients, observers, prng } = options
  const facts = options.keyspaces.map((keyspace) => factsOf(keyspace, options.peerCount))
  const ids = new Map(options.keyspaces.map((keyspace) => [keyspace.name, keyspace.id]))
  const keys = Array.from({ length: options.keyCount }, (_, i) => `key-${i}`)
  const places = keys.map((key, i) => ({ keyspace: facts[i % facts.length] as KeyspaceFacts, key }))
  const memories: Memory[] = clients.map(() => new Map())
  const clusterSeed = hashText32(options.clusterId)
  const counts: LoadCounts = {
    reads: 0,
    readsAnswered: 0,
    writes: 0,
    writesAcknowledged: 0,
    writesUnknown: 0,
    siblingReads: 0,
  }
  let nextIndex = 0
  let underWay = 0
  let going = false

  const decode = (keyspace: string, key: string, context: string | null): DotSet | null => {
    if (context === null) return null
    return decodeContext(context, contextSeed(clusterSeed, ids.get(keyspace) as KeyspaceId, utf8(key)))
  }

  const remember = (client: number, place: Place, context: string | null): void => {
    if (context === null) return
    const memory = memories[client] as Memory
    const known = memory.get(place) ?? []
    memory.set(place, [...known, context].slice(-MAX_REMEMBERED))
  }

  const write = async (client: number, keyspace: KeyspaceFacts, key: string): Promise<void> => {
    const library = clients[client] as Client
    const place = placeOf(keyspace.name, key)
    const known = memories[client]?.get(place) ?? []
    // Mostly the newest context, sometimes an old one, which leaves siblings; half of the time none.
    const given =
      !chance(prng, 0.5) || known.length === 0 ? null : chance(prng, 0.8) ? known.at(-1) : pick(prng, known)
    const context = given ?? null
    const isDelete = chance(prng, 0.15)
    const w = pick<Level>(prng, ['quorum', 'quorum', 'quorum', 'quorum', 'all', 'one'])
    const index = nextIndex++
    const operation: WriteOperation = {
      index,
      client,
      keyspace,
      key,
      startMs: scheduler.nowMs,
      value: isDelete ? null : `value-${index}`,
      context: decode(keyspace.name, key, context),
      w: levelCount(w, keyspace.owners),
      outcome: 'pending',
      code: null,
      endMs: null,
      reply: null,
      ownersTold: 0,
    }
    counts.writes++
    for (const observer of observers) observer.writeStarted?.(operation)
    const requestOptions = {
      keyspace: keyspace.name,
      context,
      w,
      blind: context === null && chance(prng, 0.1),
    }
    try {
      const reply = isDelete
        ? await library.delete(key, requestOptions)
        : await library.put(key, operation.value as string, requestOptions)
      operation.outcome = 'ok'
      operation.reply = decode(keyspace.name, key, reply.context)
      operation.ownersTold = reply.owners
      remember(client, place, reply.context)
      counts.writesAcknowledged++
    } catch (thrown) {
      const { code } = toKvError(thrown)
      if (code === 'INTERNAL') throw thrown
      operation.code = code
      operation.outcome = code === 'TIMEOUT_UNKNOWN' ? 'unknown' : 'nothing'
      if (operation.outcome === 'unknown') counts.writesUnknown++
    }
    operation.endMs = scheduler.nowMs
    for (const observer of observers) observer.writeEnded?.(operation)
  }

  const read = async (
    client: number,
    keyspace: KeyspaceFacts,
    key: string,
    r: Level,
  ): Promise<KvError | null> => {
    const operation: ReadOperation = {
      index: nextIndex++,
      client,
      keyspace,
      key,
      startMs: scheduler.nowMs,
      r: levelCount(r, keyspace.owners),
      endMs: null,
      values: null,
      seen: null,
    }
    counts.reads++
    for (const observer of observers) observer.readStarted?.(operation)
    try {
      const reply = await (clients[client] as Client).get(key, { keyspace: keyspace.name, r })
      operation.values = reply.values.map(({ value }) => text(value))
      operation.seen = decode(keyspace.name, key, reply.context)
      remember(client, placeOf(keyspace.name, key), reply.context)
    } catch (thrown) {
      const error = toKvError(thrown)
      if (error.code === 'INTERNAL') throw thrown
      return error
    }
    operation.endMs = scheduler.nowMs
    counts.readsAnswered++
    if (operation.values.length > 1) counts.siblingReads++
    for (const observer of observers) observer.readEnded?.(operation)
    return null
  }

  const operate = async (): Promise<void> => {
    // A few keys take most of the load: that is where requests meet.
    const place = pick(prng, chance(prng, 0.5) ? places.slice(0, Math.ceil(places.length / 20)) : places)
    const client = prng.int(clients.length)
    underWay++
    try {
      if (chance(prng, 0.5)) await write(client, place.keyspace, place.key)
      else
        await read(
          client,
          place.keyspace,
          place.key,
          pick<Level>(prng, ['quorum', 'quorum', 'quorum', 'all', 'one']),
        )
    } finally {
      underWay--
    }
  }

  const next = (): void => {
    if (!going) return
    if (underWay < MAX_UNDER_WAY * clients.length) void operate()
    scheduler.after(exponential(prng, 1000 / options.ratePerSecond), next)
  }

  return {
    counts,
    places,
    get underWay() {
      return underWay
    },
    begin() {
      going = true
      next()
    },
    end() {
      going = false
    },
    read: (keyspace, key, r) => read(prng.int(clients.length), keyspace, key, r),
  }
}

function factsOf(keyspace: Keyspace, peerCount: number): KeyspaceFacts {
  const owners = keyspace.strategy === 'full' ? peerCount : Math.min(keyspace.replicas, peerCount)
  return { name: keyspace.name, conflicts: keyspace.conflicts, owners }
}
