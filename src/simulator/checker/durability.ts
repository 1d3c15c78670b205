/**
 * Invariant 2, as the disks see it: when a write is acknowledged, at least W owners, or peers that stand in
 * for one, have it where no crash takes it away; and from then on no owner's disk ever knows less than
 * before, but for what was purged.
 */
import { EMPTY_DOTS, includesDotSet, unionDotSets } from '../../protocol/dvv.ts'
import type { DotSet } from '../../protocol/record.ts'
import { type HistoryObserver, type Place, placeOf, type WriteOperation } from '../history.ts'
import type { RemovedKey, StoredRecord } from './stored-record.ts'
import { Violation } from './violation.ts'
import { describeWrite, showDots } from './visibility.ts'

/** By host, what its disk has seen of each key. */
type Disks = Map<string, Map<Place, DotSet>>

/** What was on them when it was told. */
interface GoneDisks {
  readonly disks: Disks
  readonly atMs: number
}

/** What a record had seen when it was dropped. */
interface DroppedRecord {
  readonly host: string
  readonly seen: DotSet
  readonly atMs: number
}

export interface DurabilityChecker extends HistoryObserver {
  /** A record is durable on a host's disk. @param place null when the keyspace is no longer known */
  durable(host: string, place: Place | null, stored: StoredRecord): void
  /** A record is durably gone from a host, or in quarantine, where it says nothing any more. */
  letGo(host: string, place: Place, removed: Pick<RemovedKey, 'isStandIn' | 'isPutAside'>): void
  /** A record is durably gone from a host, which owns it no more. */
  dropped(host: string, place: Place, nowMs: number): void
  /** A host's disk is another one: only what is told from here on is on it. */
  replaced(host: string, nowMs: number): void
  /**
   * Everything that a host's disk has seen, other disks of each of these lists have seen together, or nobody
   * needs to know any more. Default: one list, of all disks.
   */
  isElsewhere(host: string, keepersOf?: (place: Place) => readonly ReadonlySet<string>[]): boolean
  /** What a host's disk has seen of a key for good, as an owner. */
  seenBy(host: string, place: Place): DotSet
  /** Owners' disks that have what the reply of a write covers, or had it since the write began. */
  holdersOf(write: WriteOperation): ReadonlySet<string>
  /** These hosts' disks, with what is kept for others, have every acknowledged write of a key. */
  isKept(place: Place, hosts: ReadonlySet<string>): boolean
  /** How many of these disks have every acknowledged write of a key; infinitely many when there was none. */
  holdersOfAll(place: Place, hosts: ReadonlySet<string>): number
}

