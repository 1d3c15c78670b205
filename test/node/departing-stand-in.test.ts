/** How a peer leaves that keeps records for others, some of whom are not to have them any more. */
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { text } from '../../src/base/bytes.ts'
import type { LayoutChange } from '../../src/wire/layout.ts'
import type { NodeWorld, TestPeer } from './node-world.ts'
import { cluster, die, isStable } from './ring-cluster.ts'

const test = suite('a stand-in that leaves')
const KEYS = 200

const BLANK = {
  ...{ peer: null, replaces: null, weight: null, zone: null, number: null },
  acceptLoss: false,
} as const

/** Five peers, the last of which died before the keys were written; the fourth keeps some for it. */
async function standing(seed: string) {
  const { world, peers } = await cluster(5, seed)
  const [first, , , fourth, gone] = peers as [TestPeer, TestPeer, TestPeer, TestPeer, TestPeer]
  const rest = peers.slice(0, 3)
  await die(world, first, gone)
  const client = world.client(...rest, fourth)
  const writes = Array.from({ length: KEYS }, (_, i) => client.put(`key-${i}`, `value ${i}`))
  await world.settle(Promise.all(writes))
  await world.pass(500)
  assert.ok(keptBy(fourth) > 0, 'it keeps some')
  return { world, peers, rest, first, fourth, gone }
}

function keptBy({ node }: TestPeer): number {
  return node.store.standIns.total.records
}

async function change(world: NodeWorld, { node }: TestPeer, what: Partial<LayoutChange>): Promise<number> {
  const asked = { ...BLANK, ...what } as LayoutChange
  return (await world.settle(node.service.changeLayout(asked))).number
}

/** The values that owners alone show. */
async function readable(world: NodeWorld, peers: readonly TestPeer[]): Promise<number> {
  const client = world.client(...peers)
  const reads = Array.from({ length: KEYS }, (_, i) => client.get(`key-${i}`, { r: 'all' }))
  const replies = await world.settle(Promise.allSettled(reads))
  return replies.filter((reply, i) => {
    const [value] = reply.status === 'fulfilled' ? reply.value.values : []
    return value !== undefined && text(value.value) === `value ${i}`
  }).length
}

test('it hands over what it keeps for one who is removed in the same change', async () => {
  const { world, rest, first, fourth, gone } = await standing('removed beside it')
  await change(world, first, { action: 'remove', peer: gone.address })
  const number = await change(world, first, { action: 'leave', peer: fourth.address })
  await change(world, first, { action: 'apply', number })
  assert.ok(await world.until(() => isStable(rest, 3), 60_000))
  assert.ok(await world.until(() => fourth.hasLeft))
  assert.is(keptBy(fourth), 0)
  assert.is(await readable(world, rest), KEYS)
})

test('it hands over what it keeps for one who dies for good while it leaves', async () => {
  const { world, rest, first, fourth, gone } = await standing('removed later')
  const between = [fourth.host.name, gone.host.name]
  const touches = (from: string, to: string): boolean => between.includes(from) && between.includes(to)
  world.sim.paths.add({ touches, cut: true })
  await world.settle(gone.begin())
  assert.ok(await world.until(() => first.node.membership.isAlive(gone.node.nodeId)))
  await world.settle(first.node.service.leave(fourth.address))
  assert.ok(await world.until(() => first.node.configuration?.phase === 'begun'))
  await die(world, first, gone)
  assert.ok(keptBy(fourth) > 0)
  await world.settle(first.node.service.remove(gone.address))
  assert.ok(await world.until(() => isStable(rest, 3), 60_000))
  assert.is(keptBy(fourth), 0)
  assert.is(await readable(world, rest), KEYS)
})

test.run()
