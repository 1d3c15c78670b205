import fc from 'fast-check'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { ActorId } from '../../src/base/ids.ts'
import { includesDotSet, mergeRecords, putValue } from '../../src/protocol/dvv.ts'
import { bareRecord, isMortal, isPurgeable } from '../../src/protocol/purge.ts'
import type { KeyRecord } from '../../src/protocol/record.ts'
import { visibleValues } from '../../src/protocol/view.ts'
import { live, makeValue, steps } from './dvv-arbitrary.ts'

const A = 'a'.repeat(16) as ActorId
const RULE = { purgeAfterMs: 1, expiryGraceMs: 300 }
const NOW_MS = 10_000

function holding(...contents: { readonly value?: null; readonly expiresAtMs?: number }[]): KeyRecord {
  const values = contents.map((fields, i) => ({ ...makeValue(A, i + 1), ...fields }))
  return { seen: { vector: new Map([[A, values.length]]), loose: [] }, values }
}

test('a record is purgeable when all of its values are tombstones or expired for longer than a grace', () => {
  assert.ok(isPurgeable(holding({ value: null }), 'siblings', NOW_MS, RULE))
  assert.ok(isPurgeable(holding({ value: null }, { expiresAtMs: 9700 }), 'siblings', NOW_MS, RULE))
  assert.not(isPurgeable(holding({ expiresAtMs: 9701 }), 'siblings', NOW_MS, RULE))
  assert.not(isPurgeable(holding({ value: null }, {}), 'siblings', NOW_MS, RULE))
})

test('in lww the newest value decides, and what it hides goes with it', () => {
  const held = (...contents: Parameters<typeof holding>) =>
    isPurgeable(holding(...contents), 'lww', NOW_MS, RULE)
  assert.ok(held({}, { value: null }))
  assert.ok(held({}, { expiresAtMs: 9700 }))
  assert.ok(held({ expiresAtMs: 1_000_000 }, { value: null }))
  assert.not(held({}, { expiresAtMs: 9701 }))
  assert.not(held({ value: null }, {}))
})

test('what is purgeable is mortal, and nobody sees anything of it', () => {
  fc.assert(
    fc.property(steps, fc.constantFrom('siblings', 'lww'), (history, conflicts) => {
      for (const record of live(history).records) {
        if (record === null || !isPurgeable(record, conflicts, NOW_MS, RULE)) continue
        assert.ok(isMortal(record))
        assert.equal(visibleValues(record, conflicts, NOW_MS), [])
      }
    }),
  )
})

test('nothing that a record had seen comes back into it when it is bare', () => {
  fc.assert(
    fc.property(steps, (history) => {
      const records = live(history).records.flatMap((record) => record ?? [])
      if (records.length === 0) return
      const bare = bareRecord(records.reduce(mergeRecords))
      for (const record of records) {
        const merged = mergeRecords(bare, record)
        assert.equal(merged.values, [])
        assert.ok(includesDotSet(merged.seen, record.seen))
      }
    }),
  )
})

test('a put survives the merge with a bare record, whatever context it was given', () => {
  fc.assert(
    fc.property(steps, (history) => {
      const world = live(history)
      const records = world.records.flatMap((record) => record ?? [])
      if (records.length === 0) return
      const bare = bareRecord(records.reduce(mergeRecords))
      for (const { context } of world.writes) {
        const value = makeValue(A, 1_000_000)
        for (const before of [null, bare]) {
          const after = mergeRecords(putValue(before, context, value), bare)
          assert.equal(after.values, [value])
        }
      }
    }),
  )
})

test.run()
