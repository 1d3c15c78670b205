import * as fc from 'fast-check'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { portions } from '../../src/coordinator/purger.ts'
import { MAX_PURGED_KEYS } from '../../src/wire/purge-messages.ts'

const MIB = 1024 * 1024

const sizes = fc.array(fc.oneof(fc.nat({ max: 100 }), fc.nat({ max: 2 * MIB })), { maxLength: 900 })

test('owners are asked about few keys at once, or about one', () => {
  fc.assert(
    fc.property(sizes, (lengths) => {
      const due = lengths.map((sizeBytes) => ({ sizeBytes }))
      const all = [...portions(due)]
      assert.equal(all.flat(), due)
      for (const [i, portion] of all.entries()) {
        const bytes = portion.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0)
        assert.ok(portion.length >= 1 && portion.length <= MAX_PURGED_KEYS)
        assert.ok(portion.length === 1 || bytes <= MIB)
        const next = all[i + 1]?.[0]?.sizeBytes ?? 0
        const isLast = i === all.length - 1
        assert.ok(isLast || portion.length === MAX_PURGED_KEYS || bytes + next > MIB, 'no more would fit')
      }
    }),
  )
})

test.run()
