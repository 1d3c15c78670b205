import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { MAX_TTL_MS, parseTtl } from '../../src/wire/ttl.ts'

test('a time to live is a whole number and a unit', () => {
  const words = ['1ms', '60s', '5m', '12h', '30d']
  assert.equal(words.map(parseTtl), [1, 60_000, 300_000, 43_200_000, 2_592_000_000])
  assert.is(parseTtl('3660d'), MAX_TTL_MS)
})

test('anything else is none', () => {
  for (const word of ['', '60', 's', '1.5s', '-1s', '0s', ' 1s', '1 s', '1w', '3661d', '9'.repeat(20)]) {
    assert.is(parseTtl(word), null, word)
  }
})

test.run()
