import fc from 'fast-check'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import {
  compareBytes,
  concatBytes,
  copyBytes,
  equalBytes,
  fromHex,
  strictText,
  text,
  toHex,
  utf8,
} from '../../src/base/bytes.ts'

const test = suite('bytes')

const anyBytes = fc.uint8Array({ maxLength: 20 })

test('text and its bytes turn into each other, a byte order mark too', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'grapheme' }), (words) => {
      assert.is(text(utf8(words)), words)
      assert.is(strictText(utf8(words)), words)
    }),
  )
  assert.is(text(utf8('\ufeffa')), '\ufeffa')
})

test('bytes that are no text are told apart by the strict reading', () => {
  assert.is(strictText(Uint8Array.of(0xff)), null)
  assert.is(text(Uint8Array.of(0xff)), '\ufffd')
})

test('bytes are ordered by unsigned byte, a shorter beginning first', () => {
  assert.is(compareBytes(Uint8Array.of(1), Uint8Array.of(0x80)), -1)
  assert.is(compareBytes(Uint8Array.of(1), Uint8Array.of(1, 0)), -1)
  fc.assert(
    fc.property(anyBytes, anyBytes, anyBytes, (a, b, c) => {
      assert.is(compareBytes(a, b), -compareBytes(b, a) || 0)
      assert.is(compareBytes(a, b) === 0, equalBytes(a, b))
      const [x, y, z] = [a, b, c].sort(compareBytes) as [Uint8Array, Uint8Array, Uint8Array]
      assert.ok(compareBytes(x, y) <= 0 && compareBytes(y, z) <= 0 && compareBytes(x, z) <= 0)
    }),
  )
})

test('bytes put together are the parts one after the other', () => {
  fc.assert(
    fc.property(fc.array(anyBytes), (parts) => {
      assert.equal(
        [...concatBytes(...parts)],
        parts.flatMap((part) => [...part]),
      )
    }),
  )
})

test('hex digits turn into bytes and back, and nothing else does', () => {
  fc.assert(fc.property(anyBytes, (bytes) => assert.equal(fromHex(toHex(bytes)), bytes)))
  assert.equal(fromHex('0aFF'), Uint8Array.of(10, 255))
  for (const wrong of ['0', '0g', ' 0', '0x']) assert.is(fromHex(wrong), null)
})

test('a copy shares nothing with what it was made from, a Buffer least of all', () => {
  const original = Buffer.from([1, 2, 3])
  const copy = copyBytes(original)
  original[0] = 9
  assert.equal([...copy], [1, 2, 3])
})

test.run()
