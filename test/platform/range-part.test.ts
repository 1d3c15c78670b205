import * as fc from 'fast-check'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { type Bytes, compareBytes, utf8 } from '../../src/base/bytes.ts'
import { endOfPart } from '../../src/platform/range-part.ts'

const test = suite('parts of a range of keys')

const [GTE, LT] = [utf8('a'), utf8('z')]

interface Entry {
  readonly key: Bytes
  readonly sizeBytes: number
}

function sizeOf(entries: readonly Entry[]) {
  return async (gte: Bytes, lt: Bytes): Promise<number> => {
    const inside = entries.filter(({ key }) => compareBytes(key, gte) >= 0 && compareBytes(key, lt) < 0)
    return inside.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0)
  }
}

async function sizesOfParts(entries: readonly Entry[], maxBytes: number): Promise<readonly number[]> {
  const size = sizeOf(entries)
  const sizes: number[] = []
  for (let from = GTE; from !== LT; ) {
    const to = await endOfPart(size, from, LT, maxBytes)
    assert.ok(compareBytes(from, to) < 0, 'it comes to an end')
    sizes.push(await size(from, to))
    from = to
  }
  return sizes
}

test('together they are the range; only a single entry makes one too large, and few are small', async () => {
  const key = fc.array(fc.integer({ min: 0, max: 255 }), { maxLength: 12 })
  const prefix = fc.constantFrom('b', 'customer:0000', 'y')
  const entry = fc.record({ prefix, key, sizeBytes: fc.integer({ min: 0, max: 100 }) })
  const makeEntries = fc.uniqueArray(entry, {
    maxLength: 60,
    selector: (one) => `${one.prefix} ${one.key.join()}`,
  })
  const property = fc.asyncProperty(makeEntries, async (made) => {
    const entries = made.map((one) => ({
      key: Uint8Array.of(...utf8(one.prefix), ...one.key),
      sizeBytes: one.sizeBytes,
    }))
    const sizes = await sizesOfParts(entries, 200)
    const total = await sizeOf(entries)(GTE, LT)
    assert.is(
      sizes.reduce((sum, size) => sum + size, 0),
      total,
    )
    for (const size of sizes) assert.ok(size <= 300, `${size}`)
    for (const size of sizes.slice(0, -1)) assert.ok(size > 100, `${size}`)
  })
  await fc.assert(property, { numRuns: 100 })
})

test('one that is small enough is not cut', async () => {
  assert.is(await endOfPart(async () => 10, GTE, LT, 10), LT)
})

test('keys that only differ far behind are left together', async () => {
  const entries = [1, 2, 3].map((n) => ({ key: utf8(`b${'0'.repeat(100)}${n}`), sizeBytes: 100 }))
  assert.equal(await sizesOfParts(entries, 150), [300, 0])
})

test.run()
