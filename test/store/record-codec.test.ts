import * as fc from 'fast-check'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { equalBytes, utf8 } from '../../src/base/bytes.ts'
import { hash32 } from '../../src/base/hash.ts'
import type { ActorId } from '../../src/base/ids.ts'
import { isMortal } from '../../src/protocol/purge.ts'
import type { KeyRecord } from '../../src/protocol/record.ts'
import {
  decodeRecord,
  encodeRecord,
  isBare,
  isLive,
  isStoredMortal,
  MalformedRecord,
} from '../../src/store/record-codec.ts'
import { keys, records, spelled } from './records.ts'

/** Of data format 1, as every version wrote it. */
const OLD_RECORD =
  '0101a55f46d4010123456789abcdefc0c407000100c0c407041556315374475852385f5a356a64486936422d6d' +
  '79548080e2c4f2a2990380d8c1a28c340576616c7565'

test('a record comes back as it went in', () => {
  fc.assert(
    fc.property(keys, records, (key, record) => {
      assert.is(spelled(decodeRecord(key, encodeRecord(key, record))), spelled(record))
    }),
    { numRuns: 500 },
  )
})

test('equal records have equal bytes, in whatever order their vectors were filled', () => {
  fc.assert(
    fc.property(keys, records, (key, record) => {
      const vector = new Map([...record.seen.vector].reverse())
      const again = encodeRecord(key, { ...record, seen: { ...record.seen, vector } })
      assert.ok(equalBytes(again, encodeRecord(key, record)))
    }),
  )
})

test('bytes that decode are the only bytes of their record', () => {
  fc.assert(
    fc.property(keys, records, fc.nat(), fc.integer({ min: 1, max: 255 }), (key, record, where, change) => {
      const bytes = encodeRecord(key, record).slice()
      const place = 6 + (where % (bytes.length - 6))
      bytes[place] = (bytes[place] as number) ^ change
      const sealed = seal(key, bytes)
      const decoded = decodedOrNull(key, sealed)
      if (decoded !== null) assert.ok(equalBytes(encodeRecord(key, decoded), sealed))
    }),
    { numRuns: 3000 },
  )
})

test('a changed byte, a lost end and another key all show', () => {
  fc.assert(
    fc.property(keys, records, fc.nat(), fc.integer({ min: 1, max: 255 }), (key, record, where, change) => {
      const bytes = encodeRecord(key, record)
      const changed = bytes.slice()
      changed[where % bytes.length] = (changed[where % bytes.length] as number) ^ change
      assert.is(decodedOrNull(key, changed), null)
      assert.is(decodedOrNull(key, bytes.subarray(0, where % bytes.length)), null)
      assert.is(decodedOrNull(Uint8Array.of(...key, 0), bytes), null)
    }),
  )
})

test('any bytes at all are decoded or refused, never more', () => {
  fc.assert(
    fc.property(keys, fc.uint8Array({ maxLength: 120 }), (key, body) => {
      decodedOrNull(key, body)
      decodedOrNull(key, seal(key, Uint8Array.of(1, 0, 0, 0, 0, 0, ...body)))
      decodedOrNull(key, seal(key, Uint8Array.of(1, 1, 0, 0, 0, 0, ...body)))
    }),
    { numRuns: 2000 },
  )
})

test('only a record with a value that is not a tombstone is live', () => {
  const key = utf8('key')
  assert.is(isLive(encodeRecord(key, oneValue(utf8('value')))), true)
  assert.is(isLive(encodeRecord(key, oneValue(new Uint8Array(0)))), true)
  assert.is(isLive(encodeRecord(key, oneValue(null))), false)
  assert.is(isLive(encodeRecord(key, { seen: oneValue(null).seen, values: [] })), false)
})

test('only a record without values is bare; what is mortal shows in its bytes', () => {
  fc.assert(
    fc.property(keys, records, (key, record) => {
      const bytes = encodeRecord(key, record)
      const { values } = record
      assert.is(isBare(bytes), values.length === 0)
      assert.is(isStoredMortal(bytes), isMortal(record))
    }),
  )
})

test('whatever the bytes are, they are mortal or not, never more', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 120 }), (body) => {
      assert.type(isStoredMortal(Uint8Array.of(1, 1, 0, 0, 0, 0, ...body)), 'boolean')
    }),
  )
})

test('records that were written before keys were purged are read', () => {
  const expiring = { ...oneValue(utf8('value')).values[0], expiresAtMs: 1_790_000_000_000 }
  const record = { ...oneValue(null), values: [expiring] } as KeyRecord
  const key = utf8('key')
  const bytes = Uint8Array.from(Buffer.from(OLD_RECORD, 'hex'))
  assert.is(spelled(decodeRecord(key, bytes)), spelled(record))
  assert.ok(equalBytes(encodeRecord(key, record), bytes))
})

test('a hundred bytes under one actor take at most sixty more', () => {
  const bytes = encodeRecord(utf8('key'), oneValue(new Uint8Array(100)))
  assert.ok(bytes.length <= 160, `${bytes.length} bytes`)
})

test('bytes handed out are not written again', () => {
  const key = utf8('key')
  const made = Array.from({ length: 2000 }, (_, n) => encodeRecord(key, oneValue(utf8(`value ${n}`))))
  made.forEach((bytes, n) => {
    const value = decodeRecord(key, bytes).values[0]?.value
    assert.ok(value instanceof Uint8Array && equalBytes(value, utf8(`value ${n}`)))
  })
})

function oneValue(value: Uint8Array | null): KeyRecord {
  const actor = '0123456789abcdef' as ActorId
  const content = {
    contentType: null,
    writeId: 'V1StGXR8_Z5jdHi6B-myT',
    timestamp: 1.8e15,
    expiresAtMs: null,
  }
  return {
    seen: { vector: new Map([[actor, 123456]]), loose: [] },
    values: [{ dot: { actor, n: 123456 }, value, ...content }],
  }
}

/** With a checksum that is right, as a stranger could make it. */
function seal(key: Uint8Array, bytes: Uint8Array): Uint8Array {
  const header = ((bytes[0] as number) << 8) | (bytes[1] as number)
  const sum = hash32(bytes.subarray(6), (hash32(key) ^ header) >>> 0)
  new DataView(bytes.buffer, bytes.byteOffset).setUint32(2, sum)
  return bytes
}

function decodedOrNull(key: Uint8Array, bytes: Uint8Array): KeyRecord | null {
  try {
    return decodeRecord(key, bytes)
  } catch (error) {
    assert.instance(error, MalformedRecord)
    return null
  }
}

test.run()
