import fc from 'fast-check'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { type NodeId, parseNodeId } from '../../src/base/ids.ts'
import { createQuorum } from '../../src/protocol/quorum.ts'

const node = (index: number): NodeId => parseNodeId(`n${index}`)
const nodes = (...indexes: number[]): NodeId[] => indexes.map(node)

/** Distinct owners out of ten peers. */
const owners = fc.uniqueArray(fc.nat(9), { minLength: 1, maxLength: 7 }).map((indexes) => nodes(...indexes))
/** Answers in any order, repeated, contradicting each other, from strangers too. */
const answers = fc.array(fc.record({ from: fc.nat(11).map(node), isYes: fc.boolean() }), { maxLength: 40 })

test('a quorum is met by as many owners as it needs, and says so once', () => {
  const quorum = createQuorum([nodes(1, 2, 3)], [2])
  assert.is(quorum.ack(node(1)), false)
  assert.is(quorum.met, false)
  assert.is(quorum.ack(node(3)), true)
  assert.is(quorum.met, true)
  assert.is(quorum.ack(node(2)), false)
  assert.is(quorum.met, true)
  assert.is(quorum.ackedCount, 3)
})

test('a quorum is impossible when too few owners are left, and says so once', () => {
  const quorum = createQuorum([nodes(1, 2, 3)], [2])
  assert.is(quorum.fail(node(1)), false)
  assert.is(quorum.fail(node(2)), true)
  assert.is(quorum.impossible, true)
  assert.is(quorum.fail(node(3)), false)
})

test('more answers than owners cannot be had', () => {
  assert.is(createQuorum([nodes(1, 2)], [3]).impossible, true)
})

test('a quorum of none is met from the start', () => {
  assert.is(createQuorum([nodes(1, 2)], [0]).met, true)
})

test('peers that own nothing here do not count', () => {
  const quorum = createQuorum([nodes(1, 2, 3)], [1])
  quorum.ack(node(7))
  quorum.fail(node(8))
  assert.is(quorum.met, false)
  assert.is(quorum.ackedCount, 0)
})

test('an owner that is excluded counts for nothing itself, and quorums stay as large', () => {
  const quorum = createQuorum([nodes(1, 2, 3)], [2], nodes(2))
  quorum.ack(node(1))
  assert.is(quorum.ack(node(2)), false)
  assert.equal([quorum.met, quorum.ackedCount], [false, 1])
  assert.is(quorum.ack(node(3)), true)
})

test('somebody else may stand in for an owner that is excluded', () => {
  const quorum = createQuorum([nodes(1, 2, 3)], [2], nodes(2))
  quorum.ack(node(2))
  quorum.ack(node(1))
  assert.is(quorum.ackFor(node(2)), true)
  assert.is(quorum.ackFor(node(2)), false)
  assert.is(quorum.ackedCount, 2)
})

test('while the ring changes, the old and the new owners must both agree', () => {
  const quorum = createQuorum([nodes(1, 2, 3), nodes(3, 4, 5)], [2, 2])
  quorum.ack(node(1))
  quorum.ack(node(2))
  assert.is(quorum.met, false)
  quorum.ack(node(3))
  assert.is(quorum.met, false)
  assert.is(quorum.ack(node(5)), true)
  assert.is(quorum.ackedCount, 4)
})

test('while the ring changes, losing the quorum of one list is losing both', () => {
  const quorum = createQuorum([nodes(1, 2, 3), nodes(3, 4, 5)], [2, 2])
  quorum.fail(node(4))
  assert.is(quorum.fail(node(3)), true)
})

test('each owner counts once per list, with its first answer', () => {
  fc.assert(
    fc.property(
      fc.array(owners, { minLength: 1, maxLength: 2 }),
      fc.nat(7),
      answers,
      (lists, needed, given) => {
        const quorum = createQuorum(
          lists,
          lists.map(() => needed),
        )
        const first = new Map<NodeId, boolean>()
        let metTimes = quorum.met ? 1 : 0
        let lostTimes = quorum.impossible ? 1 : 0
        for (const { from, isYes } of given) {
          if (!first.has(from)) first.set(from, isYes)
          if (isYes) metTimes += quorum.ack(from) ? 1 : 0
          else lostTimes += quorum.fail(from) ? 1 : 0
          const count = (list: readonly NodeId[], wanted: boolean): number =>
            list.filter((nodeId) => first.get(nodeId) === wanted).length
          assert.is(
            quorum.met,
            lists.every((list) => count(list, true) >= needed),
          )
          assert.is(
            quorum.impossible,
            lists.some((list) => list.length - count(list, false) < needed),
          )
          assert.is(quorum.ackedCount, count([...new Set(lists.flat())], true))
          assert.not(quorum.met && quorum.impossible)
        }
        assert.is(metTimes, quorum.met ? 1 : 0)
        assert.is(lostTimes, quorum.impossible ? 1 : 0)
      },
    ),
  )
})

test('two majorities of the same owners share one: in each list while there are two', () => {
  const subset = fc.array(fc.boolean(), { minLength: 10, maxLength: 10 })
  fc.assert(
    fc.property(fc.array(owners, { minLength: 1, maxLength: 2 }), subset, subset, (lists, first, second) => {
      const majorities = lists.map((list) => Math.floor(list.length / 2) + 1)
      const met = [first, second].map((chosen) => {
        const quorum = createQuorum(lists, majorities)
        chosen.forEach((isIn, index) => {
          if (isIn) quorum.ack(node(index))
        })
        return quorum.met
      })
      fc.pre(met[0] === true && met[1] === true)
      for (const list of lists) {
        const shared = list.filter((nodeId) => {
          const index = Number(nodeId.slice(1))
          return first[index] === true && second[index] === true
        })
        assert.ok(shared.length > 0)
      }
    }),
  )
})

test.run()
