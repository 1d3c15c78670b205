import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { utf8 } from '../../src/base/bytes.ts'
import type { KeyRecord } from '../../src/protocol/record.ts'
import { nextTimestamp, timestampMs } from '../../src/protocol/timestamp.ts'
import { visibleValues } from '../../src/protocol/view.ts'
import { ACTORS, makeValue } from './dvv-arbitrary.ts'

const [A, B] = ACTORS as [(typeof ACTORS)[0], (typeof ACTORS)[0]]

function recordOf(...values: KeyRecord['values']): KeyRecord {
  return {
    seen: {
      vector: new Map([
        [A, 9],
        [B, 9],
      ]),
      loose: [],
    },
    values,
  }
}

test('siblings are shown newest first', () => {
  const shown = visibleValues(recordOf(makeValue(A, 1), makeValue(B, 2)), 'siblings', 0)
  assert.equal(
    shown.map(({ dot }) => dot.n),
    [2, 1],
  )
})

test('lww shows the newest alone, and nothing when that is a tombstone', () => {
  const tombstone = { ...makeValue(B, 2), value: null }
  assert.equal(visibleValues(recordOf(makeValue(A, 1), makeValue(B, 2)), 'lww', 0).length, 1)
  assert.equal(visibleValues(recordOf(makeValue(A, 1), tombstone), 'lww', 0), [])
})

test('a tombstone beside a concurrent value hides nothing in a siblings keyspace', () => {
  const tombstone = { ...makeValue(B, 2), value: null }
  assert.equal(
    visibleValues(recordOf(makeValue(A, 1), tombstone), 'siblings', 0).map(({ dot }) => dot.n),
    [1],
  )
})

test('one write that was applied twice shows once', () => {
  const twice = { ...makeValue(B, 2), value: utf8('a1'), writeId: makeValue(A, 1).writeId }
  assert.is(visibleValues(recordOf(makeValue(A, 1), twice), 'siblings', 0).length, 1)
})

test('an expired value is not shown', () => {
  const value = { ...makeValue(A, 1), expiresAtMs: 1000 }
  assert.is(visibleValues(recordOf(value), 'siblings', 999).length, 1)
  assert.is(visibleValues(recordOf(value), 'siblings', 1000).length, 0)
})

test('a timestamp is above what it supersedes and not below the clock', () => {
  assert.is(timestampMs(nextTimestamp(5000, 0)), 5000)
  const ahead = nextTimestamp(9000, 0)
  assert.ok(nextTimestamp(5000, ahead) > ahead)
})

test('a timestamp more than a minute ahead of our clock is not followed', () => {
  const broken = nextTimestamp(5000 + 61_000, 0)
  assert.is(timestampMs(nextTimestamp(5000, broken)), 5000)
})

test.run()
