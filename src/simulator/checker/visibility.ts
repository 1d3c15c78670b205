/**
 * Invariant 2, as clients see it: every acknowledged write is visible, or causally superseded, in every later
 * quorum read.
 *
 * "Later" is virtual real time: the read began after the write's reply had come. "Quorum": as many owners
 * answered the read as must overlap those that stored the write (r + w > owners). What is checked of each
 * such read:
 *
 * - its context includes the context of each earlier reply, of writes and of reads alike: it has seen all
 *   that they had;
 * - the value of an acknowledged put is among its values, unless some write may have replaced it: one whose
 *   context covers it, or one that named no context and may have found it. In a `lww` keyspace a newer value
 *   may stand for it;
 * - none of its values was replaced by an acknowledged write, that is, covered by what that write replaced;
 * - each value was written, to this very key.
 *
 * Purged keys are excused from the first: what was seen of them is forgotten. So are, in a `lww` keyspace,
 * values that a purge took along with the newer delete that hid them (invariant 3 looks at that): what is
 * written later is shown, also by a clock that is behind theirs. Values that expire may be missing at any
 * time: clocks jump.
 *
 * In sloppy keyspaces that holds of the reads after everything that stand-ins kept was delivered.
 *
 * Writes with an unknown outcome bind nobody, but may excuse: they may have been applied, now or at any time
 * until the read's end.
 */
import { covers, EMPTY_DOTS, includesDotSet, unionDotSets } from '../../protocol/dvv.ts'
import type { Dot, DotSet } from '../../protocol/record.ts'
import {
  type HistoryObserver,
  type KeyspaceFacts,
  type Place,
  placeOf,
  type ReadOperation,
  type WriteOperation,
} from '../history.ts'
import type { DotLedger } from './dot-ledger.ts'
import type { PurgeFacts } from './purges.ts'
import { mayHaveReplaced } from './replacement.ts'
import { Violation } from './violation.ts'

interface KeyHistory {
  readonly writes: WriteOperation[]
  /** In the order of their replies. */
  readonly acknowledged: WriteOperation[]
  /** Acknowledged puts that nothing is known to have replaced, with their positions in `acknowledged`. */
  standing: { readonly write: WriteOperation; readonly position: number }[]
  readonly values: Map<string, ValueHistory>
  /** Index k: what all replies with k owners behind them had seen. Values, never changed in place. */
  floors: readonly DotSet[]
}

interface ValueHistory {
  /** So many of the key's acknowledged writes were compared with it. */
  comparedCount: number
  /** Positions of those that had replaced it. */
  readonly replacedBy: number[]
}

/** What bound a read when it began. */
interface Bounds {
  readonly floor: DotSet
  /** Of the key's acknowledged writes, so many. */
  readonly acknowledgedCount: number
}

export function createVisibilityChecker(ledger: DotLedger, purges: PurgeFacts): HistoryObserver {
  const keys = new Map<Place, KeyHistory>()
  const bounds = new Map<ReadOperation, Bounds>()

  const historyOf = (operation: { readonly keyspace: KeyspaceFacts; readonly key: string }): KeyHistory => {
    const place = placeOf(operation.keyspace.name, operation.key)
    let history = keys.get(place)
    if (history === undefined) {
      const floors = new Array<DotSet>(operation.keyspace.owners + 1).fill(EMPTY_DOTS)
      history = { writes: [], acknowledged: [], standing: [], values: new Map(), floors }
      keys.set(place, history)
    }
    return history
  }

  const isPurged = (read: ReadOperation, seen: DotSet, floor: DotSet): boolean => {
    return includesDotSet(unionDotSets(seen, purges.purged(placeOf(read.keyspace.name, read.key))), floor)
  }

  const raiseFloor = (history: KeyHistory, count: number, seen: DotSet): void => {
    history.floors = history.floors.map((floor, k) => (k === count ? unionDotSets(floor, seen) : floor))
  }

  return {
    writeStarted(write) {
      const history = historyOf(write)
      history.writes.push(write)
      if (write.value === null) return
      // What was acknowledged before cannot have replaced it.
      history.values.set(write.value, { comparedCount: history.acknowledged.length, replacedBy: [] })
    },
    writeEnded(write) {
      if (write.outcome !== 'ok' || write.reply === null) return
      const history = historyOf(write)
      const position = history.acknowledged.push(write) - 1
      if (write.value !== null) history.standing.push({ write, position })
      raiseFloor(history, write.w, write.reply)
    },
    readStarted(read) {
      const history = historyOf(read)
      if (!read.isBound) return void bounds.set(read, { floor: EMPTY_DOTS, acknowledgedCount: 0 })
      const overlapping = history.floors.slice(read.keyspace.owners - read.r + 1)
      const floor = overlapping.reduce(unionDotSets, EMPTY_DOTS)
      bounds.set(read, { floor, acknowledgedCount: history.acknowledged.length })
    },
    readEnded(read) {
      const bound = bounds.get(read)
      bounds.delete(read)
      if (bound === undefined || read.values === null) return
      const seen = read.seen ?? EMPTY_DOTS
      const history = historyOf(read)
      if (!includesDotSet(seen, bound.floor) && !isPurged(read, seen, bound.floor)) {
        throw new Violation(2, `${describeRead(read)} has not seen ${missing(bound.floor, seen)}`)
      }
      for (const value of read.values) checkValue(value, read, bound, history, ledger)
      checkStanding(read, bound, history, ledger, purges)
      // A quorum read brings what it found to the owners it asked before it answers; some of them may be
      // stand-ins, which know it from then on only if they have to.
      if (read.isBound) raiseFloor(history, read.r, seen)
    },
  }
}

