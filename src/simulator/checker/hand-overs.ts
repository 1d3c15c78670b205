/**
 * Invariant 2, of what is kept for others: a stand-in record goes from a disk only when every owner it is
 * meant for has had all of it on a disk of its own, or somebody else keeps it for him. It may be the only
 * trace of an acknowledged write.
 */
import type { NodeId } from '../../base/ids.ts'
import { EMPTY_DOTS, includesDotSet, unionDotSets } from '../../protocol/dvv.ts'
import type { DotSet } from '../../protocol/record.ts'
import type { Place } from '../history.ts'
import type { StoredRecord } from './stored-record.ts'
import { Violation } from './violation.ts'
import { showDots } from './visibility.ts'

export interface HandOverChecker {
  /** A record is durable on a host's disk. */
  durable(host: string, place: Place, stored: StoredRecord): void
  /** Its disk has a new configuration, and its peer will go by it next. @param ownersOf by the one before */
  goesOn(host: string, ownersOf: (stored: StoredRecord) => readonly NodeId[]): void
  /**
   * A stand-in record is durably gone from a host.
   * @param owners of the key whom it may be meant for, as the ring is now
   */
  letGo(host: string, place: Place, owners: readonly NodeId[]): void
  /** A host's disk is another one: only what is told from here on is on it. */
  replaced(host: string): void
}

/** @param hostOf where a peer runs; null when that is not known */
export function createHandOverChecker(hostOf: (nodeId: NodeId) => string | null): HandOverChecker {
  /** By host. What an owner lost again later, or purged, it has had. */
  const had = new Map<string, Map<Place, DotSet>>()
  /** By host. */
  const kept = new Map<string, Map<Place, StoredRecord>>()
  /**
   * By host: of what it keeps, what all owners had on their own disks while the host went by one
   * configuration. From then on it may let go of that, whatever begins before its disk is done. Whom a change
   * brings as owners compare with those that owned the key before it, once all members, the host too, go by
   * the change; all of these had it by then. It must have been all: one that is told only after the change
   * began may have been compared with before.
   */
  const delivered = new Map<string, Map<Place, DotSet>>()

  /** Somebody else keeps all of it for the same peer. */
  const isKeptFor = (nodeId: NodeId, place: Place, seen: DotSet): boolean => {
    return [...kept.values()].some((records) => {
      const other = records.get(place)
      return other?.standInFor.includes(nodeId) === true && includesDotSet(other.record.seen, seen)
    })
  }

  const findLacking = (place: Place, seen: DotSet, nodeIds: readonly NodeId[]): string | null => {
    const lacking = nodeIds.find((nodeId) => {
      const host = hostOf(nodeId)
      if (host === null || includesDotSet(had.get(host)?.get(place) ?? EMPTY_DOTS, seen)) return false
      return !isKeptFor(nodeId, place, seen)
    })
    return lacking === undefined ? null : hostOf(lacking)
  }

  const hasHad = (nodeId: NodeId, place: Place, seen: DotSet): boolean => {
    const host = hostOf(nodeId)
    return host !== null && includesDotSet(had.get(host)?.get(place) ?? EMPTY_DOTS, seen)
  }

  return {
    durable(host, place, stored) {
      if (stored.isStandIn) {
        const records = kept.get(host) ?? new Map<Place, StoredRecord>()
        kept.set(host, records.set(place, stored))
        return
      }
      const places = had.get(host) ?? new Map<Place, DotSet>()
      had.set(host, places.set(place, unionDotSets(places.get(place) ?? EMPTY_DOTS, stored.record.seen)))
    },
    goesOn(host, ownersOf) {
      const places = delivered.get(host) ?? new Map<Place, DotSet>()
      for (const [place, stored] of kept.get(host) ?? []) {
        const { seen } = stored.record
        const owners = ownersOf(stored)
        if (owners.length > 0 && owners.every((owner) => hasHad(owner, place, seen))) places.set(place, seen)
      }
      delivered.set(host, places)
    },
    letGo(host, place, owners) {
      const stored = kept.get(host)?.get(place)
      kept.get(host)?.delete(place)
      if (stored === undefined) return
      const { seen } = stored.record
      if (includesDotSet(delivered.get(host)?.get(place) ?? EMPTY_DOTS, seen)) return
      const lacking = findLacking(place, seen, stored.standInFor)
      if (lacking === null) return
      // When the ring has changed since, the owners of now are whom it is meant for.
      const isRetargeted = stored.standInFor.some((target) => !owners.includes(target))
      if (isRetargeted && findLacking(place, seen, owners) === null) return
      throw new Violation(2, `${host} lets go of ${place}, ${showDots(seen)}, of which ${lacking} lacks some`)
    },
    replaced(host) {
      kept.delete(host)
      delivered.delete(host)
    },
  }
}
