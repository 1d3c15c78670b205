/**
 * Invariant 3: a purged key never returns.
 *
 * Of each record that loses its last values, as a disk is handed it: these were tombstones or had expired, by
 * what its host's clock has shown (in a `lww` keyspace: the newest one, which hides the others), and no disk
 * anywhere, of a peer that is down or of one that stands in included, holds a value that they had replaced,
 * or one that was hidden without having seen what hides it. Of each that is gone for good from a disk: none
 * of its values is ever handed to any disk again, none is read, and the disk is not given the record back
 * without something new in it.
 *
 * A disk that was wiped, or exchanged for a copy from the past, is taken for empty: nothing on it may be
 * believed, so it is in nobody's way when a key is purged, and what it had let go of must not come back to it
 * either. If a peer did believe it, the old values would be handed to another disk, or read.
 */
import type { Conflicts } from '../../protocol/configuration.ts'
import { compareDots, covers, EMPTY_DOTS, includesDotSet, unionDotSets } from '../../protocol/dvv.ts'
import type { Dot, DotSet, DottedValue, KeyRecord } from '../../protocol/record.ts'
import { type HistoryObserver, type Place, placeOf, type ReadOperation } from '../history.ts'
import type { DotLedger } from './dot-ledger.ts'
import type { RemovedKey, StoredRecord } from './stored-record.ts'
import { Violation } from './violation.ts'
import { describeRead, showDots } from './visibility.ts'

export interface PurgeCounts {
  /** Records that lost their last values, of all disks. */
  stripped: number
  /** Records that went from a disk for good. */
  erased: number
  /** Values that were purged because they had expired. */
  expired: number
  /** Values that were purged because a newer one, in a `lww` keyspace, hid them. */
  hidden: number
}

export interface PurgeChecker extends HistoryObserver {
  readonly counts: PurgeCounts
  /** A disk is handed a record. */
  written(host: string, place: Place, stored: StoredRecord): void
  durable(host: string, place: Place, stored: StoredRecord): void
  /** A disk is told to forget a record, or to put it aside; for good, once it `isDurable`. */
  forgotten(
    host: string,
    place: Place,
    removed: Pick<RemovedKey, 'isStandIn' | 'isPutAside'>,
    isDurable: boolean,
  ): void
  /** A crash took away what the disk was handed of a record last; what was before becomes durable next. */
  lost(host: string, place: Place): void
  /** A host's disk is another one. Whatever is on it now is put aside before its peer speaks to anyone. */
  replaced(host: string): void
  /** What nobody needs to know any more of a key. */
  purged(place: Place): DotSet
  /** Its owners are told to take the values of a record. */
  ordered(place: Place, isMeant: (record: KeyRecord) => boolean): void
  /** A value that some record held when it lost all of them, or was to. */
  isStripped(place: Place, dot: Dot): boolean
  /** The greatest timestamp of what may hide other values of a key and not be shown itself; 0: none was. */
  newestMortal(place: Place): number
}

/** What other checkers have to know of purges. */
export type PurgeFacts = Pick<PurgeChecker, 'purged' | 'isStripped' | 'newestMortal'>

type Records = Map<string, Map<Place, KeyRecord>>

export interface Clocks {
  /** Virtual ms. */
  now(): number
  /** The greatest wall-clock ms that a host has shown since a virtual moment. */
  greatestWallMs(host: string, sinceMs: number): number
}

/** @param conflictsOf of a key's keyspace */
export function createPurgeChecker(
  ledger: DotLedger,
  clocks: Clocks,
  conflictsOf: (place: Place) => Conflicts,
): PurgeChecker {
  return new Purges(ledger, clocks, conflictsOf)
}

class Purges implements PurgeChecker {
  readonly counts: PurgeCounts = { stripped: 0, erased: 0, expired: 0, hidden: 0 }
  readonly #ledger: DotLedger
  readonly #clocks: Clocks
  readonly #conflictsOf: (place: Place) => Conflicts
  /** What each disk was handed last, as an owner. */
  readonly #newest: Records = new Map()
  /** What each disk holds through any crash. */
  readonly #owned: Records = new Map()
  readonly #kept: Records = new Map()
  /** Since when (virtual ms) a disk's newest record has the values that it has, of those that expire. */
  readonly #sinceMs = new Map<string, Map<Place, number>>()
  readonly #purged = new Map<Place, DotSet>()
  /** What records had seen that were to lose their values, whether or not a disk was handed one without. */
  readonly #ordered = new Map<Place, DotSet>()
  readonly #stripped = new Map<Place, Set<string>>()
  readonly #newestMortal = new Map<Place, number>()
  /** Of these keys a disk let go for good. */
  readonly #gone = new Map<Place, DotSet>()
  readonly #goneFrom = new Map<string, Map<Place, DotSet>>()
  /** Their newest record is the one that becomes durable last. */
  readonly #reset = new Map<string, Set<Place>>()
  readonly #bounds = new Map<ReadOperation, DotSet>()

