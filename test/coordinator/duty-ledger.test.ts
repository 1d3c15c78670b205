import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { type KeyspaceId, type NodeId, parseNodeId } from '../../src/base/ids.ts'
import type { Obstacle } from '../../src/coordinator/comparison.ts'
import { DutyLedger } from '../../src/coordinator/duty-ledger.ts'
import type { Keyspace } from '../../src/protocol/configuration.ts'
import type { Duty } from '../../src/protocol/ring-change.ts'
import { DEFAULT_KEYSPACE_OPTIONS } from '../../src/wire/requests.ts'

const test = suite('what is still to be taken over')

const [A, B, C] = ['a', 'b', 'c'].map((name) => parseNodeId(name)) as [NodeId, NodeId, NodeId]
const keyspace = (id: number): Keyspace => {
  return { ...DEFAULT_KEYSPACE_OPTIONS, id: id as KeyspaceId, name: `k${id}` }
}
const [ONE, TWO] = [keyspace(1), keyspace(2)]
const gained = (partition: number, ...sources: NodeId[]): Duty => {
  return { partition, sources, ownerCount: 3, isGained: true }
}
const kept = (partition: number, ...sources: NodeId[]): Duty => ({
  ...gained(partition, ...sources),
  isGained: false,
})
/** `givenUp`: what is asked about it: keyspace, partition and sources. */
const given = { isComplete: true, givenUp: '' }
const open = (rules = given): DutyLedger => {
  return new DutyLedger({
    isComplete: () => rules.isComplete,
    isGivenUp: (...place) => place.join() === rules.givenUp,
  })
}
const none: ReadonlySet<string> = new Set()

/** As a whole, or something kept it from that. @returns with how many fewer sources it is left */
function compare(
  ledger: DutyLedger,
  at: KeyspaceId,
  partition: number,
  source: NodeId,
  by?: Obstacle,
): number {
  const found = { keyspaceId: at, partition, isWhole: by === undefined, obstacle: by ?? null }
  return ledger.note(found, source).fewer
}
const allGained = (ledger: DutyLedger) => {
  return [...ledger.gained()].map(({ keyspace: { id }, duties }) => [
    id,
    ...duties.map(({ partition }) => partition),
  ])
}

test('a partition is done when it was compared with every source, in its own keyspace', () => {
  const ledger = open()
  ledger.begin([{ keyspaces: [ONE, TWO], duties: [gained(3, A, B), kept(5, A)] }], true)
  assert.equal([ledger.total, ledger.open], [4, 4])
  assert.is(compare(ledger, ONE.id, 3, A), 1)
  assert.is(compare(ledger, ONE.id, 3, A), 0, 'nothing new')
  assert.is(compare(ledger, ONE.id, 3, C), 0, 'no source')
  assert.is(compare(ledger, ONE.id, 4, A), 0, 'not due')
  assert.is(ledger.open, 4)
  assert.ok(ledger.isGained(ONE.id, 3))
  assert.equal([...ledger.sources(none)].sort(), [A, B])
  assert.is(compare(ledger, TWO.id, 3, A), 1)
  assert.is(compare(ledger, TWO.id, 5, A), 1)
  assert.is(compare(ledger, ONE.id, 5, A), 1)
  assert.equal([...ledger.sources(none)], [B], 'with A everything was')
  assert.is(compare(ledger, ONE.id, 3, B), 1)
  assert.is(ledger.open, 1)
  assert.not.ok(ledger.isGained(ONE.id, 3))
  assert.ok(ledger.isGained(TWO.id, 3), 'of the other keyspace nothing was compared')
  assert.not.ok(ledger.isGained(ONE.id, 5), 'it was owned before')
  assert.equal(allGained(ledger), [[2, 3]])
})

test('what was compared counts under other numbers of the same phase, and for nothing in the next', () => {
  const ledger = open()
  const duties = [gained(0, A, B), gained(1, A, B)]
  ledger.begin([{ keyspaces: [ONE], duties }], true)
  compare(ledger, ONE.id, 0, A)
  compare(ledger, ONE.id, 1, A)
  compare(ledger, ONE.id, 1, B)
  ledger.begin([{ keyspaces: [ONE, TWO], duties: duties.map((duty) => ({ ...duty })) }], false)
  assert.equal([ledger.total, ledger.open], [4, 3])
  assert.not.ok(ledger.isOpen(ONE.id, 0, A))
  assert.ok(ledger.isOpen(ONE.id, 0, B))
  assert.equal(allGained(ledger), [
    [1, 0],
    [2, 0, 1],
  ])
  ledger.begin([{ keyspaces: [ONE, TWO], duties }], true)
  assert.is(ledger.open, 4)
})

