/**
 * Turns a client's request into a replicated one. Any peer coordinates reads; writes are coordinated by an
 * owner of the key, or a stand-in when no owner can be reached, and handed on to one from anywhere else.
 */
import { KvError } from '../base/error.ts'
import type { NodeId } from '../base/ids.ts'
import { SlotTable } from '../base/slot-table.ts'
import type { Level } from '../protocol/configuration.ts'
import { contextSeed, decodeContext } from '../protocol/context.ts'
import type { GetReply, GetRequest, PutReply, PutRequest } from '../wire/requests.ts'
import { MAX_KEY_BYTES } from '../wire/requests.ts'
import { MAX_TTL_MS } from '../wire/ttl.ts'
import { beingRemoved } from './being-removed.ts'
import type { Coordination, Done } from './coordination.ts'
import { Forward } from './forward.ts'
import type { KeyPlace } from './quorum-read.ts'
import { Read } from './read.ts'
import { RequestBudget } from './request-budget.ts'
import { stalled } from './stall-watch.ts'
import { Write } from './write.ts'

export interface CoordinatorLimits {
  /** Requests under way at once; one more is OVERLOADED. */
  readonly maxInFlight: number
  /** Of their values, and of those that reads are expected to find; one more is OVERLOADED. */
  readonly maxInFlightBytes: number
  readonly maxValueBytes: number
}

interface Operation {
  start(): void
  restart(): void
}

const MAX_TIMEOUT_MS = 60_000
/** Of the reads that one owner answered, how many compare with the others afterwards. */
const COMPARED_SHARE = 0.1
/** How much the last answer counts for what is expected of the next one. */
const ANSWER_WEIGHT = 1 / 16

export class Coordinator {
  readonly #with: Coordination
  readonly #limits: CoordinatorLimits
  readonly #operations = new SlotTable<Operation>()
  /** What the values of those under way come to. */
  #bytes = 0
  /** A moving average of what a read gives. */
  #answerBytes = 0
  readonly #comparisons = new RequestBudget(COMPARED_SHARE, 0)
  #isStopped = false

  constructor(coordination: Coordination, limits: CoordinatorLimits) {
    this.#with = coordination
    this.#limits = limits
  }

  get inFlight(): number {
    return this.#operations.size
  }

  /** @param forwarded it was handed on by a peer: it is not handed on again */
  put(request: PutRequest, forwarded: boolean, done: Done<PutReply>): void {
    const sizeBytes = request.value?.length ?? 0
    this.#admit(done, sizeBytes, () => {
      if (this.#with.stalls.hasJustStalled) throw stalled()
      const place = this.#place(request.keyspace, request.key)
      this.#checkPut(request, place)
      if (this.#with.ring().isExcluded(this.#with.selfId)) throw beingRemoved()
      const deadlineMs = this.#deadline(request.timeoutMs)
      const seed = contextSeed(this.#with.clusterSeed(), place.keyspace.id, place.key)
      if (request.context !== null) decodeContext(request.context, seed)
      const isOwner = this.#with.ring().isOwner(this.#with.selfId, place.keyspace, place.partition)
      // With the disk away another owner coordinates; he refuses at once when there is none.
      const away = forwarded ? null : this.#with.store.outage
      if (away === null && (isOwner || this.#standsIn(place, forwarded))) {
        if (!this.#with.store.completeness.isAdmitted) {
          const why = 'this peer lost its data and has not been let in again'
          throw new KvError('UNAVAILABLE', `nothing was written: ${why}; ask another one`)
        }
        return this.#track(done, sizeBytes, (end) => {
          return new Write(this.#with, place, request, seed, deadlineMs, !isOwner, end)
        })
      }
      if (forwarded)
        throw new KvError('UNAVAILABLE', 'nothing was written: this peer does not own the key; try again')
      this.#track(done, sizeBytes, (end) => new Forward(this.#with, place, request, deadlineMs, away, end))
    })
  }

  get(request: GetRequest, done: Done<GetReply>): void {
    const sizeBytes = this.#answerBytes
    this.#admit(done, sizeBytes, () => {
      const place = this.#place(request.keyspace, request.key)
      this.#checkLevel(request.r ?? place.keyspace.r, place)
      const deadlineMs = this.#deadline(request.timeoutMs)
      const seed = contextSeed(this.#with.clusterSeed(), place.keyspace.id, place.key)
      const answered: Done<GetReply> = (error, reply) => {
        const found = reply?.values.reduce((sum, { value }) => sum + value.length, 0) ?? 0
        this.#answerBytes += (found - this.#answerBytes) * ANSWER_WEIGHT
        done(error, reply)
        if (error === null && reply?.owners === 1) this.#compareLater(place, request)
      }
      this.#track(answered, sizeBytes, (end) => new Read(this.#with, place, request, seed, deadlineMs, end))
    })
  }

