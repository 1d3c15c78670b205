/**
 * Invariant 2, as clients see it: every acknowledged write is visible, or causally superseded, in every later quorum read.
 *
 * "Later" is virtual real time: the read began after the write's reply had come. "Quorum": as many owners answered the read as must
 * overlap those that stored the write (r + w > owners). What is checked of each such read:
 *
 * - its context includes the context of each earlier reply, of writes and of reads alike: it has seen all that they had;
 * - the value of an acknowledged put is among its values, unless some write may have replaced it: one whose context covers it, or one
 *   that named no context and may have found it. In a `lww` keyspace a newer value may stand for it;
 * - none of its values was replaced by an acknowledged write, that is, covered by what that write replaced;
 * - each value was written, to this very key.
 *
 * Writes with an unknown outcome bind nobody, but may excuse: they may have been applied, now or at any time until the read's end.
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
import { Violation } from './violation.ts'

interface KeyHistory {
  readonly writes: WriteOperation[]
  readonly acknowledged: WriteOperation[]
  /** Index k: what all replies with k owners behind them had seen. Values, never changed in place. */
  floors: readonly DotSet[]
}

/** What bound a read when it began. */
interface Bounds {
  readonly floor: DotSet
  /** Of the key's acknowledged writes, so many. */
  readonly acknowledgedCount: number
}

export function createVisibilityChecker(ledger: DotLedger): HistoryObserver {
  const keys = new Map<Place, KeyHistory>()
  const bounds = new Map<ReadOperation, Bounds>()

  const historyOf = (operation: { readonly keyspace: KeyspaceFacts; readonly key: string }): KeyHistory => {
    const place = placeOf(operation.keyspace.name, operation.key)
    let history = keys.get(place)
    if (history === undefined) {
      const floors = new Array<DotSet>(operation.keyspace.owners + 1).fill(EMPTY_DOTS)
      history = { writes: [], acknowledged: [], floors }
      keys.set(place, history)
    }
    return history
  }

  const raiseFloor = (history: KeyHistory, count: number, seen: DotSet): void => {
    history.floors = history.floors.map((floor, k) => (k === count ? unionDotSets(floor, seen) : floor))
  }

  return {
    writeStarted(write) {
      historyOf(write).writes.push(write)
    },
    writeEnded(write) {
      if (write.outcome !== 'ok' || write.reply === null) return
      const history = historyOf(write)
      history.acknowledged.push(write)
      raiseFloor(history, write.w, write.reply)
    },
    readStarted(read) {
      const history = historyOf(read)
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
      if (!includesDotSet(seen, bound.floor)) {
        throw new Violation(2, `${describeRead(read)} has not seen ${missing(bound.floor, seen)}`)
      }
      const earlier = history.acknowledged
        .slice(0, bound.acknowledgedCount)
        .filter((write) => write.w + read.r > read.keyspace.owners)
      for (const write of earlier) checkWrite(write, read, seen, history, ledger)
      checkValues(read, history, ledger)
      // A quorum read brings what it found to the owners it asked before it answers.
      raiseFloor(history, read.r, seen)
    },
  }
}

function checkWrite(
  write: WriteOperation,
  read: ReadOperation,
  seen: DotSet,
  history: KeyHistory,
  ledger: DotLedger,
): void {
  for (const value of read.values ?? []) {
    if (value === write.value || !isReplacedBy(value, write, ledger)) continue
    throw new Violation(2, `${describeRead(read)} found ${value}, which ${describeWrite(write)} had replaced`)
  }
  if (write.value === null || read.values?.includes(write.value) === true) return
  const dots = ledger.dotsOf(write.value).filter((dot) => write.reply !== null && covers(write.reply, dot))
  const excuse = history.writes.find((other) => mayReplace(other, write, dots, read))
  if (excuse !== undefined || isOutdone(write, read, history, ledger)) return
  throw new Violation(
    2,
    `${describeRead(read)} lacks ${describeWrite(write)}, which nothing replaced; it has ${String(read.values)}, seen ${showDots(seen)}`,
  )
}

/** Every name of the value is covered by what the write replaced. */
function isReplacedBy(value: string, write: WriteOperation, ledger: DotLedger): boolean {
  const replaced = write.context ?? write.reply
  const dots = ledger.dotsOf(value)
  return replaced !== null && dots.length > 0 && dots.every((dot) => covers(replaced, dot))
}

/** Whether a write may have replaced one that was acknowledged under these dots before the read ended. */
function mayReplace(
  other: WriteOperation,
  write: WriteOperation,
  dots: readonly Dot[],
  read: ReadOperation,
): boolean {
  if (other === write || other.outcome === 'nothing') return false
  if (read.endMs !== null && other.startMs >= read.endMs) return false
  if (other.context !== null) return dots.every((dot) => covers(other.context as DotSet, dot))
  if (other.outcome === 'ok' && other.reply !== null)
    return dots.every((dot) => covers(other.reply as DotSet, dot))
  return true
}

/** In a `lww` keyspace one value is shown of several: the newest, or none when the newest is a delete. */
function isOutdone(
  write: WriteOperation,
  read: ReadOperation,
  history: KeyHistory,
  ledger: DotLedger,
): boolean {
  if (read.keyspace.conflicts !== 'lww' || write.value === null) return false
  const mine = ledger.timestampOf(write.value)
  const shown = read.values?.[0]
  if (shown !== undefined) return ledger.timestampOf(shown) >= mine
  return history.writes.some((other) => other.value === null && other.outcome !== 'nothing')
}

function checkValues(read: ReadOperation, history: KeyHistory, ledger: DotLedger): void {
  for (const value of read.values ?? []) {
    if (!history.writes.some((write) => write.value === value)) {
      throw new Violation(2, `${describeRead(read)} found ${value}, which nobody wrote there`)
    }
    if (ledger.dotsOf(value).length === 0) {
      throw new Violation(2, `${describeRead(read)} found ${value}, which was never on a disk`)
    }
  }
}

export function describeRead(read: ReadOperation): string {
  const place = placeOf(read.keyspace.name, read.key)
  return `read ${read.index} of ${place} (r=${read.r}, ${read.startMs.toFixed(1)}–${read.endMs?.toFixed(1)} ms)`
}

export function describeWrite(write: WriteOperation): string {
  const place = placeOf(write.keyspace.name, write.key)
  const what = write.value === null ? 'delete' : `put of ${write.value}`
  return `${what} at ${place} (w=${write.w}, ${write.startMs.toFixed(1)}–${write.endMs?.toFixed(1)} ms)`
}

function missing(floor: DotSet, seen: DotSet): string {
  const vector = [...floor.vector].filter(([actor, n]) => (seen.vector.get(actor) ?? 0) < n)
  const loose = floor.loose.filter((dot) => !covers(seen, dot))
  return `${showDots({ vector: new Map(vector), loose })}, which an earlier reply had (it has ${showDots(seen)})`
}

export function showDots(set: DotSet): string {
  const vector = [...set.vector].map(([actor, n]) => `${actor.slice(0, 6)}≤${n}`)
  const loose = set.loose.map(({ actor, n }) => `${actor.slice(0, 6)}.${n}`)
  return `{${[...vector, ...loose].join(' ')}}`
}
