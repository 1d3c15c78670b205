import fc from 'fast-check'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { routedUrl } from '../../src/api/kv-routes.ts'
import { decodePercent } from '../../src/api/percent.ts'
import { Query } from '../../src/api/query.ts'

const test = suite('query')

const encoded = (bytes: Uint8Array): string =>
  [...bytes].map((byte) => `%${byte.toString(16).padStart(2, '0')}`).join('')

test('percent-encoding any bytes and decoding them gives the same bytes', () => {
  fc.assert(
    fc.property(fc.uint8Array(), (bytes) => {
      assert.equal(decodePercent(encoded(bytes)), new Uint8Array(bytes))
    }),
  )
})

test('text decodes as encodeURIComponent wrote it', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'grapheme' }), (text) => {
      const bytes = decodePercent(encodeURIComponent(text))
      assert.is(Buffer.from(bytes ?? []).toString(), text)
    }),
  )
})

test('decoding arbitrary text gives bytes or null and never throws', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), (text) => {
      const bytes = decodePercent(text)
      assert.ok(bytes === null || bytes.length <= text.length)
      routedUrl(`/v1/kv/${text}`)
    }),
  )
})

test('every key has a route of its own, made of letters that no router decodes', () => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 1 }), (bytes) => {
      const routed = routedUrl(`/v1/kv/default/${encoded(bytes)}?r=1`)
      assert.is(routed, `/v1/kv/x64656661756c74/x${Buffer.from(bytes).toString('hex')}?r=1`)
    }),
  )
})

test('a query knows what it was given and nothing else', () => {
  const query = new Query('/path?a=1&b=x+y&c&d=%00%ff', ['a', 'b', 'c', 'd', 'e'])
  assert.is(query.level('a'), 1)
  assert.is(query.text('b'), 'x y')
  assert.is(query.flag('c'), true)
  assert.equal(query.bytes('d'), new Uint8Array([0, 255]))
  assert.is(query.text('e'), null)
  assert.is(query.flag('e'), false)
  assert.throws(() => query.text('d'), /not UTF-8/)
})

test('a time to live has a unit, and is none when it is left out', () => {
  assert.is(new Query('/k?ttl=60s', ['ttl']).ttlMs(), 60_000)
  assert.is(new Query('/k', ['ttl']).ttlMs(), null)
  assert.throws(() => new Query('/k?ttl=60', ['ttl']).ttlMs(), /\?ttl= is a time such as/)
})

test.run()
