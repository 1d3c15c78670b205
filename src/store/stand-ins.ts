/**
 * Stand-in records: what this peer keeps for owners that are away, until they have it.
 *
 * Intuition: beside its own records a store keeps, for keys it does not own, one fallback record a key, with
 * the owners it is meant for. It is merged and committed as records are; whoever delivers it takes away the
 * owners that have it, and with the last one the record goes.
 *
 * Invariants: what was acknowledged stays until every owner it is meant for has it on disk (a full store
 * takes no more, it drops nothing). One that cannot be read any more can reach nobody: it goes into
 * quarantine, and counts until it is there on disk. Dots are minted here under a name of its own, which is
 * given up when a record that holds a dot of it goes: a vector says "every dot of this actor on this key up
 * to n", and this store no longer knows them.
 *
 * Source: hinted handoff, DeCandia et al., "Dynamo", 2007, section 4.6.
 */
import { type Bytes, equalBytes } from '../base/bytes.ts'
import { KvError } from '../base/error.ts'
import { hash32 } from '../base/hash.ts'
import type { ActorId, KeyspaceId, NodeId } from '../base/ids.ts'
import type { Effects } from '../effects/effects.ts'
import type { Database } from '../effects/storage.ts'
import type { Keyspace } from '../protocol/configuration.ts'
import { mergeRecords } from '../protocol/dvv.ts'
import type { DotSet, KeyRecord } from '../protocol/record.ts'
import { Actor } from './actor.ts'
import { type DotClashes, NAMES_ANOTHER } from './dot-clashes.ts'
import type { CommitOperation, Committed, GroupCommit } from './group-commit.ts'
import { KIND, type Kind, keyspaceOf, kindRange, standInKey, userKey, withKind } from './keys.ts'
import { type Minted, mintDot, type NewValue, putUnder } from './minting.ts'
import type { Overfull } from './overfull.ts'
import { PendingWrites } from './pending-writes.ts'
import { decodeSeeded, encodeSeeded, MalformedRecord, verifyRecord } from './record-codec.ts'
import { includesRecord, seenUpTo } from './record-merge.ts'
import { decodeStandIn, encodeStandIn, type StandInValue } from './stand-in-codec.ts'
import { type Counted, type StandInCount, StandInTally } from './stand-in-tally.ts'

/** Stand-in records and their keys, on disk and on the way there. */
export const DEFAULT_MAX_STAND_IN_BYTES = 256 * 1024 * 1024

/** Read at a time when they are counted. */
const CHUNK_RECORDS = 500
/** Read at a time of a slice, which ends at the record that fills it. */
const SLICE_CHUNK_RECORDS = 16

export interface StandInWrite extends CommitOperation {
  readonly keyHash: number
  /** `value`, decoded; null: removed. */
  standIn: StandInValue | null
}

/** One as it is on disk. */
export interface StandInRecord extends StandInValue {
  readonly keyspaceId: KeyspaceId
  readonly key: Bytes
  readonly databaseKey: Bytes
}

export interface StandInSlice {
  readonly standIns: readonly StandInRecord[]
  /** Go on behind this key; null: these are the last ones. */
  readonly next: Bytes | null
}

/** What the store does for its stand-in records. */
export interface StandInHost {
  readonly effects: Pick<Effects, 'clock' | 'random' | 'log'>
  /** @throws UNAVAILABLE while it is not open */
  database(): Database
  /** @throws with nothing written: OVERLOADED, UNAVAILABLE, NOT_FOUND */
  admit(keyspaceId: KeyspaceId, sizeBytes: number): void
  readonly clashes: DotClashes
  readonly overfull: Overfull
  readonly commit: Pick<GroupCommit<CommitOperation>, 'filling' | 'add' | 'replace'>
}

type Place = Pick<Keyspace, 'id' | 'durability'>

interface Slot {
  readonly keyspaceId: KeyspaceId
  readonly sync: boolean
  readonly keyHash: number
  readonly databaseKey: Bytes
  readonly pending: StandInWrite | null
  readonly held: StandInValue | null
}

