/**
 * How large the partitions of a keyspace are at a peer, for people: how much a change of the ring would move,
 * and how long it takes.
 */
import { KvError } from '../base/error.ts'
import type { KeyspaceId, NodeId } from '../base/ids.ts'
import type { Rpc } from '../cluster/rpc.ts'
import type { Store } from '../store/store.ts'

const TIMEOUT_MS = 1000

/** Side by side; partitions that hold nothing are left out. */
export function sizesAt(store: Store, keyspaceId: KeyspaceId): { partitions: number[]; bytes: number[] } {
  const filled = [...store.inventory.counts.partitions(keyspaceId)].filter(([, { records }]) => records > 0)
  return {
    partitions: filled.map(([partition]) => partition),
    bytes: filled.map(([, { bytes }]) => Math.max(0, bytes)),
  }
}

/** Bytes by partition. Null: it did not answer in time. */
export async function askSizes(
  rpc: Rpc,
  from: NodeId,
  keyspaceId: KeyspaceId,
): Promise<ReadonlyMap<number, number> | null> {
  try {
    const question = (id: number) => ({ type: 'askSizes', id, keyspaceId }) as const
    const reply = await rpc.call(from, 'control', TIMEOUT_MS, question)
    if (reply.type !== 'sizes') return null
    return new Map(reply.partitions.map((partition, i) => [partition, reply.bytes[i] ?? 0]))
  } catch (error) {
    if (!(error instanceof KvError)) throw error
    return null
  }
}
