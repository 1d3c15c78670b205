/**
 * Invariant 2, while the ring changes: a write is acknowledged when its level is met in every layout that
 * takes writes under one configuration, by disks of owners that have it for good and are not excluded. Which
 * configuration its coordinator went by nobody knows who asks; one that was in force somewhere meanwhile will
 * do.
 *
 * Under a configuration only those can have said yes who had not gone on to a later one when the write began:
 * from then on they refuse it. So one peer that hangs, and goes by an old configuration, speaks for itself
 * there and for nobody else.
 *
 * Where a stand-in counted, some owner need not have it.
 */
import { utf8 } from '../../base/bytes.ts'
import type { NodeId } from '../../base/ids.ts'
import type { Ring } from '../../protocol/ring.ts'
import type { HistoryObserver, WriteOperation } from '../history.ts'
import { Violation } from './violation.ts'
import { describeWrite } from './visibility.ts'

export interface QuorumParts {
  /** By host, the number that its peer goes by, or its disk when that is down; none: it knows none. */
  numbers(): ReadonlyMap<string, number>
  /** All that were ever in force, or can have been. */
  rings(): Iterable<Ring>
  /** Whose disks have what the write's reply covers, or had since it began. */
  holders(write: WriteOperation): ReadonlySet<string>
  /** Null: no disk has a configuration that names it, so that none of its records can be on one. */
  hostOf(nodeId: NodeId): string | null
}

export function createQuorumChecker(parts: QuorumParts): HistoryObserver {
  const began = new Map<WriteOperation, ReadonlyMap<string, number>>()
  return {
    writeStarted(write) {
      began.set(write, parts.numbers())
    },
    writeEnded(write) {
      const numbers = began.get(write) ?? new Map<string, number>()
      began.delete(write)
      if (write.outcome !== 'ok' || (write.keyspace.isSloppy && write.standInsTold > 0)) return
      const holders = parts.holders(write)
      const isMet = (ring: Ring): boolean => {
        const keyspace = ring.keyspace(write.keyspace.name)
        if (keyspace === null) return true
        const lists = ring.writeOwners(keyspace, ring.partitionOf(utf8(write.key)))
        const needed = ring.needed(write.level, lists)
        const counts = (nodeId: NodeId): boolean => {
          const host = parts.hostOf(nodeId)
          if (host === null || ring.isExcluded(nodeId)) return false
          return holders.has(host) && (numbers.get(host) ?? 0) <= ring.number
        }
        return lists.every((list, i) => list.filter(counts).length >= (needed[i] as number))
      }
      const from = Math.min(...numbers.values())
      const some = [...parts.rings()].filter(({ number }) => number >= from)
      if (some.length === 0 || some.some(isMet)) return
      const listed = `configurations ${from} to ${some.at(-1)?.number}`
      const few = `only ${[...holders].join(', ') || 'no disk'} had it for good`
      throw new Violation(
        2,
        `${describeWrite(write)} was acknowledged, but ${few}, which is no quorum of ${listed}`,
      )
    },
  }
}