export class StandIns {
  readonly #host: StandInHost
  readonly #maxBytes: number
  readonly #pending = new PendingWrites<StandInWrite>()
  #tally = new StandInTally()
  /** Of what is on disk, while that is counted anew. */
  #recount: StandInTally | null = null
  /** Some of what is counted cannot be read, or went into quarantine. */
  #isInexact = false
  #quarantined = 0
  #actor: Actor
  #takenCount = 0

  constructor(host: StandInHost, maxBytes: number) {
    this.#host = host
    this.#maxBytes = maxBytes
    this.#actor = Actor.create(host.effects.random)
  }

  /**
   * Counts what is on disk: before the first write, and when the database was opened anew. Until it was read
   * to its end, what was counted before stands.
   */
  async load(database: Database): Promise<void> {
    this.#pending.clear()
    this.renewActor()
    await this.#countAnew(database)
  }

  /** Under whose name dots are minted here; another one than the store's. */
  get actor(): ActorId {
    return this.#actor.id
  }

  renewActor(): void {
    this.#actor = Actor.create(this.#host.effects.random)
  }

  /** What there is, by whom it is meant for. */
  counts(): ReadonlyMap<NodeId, StandInCount> {
    return this.#tally.byTarget()
  }

  get total(): StandInCount {
    return this.#tally.total
  }

  /** In quarantine: those that could not be read, and those from before a loss. */
  get quarantined(): number {
    return this.#quarantined
  }

  /**
   * A walk along all slices is needed: it puts aside what cannot be read, and ends with counts that are
   * exact.
   */
  get isInexact(): boolean {
    return this.#isInexact
  }

  /** How often anything was taken in, in this life of the process. */
  get takenCount(): number {
    return this.#takenCount
  }

  /**
   * The record's bytes on disk; null: none. @throws UNAVAILABLE while the database is away, or when it is
   * damaged
   */
  read(keyspaceId: KeyspaceId, partition: number, key: Bytes): Bytes | null {
    const keyHash = hash32(key)
    const standIn = this.#onDisk(keyHash, standInKey(keyspaceId, partition, key))
    if (standIn !== null) this.#readable(() => verifyRecord(keyHash, standIn.record))
    return standIn?.record ?? null
  }

  /** What the disk will hold once all that waits is on it. @throws as `read` */
  newest(keyspaceId: KeyspaceId, partition: number, key: Bytes): KeyRecord | null {
    const keyHash = hash32(key)
    const standIn = this.#newest(keyHash, standInKey(keyspaceId, partition, key))
    return standIn === null ? null : this.#decoded(keyHash, standIn.record)
  }

