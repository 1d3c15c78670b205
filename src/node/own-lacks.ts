/** What this peer's disk does not have, or does not give, of what the peer may have acknowledged. */
import type { KeyspaceId } from '../base/ids.ts'
import { bitsOf, LACKS_NOTHING, type Lacks } from '../protocol/lacks.ts'
import { placeName } from '../protocol/place-name.ts'
import type { Ring } from '../protocol/ring.ts'
import type { Store } from '../store/store.ts'

/** @param ring null before the first configuration: nobody counts on this peer yet */
export function lacksOf(store: Store, ring: Ring | null): Lacks {
  const { completeness, damage } = store
  // While it is not known what is on the disk, nothing can be promised of it.
  const isUnknown = store.outage !== null || store.hashTrees === null || damage.isFull
  if (ring === null || (!isUnknown && completeness.cause === null && damage.count === 0)) return LACKS_NOTHING
  const damaged = new Set<string>()
  for (const { keyspaceId, partition } of damage.list(damage.count)) {
    damaged.add(placeName(keyspaceId, partition))
  }
  const isLacking = (keyspaceId: KeyspaceId, partition: number): boolean => {
    if (isUnknown || !completeness.isComplete(keyspaceId, partition)) return true
    return damaged.has(placeName(keyspaceId, partition))
  }
  const { keyspaces } = ring.configuration
  return new Map(
    keyspaces.map(({ id }) => [id, bitsOf(ring.partitionCount, (partition) => isLacking(id, partition))]),
  )
}
