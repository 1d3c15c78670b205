import * as fc from 'fast-check'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { createPrng } from '../../src/base/prng.ts'
import { Histogram } from '../../src/cli/bench/histogram.ts'
import { chooseOperation, createKeyChooser, WORKLOAD_TABLE } from '../../src/cli/bench/workload.ts'

test('percentiles are at most a 32nd above the exact ones, and never below', () => {
  const latencies = fc.array(fc.integer({ min: 0, max: 10_000_000 }), { minLength: 1, maxLength: 200 })
  fc.assert(
    fc.property(latencies, fc.integer({ min: 1, max: 100 }), (values, percent) => {
      const histogram = new Histogram()
      for (const value of values) histogram.record(value)
      const sorted = [...values].sort((a, b) => a - b)
      const exact = sorted[Math.max(0, Math.ceil((values.length * percent) / 100) - 1)] as number
      const shown = histogram.percentileUs(percent)
      return shown >= exact && shown <= exact + exact / 32 + 1
    }),
  )
})

test('a histogram knows count, mean and the largest value', () => {
  const histogram = new Histogram()
  for (const value of [1, 2, 3, 1000]) histogram.record(value)
  assert.is(histogram.count, 4)
  assert.is(histogram.meanUs, 251.5)
  assert.is(histogram.maxUs, 1000)
  assert.is(new Histogram().percentileUs(99), 0)
})

test('the shares of every workload add up to one, and are what is chosen', () => {
  for (const workload of Object.values(WORKLOAD_TABLE)) {
    const shares = Object.entries(workload.mix)
    assert.ok(Math.abs(shares.reduce((sum, [, share]) => sum + share, 0) - 1) < 1e-9)
    const prng = createPrng('mix')
    const counts = new Map<string, number>()
    for (let i = 0; i < 20_000; i++) {
      const operation = chooseOperation(workload, prng)
      counts.set(operation, (counts.get(operation) ?? 0) + 1)
    }
    for (const [operation, share] of shares) {
      assert.ok(Math.abs((counts.get(operation) ?? 0) / 20_000 - share) < 0.02, operation)
    }
  }
})

test('keys stay within bounds, and zipfian ones are unevenly popular', () => {
  const prng = createPrng('keys')
  for (const kind of ['zipfian', 'latest', 'uniform'] as const) {
    for (const keys of [1, 2, 1000]) {
      const choose = createKeyChooser(kind, keys)
      const counts = new Float64Array(keys)
      for (let i = 0; i < 5000; i++) {
        const index = choose(keys, prng)
        assert.ok(Number.isInteger(index) && index >= 0 && index < keys, `${kind} of ${keys} gave ${index}`)
        counts[index] = (counts[index] as number) + 1
      }
      if (keys === 1000 && kind !== 'uniform') assert.ok(Math.max(...counts) > 300, kind)
    }
  }
})

test('the newest keys are the popular ones in workload d', () => {
  const choose = createKeyChooser('latest', 1000)
  const prng = createPrng('latest')
  const recent = Array.from({ length: 2000 }, () => choose(2000, prng)).filter((index) => index >= 1990)
  assert.ok(recent.length > 500)
})

test.run()
