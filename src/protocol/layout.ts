/**
 * Reading and making the table of a layout: for every partition a preference list of distinct peers, kept as
 * positions in the layout's list of members, so that 512 lists of 7 travel in 7 kB.
 */
import { assert, present } from '../base/assert.ts'
import type { NodeId } from '../base/ids.ts'
import type { Layout } from './configuration.ts'

/**
 * A layout of these lists: `positions` holds `depth` positions in `members` for each partition, one list
 * after the other.
 */
export function makeLayout(members: readonly NodeId[], depth: number, positions: Uint16Array): Layout {
  assert(depth > 0 && positions.length % depth === 0, 'the positions are whole lists')
  const rows = new Uint8Array(2 * positions.length)
  const view = new DataView(rows.buffer)
  for (let i = 0; i < positions.length; i++) {
    const position = positions[i] as number
    assert(position < members.length, 'a position refers to a member')
    view.setUint16(2 * i, position)
  }
  return { members, depth, rows }
}

export function layoutPartitionCount(layout: Layout): number {
  const count = layout.rows.length / (2 * layout.depth)
  assert(Number.isInteger(count), 'the table has whole rows')
  return count
}

/** The position in `layout.members` of the peer at `rank` (0 is the first choice) of a partition's list. */
export function memberPosition(layout: Layout, partition: number, rank: number): number {
  const offset = 2 * (partition * layout.depth + rank)
  const high = present(layout.rows[offset], 'the partition and rank lie in the table')
  return (high << 8) | (layout.rows[offset + 1] as number)
}

/** The first `count` peers of a partition's list, fewer when the list is shorter. A new array. */
export function preferenceList(layout: Layout, partition: number, count: number = layout.depth): NodeId[] {
  const list: NodeId[] = []
  for (let rank = 0; rank < Math.min(count, layout.depth); rank++) {
    list.push(
      present(layout.members[memberPosition(layout, partition, rank)], 'a position refers to a member'),
    )
  }
  return list
}
