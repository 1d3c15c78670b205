import fc from 'fast-check'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { concatBytes } from '../../src/base/bytes.ts'
import { hash32 } from '../../src/base/hash.ts'
import { MAX_FRAME_MESSAGES, packFrame, unpackFrame } from '../../src/wire/frame.ts'
import { pack } from '../../src/wire/msgpack.ts'
import { MalformedMessage } from '../../src/wire/schema.ts'

const test = suite('frame')

const isMalformed = (error: unknown): boolean => error instanceof MalformedMessage

/** With a checksum that is right, so that it is the content that is looked at. */
function framed(packed: Uint8Array): Uint8Array {
  const checksum = new Uint8Array(4)
  new DataView(checksum.buffer).setUint32(0, hash32(packed), true)
  return concatBytes(checksum, packed)
}

const scalar = fc.oneof(
  fc.maxSafeNat(),
  fc.double({ noNaN: true }),
  fc.string(),
  fc.boolean(),
  fc.constant(null),
  fc.uint8Array({ maxLength: 300 }),
)
const messages = fc.array(fc.array(fc.oneof(scalar, fc.array(scalar)), { maxLength: 6 }), { maxLength: 8 })

/** In a form that compares whatever kind of byte array it holds. */
function spelled(value: unknown): unknown {
  if (value instanceof Uint8Array) return { bytes: [...value] }
  return Array.isArray(value) ? value.map(spelled) : value
}

test('the messages come back as they were packed, in order', () => {
  fc.assert(
    fc.property(messages, (packed) => {
      assert.equal(spelled(unpackFrame(packFrame(packed))), spelled(packed))
    }),
  )
})

test('a frame is its own: packing another one changes nothing in it', () => {
  const first = packFrame([[1, 'first']])
  const copy = first.slice()
  for (let i = 0; i < 100; i++) packFrame([[2, 'second', i]])
  assert.equal([...first], [...copy])
})

test('bytes in a message are a view into the frame', () => {
  const frame = packFrame([[1, Uint8Array.of(1, 2, 3)]])
  const [message] = unpackFrame(frame) as [[number, Uint8Array]]
  assert.is(message[1].buffer, frame.buffer)
})

test('what is no array of messages is malformed', () => {
  for (const value of [null, 5, 'text', new Map([[1, 2]])]) {
    assert.throws(() => unpackFrame(framed(pack(value))), isMalformed)
  }
})

test('a frame with too many messages is malformed', () => {
  const many = Array.from({ length: MAX_FRAME_MESSAGES + 1 }, () => [1])
  assert.throws(() => unpackFrame(packFrame(many)), isMalformed)
  assert.is(unpackFrame(packFrame(many.slice(1))).length, MAX_FRAME_MESSAGES)
})

test('an empty frame, a cut one, and one with more behind its end are malformed', () => {
  const packed = pack([[1, 'text', 12345]])
  assert.throws(() => unpackFrame(new Uint8Array(0)), isMalformed)
  for (let end = 0; end < packed.length; end++) {
    assert.throws(() => unpackFrame(framed(packed.subarray(0, end))), isMalformed, `the first ${end} bytes`)
  }
  assert.throws(() => unpackFrame(framed(Uint8Array.of(...packed, 0))), isMalformed)
})

test('one flipped bit, wherever it is, makes a frame malformed', () => {
  const frame = packFrame([[1, 'text', 12345, Uint8Array.of(1, 2, 3)]])
  for (let bit = 0; bit < 8 * frame.length; bit++) {
    const damaged = frame.slice()
    damaged[bit >> 3] = (damaged[bit >> 3] as number) ^ (1 << (bit & 7))
    assert.throws(() => unpackFrame(damaged), isMalformed, `bit ${bit}`)
  }
})

test('deep nesting is malformed, not the end of the process', () => {
  assert.throws(() => unpackFrame(framed(new Uint8Array(1_000_000).fill(0x91))), isMalformed)
})

test('an array that claims a length it does not have is malformed', () => {
  assert.throws(() => unpackFrame(framed(Uint8Array.of(0xdd, 0xff, 0xff, 0xff, 0xff, 1))), isMalformed)
})

test('whatever arrives is a frame or malformed, and nothing else', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (packed) => {
      try {
        assert.ok(Array.isArray(unpackFrame(framed(packed))))
      } catch (error) {
        if (!isMalformed(error)) throw error
      }
    }),
    { numRuns: 2000 },
  )
})

test.run()
