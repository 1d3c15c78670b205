import fc from 'fast-check'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { type NodeId, parseNodeId } from '../../src/base/ids.ts'
import type { Layout, Member } from '../../src/protocol/configuration.ts'
import { makeLayout, memberPosition, preferenceList } from '../../src/protocol/layout.ts'
import { fairShares, loadCap } from '../../src/protocol/layout-fairness.ts'
import { layoutMoves, planLayout } from '../../src/protocol/layout-plan.ts'

const PARTITIONS = 512
/** What a plan may move beyond the least possible. */
const MOVE_ALLOWANCE = 1.1

function member(index: number, zone = '', weight = 1): Member {
  return { nodeId: parseNodeId(`peer-${(index * 7919) % 10007}`), zone, weight }
}

function members(count: number, zoneOf: (index: number) => string = () => ''): Member[] {
  return Array.from({ length: count }, (_, index) => member(index, zoneOf(index)))
}

function plan(wanted: readonly Member[], previous: Layout | null = null): Layout {
  return planLayout({ members: wanted, previous, partitionCount: PARTITIONS })
}

/** Partitions that each position in `layout.members` has among the first `count` of the lists. */
function loadsOf(layout: Layout, count: number): number[] {
  const loads = layout.members.map(() => 0)
  for (let partition = 0; partition < PARTITIONS; partition++) {
    for (let rank = 0; rank < count; rank++) {
      const position = memberPosition(layout, partition, rank)
      loads[position] = (loads[position] ?? 0) + 1
    }
  }
  return loads
}

function assertBelowCap(layout: Layout, among: readonly Member[], count: number): void {
  const shares = fairShares(among, count)
  const caps = new Map(among.map(({ nodeId }, i) => [nodeId, loadCap((shares[i] ?? 0) * PARTITIONS)]))
  loadsOf(layout, count).forEach((load, position) => {
    const cap = caps.get(layout.members[position] as NodeId) ?? 0
    assert.ok(load <= cap, `${load} partitions at length ${count}, cap ${cap}, of ${among.length} peers`)
  })
}

/**
 * Every list has distinct peers; its first k zones are as distinct, and as even, as they can be, for each k.
 */
function assertSpread(layout: Layout, among: readonly Member[]): void {
  const zoneOf = new Map(among.map(({ nodeId, zone }) => [nodeId, zone]))
  const sizes = new Map<string, number>()
  for (const { zone } of among) sizes.set(zone, (sizes.get(zone) ?? 0) + 1)
  for (let partition = 0; partition < PARTITIONS; partition++) {
    const counts = new Map<string, number>([...sizes.keys()].map((zone) => [zone, 0]))
    const list = preferenceList(layout, partition)
    assert.is(new Set(list).size, Math.min(7, among.length))
    for (const nodeId of list) {
      const zone = zoneOf.get(nodeId) as string
      counts.set(zone, (counts.get(zone) ?? 0) + 1)
      const open = [...counts]
        .filter(([name, count]) => count < (sizes.get(name) ?? 0))
        .map(([, count]) => count)
      assert.ok(
        Math.max(...counts.values()) <= Math.min(...open, Number.POSITIVE_INFINITY) + 1,
        'zones are even',
      )
    }
  }
}

/** `{ moves, ideal }` where ideal is what the peers that came have now and those that went had before. */
function changeOf(from: Layout, to: Layout, count: number): { moves: number; ideal: number } {
  const came = loadsOf(to, count).filter((_, i) => !from.members.includes(to.members[i] as NodeId))
  const went = loadsOf(from, count).filter((_, i) => !to.members.includes(from.members[i] as NodeId))
  const sum = (loads: number[]): number => loads.reduce((total, load) => total + load, 0)
  return { moves: layoutMoves(from, to, count).moves.length, ideal: Math.max(sum(came), sum(went)) }
}

test('3 to 100 peers join one by one and leave again: caps hold at every length, little moves', () => {
  const everyone = members(100)
  const present = everyone.slice(0, 3)
  let layout = plan(present)
  const step = (ideal: (count: number, next: Layout) => number): void => {
    const next = plan(present, layout)
    for (let count = 1; count <= next.depth; count++) assertBelowCap(next, present, count)
    const { moves } = layoutMoves(layout, next, 3)
    assert.ok(
      moves.length <= MOVE_ALLOWANCE * ideal(3, next),
      `${moves.length} moves to ${present.length} peers`,
    )
    layout = next
  }
  for (const joiner of everyone.slice(3)) {
    present.push(joiner)
    step((count) => (count * PARTITIONS) / present.length)
  }
  while (present.length > 3) {
    const [gone] = present.splice((present.length * 31) % (present.length - 1), 1)
    const position = layout.members.indexOf(gone?.nodeId as NodeId)
    step((count) => loadsOf(layout, count)[position] ?? 0)
  }
})