  /**
   * As `Store.put`, and OVERLOADED when there is no room.
   * @param targets owners that may lack it; never empty
   */
  put(
    keyspace: Place,
    partition: number,
    key: Bytes,
    targets: readonly NodeId[],
    context: DotSet,
    value: NewValue,
    done: (error: KvError | null) => void,
  ): Minted {
    const slot = this.#slot(keyspace, partition, key, value.value?.length ?? 0)
    const held = slot.held === null ? null : this.#decoded(slot.keyHash, slot.held.record)
    const dot = mintDot(this.#actor, context, held) ?? this.#mintAnew()
    const heldBytes = slot.held?.record.length ?? 0
    const nowMs = this.#host.effects.clock.now()
    const minted = putUnder(dot, slot.keyHash, held, heldBytes, context, value, nowMs)
    this.#keep(slot, { targets: united(slot.held, targets), record: minted.record }, done, 0)
    return minted
  }

  /** As `Store.merge`, but throws what `put` throws, and RecordOverflow. */
  merge(
    keyspace: Place,
    partition: number,
    key: Bytes,
    targets: readonly NodeId[],
    incoming: Bytes,
    mintedBy: ActorId | null,
    done: Committed,
  ): void {
    const slot = this.#slot(keyspace, partition, key, incoming.length)
    const record = decodeSeeded(slot.keyHash, incoming)
    const all = united(slot.held, targets)
    if (slot.held === null) return this.#keep(slot, { targets: all, record: incoming }, done, 0)
    const held = this.#decoded(slot.keyHash, slot.held.record)
    const seen = mintedBy === null ? 0 : seenUpTo(held.seen, mintedBy)
    // Written again also when it says nothing new: to be told when it is durable.
    const bytes = mergedBytes(slot, held, record, incoming)
    const isTaken = bytes === null && this.#host.clashes.look(held, record, mintedBy)
    const place = withKind(KIND.record, slot.databaseKey)
    const encode = (): Bytes => encodeSeeded(slot.keyHash, mergeRecords(held, record))
    const merged = bytes ?? this.#host.overfull.watched(place, encode)
    this.#keep(slot, { targets: all, record: merged }, done, isTaken ? NAMES_ANOTHER : seen)
  }

  /**
   * The next ones on disk behind a key of the database (null: from the first), in its order. What cannot be
   * read is put aside.
   * @throws as `read`
   */
  async slice(after: Bytes | null, maxRecords: number, maxBytes: number): Promise<StandInSlice> {
    try {
      // All that was put aside is on disk, or it would be pending.
      if (after === null && this.#isInexact && this.#pending.isEmpty)
        await this.#countAnew(this.#host.database())
      return await this.#slice(after, maxRecords, maxBytes)
    } catch (error) {
      if (error instanceof KvError) throw error
      const what = 'what this peer keeps for others cannot be read now'
      throw new KvError('UNAVAILABLE', what, { cause: error })
    }
  }

  async #slice(after: Bytes | null, maxRecords: number, maxBytes: number): Promise<StandInSlice> {
    const { gte, lt } = kindRange(KIND.standIn)
    const range = after === null ? { gte, lt } : { gt: after, lt }
    const iterator = this.#host.database().iterator(range)
    const standIns: StandInRecord[] = []
    let next: Bytes | null = after
    let records = 0
    let bytes = 0
    try {
      while (records < maxRecords && bytes < maxBytes) {
        const entries = await iterator.nextv(Math.min(SLICE_CHUNK_RECORDS, maxRecords - records))
        if (entries.length === 0) return { standIns, next: null }
        for (const [databaseKey, value] of entries) {
          const standIn = this.#decodedEntry(databaseKey, value)
          if (standIn !== null) standIns.push(standIn)
          else this.#putAside(databaseKey)
          records += 1
          bytes += value.length
          next = databaseKey
        }
      }
    } finally {
      await iterator.close()
    }
    return { standIns, next }
  }

  /**
   * Some of those a record is meant for have it on disk: it stays for the others, and goes with the last one.
   * A record that was merged with another one meanwhile stays as it is.
   * @param targets whom it is meant for now, when the owners are other ones than when it was written
   * @returns false: it stays as it is
   */
  delivered(standIn: StandInRecord, targets: readonly NodeId[], reached: ReadonlySet<NodeId>): boolean {
    const { keyspaceId, databaseKey, key } = standIn
    const keyHash = hash32(key)
    const pending = this.#pending.find(keyHash, databaseKey)
    const held = this.#newest(keyHash, databaseKey)
    if (held === null) return true
    if (!equalBytes(held.record, standIn.record)) return false
    const added = held.targets.filter((target) => !standIn.targets.includes(target))
    const left = united({ targets, record: held.record }, added).filter((target) => !reached.has(target))
    if (left.length === held.targets.length && left.every((target) => held.targets.includes(target)))
      return true
    const slot = { keyspaceId, sync: true, keyHash, databaseKey, pending, held }
    this.#host.admit(keyspaceId, 0)
    if (left.length > 0) this.#enqueue(slot, { targets: left, record: held.record }, ignore, 0)
    else {
      if (this.#decoded(keyHash, held.record).seen.vector.has(this.#actor.id)) this.renewActor()
      this.#enqueue(slot, null, ignore, 0)
    }
    return true
  }

  /** It is on disk, or gone from it. */
  committed(write: StandInWrite): void {
    this.#pending.settle(write)
  }

  /** Their keyspace was dropped; they are gone from the disk. */
  dropped(keyspaceId: KeyspaceId): void {
    this.#tally.drop(keyspaceId)
    this.#recount = null
    this.#isInexact ||= this.#quarantined > 0
  }

  #slot({ id, durability }: Place, partition: number, key: Bytes, sizeBytes: number): Slot {
    this.#host.admit(id, sizeBytes)
    const keyHash = hash32(key)
    const databaseKey = standInKey(id, partition, key)
    const pending = this.#pending.find(keyHash, databaseKey)
    const held = this.#newest(keyHash, databaseKey)
    return { keyspaceId: id, sync: durability === 'disk', keyHash, databaseKey, pending, held }
  }

  #newest(keyHash: number, databaseKey: Bytes): StandInValue | null {
    const pending = this.#pending.find(keyHash, databaseKey)
    return pending === null ? this.#onDisk(keyHash, databaseKey) : pending.standIn
  }

