import fc from 'fast-check'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import {
  covers,
  EMPTY_RECORD,
  includesDotSet,
  mergeRecords,
  putValue,
  unionDotSets,
  withDot,
} from '../../src/protocol/dvv.ts'
import type { DotSet, KeyRecord } from '../../src/protocol/record.ts'
import { ACTORS, live, makeValue, steps } from './dvv-arbitrary.ts'

const [A, B] = ACTORS as [(typeof ACTORS)[0], (typeof ACTORS)[0]]

function plain(record: KeyRecord): unknown {
  const vector = [...record.seen.vector].sort()
  return { vector, loose: record.seen.loose, values: record.values.map(({ dot }) => dot) }
}

function same(a: KeyRecord, b: KeyRecord): void {
  assert.equal(plain(a), plain(b))
}

/** Three records of one key that exist at the same time. */
const threeRecords = steps.map((history) => live(history).records.map((record) => record ?? EMPTY_RECORD))

test('merge is commutative', () => {
  fc.assert(fc.property(threeRecords, ([a, b]) => same(mergeRecords(a!, b!), mergeRecords(b!, a!))))
})

test('merge is associative', () => {
  fc.assert(
    fc.property(threeRecords, ([a, b, c]) =>
      same(mergeRecords(mergeRecords(a!, b!), c!), mergeRecords(a!, mergeRecords(b!, c!))),
    ),
  )
})

test('merge is idempotent', () => {
  fc.assert(
    fc.property(threeRecords, ([a, b]) => {
      const merged = mergeRecords(a!, b!)
      same(mergeRecords(a!, a!), a!)
      same(mergeRecords(merged, b!), merged)
    }),
  )
})

test('no value survives a put whose context covers it, and every other value does', () => {
  fc.assert(
    fc.property(steps, (history) => {
      live(history, (before, context, value, after) => {
        for (const held of before?.values ?? []) {
          const survives = after.values.some(
            ({ dot }) => dot.actor === held.dot.actor && dot.n === held.dot.n,
          )
          assert.is(survives, !covers(context, held.dot))
        }
        assert.ok(after.values.some(({ dot }) => dot === value.dot))
      })
    }),
  )
})

test('when all stores have merged, exactly the values that no later write replaced are left', () => {
  fc.assert(
    fc.property(steps, (history) => {
      const { records, writes } = live(history)
      const whole = records.map((record) => record ?? EMPTY_RECORD).reduce(mergeRecords)
      const expected = writes
        .filter(
          ({ value }) => !writes.some((other) => other.value !== value && covers(other.context, value.dot)),
        )
        .map(({ value }) => `${value.dot.actor}-${value.dot.n}`)
      assert.equal(whole.values.map(({ dot }) => `${dot.actor}-${dot.n}`).sort(), expected.sort())
    }),
  )
})

test('every value is under a dot that its record has seen', () => {
  fc.assert(
    fc.property(steps, (history) => {
      for (const record of live(history).records) {
        for (const { dot } of record?.values ?? []) assert.ok(covers(record!.seen, dot))
      }
    }),
  )
})

test('two writers who saw the same value leave two siblings, and a third who saw both replaces both', () => {
  const first = putValue(null, { vector: new Map(), loose: [] }, makeValue(A, 1))
  const left = putValue(first, first.seen, makeValue(A, 2))
  const right = putValue(first, first.seen, makeValue(B, 1))
  const both = mergeRecords(left, right)
  assert.is(both.values.length, 2)
  assert.is(putValue(both, both.seen, makeValue(A, 3)).values.length, 1)
})

test('a writer who goes on from his own write does not erase the sibling he never saw', () => {
  const sibling = makeValue(A, 1)
  const own = makeValue(A, 2)
  const empty: DotSet = { vector: new Map(), loose: [] }
  const both = putValue(putValue(null, empty, sibling), empty, own)
  const next = putValue(both, withDot(empty, own.dot), makeValue(A, 3))
  assert.equal(
    next.values.map(({ dot }) => dot.n),
    [1, 3],
  )
})

test('a dot that was minted before cannot be minted again', () => {
  const record = putValue(null, { vector: new Map(), loose: [] }, makeValue(A, 5))
  assert.throws(() => putValue(record, record.seen, makeValue(A, 5)), /newer than all/)
})

test('a union of dot sets includes both and nothing that neither has', () => {
  fc.assert(
    fc.property(threeRecords, ([a, b]) => {
      const union = unionDotSets(a!.seen, b!.seen)
      assert.ok(includesDotSet(union, a!.seen))
      assert.ok(includesDotSet(union, b!.seen))
      for (const actor of ACTORS) {
        for (let n = 1; n <= 40; n++) {
          const dot = { actor, n }
          assert.is(covers(union, dot), covers(a!.seen, dot) || covers(b!.seen, dot))
        }
      }
    }),
  )
})

test('two values under one dot, which cannot be, still leave the same one on every peer', () => {
  const empty: DotSet = { vector: new Map(), loose: [] }
  const one = putValue(null, empty, makeValue(A, 1, 'one'))
  const two = putValue(null, empty, makeValue(A, 1, 'two'))
  assert.equal(mergeRecords(one, two).values, mergeRecords(two, one).values)
})

test.run()
