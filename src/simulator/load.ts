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
import type { Client, PutOptions } from '../client/client.ts'
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
import { between, chance, exponential, pick } from './sim-random.ts'

/** Their keyspaces are made before the load begins. */
export const LOAD_KEYSPACES: Readonly<Record<string, KeyspaceOptions>> = {
  siblings: { ...DEFAULT_KEYSPACE_OPTIONS, quorum: 'strict' },
  lww: { ...DEFAULT_KEYSPACE_OPTIONS, conflicts: 'lww', quorum: 'strict' },
  sloppy: DEFAULT_KEYSPACE_OPTIONS,
}

export interface LoadOptions {
  readonly scheduler: Scheduler
  readonly clients: readonly Client[]
  readonly clusterId: string
  readonly keyspaces: readonly Keyspace[]
  readonly peerCount: number
  /** The number of copies of each key changes. */
  readonly copiesVary: boolean
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
  /** Acknowledged with the help of stand-ins. */
  writesByStandIns: number
  /** Answers with more than one value. */
  siblingReads: number
}

/** What a client remembers of a key: the contexts it was given, newest last. */
type Memory = Map<Place, string[]>
const MAX_REMEMBERED = 4
/** Operations under way at once, for each client; past it the load waits. */
const MAX_UNDER_WAY = 64

/** What the load is like for a while. */
interface Phase {
  readonly mix: Mix
  /** A few keys take half of the load: that is where requests meet. */
  readonly hot: readonly LoadPlace[]
  readonly endMs: number
}

/** Chances. */
interface Mix {
  /** Of a write to be a delete. */
  readonly deletes: number
  /** Of a put to be followed by a delete: keys come, go, and are left alone. */
  readonly shortLived: number
  /** Of a put to live for a while only. */
  readonly mortals: number
  /** Of a write to name no context. */
  readonly contextless: number
  /** Of a context to be any that the client remembers, not the newest. */
  readonly oldContexts: number
}

/** So long a run's load stays what it is, on average: what is written in one phase is deleted in another. */
const MEAN_PHASES_MS = [8_000, 20_000, 60_000]
/** What is written to be deleted is so after so long, in a run. */
const LIVES_MS = [3_000, 10_000, 20_000]

export interface LoadPlace {
  readonly keyspace: KeyspaceFacts
  readonly key: string
}

export class Load {
  readonly counts: LoadCounts = {
    reads: 0,
    readsAnswered: 0,
    writes: 0,
    writesAcknowledged: 0,
    writesUnknown: 0,
    writesByStandIns: 0,
    siblingReads: 0,
  }
  readonly places: readonly LoadPlace[]
  readonly #options: LoadOptions
  readonly #prng: Prng
  readonly #keyspaceIds: ReadonlyMap<string, KeyspaceId>
  readonly #clusterSeed: number
  readonly #phaseMs: number
  #phase: Phase
  readonly #lifeMs: number
  /** Keys that were written to be deleted a while later, in the order of that. */
  readonly #doomed: { readonly place: LoadPlace; readonly atMs: number }[] = []
  readonly #memories: readonly Memory[]
  #nextIndex = 0
  #underWay = 0
  #isGoing = false
  #isDelivered = false
  #onlyQuorums = false
  #times = 1

  constructor(options: LoadOptions) {
    const { keyspaces, peerCount, copiesVary, keyCount, clients } = options
    const facts = keyspaces.map((keyspace) => factsOf(keyspace, peerCount, copiesVary))
    this.#options = options
    this.#prng = options.prng
    this.#keyspaceIds = new Map(keyspaces.map(({ name, id }) => [name, id]))
    this.#clusterSeed = hashText32(options.clusterId)
    this.#memories = clients.map(() => new Map())
    this.places = Array.from({ length: keyCount }, (_, i) => {
      return { keyspace: facts[i % facts.length] as KeyspaceFacts, key: `key-${i}` }
    })
    this.#lifeMs = pick(options.prng, LIVES_MS)
    this.#phaseMs = pick(options.prng, MEAN_PHASES_MS)
    this.#phase = this.#drawPhase()
  }

  /** Operations that have not ended. */
  get underWay(): number {
    return this.#underWay
  }

  begin(): void {
    this.#isGoing = true
    this.#next()
  }

