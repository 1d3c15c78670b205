import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { parseClusterId, parseNodeId } from '../../src/base/ids.ts'
import { hasHandedOver } from '../../src/node/last-words.ts'
import type { Configuration, Member } from '../../src/protocol/configuration.ts'
import {
  begin,
  exclude,
  finish,
  firstConfiguration,
  switchOver,
} from '../../src/protocol/configuration-change.ts'

const test = suite('last words')
const member = (name: string): Member => ({ nodeId: parseNodeId(name), zone: '', weight: 100 })
const [a, b, c] = [member('a'), member('b'), member('c')] as const
const acks = [a, b, c].map(({ nodeId }) => ({ nodeId, acceptorId: `${nodeId}1` }))
const steps = { clusterId: parseClusterId('cluster'), acceptorId: 'a1', partitionCount: 64, nowMs: 0 }

function done(begun: Configuration): [Configuration, Configuration] {
  const switched = switchOver(begun, 0)
  return [switched, finish(switched, acks, 0)]
}

const one = firstConfiguration({ ...steps, member: a })
const [, three] = done(begin(one, { joining: [b, c] }, 0))

test('who took part in the last step of its leave has handed over', () => {
  const begun = begin(three, { leaving: [c.nodeId] }, 0)
  const [switched, without] = done(begun)
  assert.ok(hasHandedOver(switched, without, c.nodeId))
  for (const before of [null, three, begun]) assert.not(hasHandedOver(before, without, c.nodeId))
})

test('who was given up has not, whatever it missed of that', () => {
  const excluded = exclude(three, c.nodeId, 0)
  const begun = begin(excluded, {}, 0)
  const [switched, without] = done(begun)
  assert.ok(without.removed.includes(c.nodeId))
  for (const before of [three, excluded, begun, switched]) {
    assert.not(hasHandedOver(before, without, c.nodeId), before.reason)
  }
})

test('nor has who was given up on its way out, and heard of the end alone', () => {
  const [switched] = done(begin(three, { leaving: [c.nodeId] }, 0))
  const without = finish(exclude(switched, c.nodeId, 0), acks, 0)
  assert.not(hasHandedOver(switched, without, c.nodeId))
})

test.run()