/** @param purged what nobody needs to know any more of a key */
export function createDurabilityChecker(purged: (place: Place) => DotSet): DurabilityChecker {
  const disks: Disks = new Map()
  const standIns: Disks = new Map()
  const gone: GoneDisks[] = []
  const dropped = new Map<Place, DroppedRecord[]>()
  /** What stand-ins let go of when its owners had it; that they had is another check's (`hand-overs.ts`). */
  const handedOver: Disks = new Map()
  const acknowledged = new Map<Place, DotSet>()

  const seenBy = (host: string, place: Place): DotSet => disks.get(host)?.get(place) ?? EMPTY_DOTS

  const holders = (place: Place, dots: DotSet, kinds: readonly Disks[]): number => {
    const isForgotten = includesDotSet(purged(place), dots)
    return isForgotten ? Number.POSITIVE_INFINITY : holdingHosts(place, dots, kinds, purged(place)).size
  }

  const hadSince = ({ startMs }: WriteOperation, place: Place): readonly Disks[] => {
    return lostSince(startMs, place, gone, dropped.get(place) ?? [])
  }

  return {
    seenBy,
    replaced(host, nowMs) {
      for (const kind of [disks, standIns]) {
        const disk = kind.get(host)
        if (disk === undefined) continue
        gone.push({ disks: new Map([[host, disk]]), atMs: nowMs })
        kind.delete(host)
      }
    },
    isElsewhere(host, keepersOf) {
      return [...(disks.get(host) ?? []), ...(standIns.get(host) ?? [])].every(([place, seen]) => {
        return (keepersOf?.(place) ?? [null]).every((keepers) => {
          const others = seenElsewhere(place, disks, standIns, host, keepers)
          return includesDotSet(unionDotSets(others, purged(place)), seen)
        })
      })
    },
    holdersOf(write) {
      const place = placeOf(write.keyspace.name, write.key)
      const kinds = [disks, ...hadSince(write, place)]
      return holdingHosts(place, write.reply ?? EMPTY_DOTS, kinds, purged(place))
    },
    isKept(place, hosts) {
      const seen = seenElsewhere(place, disks, standIns, null, hosts)
      return includesDotSet(unionDotSets(seen, purged(place)), acknowledged.get(place) ?? EMPTY_DOTS)
    },
    holdersOfAll(place, hosts) {
      const dots = acknowledged.get(place)
      const theirs = new Map([...disks].filter(([host]) => hosts.has(host)))
      return dots === undefined ? Number.POSITIVE_INFINITY : holders(place, dots, [theirs])
    },
    durable(host, place, stored) {
      if (place === null) return
      const { seen } = stored.record
      if (stored.isStandIn) return note(standIns, host, place, seen)
      const before = seenBy(host, place)
      checkForward(host, place, before, seen, purged(place))
      note(disks, host, place, seen)
    },
    dropped(host, place, nowMs) {
      const seen = disks.get(host)?.get(place)
      if (seen === undefined) return
      disks.get(host)?.delete(place)
      dropped.set(place, [...(dropped.get(place) ?? []), { host, seen, atMs: nowMs }])
    },
    letGo(host, place, { isStandIn, isPutAside }) {
      const kind = isStandIn ? standIns : disks
      const seen = kind.get(host)?.get(place)
      if (seen !== undefined && isStandIn && !isPutAside) note(handedOver, host, place, seen)
      kind.get(host)?.delete(place)
    },
    writeEnded(write) {
      if (write.outcome !== 'ok' || write.reply === null) return
      const { reply } = write
      const place = placeOf(write.keyspace.name, write.key)
      acknowledged.set(place, unionDotSets(acknowledged.get(place) ?? EMPTY_DOTS, reply))
      const kinds = [...hadSince(write, place), ...(write.keyspace.isSloppy ? [standIns] : [])]
      const promised = write.keyspace.copiesVary ? 1 : write.w
      const count = holders(place, reply, [disks, ...kinds])
      if (count < promised) throw new Violation(2, tooFew(write, count, promised))
      // Beyond W it tells who said so: a stand-in may have handed over since, where owners were counted too.
      const told = holders(place, reply, [disks, ...kinds, handedOver])
      if (told < write.disksTold) throw new Violation(2, tooFew(write, told, write.disksTold))
    },
  }
}

/**
 * What stand-ins and these owners' disks have seen together, but for one host. @param keepers null: all disks
 */
function seenElsewhere(
  place: Place,
  disks: Disks,
  standIns: Disks,
  host: string | null,
  keepers: ReadonlySet<string> | null,
): DotSet {
  const owners = keepers === null ? [...disks] : [...disks].filter(([name]) => keepers.has(name))
  const others = [...owners, ...standIns].filter(([name]) => name !== host)
  return others.flatMap(([, disk]) => disk.get(place) ?? []).reduce(unionDotSets, EMPTY_DOTS)
}

/** What is erased and written again at once reaches the disk as one write. */
function checkForward(host: string, place: Place, before: DotSet, seen: DotSet, purged: DotSet): void {
  if (includesDotSet(seen, before) || includesDotSet(unionDotSets(seen, purged), before)) return
  const lost = `had ${showDots(before)}, now has ${showDots(seen)}`
  throw new Violation(2, `the record of ${place} on ${host} went backwards: it ${lost}`)
}

/** Disks that are gone, and records of a key that were dropped, since a write began. */
function lostSince(
  startMs: number,
  place: Place,
  gone: readonly GoneDisks[],
  dropped: readonly DroppedRecord[],
): readonly Disks[] {
  const lost = gone.filter(({ atMs }) => atMs > startMs).map(({ disks }) => disks)
  const had = dropped.filter(({ atMs }) => atMs > startMs)
  return [...lost, ...had.map(({ host, seen }): Disks => new Map([[host, new Map([[place, seen]])]]))]
}

/** Whose disks have seen these, but for what nobody needs to know any more. */
function holdingHosts(
  place: Place,
  dots: DotSet,
  kinds: readonly Disks[],
  forgotten: DotSet,
): ReadonlySet<string> {
  const hosts = kinds.flatMap((kind) => {
    return [...kind].filter(([, disk]) =>
      includesDotSet(unionDotSets(disk.get(place) ?? EMPTY_DOTS, forgotten), dots),
    )
  })
  return new Set(hosts.map(([host]) => host))
}

function tooFew(write: WriteOperation, holders: number, promised: number): string {
  return `${describeWrite(write)} was acknowledged by ${promised} disks but is durable on ${holders}`
}

function note(kind: Disks, host: string, place: Place, seen: DotSet): void {
  let disk = kind.get(host)
  if (disk === undefined) {
    disk = new Map()
    kind.set(host, disk)
  }
  disk.set(place, seen)
}