  /** No new operations. */
  end(): void {
    this.#isGoing = false
  }

  /** What stand-ins kept was delivered: from now on sloppy keyspaces are held to what strict ones are. */
  delivered(): void {
    this.#isDelivered = true
  }

  /** Whether nothing is asked of one peer alone: who was given up is alone, and does not know it. */
  set onlyQuorums(onlyQuorums: boolean) {
    this.#onlyQuorums = onlyQuorums
  }

  /** So many times as dense as otherwise. */
  set times(times: number) {
    this.#times = times
  }

  /** Reads a key, recorded and checked as all others are. Why it failed, or null when it did not. */
  read(place: LoadPlace, r: Level): Promise<KvError | null> {
    return this.#read(this.#prng.int(this.#options.clients.length), place, r)
  }

  #next(): void {
    if (!this.#isGoing) return
    const { clients, scheduler, ratePerSecond } = this.#options
    if (this.#underWay < MAX_UNDER_WAY * clients.length) void this.#operate()
    scheduler.after(exponential(this.#prng, 1000 / ratePerSecond / this.#times), () => this.#next())
  }

  async #operate(): Promise<void> {
    const prng = this.#prng
    if (this.#options.scheduler.nowMs >= this.#phase.endMs) this.#phase = this.#drawPhase()
    const client = prng.int(this.#options.clients.length)
    this.#underWay++
    try {
      if (chance(prng, 0.5)) await this.#write(client)
      else await this.#read(client, this.#pickPlace(), this.#pickLevel(READ_LEVELS))
    } finally {
      this.#underWay--
    }
  }

  #pickLevel(levels: readonly Level[]): Level {
    const level = pick(this.#prng, levels)
    return level === 'one' && this.#onlyQuorums ? 'quorum' : level
  }

  #pickPlace(): LoadPlace {
    return pick(this.#prng, chance(this.#prng, 0.5) ? this.#phase.hot : this.places)
  }

  /** Null: the time of none has come. */
  #nextDoomed(): LoadPlace | null {
    const next = this.#doomed[0]
    if (next === undefined || next.atMs > this.#options.scheduler.nowMs) return null
    this.#doomed.shift()
    return next.place
  }

  #drawPhase(): Phase {
    const { scheduler } = this.#options
    const prng = this.#prng
    const { length } = this.places
    const hotFrom = prng.int(length)
    return {
      mix: drawMix(prng),
      hot: [...this.places, ...this.places].slice(hotFrom, hotFrom + Math.ceil(length / 20)),
      endMs: scheduler.nowMs + exponential(prng, this.#phaseMs),
    }
  }

  async #write(client: number): Promise<void> {
    const { scheduler, observers, clients } = this.#options
    const prng = this.#prng
    const { mix } = this.#phase
    const doomed = this.#nextDoomed()
    const place = doomed ?? this.#pickPlace()
    const { keyspace, key } = place
    const context = this.#contextFor(client, placeOf(keyspace.name, key))
    const w = this.#pickLevel(WRITE_LEVELS)
    const index = this.#nextIndex++
    const value = doomed !== null || chance(prng, mix.deletes) ? null : `value-${index}`
    if (value !== null && chance(prng, mix.shortLived)) {
      this.#doomed.push({ place, atMs: scheduler.nowMs + this.#lifeMs })
    }
    const ttlMs = value !== null && chance(prng, mix.mortals) ? Math.round(between(prng, 500, 20_000)) : null
    const operation: WriteOperation = {
      index,
      client,
      keyspace,
      key,
      startMs: scheduler.nowMs,
      value,
      expires: ttlMs !== null,
      context: this.#decode(keyspace.name, key, context),
      level: w,
      w: levelCount(w, keyspace.owners),
      outcome: 'pending',
      code: null,
      endMs: null,
      reply: null,
      disksTold: 0,
      standInsTold: 0,
    }
    const blind = context === null && chance(prng, 0.1)
    this.counts.writes++
    for (const observer of observers) observer.writeStarted?.(operation)
    await this.#send(clients[client] as Client, operation, {
      keyspace: keyspace.name,
      context,
      w,
      blind,
      ...(ttlMs === null ? {} : { ttlMs }),
    })
    operation.endMs = scheduler.nowMs
    for (const observer of observers) observer.writeEnded?.(operation)
  }

  /** Sends a write and notes what came of it. */
  async #send(client: Client, operation: WriteOperation, options: PutOptions): Promise<void> {
    const { key, keyspace, value } = operation
    try {
      const reply = await (value === null ? client.delete(key, options) : client.put(key, value, options))
      operation.outcome = 'ok'
      operation.reply = this.#decode(keyspace.name, key, reply.context)
      operation.disksTold = reply.owners + reply.standIns
      operation.standInsTold = reply.standIns
      if (reply.standIns > 0) this.counts.writesByStandIns++
      this.#remember(operation.client, placeOf(keyspace.name, key), reply.context)
      this.counts.writesAcknowledged++
    } catch (thrown) {
      const { code } = toKvError(thrown)
      if (code === 'INTERNAL') throw thrown
      operation.code = code
      operation.outcome = code === 'TIMEOUT_UNKNOWN' ? 'unknown' : 'nothing'
      if (operation.outcome === 'unknown') this.counts.writesUnknown++
    }
  }

