/**
 * Owners may refuse to merge, because the whole would be more than a record can hold. The laws that this
 * rests on hold whichever merges are refused.
 */
import fc from 'fast-check'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { EMPTY_DOTS, EMPTY_RECORD, mergeRecords, putValue, unionDotSets } from '../../src/protocol/dvv.ts'
import type { DotSet, KeyRecord } from '../../src/protocol/record.ts'
import { ACTORS, live, makeValue, type Step, steps } from './dvv-arbitrary.ts'

function plain(record: KeyRecord): unknown {
  const vector = [...record.seen.vector].sort()
  return { vector, loose: record.seen.loose, values: record.values.map(({ dot }) => dot) }
}

/** The same writes and tries to merge, of which some were refused: the copies that are left. */
const refusing = fc.tuple(steps, fc.array(fc.boolean(), { minLength: 24, maxLength: 24 }))

function copies([history, refused]: [Step[], boolean[]]): KeyRecord[] {
  const happened = history.filter((step, i) => step.type !== 'merge' || refused[i] !== true)
  return live(happened).records.map((record) => record ?? EMPTY_RECORD)
}

function seenByAll(records: readonly KeyRecord[]): DotSet {
  return records.reduce((seen, record) => unionDotSets(seen, record.seen), EMPTY_DOTS)
}

test('refusing a merge loses nothing: what the owners hold together stays what it was', () => {
  fc.assert(
    fc.property(refusing, fc.nat(2), fc.nat(2), ([history, refused], from, to) => {
      const held = copies([history, refused])
      const together = held.reduce(mergeRecords)
      const merged = held.with(to, mergeRecords(held[to] as KeyRecord, held[from] as KeyRecord))
      assert.equal(plain(merged.reduce(mergeRecords)), plain(together))
    }),
    { numRuns: 1000 },
  )
})

test('a write that replaces what all owners have seen brings them together, in any order', () => {
  fc.assert(
    fc.property(refusing, fc.nat(2), fc.array(fc.nat(2), { maxLength: 6 }), (story, at, order) => {
      const held = copies(story)
      const value = makeValue(ACTORS[at] as (typeof ACTORS)[0], 1_000_000)
      const written = putValue(held[at] as KeyRecord, seenByAll(held), value)
      assert.equal(
        written.values.map(({ dot }) => dot),
        [value.dot],
      )
      for (const to of [...order, 0, 1, 2]) {
        held[to] = mergeRecords(held[to] as KeyRecord, written)
        assert.equal(plain(held[to] as KeyRecord), plain(written), 'one value, so there is room for it')
      }
    }),
    { numRuns: 1000 },
  )
})

test('a write that replaces what one owner has seen leaves no more than was there, and its own', () => {
  fc.assert(
    fc.property(refusing, fc.nat(2), fc.nat(2), (story, at, reader) => {
      const held = copies(story)
      const value = makeValue(ACTORS[at] as (typeof ACTORS)[0], 1_000_000)
      const context = (held[reader] as KeyRecord).seen
      const written = putValue(held[at] as KeyRecord, context, value)
      for (const { dot } of (held[reader] as KeyRecord).values) {
        assert.not(written.values.some((left) => left.dot.n === dot.n && left.dot.actor === dot.actor))
      }
      assert.ok(written.values.length <= (held[at] as KeyRecord).values.length + 1)
    }),
    { numRuns: 1000 },
  )
})

test.run()