test('without weights and zones loads at N = 3 differ by rounding alone', () => {
  for (const count of [5, 9, 23, 57]) {
    const loads = loadsOf(plan(members(count)), 3)
    assert.ok(Math.max(...loads) - Math.min(...loads) <= 1)
  }
})

test('at other list lengths a join or leave moves little more than it must', () => {
  const present = members(20)
  let layout = plan(present)
  const total = new Array<{ moves: number; ideal: number }>(8).fill({ moves: 0, ideal: 0 })
  for (let i = 20; i < 40; i++) {
    if (i % 2 === 0) present.push(member(i))
    else present.splice(i % present.length, 1)
    const next = plan(present, layout)
    for (let count = 1; count <= 7; count++) {
      const change = changeOf(layout, next, count)
      const before = total[count] ?? { moves: 0, ideal: 0 }
      total[count] = { moves: before.moves + change.moves, ideal: before.ideal + change.ideal }
    }
    layout = next
  }
  total.slice(1).forEach(({ moves, ideal }, i) => {
    assert.ok(moves <= 1.5 * ideal, `${moves} moves at length ${i + 1}, ${ideal} needed`)
  })
})

test('a replacement takes over exactly what the replaced peer had', () => {
  for (const count of [4, 10, 33]) {
    const old = members(count)
    const before = plan(old)
    const after = plan([...old.slice(1), member(count)], before)
    const { moves, ideal } = changeOf(before, after, 3)
    assert.is(moves, ideal)
  }
})

test('peers that join together move no more than they hold afterwards', () => {
  const old = members(10)
  const before = plan(old)
  const after = plan([...old, member(10), member(11), member(12)], before)
  const { moves, ideal } = changeOf(before, after, 3)
  assert.ok(moves <= MOVE_ALLOWANCE * ideal)
})

test('nothing moves when nothing changed', () => {
  const same = members(17, (i) => `z${i % 4}`)
  const layout = plan(same)
  assert.equal(plan(same, layout), layout)
})

test('three zones and N = 3: every partition is in all three, and joins and leaves move little', () => {
  const everyone = members(40, (i) => `z${i % 3}`)
  const present = everyone.slice(0, 6)
  let layout = plan(present)
  const step = (): void => {
    const next = plan(present, layout)
    assertSpread(next, present)
    for (let count = 1; count <= next.depth; count++) assertBelowCap(next, present, count)
    const { moves, ideal } = changeOf(layout, next, 3)
    assert.ok(moves <= MOVE_ALLOWANCE * ideal, `${moves} moves to ${present.length} peers`)
    layout = next
  }
  for (const joiner of everyone.slice(6)) {
    present.push(joiner)
    step()
  }
  while (present.length > 6) {
    present.splice((present.length * 31) % (present.length - 1), 1)
    step()
  }
})

test('zones come before balance: a zone of one peer holds everything', () => {
  const peers = members(9, (i) => (i === 0 ? 'small' : `z${i % 2}`))
  const layout = plan(peers)
  assertSpread(layout, peers)
  assert.is(loadsOf(layout, 3)[layout.members.indexOf(peers[0]?.nodeId as NodeId)], PARTITIONS)
})

test('a zone that appears gets a replica of every partition', () => {
  const peers = members(8, (i) => `z${i % 2}`)
  const joined = [...peers, member(8, 'new')]
  const layout = plan(joined, plan(peers))
  assertSpread(layout, joined)
})

test('whatever the weights: the caps hold at every length', () => {
  const weights = fc.array(fc.integer({ min: 1, max: 1000 }), { minLength: 1, maxLength: 24 })
  fc.assert(
    fc.property(weights, fc.nat(1000), (first, joinerWeight) => {
      const peers = first.map((weight, index) => member(index, '', weight))
      const joined = [...peers, member(peers.length, '', joinerWeight + 1)]
      const layout = plan(peers)
      for (let count = 1; count <= layout.depth; count++) assertBelowCap(layout, peers, count)
      const next = plan(joined, layout)
      for (let count = 1; count <= next.depth; count++) assertBelowCap(next, joined, count)
    }),
    { numRuns: 25 },
  )
})

