import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { parseClusterId, parseNodeId } from '../../src/base/ids.ts'
import type { Configuration, Member } from '../../src/protocol/configuration.ts'
import { begin, finish, firstConfiguration, switchOver } from '../../src/protocol/configuration-change.ts'
import { createRing } from '../../src/protocol/ring.ts'
import { keepersOf } from '../../src/simulator/checker/keepers.ts'

const test = suite('keepers')

const CLUSTER = parseClusterId('c'.repeat(21))
const PLACE = 'default/k'
const [A, B, C, D] = ['a', 'b', 'c', 'd'].map((letter): Member => {
  return { nodeId: parseNodeId(letter.repeat(21)), zone: '', weight: 1 }
}) as [Member, Member, Member, Member]

/** One partition with three owners, of which the last goes and a fourth comes. */
function phases(): { readonly stable: Configuration; begun: Configuration; switched: Configuration } {
  const acceptors = [{ nodeId: A.nodeId, acceptorId: 'x'.repeat(21) }]
  const [{ acceptorId }] = acceptors as [(typeof acceptors)[0]]
  const first = firstConfiguration({ clusterId: CLUSTER, member: A, acceptorId, partitionCount: 1, nowMs: 0 })
  const stable = finish(switchOver(begin(first, { joining: [B, C] }, 0), 0), acceptors, 0)
  const begun = begin(stable, { joining: [D], leaving: [C.nodeId] }, 0)
  return { stable, begun, switched: switchOver(begun, 0) }
}

function keepers(configuration: Configuration, isForGood: boolean): string[] {
  const lists = keepersOf(createRing(configuration), PLACE, isForGood)
  return lists.map((list) =>
    list
      .map((nodeId) => nodeId[0])
      .sort()
      .join(''),
  )
}

test('what one list of owners has is enough while the ring is at rest', () => {
  const { stable } = phases()
  assert.equal(keepers(stable, true), ['abc'])
  assert.equal(keepers(stable, false), ['abc'])
})

test('until the switch the old owners must have it, and for a disk that comes back anybody', () => {
  const { begun } = phases()
  assert.equal(keepers(begun, true), ['abc'])
  assert.equal(keepers(begun, false), ['abcd'])
})

test('from the switch on the new owners must have it by themselves', () => {
  const { switched } = phases()
  assert.equal(keepers(switched, true), ['abc', 'abd'])
  assert.equal(keepers(switched, false), ['abcd', 'abd'])
})

test('of a keyspace that was dropped nobody has to have anything', () => {
  assert.equal(keepersOf(createRing(phases().stable), 'gone/k', true), [])
})

test.run()