  /**
   * The ring is another one now: what is under way starts over under its number, before anything else
   * happens.
   */
  configurationChanged(): void {
    for (const operation of this.#operations.values()) operation.restart()
  }

  /** Takes no more requests. Those under way go on. */
  stop(): void {
    this.#isStopped = true
  }

  #admit<T>(done: Done<T>, sizeBytes: number, begin: () => void): void {
    if (this.#isStopped)
      return done(new KvError('UNAVAILABLE', 'this peer is stopping; ask another one'), null)
    const isFull =
      this.#operations.size >= this.#limits.maxInFlight ||
      (this.#bytes > 0 && this.#bytes + sizeBytes > this.#limits.maxInFlightBytes)
    if (isFull) {
      return done(
        new KvError('OVERLOADED', 'this peer has too many requests under way; try again a little later'),
        null,
      )
    }
    try {
      begin()
    } catch (error) {
      if (!(error instanceof KvError)) throw error
      done(error, null)
    }
  }

  #track<T>(done: Done<T>, sizeBytes: number, make: (end: Done<T>) => Operation): void {
    const operation = make((error, result) => {
      this.#operations.take(id)
      this.#bytes = this.#operations.size === 0 ? 0 : this.#bytes - sizeBytes
      done(error, result)
    })
    const id = this.#operations.add(operation)
    this.#bytes += sizeBytes
    operation.start()
  }

  /** One owner's word was enough for the client; whether the others hold the same is seen to later. */
  #compareLater(place: KeyPlace, request: GetRequest): void {
    const ring = this.#with.ring()
    this.#comparisons.earn()
    if (this.#isStopped || ring.readOwners(place.keyspace, place.partition).length < 2) return
    if (!this.#comparisons.spend()) return
    const seed = contextSeed(this.#with.clusterSeed(), place.keyspace.id, place.key)
    const deadlineMs = this.#deadline(request.timeoutMs)
    const everyone = { ...request, r: 'all' } as const
    this.#track(
      () => undefined,
      this.#answerBytes,
      (end) => new Read(this.#with, place, everyone, seed, deadlineMs, end),
    )
  }

  #place(keyspaceName: string, key: Uint8Array): KeyPlace {
    const ring = this.#with.ring()
    const keyspace = ring.keyspace(keyspaceName)
    if (keyspace === null) {
      const advice = 'kvctl keyspace list shows those there are, kvctl keyspace create makes one'
      throw new KvError('NOT_FOUND', `there is no keyspace '${keyspaceName.slice(0, 64)}': ${advice}`)
    }
    if (key.length === 0) throw new KvError('INVALID_ARGUMENT', 'the key is empty; a key has 1 to 1024 bytes')
    if (key.length > MAX_KEY_BYTES) {
      throw new KvError('INVALID_ARGUMENT', `the key has ${key.length} bytes; ${MAX_KEY_BYTES} are allowed`)
    }
    return { keyspace, partition: ring.partitionOf(key), key }
  }

  /**
   * Whether this peer, no owner, coordinates a write itself: when it was chosen for that, or would be,
   * because no owner can be reached.
   */
  #standsIn({ keyspace, partition }: KeyPlace, forwarded: boolean): boolean {
    const { selfId, isAlive } = this.#with
    if (keyspace.quorum === 'strict') return false
    const ring = this.#with.ring()
    const standIns = ring.standIns(keyspace, partition)
    if (forwarded) return standIns.includes(selfId)
    const isUp = (owner: NodeId): boolean => isAlive(owner) && !ring.isExcluded(owner)
    if (ring.allOwners(keyspace, partition).some(isUp)) return false
    return standIns.find((nodeId) => nodeId === selfId || isAlive(nodeId)) === selfId
  }

  #checkPut(request: PutRequest, place: KeyPlace): void {
    const size = request.value?.length ?? 0
    const limit = this.#limits.maxValueBytes
    if (size > limit)
      throw new KvError('TOO_LARGE', `the value has ${size} bytes; ${limit} are allowed (--max-value)`)
    checkTtl(request)
    this.#checkLevel(request.w ?? place.keyspace.w, place)
  }

  /** A level that no number of owners can meet is the asker's mistake, said before anything is done. */
  #checkLevel(level: Level, place: KeyPlace): void {
    const ring = this.#with.ring()
    ring.required(level, ring.readOwners(place.keyspace, place.partition).length)
  }

  #deadline(timeoutMs: number): number {
    return this.#with.clock.monotonic() + Math.min(Math.max(timeoutMs, 1), MAX_TIMEOUT_MS)
  }
}

function checkTtl({ ttlMs, value }: PutRequest): void {
  if (ttlMs === null) return
  if (value === null) throw new KvError('INVALID_ARGUMENT', 'a delete does not expire; leave the time out')
  if (ttlMs >= 1 && ttlMs <= MAX_TTL_MS) return
  throw new KvError('INVALID_ARGUMENT', `a value lives 1 to ${MAX_TTL_MS} ms; ${ttlMs} was asked for`)
}
