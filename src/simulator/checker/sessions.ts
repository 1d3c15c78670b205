/**
 * Invariant 7: what one client is told never goes backwards. Of its own requests for a key, one after the
 * other, each has seen all that the earlier ones had: its writes as well as its reads.
 *
 * That is promised where quorums must overlap: in strict keyspaces, between requests whose numbers of owners
 * add up to more than there are. It follows from invariant 2 as long as that is checked of all clients
 * together; this one stands by itself, and knows nothing of outcomes or of what others did. What was seen of
 * a purged key is forgotten with it.
 */
import { EMPTY_DOTS, includesDotSet, unionDotSets } from '../../protocol/dvv.ts'
import type { DotSet } from '../../protocol/record.ts'
import {
  type HistoryObserver,
  type Place,
  placeOf,
  type ReadOperation,
  type WriteOperation,
} from '../history.ts'
import { Violation } from './violation.ts'
import { describeRead, showDots } from './visibility.ts'

/** What a client was told of a key by requests that so many owners answered. */
type Told = Map<number, DotSet>

/** @param purged what nobody needs to know any more of a key */
export function createSessionChecker(purged: (place: Place) => DotSet = () => EMPTY_DOTS): HistoryObserver {
  const told = new Map<string, Told>()
  const bounds = new Map<ReadOperation, DotSet>()

  const toldTo = ({ client, keyspace, key }: ReadOperation | WriteOperation): Told => {
    const name = `${client} ${placeOf(keyspace.name, key)}`
    const known = told.get(name) ?? new Map<number, DotSet>()
    told.set(name, known)
    return known
  }

  const note = (operation: ReadOperation | WriteOperation, owners: number, seen: DotSet): void => {
    const known = toldTo(operation)
    known.set(owners, unionDotSets(known.get(owners) ?? EMPTY_DOTS, seen))
  }

  const isForgotten = (read: ReadOperation, seen: DotSet, bound: DotSet): boolean => {
    return includesDotSet(unionDotSets(seen, purged(placeOf(read.keyspace.name, read.key))), bound)
  }

  return {
    writeEnded(write) {
      if (write.outcome === 'ok' && write.reply !== null) note(write, write.w, write.reply)
    },
    readStarted(read) {
      if (!read.isBound) return
      const overlapping = [...toldTo(read)].filter(([owners]) => owners + read.r > read.keyspace.owners)
      bounds.set(read, overlapping.map(([, seen]) => seen).reduce(unionDotSets, EMPTY_DOTS))
    },
    readEnded(read) {
      const bound = bounds.get(read)
      bounds.delete(read)
      if (bound === undefined || read.values === null) return
      const seen = read.seen ?? EMPTY_DOTS
      if (!includesDotSet(seen, bound) && !isForgotten(read, seen, bound)) {
        const had = `client ${read.client} had been told ${showDots(bound)}, now ${showDots(seen)}`
        throw new Violation(7, `${describeRead(read)} goes back: ${had}`)
      }
      note(read, read.r, seen)
    },
  }
}
