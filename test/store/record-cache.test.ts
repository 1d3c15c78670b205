import * as fc from 'fast-check'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { type Bytes, equalBytes, utf8 } from '../../src/base/bytes.ts'
import { hash32 } from '../../src/base/hash.ts'
import { RecordCache } from '../../src/store/record-cache.ts'

const test = suite('record cache')
const MAX_BYTES = 1024 * 1024

function put(cache: RecordCache, key: string, record: Bytes): void {
  cache.put(hash32(utf8(key)), utf8(key), record)
}

function get(cache: RecordCache, key: string): Bytes | null {
  return cache.get(hash32(utf8(key)), utf8(key))
}

function record(length: number, fill: number): Bytes {
  return new Uint8Array(length).fill(fill)
}

test('gives what was put last, or nothing', () => {
  const keyed = fc.record({ key: fc.nat(60), length: fc.nat(12_000), fill: fc.nat(255) })
  fc.assert(
    fc.property(fc.array(keyed, { minLength: 100, maxLength: 300 }), (puts) => {
      const cache = new RecordCache(MAX_BYTES / 4)
      const model = new Map<string, Bytes>()
      for (const { key, length, fill } of puts) {
        const name = `key${key}`
        put(cache, name, record(length, fill))
        model.set(name, record(length, fill))
        const other = `key${fill % 60}`
        const found = get(cache, other)
        if (found !== null) assert.ok(equalBytes(found, model.get(other) as Bytes), other)
      }
    }),
    { numRuns: 50 },
  )
})

test('keeps what fits, once it has grown', () => {
  const cache = new RecordCache(MAX_BYTES)
  for (let i = 0; i < 4000; i++) put(cache, `key${i % 2000}`, record(200, i & 255))
  let kept = 0
  for (let i = 2000; i < 4000; i++) if (get(cache, `key${i % 2000}`)?.[0] === (i & 255)) kept++
  // Some share a place with another one.
  assert.ok(kept > 1700, `${kept} of 2000`)
})

test('keeps a key that is written again and again in its place, and the others beside it', () => {
  const cache = new RecordCache(MAX_BYTES)
  for (let i = 0; i < 1000; i++) put(cache, `key${i}`, record(300, i & 255))
  put(cache, 'key7', record(300, 0))
  const before = Array.from({ length: 1000 }, (_, i) => get(cache, `key${i}`) !== null)
  for (let i = 0; i < 100_000; i++) put(cache, 'key7', record(300, i & 255))
  const after = Array.from({ length: 1000 }, (_, i) => get(cache, `key${i}`) !== null)
  assert.equal(after, before)
})

test('a record that is too large to keep takes the one before it along', () => {
  const cache = new RecordCache(MAX_BYTES)
  put(cache, 'key', record(10, 1))
  put(cache, 'key', record(MAX_BYTES / 2, 2))
  assert.is(get(cache, 'key'), null)
})

test('what fell out does not come back when it grows', () => {
  const cache = new RecordCache(MAX_BYTES)
  put(cache, 'key', record(10, 1))
  put(cache, 'key', record(MAX_BYTES / 2, 2))
  for (let i = 0; i < 2000; i++) put(cache, `key${i}`, record(300, 3))
  assert.is(get(cache, 'key'), null)
})

test('what it gives does not change when the key is written again', () => {
  const cache = new RecordCache(MAX_BYTES)
  put(cache, 'key', record(10, 1))
  const found = get(cache, 'key')
  put(cache, 'key', record(10, 2))
  assert.equal(found, record(10, 1))
})

test('two keys with one hash do not get each other', () => {
  const cache = new RecordCache(MAX_BYTES)
  cache.put(5, utf8('one'), record(3, 1))
  cache.put(5, utf8('two'), record(3, 2))
  assert.is(cache.get(5, utf8('one')), null)
  assert.equal(cache.get(5, utf8('two')), record(3, 2))
})

test('forgets when told to', () => {
  const cache = new RecordCache(MAX_BYTES)
  put(cache, 'one', record(3, 1))
  put(cache, 'two', record(3, 2))
  cache.remove(hash32(utf8('one')))
  assert.is(get(cache, 'one'), null)
  assert.equal(get(cache, 'two'), record(3, 2))
  cache.clear()
  assert.is(get(cache, 'two'), null)
})

test.run()
