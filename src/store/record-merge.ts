/**
 * What merging two copies of a record comes to, without making a new one when one of the two is already the
 * result.
 */
import { type Bytes, EMPTY_BYTES, equalBytes } from '../base/bytes.ts'
import type { ActorId } from '../base/ids.ts'
import { covers, includesDotSet } from '../protocol/dvv.ts'
import type { Dot, DotSet, DottedValue, KeyRecord } from '../protocol/record.ts'

/** True when `mergeRecords(a, b)` is `a`. */
export function includesRecord(a: KeyRecord, b: KeyRecord): boolean {
  if (!includesDotSet(a.seen, b.seen)) return false
  // All of b's dots were seen in a; so what only b holds was superseded in a, and goes.
  for (const value of a.values) {
    const twin = twinOf(b, value)
    const stays = twin === undefined ? !covers(b.seen, value.dot) : sameValue(value, twin)
    if (!stays) return false
  }
  return true
}

/** Dots that name one value in `a` and another one in `b`: there should be none. */
export function clashingDots(a: KeyRecord, b: KeyRecord): Dot[] {
  const clashes: Dot[] = []
  for (const value of a.values) {
    const twin = twinOf(b, value)
    if (twin !== undefined && !sameValue(value, twin)) clashes.push(value.dot)
  }
  return clashes
}

/** The greatest n of an actor in a set; 0: none. */
export function seenUpTo(seen: DotSet, actor: ActorId): number {
  let greatest = seen.vector.get(actor) ?? 0
  for (const dot of seen.loose) {
    if (dot.actor === actor && dot.n > greatest) greatest = dot.n
  }
  return greatest
}

function twinOf(record: KeyRecord, { dot }: DottedValue): DottedValue | undefined {
  return record.values.find((other) => other.dot.n === dot.n && other.dot.actor === dot.actor)
}

/** Not so only when a dot names two values. */
function sameValue(a: DottedValue, b: DottedValue): boolean {
  return (
    a.writeId === b.writeId &&
    a.timestamp === b.timestamp &&
    a.contentType === b.contentType &&
    a.expiresAtMs === b.expiresAtMs &&
    (a.value === null) === (b.value === null) &&
    equalBytes(bytesOf(a), bytesOf(b))
  )
}

function bytesOf({ value }: DottedValue): Bytes {
  return value ?? EMPTY_BYTES
}
