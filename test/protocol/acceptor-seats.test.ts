import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { type NodeId, parseClusterId, parseNodeId } from '../../src/base/ids.ts'
import { losesAcceptor, reseat } from '../../src/protocol/acceptor-seats.ts'
import type { Acceptor, Configuration, Member } from '../../src/protocol/configuration.ts'
import {
  begin,
  exclude,
  finish,
  firstConfiguration,
  switchOver,
} from '../../src/protocol/configuration-change.ts'
import { findFlaw } from '../../src/protocol/configuration-check.ts'

const node = (index: number): NodeId => parseNodeId(`n${index}`)
const member = (index: number): Member => ({ nodeId: node(index), zone: '', weight: 1 })
const acceptors = (...indexes: number[]): Acceptor[] =>
  indexes.map((index) => ({ nodeId: node(index), acceptorId: `votes${index}` }))
const voters = ({ acceptors: elected }: Configuration): string =>
  elected.map(({ nodeId }) => nodeId.slice(1)).join('')

/** The peers 0 to `count` - 1, of which the first ones vote. */
function clusterOf(count: number): Configuration {
  const facts = { clusterId: parseClusterId('c'), partitionCount: 8, nowMs: 0 }
  const first = firstConfiguration({ ...facts, member: member(0), acceptorId: 'votes0' })
  const everyone = Array.from({ length: count }, (_, i) => i)
  const begun = begin(first, { joining: everyone.slice(1).map(member) }, 0)
  return finish(switchOver(begun, 0), acceptors(...everyone), 0)
}

/** Given up one after the other, while all the others answer. */
function without(count: number, ...gone: number[]): string[] {
  let configuration = clusterOf(count)
  return gone.map((index) => {
    const next = exclude(configuration, node(index), 0)
    const others = Array.from({ length: count }, (_, i) => i).filter((i) => i !== index)
    configuration = losesAcceptor(configuration, next) ? reseat(next, acceptors(...others)) : next
    assert.is(findFlaw(configuration), null)
    return voters(configuration)
  })
}

test('who is given up hands his seat to another member, where there is one', () => {
  assert.is(voters(clusterOf(4)), '012')
  assert.equal(without(4, 0), ['123'])
  assert.equal(without(6, 1), ['02345'])
})

test('who had no seat takes none along', () => {
  assert.equal(without(4, 3), ['012'])
})

test('where those who are left bear no more deaths by themselves, the old ones stay', () => {
  assert.equal(without(3, 0), ['012'], 'one alone bears none, as two of three')
  assert.equal(without(5, 0), ['01234'], 'three bear one, as four of five')
  assert.equal(without(5, 0, 1), ['01234', '234'])
  assert.equal(without(7, 0, 1, 2), ['0123456', '23456', '23456'])
})

test('who does not answer gets no seat, and when too few do the old ones stay', () => {
  const next = exclude(clusterOf(6), node(0), 0)
  assert.is(voters(next), '01234')
  assert.is(voters(reseat(next, acceptors(1, 2, 3, 5))), '01234')
  assert.is(voters(reseat(next, acceptors(1, 2, 3, 4, 5))), '12345')
  assert.is(reseat(next, []), next)
  assert.is(reseat(next, acceptors(0)), next, 'who is given up is none of them')
})

test('an acceptor goes on under the name that it has now', () => {
  const next = exclude(clusterOf(4), node(0), 0)
  const renewed = { nodeId: node(1), acceptorId: 'another' }
  assert.equal(reseat(next, [renewed, ...acceptors(2, 3)]).acceptors, [renewed, ...acceptors(2, 3)])
})

test.run()
