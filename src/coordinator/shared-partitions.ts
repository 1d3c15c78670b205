/** Which partitions two peers both own: what they have to compare. */
import type { NodeId } from '../base/ids.ts'
import type { Keyspace } from '../protocol/configuration.ts'
import type { Ring } from '../protocol/ring.ts'

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

/** Everybody with whom a peer shares a partition of any keyspace. */
export function coOwners(ring: Ring, self: NodeId): NodeId[] {
  const found = new Set<NodeId>()
  for (const keyspace of ring.configuration.keyspaces) {
    for (let partition = 0; partition < ring.partitionCount; partition++) {
      const owners = ring.allOwners(keyspace, partition)
      if (owners.includes(self)) for (const owner of owners) found.add(owner)
    }
  }
  found.delete(self)
  return [...found].sort()
}