  async #read(client: number, { keyspace, key }: LoadPlace, r: Level): Promise<KvError | null> {
    const { scheduler, observers, clients } = this.#options
    const operation: ReadOperation = {
      index: this.#nextIndex++,
      client,
      keyspace,
      key,
      startMs: scheduler.nowMs,
      r: levelCount(r, keyspace.owners),
      isBound: this.#isDelivered || !keyspace.isSloppy,
      endMs: null,
      values: null,
      seen: null,
    }
    this.counts.reads++
    for (const observer of observers) observer.readStarted?.(operation)
    try {
      const reply = await (clients[client] as Client).get(key, { keyspace: keyspace.name, r })
      operation.values = reply.values.map(({ value }) => text(value))
      operation.seen = this.#decode(keyspace.name, key, reply.context)
      this.#remember(client, placeOf(keyspace.name, key), reply.context)
    } catch (thrown) {
      const error = toKvError(thrown)
      if (error.code === 'INTERNAL') throw thrown
      return error
    }
    operation.endMs = scheduler.nowMs
    this.counts.readsAnswered++
    if (operation.values.length > 1) this.counts.siblingReads++
    for (const observer of observers) observer.readEnded?.(operation)
    return null
  }

  /**
   * Often none; mostly the newest one the client has, sometimes an old one, which leaves siblings.
   */
  #contextFor(client: number, place: Place): string | null {
    const known = this.#memories[client]?.get(place) ?? []
    const { contextless, oldContexts } = this.#phase.mix
    if (chance(this.#prng, contextless) || known.length === 0) return null
    return chance(this.#prng, oldContexts) ? pick(this.#prng, known) : (known.at(-1) ?? null)
  }

  #decode(keyspace: string, key: string, context: string | null): DotSet | null {
    if (context === null) return null
    const id = this.#keyspaceIds.get(keyspace) as KeyspaceId
    return decodeContext(context, contextSeed(this.#clusterSeed, id, utf8(key)))
  }

  #remember(client: number, place: Place, context: string | null): void {
    if (context === null) return
    const memory = this.#memories[client] as Memory
    memory.set(place, [...(memory.get(place) ?? []), context].slice(-MAX_REMEMBERED))
  }
}

/** What one of them makes often another one makes seldom. */
function drawMix(prng: Prng): Mix {
  return {
    deletes: pick(prng, [0.05, 0.15, 0.4]),
    shortLived: pick(prng, [0, 0.3, 0.8]),
    mortals: pick(prng, [0, 0.1, 0.3]),
    contextless: pick(prng, [0.2, 0.5, 0.8]),
    oldContexts: pick(prng, [0.2, 0.6]),
  }
}

const READ_LEVELS: readonly Level[] = ['quorum', 'quorum', 'quorum', 'all', 'one']
const WRITE_LEVELS: readonly Level[] = ['quorum', 'quorum', 'quorum', 'quorum', 'all', 'one']

function factsOf(keyspace: Keyspace, peerCount: number, copiesVary: boolean): KeyspaceFacts {
  const owners = keyspace.strategy === 'full' ? peerCount : Math.min(keyspace.replicas, peerCount)
  const isSloppy = keyspace.quorum === 'sloppy'
  return { name: keyspace.name, conflicts: keyspace.conflicts, isSloppy, owners, copiesVary }
}
