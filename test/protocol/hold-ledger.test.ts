import fc from 'fast-check'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { createPrng, type Prng } from '../../src/base/prng.ts'
import { HoldLedger } from '../../src/protocol/hold-ledger.ts'

const digest = fc.bigInt({ min: 0n, max: 9n })
const look = fc.record({ place: fc.constantFrom('a', 'b'), digests: fc.uniqueArray(digest) })

test('a digest is held since the first of the looks that found it without a break', () => {
  fc.assert(
    fc.property(fc.array(look, { maxLength: 30 }), (looks) => {
      const ledger = new HoldLedger()
      const model = new Map<string, Map<bigint, number>>([
        ['a', new Map()],
        ['b', new Map()],
      ])
      for (const [nowMs, { place, digests }] of looks.entries()) {
        ledger.found(place, digests, nowMs)
        const before = model.get(place)
        model.set(place, new Map(digests.map((each) => [each, before?.get(each) ?? nowMs])))
        for (const [name, holds] of model) {
          for (let each = 0n; each < 10n; each++) assert.is(ledger.since(name, each), holds.get(each) ?? null)
        }
        assert.is(
          ledger.size,
          [...model.values()].reduce((sum, { size }) => sum + size, 0),
        )
      }
    }),
  )
})

test('no more is followed than there is room for, and room comes back', () => {
  const ledger = new HoldLedger(3)
  const eighth = 2n ** 61n
  const [one, two, three, four] = [eighth, 2n * eighth, 3n * eighth, 4n * eighth]
  ledger.found('a', [one, four], 0)
  ledger.found('b', [three, two], 1)
  assert.equal([ledger.size, ledger.foundCount], [3, 4])
  assert.equal([ledger.since('a', one), ledger.since('b', two), ledger.since('b', three)], [0, 1, 1])
  assert.is(ledger.since('a', four), null, 'the greatest gives way, though it was there first')
  ledger.found('b', [three], 2)
  ledger.found('a', [one, four], 3)
  assert.equal([ledger.since('a', one), ledger.since('a', four), ledger.since('b', three)], [0, 3, 1])
})

test('owners with more than they have room for, each in its own order, follow the same to the end', () => {
  const seed = fc.integer()
  const factor = fc.integer({ min: 2, max: 20 })
  const places = Array.from({ length: 30 }, (_, i) => `place ${i}`)
  fc.assert(
    fc.property(seed, factor, (from, times) => {
      const prng = createPrng(from)
      const keys = new Map(
        places.map((place) => [
          place,
          Array.from({ length: 40 }, () => (BigInt(prng.next()) << 32n) | BigInt(prng.next())),
        ]),
      )
      const max = Math.floor((30 * 40) / times)
      const owners = [0, 1, 2].map(() => new HoldLedger(max))
      const isHeld = (place: string, digest: bigint, nowMs: number): boolean =>
        owners.every((ledger) => (ledger.since(place, digest) ?? nowMs) < nowMs)
      for (let nowMs = 0; nowMs < 8 * times; nowMs++) {
        for (const ledger of owners) {
          for (const place of shuffled(places, prng)) ledger.found(place, keys.get(place) ?? [], nowMs)
          assert.ok(ledger.size <= max)
        }
        for (const [place, held] of keys) {
          const left = held.filter((digest) => !isHeld(place, digest, nowMs))
          keys.set(place, left)
        }
      }
      assert.is([...keys.values()].flat().length, 0)
    }),
    { numRuns: 20 },
  )
})

test('places that are not followed any more are forgotten', () => {
  const ledger = new HoldLedger()
  ledger.found('a', [1n], 0)
  ledger.found('b', [2n], 0)
  ledger.retain(new Set(['b']))
  assert.is(ledger.since('a', 1n), null)
  assert.is(ledger.since('b', 2n), 0)
  assert.is(ledger.size, 1)
})

function shuffled(places: readonly string[], prng: Prng): string[] {
  const left = [...places]
  return places.flatMap(() => left.splice(prng.int(left.length), 1))
}

test.run()
