/**
 * Looks through the records of this peer that may be purged some day: notes since when they are held, and
 * finds those whose purge this peer is to lead now.
 *
 * Intuition: a partition is read when it got such a record since it was read last, or when one that was found
 * then is due. So what waits for its hour, or expires next week, is not read again and again, and partitions
 * without any are never read. Reading takes a small share of the time, however much there is to read.
 */
import type { Bytes } from '../base/bytes.ts'
import { KvError } from '../base/error.ts'
import type { NodeId } from '../base/ids.ts'
import { Pauses } from '../cluster/pauses.ts'
import type { Keyspace } from '../protocol/configuration.ts'
import { type Digest, recordDigest } from '../protocol/hash-tree.ts'
import type { HoldLedger } from '../protocol/hold-ledger.ts'
import { placeName } from '../protocol/place-name.ts'
import { type PurgeRule, purgeableAtMs } from '../protocol/purge.ts'
import { decodeRecord, isBare, MalformedRecord } from '../store/record-codec.ts'
import type { Coordination } from './coordination.ts'

/** A key whose purge this peer leads. */
export interface DueKey {
  readonly keyspace: Keyspace
  readonly key: Bytes
  /** Of the record held here. */
  readonly digest: Digest
  readonly isBare: boolean
  /** Of the key and its record: an owner that is asked about it reads so much. */
  readonly sizeBytes: number
  readonly owners: readonly NodeId[]
}

/** How much one look gives. */
export interface LookLimit {
  readonly keys: number
  /** Of the keys together. */
  readonly bytes: number
}

/** Gathered by one look. */
interface Gathered {
  readonly number: number
  readonly limit: LookLimit
  readonly due: DueKey[]
  bytes: number
}

/** Read between two pauses, about. */
const RECORDS_AT_ONCE = 500
/** What it costs to begin with a partition, in records. */
const RECORDS_TO_BEGIN = 10
/** A pause is so many times as long as what was read before it took: a twentieth of the time is spent. */
const PAUSE_FACTOR = 19
const SHORTEST_PAUSE_MS = 20
const LONGEST_PAUSE_MS = 2000

/** What was found in a partition so far. */
interface Seen {
  readonly keyspace: Keyspace
  readonly place: string
  readonly owners: readonly NodeId[]
  /** When it was begun, on the monotonic clock. */
  readonly nowMs: number
  readonly purgeable: Digest[]
  mortals: number
  /** When it is to be looked through again, on the monotonic clock. */
  dueMs: number
}

export class PurgeLook {
  readonly #with: Coordination
  readonly #rule: PurgeRule
  readonly #holds: HoldLedger
  readonly #pauses: Pauses
  /** By place, on the monotonic clock; of those with nothing new. */
  readonly #dueMs = new Map<string, number>()
  /** Which keyspace the next look begins with: the first ones must not have all the room. */
  #turn = 0
  #isAnotherRing = true
  #isStopped = false
  /** Since the last pause. */
  #recordCount = 0
  #beganMs = 0

  constructor(coordination: Coordination, rule: PurgeRule, holds: HoldLedger) {
    this.#with = coordination
    this.#rule = rule
    this.#holds = holds
    this.#pauses = new Pauses(coordination.clock)
  }

  /** One that goes on ends soon. */
  stop(): void {
    this.#isStopped = true
    this.#pauses.stop()
  }

  /** This peer may own other partitions now, and lead others. */
  configurationChanged(): void {
    this.#isAnotherRing = true
  }

