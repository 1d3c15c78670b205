/**
 * How large each partition is, as its owners say: the largest counts, as the others may still be catching up.
 */
import type { KeyspaceId, NodeId } from '../base/ids.ts'
import type { MembershipDriver } from '../cluster/membership-driver.ts'
import type { Rpc } from '../cluster/rpc.ts'
import { askSizes, sizesAt } from '../coordinator/partition-sizes.ts'
import type { PartitionSizes } from '../protocol/layout-preview.ts'
import type { Ring } from '../protocol/ring.ts'
import type { Store } from '../store/store.ts'

/** Keyspaces that are asked about, one after the other: whoever wants to know waits for seconds at most. */
const MAX_KEYSPACES_ASKED = 32

interface Around {
  readonly selfId: NodeId
  readonly store: Store
  readonly rpc: Rpc
  readonly membership: MembershipDriver
}

export interface ClusterSizes {
  readonly sizes: PartitionSizes
  /** Members that did not answer. */
  readonly silent: readonly NodeId[]
}

export async function clusterSizes({ configuration }: Ring, around: Around): Promise<ClusterSizes> {
  const ids = configuration.keyspaces.slice(0, MAX_KEYSPACES_ASKED).map(({ id }) => id)
  const members = configuration.members.map(({ nodeId }) => nodeId)
  const answers = await Promise.all(members.map((nodeId) => askMember(nodeId, ids, around)))
  const sizes = new Map<KeyspaceId, Map<number, number>>(ids.map((id) => [id, new Map()]))
  for (const answer of answers) {
    answer?.forEach((partitions, i) => {
      const largest = sizes.get(ids[i] as KeyspaceId)
      for (const [partition, bytes] of partitions) {
        largest?.set(partition, Math.max(bytes, largest.get(partition) ?? 0))
      }
    })
  }
  return { sizes, silent: members.filter((_, i) => answers[i] === null) }
}

/** In the order of the keyspaces. Null: it did not say. */
async function askMember(
  nodeId: NodeId,
  keyspaces: readonly KeyspaceId[],
  { selfId, store, rpc, membership }: Around,
): Promise<readonly (readonly (readonly [number, number])[])[] | null> {
  const found: (readonly (readonly [number, number])[])[] = []
  for (const id of keyspaces) {
    if (nodeId === selfId) {
      const { partitions, bytes } = sizesAt(store, id)
      found.push(partitions.map((partition, i) => [partition, bytes[i] ?? 0] as const))
      continue
    }
    const sizes = membership.isAlive(nodeId) ? await askSizes(rpc, nodeId, id) : null
    if (sizes === null) return null
    found.push([...sizes])
  }
  return found
}
