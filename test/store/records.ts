/** Arbitrary records for properties. */
import * as fc from 'fast-check'
import type { ActorId } from '../../src/base/ids.ts'
import { compareDots, covers } from '../../src/protocol/dvv.ts'
import type { Dot, DotSet, DottedValue, KeyRecord } from '../../src/protocol/record.ts'

const ACTORS = ['00000000000000ff', '8899aabbccddeeff', 'ffffffff00000001', 'ffffffffffffffff'] as ActorId[]

const n = fc.oneof(fc.integer({ min: 1, max: 6 }), fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER }))
const dot: fc.Arbitrary<Dot> = fc.record({ actor: fc.constantFrom(...ACTORS), n })

export const dotSets: fc.Arbitrary<DotSet> = fc
  .tuple(fc.array(fc.tuple(fc.constantFrom(...ACTORS), n), { maxLength: 4 }), fc.array(dot, { maxLength: 4 }))
  .map(([entries, dots]) => {
    const vector = new Map(entries)
    const loose = sortedDots(dots).filter(({ actor, n }) => n > (vector.get(actor) ?? 0))
    return { vector, loose }
  })

const content = fc.record({
  value: fc.option(fc.uint8Array({ maxLength: 200 })),
  contentType: fc.option(fc.string({ maxLength: 30, unit: 'grapheme' })),
  writeId: fc.oneof(fc.string({ maxLength: 30 }), fc.string({ maxLength: 30, unit: 'grapheme' })),
  timestamp: fc.maxSafeNat(),
  expiresAtMs: fc.option(fc.maxSafeNat()),
})

export const records: fc.Arbitrary<KeyRecord> = fc
  .tuple(dotSets, fc.array(fc.tuple(dot, content), { maxLength: 4 }))
  .map(([seen, contents]) => {
    const byDot = new Map(contents.map(([dot, fields]) => [`${dot.actor}/${dot.n}`, { dot, ...fields }]))
    const values: DottedValue[] = [...byDot.values()].filter((value) => covers(seen, value.dot))
    return { seen, values: values.sort((a, b) => compareDots(a.dot, b.dot)) }
  })

export const keys = fc.uint8Array({ minLength: 1, maxLength: 40 })

/** What a record says, in a form that compares whatever kind of byte array its values are. */
export function spelled({ seen, values }: KeyRecord): string {
  const vector = [...seen.vector].sort(([a], [b]) => (a < b ? -1 : 1))
  const contents = values.map((value) => ({
    ...value,
    value: value.value === null ? null : [...value.value],
  }))
  return JSON.stringify([vector, seen.loose, contents])
}

function sortedDots(dots: readonly Dot[]): Dot[] {
  const byName = new Map(dots.map((dot) => [`${dot.actor}/${dot.n}`, dot]))
  return [...byName.values()].sort(compareDots)
}
