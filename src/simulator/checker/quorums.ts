/**
 * Invariant 2, while the ring changes: a write is acknowledged when its level is met in every layout that
 * takes writes under one configuration, by disks of owners that have it for good and are not excluded. Which
 * configuration its coordinator went by nobody knows who asks; one of those that were in force somewhere
 * meanwhile will do.
 *
 * Where stand-ins count no owner need have it.
 */
import { utf8 } from '../../base/bytes.ts'
import type { NodeId } from '../../base/ids.ts'
import type { Ring } from '../../protocol/ring.ts'
import type { HistoryObserver, WriteOperation } from '../history.ts'
import { Violation } from './violation.ts'
import { describeWrite } from './visibility.ts'

export interface QuorumParts {
  /** The lowest number that a peer went by when this began: at `writeStarted`. */
  lowestNumber(): number
  /** All that were ever in force, or can have been. */
  rings(): Iterable<Ring>
  /** Whose disks have what the write's reply covers, or had since it began. */
  holders(write: WriteOperation): ReadonlySet<string>
  /** Null: nobody has met it yet. */
  hostOf(nodeId: NodeId): string | null
}

export function createQuorumChecker(parts: QuorumParts): HistoryObserver {
  const lowest = new Map<WriteOperation, number>()
  return {
    writeStarted(write) {
      lowest.set(write, parts.lowestNumber())
    },
    writeEnded(write) {
      const from = lowest.get(write) ?? 0
      lowest.delete(write)
      if (write.outcome !== 'ok' || write.keyspace.isSloppy) return
      const holders = parts.holders(write)
      const isMet = (ring: Ring): boolean => {
        const keyspace = ring.keyspace(write.keyspace.name)
        if (keyspace === null) return true
        const lists = ring.writeOwners(keyspace, ring.partitionOf(utf8(write.key)))
        const needed = ring.needed(write.level, lists)
        return lists.every((list, i) => {
          const count = list.filter((nodeId) => {
            if (ring.isExcluded(nodeId)) return false
            const host = parts.hostOf(nodeId)
            return host === null || holders.has(host)
          }).length
          return count >= (needed[i] as number)
        })
      }
      const some = [...parts.rings()].filter(({ number }) => number >= from)
      if (some.length === 0 || some.some(isMet)) return
      const numbers = `configurations ${from} to ${some.at(-1)?.number}`
      const few = `only ${[...holders].join(', ') || 'no disk'} had it for good`
      throw new Violation(
        2,
        `${describeWrite(write)} was acknowledged, but ${few}, which is no quorum of ${numbers}`,
      )
    },
  }
}