/** The value was written here, and no acknowledged write that the read had to see has replaced it. */
function checkValue(
  value: string,
  read: ReadOperation,
  bound: Bounds,
  history: KeyHistory,
  ledger: DotLedger,
): void {
  const known = history.values.get(value)
  if (known === undefined)
    throw new Violation(2, `${describeRead(read)} found ${value}, which nobody wrote there`)
  const dots = ledger.dotsOf(value)
  if (dots.length === 0)
    throw new Violation(2, `${describeRead(read)} found ${value}, which was never on a disk`)
  for (; known.comparedCount < history.acknowledged.length; known.comparedCount++) {
    const write = history.acknowledged[known.comparedCount] as WriteOperation
    const replaced = write.context ?? write.reply
    if (write.value === value || replaced === null) continue
    if (dots.every((dot) => covers(replaced, dot))) known.replacedBy.push(known.comparedCount)
  }
  for (const position of known.replacedBy) {
    const write = history.acknowledged[position] as WriteOperation
    if (position >= bound.acknowledgedCount || write.w + read.r <= read.keyspace.owners) continue
    // The write of the value may have been repeated since, under a name that the other had never seen.
    const replaced = write.context ?? write.reply
    if (replaced === null || !dots.every((dot) => covers(replaced, dot))) continue
    throw new Violation(2, `${describeRead(read)} found ${value}, which ${describeWrite(write)} had replaced`)
  }
}

/** Every acknowledged put that the read had to see is in its answer, or may have been replaced. */
function checkStanding(
  read: ReadOperation,
  bound: Bounds,
  history: KeyHistory,
  ledger: DotLedger,
  purges: PurgeFacts,
): void {
  const values = read.values ?? []
  const fallen = new Set<WriteOperation>()
  for (const { write, position } of history.standing) {
    const { value, reply } = write
    if (value === null || write.expires || reply === null || values.includes(value)) continue
    const dots = ledger.dotsOf(value).filter((dot) => covers(reply, dot))
    const excuse = history.writes.findLast((other) => mayReplace(other, write, dots, read, ledger))
    if (excuse !== undefined && excuse.outcome !== 'pending') fallen.add(write)
    const isBound = position < bound.acknowledgedCount && write.w + read.r > read.keyspace.owners
    if (!isBound || excuse !== undefined || isOutdone(write, dots, read, ledger, purges)) continue
    const has = `it has ${String(values)}, seen ${showDots(read.seen ?? EMPTY_DOTS)}`
    throw new Violation(
      2,
      `${describeRead(read)} lacks ${describeWrite(write)}, which nothing replaced; ${has}`,
    )
  }
  if (fallen.size > 0) history.standing = history.standing.filter(({ write }) => !fallen.has(write))
}

/** Whether a write may have replaced one that was acknowledged under these dots before the read ended. */
function mayReplace(
  other: WriteOperation,
  write: WriteOperation,
  dots: readonly Dot[],
  read: ReadOperation,
  ledger: DotLedger,
): boolean {
  if (other === write) return false
  if (read.endMs !== null && other.startMs >= read.endMs) return false
  return mayHaveReplaced(other, dots, ledger)
}

/**
 * In a `lww` keyspace one value is shown of several: the newest, or none when the newest is a delete, or has
 * expired. What such a one hid goes with it when it is purged.
 * @param dots those of the write that its reply had: under another one, of the same write sent twice, it may
 * have been newer, and replaced
 */
function isOutdone(
  write: WriteOperation,
  dots: readonly Dot[],
  read: ReadOperation,
  ledger: DotLedger,
  { isStripped, newestMortal }: PurgeFacts,
): boolean {
  if (read.keyspace.conflicts !== 'lww' || write.value === null) return false
  const place = placeOf(read.keyspace.name, read.key)
  if (dots.length > 0 && dots.every((dot) => isStripped(place, dot))) return true
  const shown = read.values?.[0]
  const shownAt = shown === undefined ? newestMortal(place) : ledger.timestampOf(ledger.dotsOf(shown))
  return shownAt >= ledger.timestampOf(dots)
}

export function describeRead(read: ReadOperation): string {
  const place = placeOf(read.keyspace.name, read.key)
  const when = `${read.startMs.toFixed(1)}–${read.endMs?.toFixed(1)} ms`
  return `read ${read.index} of ${place} (r=${read.r}, ${when})`
}

export function describeWrite(write: WriteOperation): string {
  const place = placeOf(write.keyspace.name, write.key)
  const what = write.value === null ? 'delete' : `put of ${write.value}`
  return `${what} at ${place} (w=${write.w}, ${write.startMs.toFixed(1)}–${write.endMs?.toFixed(1)} ms)`
}

function missing(floor: DotSet, seen: DotSet): string {
  const vector = [...floor.vector].filter(([actor, n]) => (seen.vector.get(actor) ?? 0) < n)
  const loose = floor.loose.filter((dot) => !covers(seen, dot))
  const dots = showDots({ vector: new Map(vector), loose })
  return `${dots}, which an earlier reply had (it has ${showDots(seen)})`
}

export function showDots(set: DotSet): string {
  const vector = [...set.vector].map(([actor, n]) => `${actor.slice(0, 6)}≤${n}`)
  const loose = set.loose.map(({ actor, n }) => `${actor.slice(0, 6)}.${n}`)
  return `{${[...vector, ...loose].join(' ')}}`
}
