import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { createPrng } from '../../src/base/prng.ts'

const test = suite('prng')

const KNOWN = [582_700_348, 1_197_283_923, 2_481_473_939, 1_427_553_866]

const draw = (count: number, next: () => number): number[] => Array.from({ length: count }, next)

test('the same seed gives the same sequence, another one another', () => {
  const [a, b, c] = [createPrng('seed'), createPrng('seed'), createPrng('seeds')]
  const first = draw(100, a.next)
  assert.equal(draw(100, b.next), first)
  assert.is.not(draw(100, c.next)[0], first[0])
  assert.is(createPrng(7).next(), createPrng('7').next())
})

test('the sequence never changes between versions: recorded seeds stay worth something', () => {
  assert.equal(draw(4, createPrng('kvnode').next), KNOWN)
})

test('a fork is the same for the same label, and does not advance its parent', () => {
  const parent = createPrng(1)
  const forks = [parent.fork('a'), parent.fork('a'), parent.fork('b')]
  const [a, again, b] = forks.map((fork) => fork.next())
  assert.is(a, again)
  assert.is.not(a, b)
  assert.is(parent.next(), createPrng(1).next())
})

test('numbers lie in their range, and spread over it', () => {
  const prng = createPrng('spread')
  const counts = new Array<number>(10).fill(0)
  for (let i = 0; i < 10_000; i++) {
    const float = prng.float()
    assert.ok(float >= 0 && float < 1)
    const place = prng.int(10)
    counts[place] = (counts[place] ?? Number.NaN) + 1
  }
  assert.ok(
    counts.every((count) => count > 850 && count < 1150),
    counts.join(' '),
  )
})

test.run()
