/**
 * Dotted version vectors: what a write replaces, and what stays beside it.
 *
 * Intuition: every value has a name of its own, its dot. A record remembers all dots it has ever seen. A
 * value that one copy has and another lacks was either superseded there (the other has seen its dot) or never
 * arrived (it has not): so two copies can be merged without asking anyone, and nothing written concurrently
 * is lost.
 *
 * Invariants: `mergeRecords` is commutative, associative and idempotent; no value survives a put whose
 * context covers it; a value leaves a record only under a covering dot.
 *
 * Source: Preguiça, Baquero, Almeida, Fonte, Gonçalves, "Dotted Version Vectors: Logical Clocks for
 * Optimistic Replication", 2012, sections 4 and 5. Deviation: `seen` is kept beside the values instead of a
 * vector in each, with loose dots where a writer's context names a dot of an actor without having seen all
 * before it.
 */
import { assert } from '../base/assert.ts'
import { compareBytes, EMPTY_BYTES } from '../base/bytes.ts'
import type { ActorId } from '../base/ids.ts'
import type { Dot, DotSet, DottedValue, KeyRecord } from './record.ts'

export const EMPTY_DOTS: DotSet = { vector: new Map(), loose: [] }
export const EMPTY_RECORD: KeyRecord = { seen: EMPTY_DOTS, values: [] }

export function covers(set: DotSet, dot: Dot): boolean {
  return (set.vector.get(dot.actor) ?? 0) >= dot.n || (set.loose.length > 0 && holdsLoose(set, dot))
}

/** True when every dot of `inner` is in `outer`. */
export function includesDotSet(outer: DotSet, inner: DotSet): boolean {
  for (const [actor, n] of inner.vector) {
    if ((outer.vector.get(actor) ?? 0) < n) return false
  }
  return inner.loose.every((dot) => covers(outer, dot))
}

export function unionDotSets(a: DotSet, b: DotSet): DotSet {
  if (includesDotSet(a, b)) return a
  if (includesDotSet(b, a)) return b
  const vector = new Map(a.vector)
  for (const [actor, n] of b.vector) {
    if ((vector.get(actor) ?? 0) < n) vector.set(actor, n)
  }
  if (a.loose.length === 0 && b.loose.length === 0) return { vector, loose: [] }
  return { vector, loose: normalizedLoose(vector, [...a.loose, ...b.loose]) }
}

/** The set with one dot more; loose, because nothing is known of the actor's dots before it. */
export function withDot(set: DotSet, dot: Dot): DotSet {
  if (covers(set, dot)) return set
  return { vector: set.vector, loose: normalizedLoose(set.vector, [...set.loose, dot]) }
}

/** The set with a dot and all its actor minted for this key before it. */
export function withDotsUpTo(set: DotSet, { actor, n }: Dot): DotSet {
  if ((set.vector.get(actor) ?? 0) >= n) return set
  const vector = new Map(set.vector).set(actor, n)
  return { vector, loose: normalizedLoose(vector, set.loose) }
}

export function compareDots(a: Dot, b: Dot): number {
  if (a.actor !== b.actor) return a.actor < b.actor ? -1 : 1
  return a.n - b.n
}

/**
 * Both copies' knowledge: a value stays when both hold it, or when the one that lacks it has not seen its
 * dot. Two values under one dot cannot be (no dot names two values); should a disk make it so, every peer
 * keeps the same one of them.
 */
export function mergeRecords(a: KeyRecord, b: KeyRecord): KeyRecord {
  const values: DottedValue[] = []
  for (const value of a.values) {
    const twin = b.values.find((other) => sameDot(other.dot, value.dot))
    if (twin !== undefined) values.push(greater(value, twin))
    else if (!covers(b.seen, value.dot)) values.push(value)
  }
  for (const value of b.values) {
    const known = a.values.some((other) => sameDot(other.dot, value.dot))
    if (!known && !covers(a.seen, value.dot)) values.push(value)
  }
  values.sort((x, y) => compareDots(x.dot, y.dot))
  return { seen: unionDotSets(a.seen, b.seen), values }
}

/**
 * A write at the store that minted its dot: what the context covers goes, the value comes. That store has
 * seen every earlier dot of its own actor, so here, and only here, the dot enters the vector.
 */
export function putValue(record: KeyRecord | null, context: DotSet, value: DottedValue): KeyRecord {
  const before = record ?? EMPTY_RECORD
  const { actor, n } = value.dot
  const seen = unionDotSets(before.seen, context)
  assert((seen.vector.get(actor) ?? 0) < n, 'a minted dot is newer than all its actor minted before')
  const vector = new Map(seen.vector)
  vector.set(actor, n)
  const values = before.values.filter((held) => !covers(context, held.dot))
  values.push(value)
  values.sort((x, y) => compareDots(x.dot, y.dot))
  return { seen: { vector, loose: normalizedLoose(vector, seen.loose) }, values }
}

function sameDot(a: Dot, b: Dot): boolean {
  return a.n === b.n && a.actor === b.actor
}

function holdsLoose(set: DotSet, dot: Dot): boolean {
  return set.loose.some((held) => sameDot(held, dot))
}

/** Sorted, without duplicates and without what the vector covers. */
function normalizedLoose(vector: ReadonlyMap<ActorId, number>, dots: readonly Dot[]): readonly Dot[] {
  if (dots.length === 0) return dots
  const uncovered = dots.filter((dot) => (vector.get(dot.actor) ?? 0) < dot.n).sort(compareDots)
  return uncovered.filter((dot, index) => index === 0 || !sameDot(dot, uncovered[index - 1] as Dot))
}

function greater(a: DottedValue, b: DottedValue): DottedValue {
  const byBytes = compareBytes(a.value ?? EMPTY_BYTES, b.value ?? EMPTY_BYTES)
  if (byBytes !== 0) return byBytes > 0 ? a : b
  return fingerprint(a) >= fingerprint(b) ? a : b
}

/** Everything but the bytes, for a choice between values that differ only there. */
function fingerprint(value: DottedValue): string {
  return JSON.stringify([
    value.value === null,
    value.timestamp,
    value.writeId,
    value.contentType,
    value.expiresAtMs,
  ])
}
