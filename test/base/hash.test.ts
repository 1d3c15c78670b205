import fc from 'fast-check'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { utf8 } from '../../src/base/bytes.ts'
import { HASH_NAME, hash32, hash64, hashText32 } from '../../src/base/hash.ts'

const test = suite('hash')

test('it is xxHash: the test vectors of its specification', () => {
  assert.is(HASH_NAME, 'xxh32')
  assert.is(hash32(new Uint8Array(0)), 0x02cc5d05)
  assert.is(hash32(utf8('abc')), 0x32d153ff)
  assert.is(hash64(new Uint8Array(0)), 0xef46db3751d8e999n)
  assert.is(hash64(utf8('abc')), 0x44bc2cf5ad770999n)
})

test('a text hashes as its bytes', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'grapheme' }), fc.nat(), (words, seed) => {
      assert.is(hashText32(words, seed), hash32(utf8(words), seed))
    }),
  )
})

test('another seed gives another hash, unsigned', () => {
  const hashes = Array.from({ length: 100 }, (_, seed) => hash32(utf8('key'), seed))
  assert.is(new Set(hashes).size, 100)
  assert.ok(hashes.every((hash) => Number.isInteger(hash) && hash >= 0 && hash <= 0xffff_ffff))
  assert.is(hash32(utf8('key'), 0xffff_ffff), hash32(utf8('key'), 0xffff_ffff))
})

test('a view into a larger buffer hashes as a copy of it', () => {
  const whole = utf8('xxkeyxx')
  assert.is(hash32(whole.subarray(2, 5)), hash32(utf8('key')))
})

test.run()
