import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import type { NodeId } from '../../src/base/ids.ts'
import { damageAdvice } from '../../src/coordinator/damage-advice.ts'
import { makeRing, nodes } from './coordinator-world.ts'

const test = suite('what to do about a damaged disk')
const [a, b, c] = nodes(1, 2, 3) as [NodeId, NodeId, NodeId]

test('where others are enough, to throw it away comes after the way that is checked', () => {
  assert.match(
    damageAdvice(makeRing(1, [[a, b, c]]), a),
    /'kvctl remove', which is refused.* or, .*empty data/,
  )
})

test('to throw it away is not said of what may be the only copies', () => {
  for (const ring of [null, makeRing(1, [[a]]), makeRing(1, [[a, b, c]], 'stable', [b])]) {
    const advice = damageAdvice(ring, a)
    assert.not.match(advice, 'empty')
    assert.match(advice, 'from a backup')
  }
})

test('a member that owns nothing has no copies, and one that is given up is not counted twice', () => {
  assert.match(damageAdvice(makeRing(1, [[a, b]]), c), 'kvctl remove')
  assert.match(damageAdvice(makeRing(1, [[a, b, c]], 'stable', [a]), a), 'kvctl remove')
})

test.run()
