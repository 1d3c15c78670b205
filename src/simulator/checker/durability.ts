/**
 * Invariant 2, as the disks see it: when a write is acknowledged, at least W owners have it where no crash
 * takes it away; and from then on no owner's disk ever knows less than before.
 */
import { EMPTY_DOTS, includesDotSet, unionDotSets } from '../../protocol/dvv.ts'
import type { DotSet } from '../../protocol/record.ts'
import { type HistoryObserver, type Place, placeOf, type WriteOperation } from '../history.ts'
import type { StoredRecord } from './stored-record.ts'
import { Violation } from './violation.ts'
import { describeWrite, showDots } from './visibility.ts'

export interface DurabilityChecker extends HistoryObserver {
  /** A record is durable on a host's disk. @param place null when the keyspace is no longer known */
  durable(host: string, place: Place | null, stored: StoredRecord): void
  /** What a host's disk has seen of a key for good. */
  seenBy(host: string, place: Place): DotSet
  /** How many disks have every acknowledged write of a key; infinitely many when there was none. */
  holdersOfAll(place: Place): number
}

export function createDurabilityChecker(): DurabilityChecker {
  const disks = new Map<string, Map<Place, DotSet>>()
  const acknowledged = new Map<Place, DotSet>()

  const seenBy = (host: string, place: Place): DotSet => disks.get(host)?.get(place) ?? EMPTY_DOTS

  const holders = (place: Place, dots: DotSet): number => {
    let count = 0
    for (const disk of disks.values()) {
      const seen = disk.get(place)
      if (seen !== undefined && includesDotSet(seen, dots)) count++
    }
    return count
  }

  return {
    seenBy,
    holdersOfAll(place) {
      const dots = acknowledged.get(place)
      return dots === undefined ? Number.POSITIVE_INFINITY : holders(place, dots)
    },
    durable(host, place, stored) {
      if (place === null) return
      const { seen } = stored.record
      const before = seenBy(host, place)
      if (!includesDotSet(seen, before)) {
        const lost = `had ${showDots(before)}, now has ${showDots(seen)}`
        throw new Violation(2, `the record of ${place} on ${host} went backwards: it ${lost}`)
      }
      let disk = disks.get(host)
      if (disk === undefined) {
        disk = new Map()
        disks.set(host, disk)
      }
      disk.set(place, seen)
    },
    writeEnded(write) {
      if (write.outcome !== 'ok' || write.reply === null) return
      const { reply } = write
      const place = placeOf(write.keyspace.name, write.key)
      acknowledged.set(place, unionDotSets(acknowledged.get(place) ?? EMPTY_DOTS, reply))
      const count = holders(place, reply)
      const promised = Math.max(write.w, write.ownersTold)
      if (count < promised) throw new Violation(2, tooFew(write, count, promised))
    },
  }
}

function tooFew(write: WriteOperation, holders: number, promised: number): string {
  return `${describeWrite(write)} was acknowledged by ${promised} owners but is durable on ${holders}`
}
