import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { createSystemRandom } from '../../src/platform/system-random.ts'

const random = createSystemRandom()

test('floats lie in [0, 1) and fill it evenly', () => {
  const buckets = new Array<number>(16).fill(0)
  for (let i = 0; i < 16_000; i++) {
    const float = random.float()
    assert.ok(float >= 0 && float < 1)
    const bucket = Math.floor(float * 16)
    buckets[bucket] = (buckets[bucket] as number) + 1
  }
  // Six standard deviations around 1,000.
  assert.ok(Math.min(...buckets) > 800 && Math.max(...buckets) < 1200)
})

test('bytes have the length asked for, are fresh each time, and belong to the caller', () => {
  for (const count of [0, 1, 8, 8191, 8192, 8193, 100_000]) assert.is(random.bytes(count).length, count)
  const first = random.bytes(16)
  const copy = first.slice()
  assert.not.equal(random.bytes(16), first)
  for (let i = 0; i < 2000; i++) random.bytes(16)
  assert.equal(first, copy)
})

test('ids are nanoids and never repeat', () => {
  const ids = new Set(Array.from({ length: 10_000 }, () => random.id()))
  assert.is(ids.size, 10_000)
  for (const id of ids) assert.match(id, /^[A-Za-z0-9_-]{21}$/)
})

test.run()