  #onDisk(keyHash: number, databaseKey: Bytes): StandInValue | null {
    const database = this.#host.database()
    return this.#readable(() => {
      const value = database.getSync(databaseKey)
      return value === undefined ? null : decodeStandIn(keyHash, value)
    })
  }

  #decoded(keyHash: number, record: Bytes): KeyRecord {
    return this.#readable(() => decodeSeeded(keyHash, record))
  }

  #readable<T>(read: () => T): T {
    try {
      return read()
    } catch (error) {
      this.#isInexact = true
      this.#host.effects.log.error('store.stand-in-damaged', { error })
      const message = "nothing was written: this peer's stand-in record cannot be read; try another peer"
      throw new KvError('UNAVAILABLE', message, { cause: error })
    }
  }

  /** Null: it is damaged. */
  #decodedEntry(databaseKey: Bytes, value: Bytes): StandInRecord | null {
    const key = userKey(databaseKey)
    try {
      const standIn = decodeStandIn(hash32(key), value)
      return { ...standIn, keyspaceId: keyspaceOf(databaseKey), key, databaseKey }
    } catch (error) {
      if (!(error instanceof MalformedRecord)) throw error
      this.#host.effects.log.error('store.stand-in-damaged', { error })
      return null
    }
  }

  /** Into quarantine, as it is: it may be the only trace of a write. What fails is tried in the next walk. */
  #putAside(databaseKey: Bytes): void {
    this.#isInexact = true
    const keyHash = hash32(userKey(databaseKey))
    if (this.#pending.find(keyHash, databaseKey) !== null) return // Another one comes in its place.
    const value = this.#host.database().getSync(databaseKey)
    if (value === undefined || isReadable(keyHash, value)) return
    try {
      this.#host.admit(keyspaceOf(databaseKey), value.length)
    } catch (error) {
      if (!(error instanceof KvError)) throw error
      return this.#host.effects.log.info('store.stand-in-not-put-aside', { error })
    }
    // It may have held dots of ours: they are not to be covered unseen.
    this.renewActor()
    const { commit } = this.#host
    const place = withKind(KIND.quarantinedStandIn, databaseKey)
    const isOneMore = this.#host.database().getSync(place) === undefined
    const added: Committed = (error) => {
      if (error === null && isOneMore) this.#quarantined += 1
    }
    commit.add({ key: place, value, batch: 0 }, true, added, 0)
    const removal: StandInWrite = { key: databaseKey, value: null, batch: 0, keyHash, standIn: null }
    this.#pending.set(removal)
    commit.add(removal, true, ignore, 0)
  }

  /**
   * What a damaged record was counted as is not known, so all are counted. What is written meanwhile changes
   * both counts; nothing is pending at the start.
   */
  async #countAnew(database: Database): Promise<void> {
    const tally = new StandInTally()
    this.#recount = tally
    let isInexact = false
    let quarantined = 0
    const quarantinedBefore = this.#quarantined
    try {
      // Both look at what is on disk at this very moment: what comes later is counted as it comes.
      await Promise.all([
        eachEntry(database, KIND.quarantinedStandIn, () => {
          quarantined += 1
        }),
        eachEntry(database, KIND.standIn, (key, value) => {
          const standIn = this.#decodedEntry(key, value)
          if (standIn === null) isInexact = true
          const counted = { targets: [], bytes: key.length + value.length }
          tally.replaced(keyspaceOf(key), null, standIn === null ? counted : countedOf(standIn))
        }),
      ])
      if (this.#recount !== tally) return // The database was opened anew, or a keyspace is gone.
      this.#tally = tally
      this.#quarantined += quarantined - quarantinedBefore
      this.#isInexact = isInexact
    } finally {
      if (this.#recount === tally) this.#recount = null
    }
  }

  #mintAnew() {
    this.renewActor()
    return this.#actor.mint()
  }

  /** @throws OVERLOADED when there is no room for it */
  #keep(slot: Slot, standIn: StandInValue, done: Committed, detail: number): void {
    const { databaseKey, held } = slot
    const before = held === null ? 0 : countedOf({ databaseKey, ...held }).bytes
    const after = countedOf({ databaseKey, ...standIn }).bytes
    this.#takenCount += 1
    if (after > before && this.total.bytes - before + after > this.#maxBytes) {
      const advice = 'the owners it keeps writes for must come back first (--max-hints raises the limit)'
      throw new KvError('OVERLOADED', `nothing was written: this peer stands in for too much; ${advice}`)
    }
    this.#enqueue(slot, standIn, done, detail)
  }

  #enqueue(slot: Slot, standIn: StandInValue | null, done: Committed, detail: number): void {
    const { keyspaceId, sync, keyHash, databaseKey, pending, held } = slot
    const value = standIn === null ? null : encodeStandIn(keyHash, standIn)
    const before = held === null ? null : countedOf({ databaseKey, ...held })
    const after = standIn === null ? null : countedOf({ databaseKey, ...standIn })
    this.#tally.replaced(keyspaceId, before, after)
    this.#recount?.replaced(keyspaceId, before, after)
    if (pending !== null && pending.batch === this.#host.commit.filling) {
      pending.standIn = standIn
      return this.#host.commit.replace(pending, value, sync, done, detail)
    }
    const write: StandInWrite = { key: databaseKey, value, batch: 0, keyHash, standIn }
    this.#pending.set(write)
    this.#host.commit.add(write, sync, done, detail)
  }
}

