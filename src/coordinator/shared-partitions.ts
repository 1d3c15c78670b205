/** Which partitions two peers both own: what they have to compare. */
import type { NodeId } from '../base/ids.ts'
import type { Keyspace } from '../protocol/configuration.ts'
import type { Ring } from '../protocol/ring.ts'
import type { Coordination } from './coordination.ts'

/** In order. */
export function sharedPartitions(ring: Ring, keyspace: Keyspace, a: NodeId, b: NodeId): number[] {
  const shared: number[] = []
  for (let partition = 0; partition < ring.partitionCount; partition++) {
    if (isShared(ring, keyspace, partition, a, b)) shared.push(partition)
  }
  return shared
}

export function isShared(ring: Ring, keyspace: Keyspace, partition: number, a: NodeId, b: NodeId): boolean {
  return ring.isOwner(a, keyspace, partition) && ring.isOwner(b, keyspace, partition)
}

/** Before the open change it owned the partition alone: nobody else can have all that it acknowledged. */
export function ownedAlone(ring: Ring, keyspace: Keyspace, partition: number, nodeId: NodeId): boolean {
  const [before] = ring.writeOwners(keyspace, partition)
  return before?.length === 1 && before[0] === nodeId
}

/**
 * Whether what this disk says of a partition is an answer. To who owned it alone, and lost it, also while not
 * all of it is here yet: what was acknowledged since the change began is, and nobody else has the rest.
 */
export function mayTell(
  { ring, selfId, store, isComplete }: Coordination,
  asker: NodeId,
  keyspace: Keyspace,
  partition: number,
  isLost: boolean,
): boolean {
  if (isComplete(keyspace.id, partition)) return true
  const now = ring()
  if (!isLost || now.configuration.excluded.includes(selfId)) return false
  const isWhole = store.completeness.isComplete(keyspace.id, partition)
  return isWhole && ownedAlone(now, keyspace, partition, asker)
}

/** Everybody with whom a peer shares a partition of any keyspace. */
export function coOwners(ring: Ring, self: NodeId): NodeId[] {
  const found = new Set<NodeId>()
  for (const [keyspace] of ring.alike()) {
    for (let partition = 0; partition < ring.partitionCount; partition++) {
      const owners = ring.allOwners(keyspace, partition)
      if (owners.includes(self)) for (const owner of owners) found.add(owner)
    }
  }
  found.delete(self)
  return [...found].sort()
}
