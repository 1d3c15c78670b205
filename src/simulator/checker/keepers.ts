/**
 * Whose disks have to have a key before another disk may be taken away: what the cluster promises to bear.
 *
 * - A disk that comes back empty is made good by whoever owns the key, in the old layout or the new one
 *   (`coordinator/catch-up.ts`).
 * - Who is gone for good is left out of the open change, which goes on with what the others have of the
 *   layouts that reads need. Until the switch who gains a key may have all of it, and still nobody could go
 *   on with that: the old owners are asked.
 * - After the switch the finish may come at any moment, since whoever loses his disk may have said what it
 *   takes. Then the new layout stands alone, and it is the same as a loss right after it: of what only he
 *   had there, or of what only old owners have.
 *
 * What a peer has that was excluded goes with it: nobody is made good from there.
 */
import { utf8 } from '../../base/bytes.ts'
import type { NodeId } from '../../base/ids.ts'
import type { Ring } from '../../protocol/ring.ts'
import { keyspaceNameOf, type Place } from '../history.ts'

/** Each list together has to have all. None: the keyspace was dropped. */
export function keepersOf(ring: Ring, place: Place, isForGood: boolean): readonly (readonly NodeId[])[] {
  const name = keyspaceNameOf(place)
  const keyspace = ring.keyspace(name)
  if (keyspace === null) return []
  const partition = ring.partitionOf(utf8(place.slice(name.length + 1)))
  const others = (list: readonly NodeId[]): readonly NodeId[] =>
    list.filter((nodeId) => !ring.isExcluded(nodeId))
  const reads = ring.readLists(keyspace, partition).map(others)
  if (isForGood) return reads
  const all = others(ring.allOwners(keyspace, partition))
  return ring.configuration.phase === 'switched' ? [all, ...reads.slice(-1)] : [all]
}

export interface Keepers {
  /** Hosts that are to keep a place, in lists. */
  of(ring: Ring, place: Place, isForGood: boolean): readonly ReadonlySet<string>[]
}

/** Remembers by place, for as long as it is asked about the same ring. @param hostOf null: not known yet */
export function createKeepers(hostOf: (nodeId: NodeId) => string | null): Keepers {
  const none = (): Map<Place, readonly ReadonlySet<string>[]> => new Map()
  let [known, forGood, forAWhile] = [null as Ring | null, none(), none()]
  return {
    of(ring, place, isForGood) {
      if (ring !== known) [known, forGood, forAWhile] = [ring, none(), none()]
      const byPlace = isForGood ? forGood : forAWhile
      const before = byPlace.get(place)
      if (before !== undefined) return before
      const hostsOf = (list: readonly NodeId[]) => list.flatMap((owner) => hostOf(owner) ?? [])
      const keepers = keepersOf(ring, place, isForGood).map((list) => new Set(hostsOf(list)))
      byPlace.set(place, keepers)
      return keepers
    },
  }
}