test('who is excluded is no source any more, and what waited for him alone is done', () => {
  const ledger = open()
  ledger.begin([{ keyspaces: [ONE], duties: [gained(0, A, B), gained(1, A, B)] }], true)
  compare(ledger, ONE.id, 0, A)
  ledger.begin([{ keyspaces: [ONE], duties: [gained(0, A), gained(1, A)] }], false)
  assert.is(ledger.open, 1)
  assert.equal(allGained(ledger), [[1, 1]])
  assert.equal([...ledger.sources(none)], [A])
  compare(ledger, ONE.id, 1, A)
  assert.equal([...ledger.sources(none)], [])
})

test('a partition that nobody is left to be asked about is not waited for', () => {
  const ledger = open()
  ledger.begin([{ keyspaces: [ONE], duties: [gained(0), gained(1, A)] }], true)
  assert.equal([ledger.total, ledger.open], [2, 1])
  assert.not.ok(ledger.isGained(ONE.id, 0))
})

test('keyspaces that were dropped are due no more', () => {
  const ledger = open()
  ledger.begin([{ keyspaces: [ONE, TWO], duties: [gained(0, A)] }], true)
  ledger.begin([{ keyspaces: [TWO], duties: [gained(0, A)] }], false)
  assert.equal([ledger.total, ledger.open], [1, 1])
  assert.not.ok(ledger.isOpen(ONE.id, 0, A))
  ledger.begin([], true)
  assert.equal([ledger.total, ledger.open], [0, 0])
})

test('a source that cannot read its disk is gone around where the others are enough', () => {
  const ledger = open()
  ledger.begin([{ keyspaces: [ONE], duties: [gained(0, A, B, C), kept(1, A, B)] }], true)
  assert.is(compare(ledger, ONE.id, 0, A, 'unreadable'), 0)
  assert.is(compare(ledger, ONE.id, 1, A, 'unreadable'), 0)
  assert.is(compare(ledger, ONE.id, 0, B), 1)
  assert.is(ledger.open, 2, 'one of three may have missed a write')
  const whole = { keyspaceId: ONE.id, isWhole: true, obstacle: null }
  assert.equal(ledger.note({ ...whole, partition: 1 }, B), { fewer: 2, around: [A] })
  assert.equal(ledger.note({ ...whole, partition: 0 }, C), { fewer: 2, around: [A] })
  assert.is(ledger.open, 0)
  assert.equal([...ledger.sources(none)], [])
})

test('where the others are not enough it says so, until an operator gives it up', () => {
  const rules = { ...given }
  const ledger = open(rules)
  ledger.begin([{ keyspaces: [ONE, TWO], duties: [gained(0, A, B), gained(1, A, B)] }], true)
  compare(ledger, ONE.id, 0, A)
  compare(ledger, ONE.id, 0, B, 'unreadable')
  compare(ledger, ONE.id, 1, B, 'unreadableHere')
  const told = (): unknown => {
    return ledger.obstructed().map(({ partition, left, obstacles }) => [partition, left, obstacles])
  }
  assert.equal(told(), [
    [0, [B], ['unreadable']],
    [1, [A, B], [null, 'unreadableHere']],
  ])
  rules.givenUp = [ONE.id, 0, B].join()
  assert.is(ledger.open, 4)
  ledger.recount()
  assert.is(ledger.open, 3)
  assert.not.ok(ledger.isGained(ONE.id, 0))
})

test('what was lost again is to be compared again', () => {
  const ledger = open()
  ledger.begin([{ keyspaces: [ONE], duties: [gained(0, A)] }], true)
  assert.not.ok(ledger.forget(ONE.id, 0))
  compare(ledger, ONE.id, 0, A)
  assert.is(ledger.open, 0)
  assert.ok(ledger.forget(ONE.id, 0))
  assert.is(ledger.open, 1)
  assert.ok(ledger.isGained(ONE.id, 0))
  assert.equal([...ledger.sources(new Set(['1/0']))], [])
})

test.run()