  constructor(ledger: DotLedger, clocks: Clocks, conflictsOf: (place: Place) => Conflicts) {
    this.#ledger = ledger
    this.#clocks = clocks
    this.#conflictsOf = conflictsOf
  }

  readonly purged = (place: Place): DotSet => this.#purged.get(place) ?? EMPTY_DOTS

  readonly isStripped = (place: Place, dot: Dot): boolean =>
    this.#stripped.get(place)?.has(dotName(dot)) === true

  readonly newestMortal = (place: Place): number => this.#newestMortal.get(place) ?? 0

  written(host: string, place: Place, { record, isStandIn }: StoredRecord): void {
    const past = this.#gone.get(place)
    const returned = past && record.values.find(({ dot }) => covers(past, dot))
    if (returned !== undefined) {
      const how = isStandIn ? 'is to keep for others' : 'is to hold'
      throw new Violation(3, `${host} ${how} ${nameOf(returned)} of ${place}, which was purged`)
    }
    for (const { value, expiresAtMs, timestamp } of record.values) {
      const isMortal = value === null || expiresAtMs !== null
      if (isMortal && timestamp > this.newestMortal(place)) this.#newestMortal.set(place, timestamp)
    }
    if (isStandIn) return
    const lost = this.#goneFrom.get(host)?.get(place)
    if (lost !== undefined && includesDotSet(lost, record.seen)) {
      throw new Violation(3, `${place} was purged on ${host} and is brought back: ${showDots(record.seen)}`)
    }
    this.#reset.get(host)?.delete(place)
    const before = this.#newest.get(host)?.get(place)
    note(this.#newest, host, place, record)
    if (record.values.length > 0) return this.#noteSince(host, place, before, record)
    if (before === undefined || before.values.length === 0) return this.#noteBare(place, record)
    add(this.#purged, place, record.seen)
    this.counts.stripped++
    this.#checkStrip(host, place, before, record)
  }

  durable(host: string, place: Place, { record, isStandIn }: StoredRecord): void {
    note(isStandIn ? this.#kept : this.#owned, host, place, record)
    if (isStandIn) return
    this.#goneFrom.get(host)?.delete(place)
    if (!this.#reset.get(host)?.has(place)) return
    note(this.#newest, host, place, record)
    this.#sinceMs.get(host)?.delete(place)
  }

  forgotten(
    host: string,
    place: Place,
    { isStandIn, isPutAside }: Pick<RemovedKey, 'isStandIn' | 'isPutAside'>,
    isDurable: boolean,
  ): void {
    if (isStandIn) {
      if (isDurable) this.#kept.get(host)?.delete(place)
      return
    }
    const records = isDurable ? this.#owned : this.#newest
    const before = records.get(host)?.get(place)
    records.get(host)?.delete(place)
    if (this.#reset.get(host)?.has(place)) this.#newest.get(host)?.delete(place)
    if (before === undefined || isPutAside) return
    add(this.#purged, place, before.seen)
    if (!isDurable) {
      if (before.values.length === 0) return
      throw new Violation(3, `${host} forgets ${place}, which has values`)
    }
    this.counts.erased++
    add(this.#gone, place, before.seen)
    const places = this.#goneFrom.get(host) ?? new Map<Place, DotSet>()
    this.#goneFrom.set(host, places)
    add(places, place, before.seen)
  }

  ordered(place: Place, isMeant: (record: KeyRecord) => boolean): void {
    for (const [, record] of holdersOf(this.#owned, place)) {
      if (!isMeant(record)) continue
      add(this.#ordered, place, record.seen)
      return this.#noteStripped(place, record)
    }
  }

  lost(host: string, place: Place): void {
    this.#newest.get(host)?.delete(place)
    this.#sinceMs.get(host)?.delete(place)
    const left = this.#owned.get(host)?.get(place)
    if (left !== undefined) note(this.#newest, host, place, left)
    this.#reset.set(host, (this.#reset.get(host) ?? new Set()).add(place))
  }

  replaced(host: string): void {
    for (const records of [this.#newest, this.#owned, this.#kept]) records.delete(host)
    this.#sinceMs.delete(host)
  }

  readStarted(read: ReadOperation): void {
    const set = this.#gone.get(placeOf(read.keyspace.name, read.key))
    if (set !== undefined) this.#bounds.set(read, set)
  }

  readEnded(read: ReadOperation): void {
    const bound = this.#bounds.get(read)
    this.#bounds.delete(read)
    if (bound === undefined) return
    for (const value of read.values ?? []) {
      if (!this.#ledger.dotsOf(value).every((dot) => covers(bound, dot))) continue
      throw new Violation(3, `${describeRead(read)} found ${value}, which was purged`)
    }
  }

  #noteSince(host: string, place: Place, before: KeyRecord | undefined, record: KeyRecord): void {
    if (record.values.every(({ expiresAtMs }) => expiresAtMs === null)) return
    if (before !== undefined && holdsSame(before, record)) return
    const places = this.#sinceMs.get(host) ?? new Map<Place, number>()
    this.#sinceMs.set(host, places)
    places.set(place, this.#clocks.now())
  }

  #noteStripped(place: Place, { values }: KeyRecord): void {
    const stripped = this.#stripped.get(place) ?? new Set()
    this.#stripped.set(place, stripped)
    for (const { dot } of values) stripped.add(dotName(dot))
  }

  /**
   * A disk that had no values of the key is handed a record without any. Nobody needs to know what that has
   * seen when it came from disks that were purged, each looked at when it was. Otherwise the values were lost
   * on their way, and that excuses nothing.
   */
  #noteBare(place: Place, { seen }: KeyRecord): void {
    const known = unionDotSets(this.purged(place), this.#ordered.get(place) ?? EMPTY_DOTS)
    if (includesDotSet(known, seen)) add(this.#purged, place, seen)
  }

  #checkStrip(host: string, place: Place, before: KeyRecord, bare: KeyRecord): void {
    const hider = this.#conflictsOf(place) === 'lww' ? newestOf(before.values) : null
    this.#noteStripped(place, before)
    const wallMs = this.#clocks.greatestWallMs(host, this.#sinceMs.get(host)?.get(place) ?? 0)
    for (const value of before.values) {
      if (hider !== null && value !== hider) {
        this.counts.hidden++
        continue
      }
      if (value.value === null) continue
      this.counts.expired++
      if (value.expiresAtMs !== null && value.expiresAtMs <= wallMs) continue
      throw new Violation(3, `${host} purged ${nameOf(value)} of ${place}, which is alive`)
    }
    for (const records of [this.#owned, this.#kept]) {
      for (const [other, record] of holdersOf(records, place)) {
        const where = records === this.#kept ? `${other} keeps for others` : `${other} holds`
        const fails = (value: DottedValue, why: string): never => {
          throw new Violation(3, `${host} purged ${place} while ${where} ${nameOf(value)}, ${why}`)
        }
        const stale = record.values.find((value) => isStale(value, before, bare))
        if (stale !== undefined) fails(stale, 'which was replaced')
        if (hider === null || covers(record.seen, hider.dot)) continue
        const shown = record.values.find((value) => covers(bare.seen, value.dot))
        if (shown !== undefined) fails(shown, 'which has not met what hides it')
      }
    }
  }
}

function dotName({ actor, n }: Dot): string {
  return `${actor}.${n}`
}

function holdsSame(a: KeyRecord, b: KeyRecord): boolean {
  const names = new Set(a.values.map(({ dot }) => dotName(dot)))
  return names.size === b.values.length && b.values.every(({ dot }) => names.has(dotName(dot)))
}

/** By timestamp; of two with the same one, by the names of their dots. */
function newestOf(values: readonly DottedValue[]): DottedValue | null {
  const isOlder = (value: DottedValue, other: DottedValue): boolean => {
    if (value.timestamp !== other.timestamp) return value.timestamp < other.timestamp
    return compareDots(value.dot, other.dot) < 0
  }
  return values.reduce<DottedValue | null>((newest, value) => {
    return newest === null || isOlder(newest, value) ? value : newest
  }, null)
}

function add(sets: Map<Place, DotSet>, place: Place, seen: DotSet): void {
  sets.set(place, unionDotSets(sets.get(place) ?? EMPTY_DOTS, seen))
}

function note(records: Records, host: string, place: Place, record: KeyRecord): void {
  let places = records.get(host)
  if (places === undefined) {
    places = new Map()
    records.set(host, places)
  }
  places.set(place, record)
}

function* holdersOf(records: Records, place: Place): Generator<[string, KeyRecord]> {
  for (const [host, places] of records) {
    const record = places.get(place)
    if (record !== undefined) yield [host, record]
  }
}

/** The purged record had seen it, and did not hold it: something replaced it. */
function isStale({ dot }: DottedValue, purged: KeyRecord, bare: KeyRecord): boolean {
  return (
    covers(bare.seen, dot) &&
    !purged.values.some((value) => value.dot.actor === dot.actor && value.dot.n === dot.n)
  )
}

function nameOf({ dot, value }: DottedValue): string {
  return `${value === null ? 'a tombstone' : 'a value'} (${dot.actor.slice(0, 6)}.${dot.n})`
}