test('whatever the zones: every prefix of every list is spread over them, and the caps hold', () => {
  const zones = fc.array(fc.nat(5), { minLength: 1, maxLength: 24 })
  fc.assert(
    fc.property(zones, fc.nat(23), (numbers, leaver) => {
      const peers = numbers.map((zone, index) => member(index, `z${zone}`))
      const stayed = peers.length === 1 ? peers : peers.filter((_, index) => index !== leaver % peers.length)
      const layout = plan(peers)
      const next = plan(stayed, layout)
      assertSpread(layout, peers)
      assertSpread(next, stayed)
      for (let count = 1; count <= next.depth; count++) assertBelowCap(next, stayed, count)
    }),
    { numRuns: 25 },
  )
})

test('weights and zones together: the zones’ rule holds whatever the weights', () => {
  const peers = fc.array(fc.record({ zone: fc.nat(4), weight: fc.integer({ min: 1, max: 8 }) }), {
    minLength: 1,
    maxLength: 24,
  })
  fc.assert(
    fc.property(peers, (given) => {
      const among = given.map(({ zone, weight }, index) => member(index, `z${zone}`, weight))
      assertSpread(plan(among), among)
    }),
    { numRuns: 20 },
  )
})

test('the same input gives the same table, in whatever order the members come', () => {
  const peers = members(21, (i) => `z${i % 5}`)
  const previous = plan(peers.slice(2))
  const layout = plan(peers, previous)
  assert.equal(plan(peers.toReversed(), previous), layout)
})

test('a join into 1,000 peers moves about one replica of each length', () => {
  const peers = members(1000)
  const before = plan(peers)
  const after = plan([...peers, member(1000)], before)
  assertBelowCap(after, [...peers, member(1000)], 3)
  assert.ok(layoutMoves(before, after, 3).moves.length <= 2)
})

test('lists can be shorter than seven', () => {
  const layout = planLayout({ members: members(9), previous: null, partitionCount: 16, depth: 2 })
  assert.is(layout.depth, 2)
  assert.is(layout.rows.length, 16 * 2 * 2)
})

test('moves are the owners that are new, and never fewer than the change of loads asks for', () => {
  const [a, b, c, d] = members(4).map((peer) => peer.nodeId) as [NodeId, NodeId, NodeId, NodeId]
  const from = makeLayout([a, b, c], 3, Uint16Array.of(0, 1, 2, 1, 2, 0))
  const to = makeLayout([a, b, c, d], 3, Uint16Array.of(1, 0, 3, 3, 2, 1))
  assert.equal(layoutMoves(from, to, 2), { moves: [{ partition: 1, nodeId: d }], ideal: 1 })
  assert.equal(layoutMoves(from, to, 3).moves, [
    { partition: 0, nodeId: d },
    { partition: 1, nodeId: d },
  ])
  assert.equal(layoutMoves(from, to, 1).moves, [
    { partition: 0, nodeId: b },
    { partition: 1, nodeId: d },
  ])
})

test('fair shares: by weight, but nobody holds a partition twice, and what does not fit flows over', () => {
  const shares = (weights: readonly number[], count: number): number[] =>
    [
      ...fairShares(
        weights.map((weight, index) => member(index, '', weight)),
        count,
      ),
    ].map((share) => Math.round(share * 1e6) / 1e6)
  assert.equal(shares([1, 1, 1, 1], 3), [0.75, 0.75, 0.75, 0.75])
  assert.equal(shares([10, 10, 1, 1], 3), [1, 1, 0.5, 0.5])
  assert.equal(shares([2, 1, 1], 1), [0.5, 0.25, 0.25])
  assert.equal(shares([1, 1000], 5), [1, 1])
})

test('fair shares add up to the number of replicas and never fall as it grows', () => {
  const peers = fc.array(fc.record({ zone: fc.nat(4), weight: fc.integer({ min: 1, max: 1000 }) }), {
    minLength: 1,
    maxLength: 40,
  })
  fc.assert(
    fc.property(peers, (given) => {
      const among = given.map(({ zone, weight }, index) => member(index, `z${zone}`, weight))
      let previous = new Float64Array(among.length)
      for (let count = 1; count <= 8; count++) {
        const shares = fairShares(among, count)
        const sum = shares.reduce((total, share) => total + share, 0)
        assert.ok(Math.abs(sum - Math.min(count, among.length)) < 1e-6, `${sum} of ${count}`)
        assert.ok(shares.every((share, i) => share <= 1 + 1e-9 && share >= (previous[i] ?? 0) - 1e-9))
        previous = Float64Array.from(shares)
      }
    }),
  )
})

test.run()