function countedOf(standIn: StandInValue & { readonly databaseKey: Bytes }): Counted {
  const { targets, record, databaseKey } = standIn
  const bytes = targets.reduce((sum, target) => sum + target.length, databaseKey.length + record.length)
  return { targets, bytes }
}

/** As they are at the moment of the call. */
async function eachEntry(
  database: Database,
  kind: Kind,
  found: (databaseKey: Bytes, value: Bytes) => void,
): Promise<void> {
  const iterator = database.iterator(kindRange(kind))
  try {
    for (;;) {
      const entries = await iterator.nextv(CHUNK_RECORDS)
      if (entries.length === 0) return
      for (const [key, value] of entries) found(key, value)
    }
  } finally {
    await iterator.close()
  }
}

function isReadable(keyHash: number, value: Bytes): boolean {
  try {
    decodeStandIn(keyHash, value)
    return true
  } catch (error) {
    if (!(error instanceof MalformedRecord)) throw error
    return false // What is wrong was said when it was found.
  }
}

/** Sorted. */
function united(held: StandInValue | null, targets: readonly NodeId[]): readonly NodeId[] {
  return [...new Set([...(held?.targets ?? []), ...targets])].sort()
}

/** The bytes of one of the two when it already is what both come to; otherwise null. */
function mergedBytes(slot: Slot, held: KeyRecord, record: KeyRecord, incoming: Bytes): Bytes | null {
  if (slot.held !== null && includesRecord(held, record)) return slot.held.record
  return includesRecord(record, held) ? incoming : null
}

/** A failure is told by the store; the record is then delivered once more. */
function ignore(): void {}
