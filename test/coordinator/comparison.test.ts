import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import type { KeyspaceId } from '../../src/base/ids.ts'
import { Comparison } from '../../src/coordinator/comparison.ts'

const test = suite('comparison of partitions')

const ID = 1 as KeyspaceId

function wholeOf(comparison: Comparison): number[] {
  return [...comparison.partitions()].filter(({ isWhole }) => isWhole).map(({ partition }) => partition)
}

test('a partition was compared wholly when it was walked and each key that differed is equal', () => {
  const comparison = new Comparison()
  comparison.begin(ID, 3)
  comparison.found(ID, 3)
  comparison.settled(ID, 3)
  assert.equal(wholeOf(comparison), [])
  comparison.settled(ID, 3)
  assert.equal(wholeOf(comparison), [3])
})

test('a key that cannot be brought together holds up its own partition alone', () => {
  const comparison = new Comparison()
  for (const partition of [1, 2]) {
    comparison.begin(ID, partition)
    comparison.found(ID, partition)
    comparison.settled(ID, partition)
  }
  comparison.blocked(ID, 1, 'unreadable')
  comparison.settled(ID, 2)
  assert.equal(wholeOf(comparison), [2])
  assert.equal(
    [...comparison.partitions()].map(({ obstacle }) => obstacle),
    ['unreadable', null],
  )
})

test('what was begun in another keyspace is another partition', () => {
  const comparison = new Comparison()
  comparison.begin(ID, 1)
  comparison.begin(2 as KeyspaceId, 1)
  comparison.settled(2 as KeyspaceId, 1)
  assert.equal(
    [...comparison.partitions()].map(({ isWhole }) => isWhole),
    [false, true],
  )
})

test.run()