  /**
   * One at a time. @param number of the configuration whose owners it is about
   * @param limit the rest is found by the next look; null: only what is new is looked through
   * @throws UNAVAILABLE when the disk cannot be read, or the configuration is another one
   */
  async findDue(number: number, limit: LookLimit | null): Promise<readonly DueKey[]> {
    const { clock, selfId, store } = this.#with
    this.#checkNumber(number)
    if (this.#isAnotherRing) this.#beginAnew()
    this.#beganMs = clock.monotonic()
    const gathered: Gathered = { number, limit: limit ?? { keys: 0, bytes: 0 }, due: [], bytes: 0 }
    const { places } = store.mortals
    for (const keyspace of this.#keyspaces()) {
      for (const partition of places.partitions(keyspace.id)) {
        if (this.#isStopped) return gathered.due
        const dueMs = this.#dueMs.get(placeName(keyspace.id, partition)) ?? 0
        const isDue = limit !== null && dueMs <= clock.monotonic()
        if (!isDue && !places.isNew(keyspace.id, partition)) continue
        if (!this.#with.ring().isOwner(selfId, keyspace, partition)) continue
        this.#recordCount += RECORDS_TO_BEGIN
        await this.#lookThrough(keyspace, partition, gathered)
      }
    }
    return gathered.due
  }

  #keyspaces(): readonly Keyspace[] {
    const { keyspaces } = this.#with.ring().configuration
    this.#turn = keyspaces.length === 0 ? 0 : (this.#turn + 1) % keyspaces.length
    return [...keyspaces.slice(this.#turn), ...keyspaces.slice(0, this.#turn)]
  }

  /** Owners of two configurations are not to be taken for those of one. */
  #checkNumber(number: number): void {
    if (this.#with.ring().number === number) return
    throw new KvError('UNAVAILABLE', 'deleted keys cannot be purged now: the configuration changed meanwhile')
  }

  /** What this peer does not own any more it does not follow. */
  #beginAnew(): void {
    this.#isAnotherRing = false
    this.#dueMs.clear()
    const ring = this.#with.ring()
    const places = new Set<string>()
    for (const keyspace of ring.configuration.keyspaces) {
      for (let partition = 0; partition < ring.partitionCount; partition++) {
        if (ring.isOwner(this.#with.selfId, keyspace, partition))
          places.add(placeName(keyspace.id, partition))
      }
    }
    this.#holds.retain(places)
  }

  async #lookThrough(keyspace: Keyspace, partition: number, gathered: Gathered): Promise<void> {
    const { store } = this.#with
    const { places } = store.mortals
    const seen = this.#begin(keyspace, partition)
    const { place } = seen
    places.look(keyspace.id, partition)
    try {
      await store.mortals.read(
        keyspace.id,
        partition,
        (key, record) => this.#found(seen, key, record, gathered),
        (count) => this.#goOn(count, gathered.number),
      )
    } catch (error) {
      places.add(keyspace.id, partition)
      throw error
    }
    if (this.#isStopped) return
    this.#holds.found(place, seen.purgeable, seen.nowMs)
    if (seen.mortals > 0) this.#dueMs.set(place, seen.dueMs)
    else {
      this.#dueMs.delete(place)
      places.remove(keyspace.id, partition)
    }
  }

  #begin(keyspace: Keyspace, partition: number): Seen {
    const owners = this.#with.ring().allOwners(keyspace, partition)
    const nowMs = this.#with.clock.monotonic()
    const dueMs = nowMs + this.#rule.purgeAfterMs
    const place = placeName(keyspace.id, partition)
    return { keyspace, place, owners, nowMs, purgeable: [], mortals: 0, dueMs }
  }

  #found(seen: Seen, key: Bytes, record: Bytes, gathered: Gathered): void {
    const { keyspace, place, owners, nowMs, purgeable } = seen
    const dueAt = (ms: number): void => {
      seen.dueMs = Math.min(seen.dueMs, ms)
    }
    const atMs = this.#purgeableAtMs(keyspace, key, record)
    if (atMs === Number.POSITIVE_INFINITY) return // Not as it is; when it is another one, that is news.
    seen.mortals += 1
    if (atMs === null) return
    const untilMs = atMs - this.#with.clock.now()
    if (untilMs > 0) return dueAt(nowMs + untilMs)
    const digest = recordDigest(keyspace.id, key, record)
    const bare = isBare(record)
    purgeable.push(digest)
    const isFirst = owners[0] === this.#with.selfId
    if (!isFirst && !bare) return
    const heldSinceMs = this.#holds.since(place, digest) ?? nowMs
    // What the first one does not erase, as it has erased its own or lost it, any other one does, later.
    const heldEnoughMs = isFirst && bare ? nowMs : heldSinceMs + this.#rule.purgeAfterMs
    dueAt(heldEnoughMs)
    const { due, limit } = gathered
    if (heldEnoughMs > nowMs || due.length >= limit.keys || gathered.bytes >= limit.bytes) return
    gathered.bytes += key.length
    due.push({ keyspace, key, digest, isBare: bare, sizeBytes: key.length + record.length, owners })
  }

  /** Null: it cannot be read now. */
  #purgeableAtMs({ conflicts }: Keyspace, key: Bytes, record: Bytes): number | null {
    try {
      return purgeableAtMs(decodeRecord(key, record), conflicts, this.#rule)
    } catch (error) {
      if (!(error instanceof MalformedRecord)) throw error
      this.#with.log.warn('purge.unreadable', { error })
      return null
    }
  }

  /** After some records. */
  async #goOn(recordCount: number, number: number): Promise<boolean> {
    this.#checkNumber(number)
    this.#recordCount += recordCount
    if (this.#recordCount < RECORDS_AT_ONCE) return !this.#isStopped
    const { clock } = this.#with
    const tookMs = clock.monotonic() - this.#beganMs
    await this.#pauses.pause(clamp(PAUSE_FACTOR * tookMs, SHORTEST_PAUSE_MS, LONGEST_PAUSE_MS))
    this.#recordCount = 0
    this.#beganMs = clock.monotonic()
    this.#checkNumber(number)
    return !this.#isStopped
  }
}

function clamp(value: number, least: number, greatest: number): number {
  return Math.max(least, Math.min(greatest, value))
}
