import * as fc from 'fast-check'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { utf8 } from '../../src/base/bytes.ts'
import { mergeRecords } from '../../src/protocol/dvv.ts'
import type { KeyRecord } from '../../src/protocol/record.ts'
import { clashingDots, includesRecord, seenUpTo } from '../../src/store/record-merge.ts'
import { dotSets, records, spelled } from './records.ts'

/** The same dot never has two values: as records are, unless a disk lies. */
const truthful = records.map(
  ({ seen, values }): KeyRecord => ({
    seen,
    values: values.map(({ dot }) => ({
      dot,
      value: utf8(`${dot.actor} ${dot.n}`),
      contentType: null,
      writeId: '',
      timestamp: dot.n,
      expiresAtMs: null,
    })),
  }),
)

test('a record includes another one exactly when merging them changes nothing', () => {
  fc.assert(
    fc.property(truthful, truthful, (a, b) => {
      for (const other of [b, mergeRecords(a, b), a]) {
        const isUnchanged = spelled(mergeRecords(a, other)) === spelled(a)
        assert.is(includesRecord(a, other), isUnchanged)
      }
    }),
    { numRuns: 1000 },
  )
})

test('a dot with two values is never taken for one', () => {
  fc.assert(
    fc.property(records, records, (a, b) => {
      if (includesRecord(a, b)) assert.is(spelled(mergeRecords(a, b)), spelled(a))
    }),
    { numRuns: 1000 },
  )
})

test('a clash is seen from both sides, and never between records that tell the truth', () => {
  fc.assert(
    fc.property(records, records, truthful, truthful, (a, b, c, d) => {
      assert.is(JSON.stringify(clashingDots(a, b)), JSON.stringify(clashingDots(b, a)))
      assert.equal(clashingDots(a, a), [])
      assert.equal(clashingDots(c, d), [])
      if (clashingDots(a, b).length > 0) assert.not(includesRecord(a, b) || includesRecord(b, a))
      assert.is(spelled(mergeRecords(a, b)), spelled(mergeRecords(b, a)))
    }),
    { numRuns: 1000 },
  )
})

test('the greatest n of an actor counts loose dots too', () => {
  fc.assert(
    fc.property(dotSets, (set) => {
      for (const actor of set.vector.keys()) {
        const loose = set.loose.filter((dot) => dot.actor === actor).map(({ n }) => n)
        assert.is(seenUpTo(set, actor), Math.max(set.vector.get(actor) ?? 0, ...loose))
      }
    }),
  )
})

test.run()
