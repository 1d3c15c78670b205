/**
 * Invariant 2, as the disks see it: when a write is acknowledged, at least W owners, or peers that stand in
 * for one, have it where no crash takes it away; and from then on no owner's disk ever knows less than
 * before.
 */
import { EMPTY_DOTS, includesDotSet, unionDotSets } from '../../protocol/dvv.ts'
import type { DotSet } from '../../protocol/record.ts'
import { type HistoryObserver, type Place, placeOf, type WriteOperation } from '../history.ts'
import type { StoredRecord } from './stored-record.ts'
import { Violation } from './violation.ts'
import { describeWrite, showDots } from './visibility.ts'

/** By host, what its disk has seen of each key. */
type Disks = Map<string, Map<Place, DotSet>>

export interface DurabilityChecker extends HistoryObserver {
  /** A record is durable on a host's disk. @param place null when the keyspace is no longer known */
  durable(host: string, place: Place | null, stored: StoredRecord): void
  /** A stand-in record is durably gone from a host. */
  letGo(host: string, place: Place | null): void
  /** What a host's disk has seen of a key for good, as an owner. */
  seenBy(host: string, place: Place): DotSet
  /** How many disks have every acknowledged write of a key; infinitely many when there was none. */
  holdersOfAll(place: Place): number
}

export function createDurabilityChecker(): DurabilityChecker {
  const disks: Disks = new Map()
  const standIns: Disks = new Map()
  const acknowledged = new Map<Place, DotSet>()

  const seenBy = (host: string, place: Place): DotSet => disks.get(host)?.get(place) ?? EMPTY_DOTS

  const holders = (place: Place, dots: DotSet, kinds: readonly Disks[]): number => {
    const hosts = kinds.flatMap((kind) => {
      return [...kind].filter(([, disk]) => includesDotSet(disk.get(place) ?? EMPTY_DOTS, dots))
    })
    return new Set(hosts.map(([host]) => host)).size
  }

  const note = (kind: Disks, host: string, place: Place, seen: DotSet): void => {
    let disk = kind.get(host)
    if (disk === undefined) {
      disk = new Map()
      kind.set(host, disk)
    }
    disk.set(place, seen)
  }

  return {
    seenBy,
    holdersOfAll(place) {
      const dots = acknowledged.get(place)
      return dots === undefined ? Number.POSITIVE_INFINITY : holders(place, dots, [disks])
    },
    durable(host, place, stored) {
      if (place === null) return
      const { seen } = stored.record
      if (stored.isStandIn) return note(standIns, host, place, seen)
      const before = seenBy(host, place)
      if (!includesDotSet(seen, before)) {
        const lost = `had ${showDots(before)}, now has ${showDots(seen)}`
        throw new Violation(2, `the record of ${place} on ${host} went backwards: it ${lost}`)
      }
      note(disks, host, place, seen)
    },
    letGo(host, place) {
      if (place !== null) standIns.get(host)?.delete(place)
    },
    writeEnded(write) {
      if (write.outcome !== 'ok' || write.reply === null) return
      const { reply } = write
      const place = placeOf(write.keyspace.name, write.key)
      acknowledged.set(place, unionDotSets(acknowledged.get(place) ?? EMPTY_DOTS, reply))
      const count = holders(place, reply, write.keyspace.isSloppy ? [disks, standIns] : [disks])
      const promised = Math.max(write.w, write.disksTold)
      if (count < promised) throw new Violation(2, tooFew(write, count, promised))
    },
  }
}

function tooFew(write: WriteOperation, holders: number, promised: number): string {
  return `${describeWrite(write)} was acknowledged by ${promised} disks but is durable on ${holders}`
}
