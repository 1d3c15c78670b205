/**
 * What a change of the ring would do: who has how many partitions before and after, who gets what from whom,
 * and how far that is from the least that would have to move. Counted over all keyspaces: a partition counts
 * once for each of them and each of its owners, as what is streamed does.
 */
import type { KeyspaceId, NodeId } from '../base/ids.ts'
import type { Configuration, Keyspace } from './configuration.ts'
import { alteredKeyspace } from './configuration.ts'
import { fairShares, loadCap } from './layout-fairness.ts'
import type { Ring } from './ring.ts'

/** Bytes of a partition of a keyspace, by its number; those that are not listed are empty. */
export type PartitionSizes = ReadonlyMap<KeyspaceId, ReadonlyMap<number, number>>

export interface PeerPreview {
  readonly nodeId: NodeId
  readonly before: number
  readonly after: number
  /** Partitions that it owns only before, only after the change. */
  readonly given: number
  readonly received: number
  /** Of what it receives. */
  readonly bytes: number
  /** Its fair part of all partitions, by weight and zone; 0 for one that goes. */
  readonly fair: number
  /** The most that the plan may give it. */
  readonly most: number
}

export interface LayoutPreview {
  /** Everybody in the old or the new layout, by nodeId. */
  readonly peers: readonly PeerPreview[]
  /**
   * Copies of partitions that are streamed, and the fewest with which the loads could become what they do.
   */
  readonly moves: number
  readonly idealMoves: number
  readonly bytes: number
}

type MutablePreview = { -readonly [K in keyof PeerPreview]: PeerPreview[K] }

/** @param ring of a configuration under which a change is open */
export function previewChange(ring: Ring, sizes: PartitionSizes): LayoutPreview {
  const { configuration } = ring
  const peers = new Map(configuration.members.map(({ nodeId }) => [nodeId, emptyPreview(nodeId)]))
  let idealMoves = 0
  for (const keyspace of configuration.keyspaces) {
    const gains = countOwners(ring, keyspace, sizes.get(keyspace.id) ?? new Map(), peers)
    idealMoves += gains.reduce((sum, gain) => sum + Math.max(0, gain), 0)
    addFairLoads(configuration, keyspace, peers)
  }
  const all = [...peers.values()]
  return {
    peers: all,
    moves: all.reduce((sum, { received }) => sum + received, 0),
    idealMoves,
    bytes: all.reduce((sum, { bytes }) => sum + bytes, 0),
  }
}

/** @returns by how many partitions of the keyspace each peer's load changes */
function countOwners(
  ring: Ring,
  keyspace: Keyspace,
  sizes: ReadonlyMap<number, number>,
  peers: ReadonlyMap<NodeId, MutablePreview>,
): readonly number[] {
  const gains = new Map<NodeId, number>()
  const gain = (nodeId: NodeId, change: number): void => {
    gains.set(nodeId, (gains.get(nodeId) ?? 0) + change)
  }
  for (let partition = 0; partition < ring.partitionCount; partition++) {
    const [before = [], after = before] = ring.writeOwners(keyspace, partition)
    for (const nodeId of before) {
      const peer = peers.get(nodeId)
      if (peer === undefined) continue
      peer.before += 1
      if (after.includes(nodeId)) continue
      peer.given += 1
      gain(nodeId, -1)
    }
    for (const nodeId of after) {
      const peer = peers.get(nodeId)
      if (peer === undefined) continue
      peer.after += 1
      if (before.includes(nodeId)) continue
      peer.received += 1
      peer.bytes += sizes.get(partition) ?? 0
      gain(nodeId, 1)
    }
  }
  return [...gains.values()]
}

/** Of the new layout. */
function addFairLoads(
  configuration: Configuration,
  keyspace: Keyspace,
  peers: ReadonlyMap<NodeId, MutablePreview>,
): void {
  const { partitionCount, layouts, members } = configuration
  const layout = layouts[1] ?? layouts[0]
  const staying = members.filter(({ nodeId }) => layout.members.includes(nodeId))
  const { strategy, replicas } = alteredKeyspace(configuration, keyspace)
  const count = strategy === 'full' ? staying.length : replicas
  fairShares(staying, count).forEach((share, i) => {
    const peer = peers.get(staying[i]?.nodeId as NodeId)
    if (peer === undefined) return
    peer.fair += share * partitionCount
    peer.most += loadCap(share * partitionCount)
  })
}

function emptyPreview(nodeId: NodeId): MutablePreview {
  return { nodeId, before: 0, after: 0, given: 0, received: 0, bytes: 0, fair: 0, most: 0 }
}
