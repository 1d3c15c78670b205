import fc from 'fast-check'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
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
  ledger.found('a', [1n, 2n], 0)
  ledger.found('b', [3n, 4n], 1)
  assert.is(ledger.size, 3)
  assert.is(ledger.since('b', 3n), 1)
  assert.is(ledger.since('b', 4n), null)
  ledger.found('a', [], 2)
  ledger.found('b', [3n, 4n], 3)
  assert.is(ledger.since('b', 3n), 1)
  assert.is(ledger.since('b', 4n), 3)
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

test.run()
