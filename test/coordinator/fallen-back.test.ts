import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { present } from '../../src/base/assert.ts'
import { text, utf8 } from '../../src/base/bytes.ts'
import { hash32 } from '../../src/base/hash.ts'
import { LEAF_BITS, sliceOf } from '../../src/protocol/hash-tree.ts'
import { partitionOf } from '../../src/protocol/ring.ts'
import type { SimPeer, Simulation } from '../../src/simulator/simulation.ts'
import { damaged, findEntry, PARTITIONS, type Peers, storeOf, threePeers } from './three-peers.ts'

const test = suite('a disk that gives back an older record of a key that was purged')

const RULE = { purgeAfterMs: 4000, expiryGraceMs: 2000 }
const NOTICED_MS = 90_000

/** 'k' was purged by all; then the last one's disk gives back what it held before it was deleted. */
async function fallenBack(treeRebuildIntervalMs: number): Promise<[Simulation, Peers]> {
  const node = { purge: RULE, treeRebuildIntervalMs }
  const [simulation, peers] = await threePeers('older', node)
  const [, b, c] = peers
  const kv = simulation.client({ peers: [b.address], pinned: true })
  await simulation.settle(kv.put('k', 'v', { w: 'all' }))
  for (let i = 0; i < 200; i++) await simulation.settle(kv.put(`other ${i}`, 'v', { w: 'all' }))
  const [key, old] = present(findEntry(simulation, c, 'k'), 'it is there')
  await simulation.settle(kv.delete('k', { w: 'all' }))
  const isPurged = () => peers.every((peer) => findEntry(simulation, peer, 'k') === null)
  assert.ok(await simulation.until(isPurged, 60_000), 'it is purged')
  simulation.world.host(c.host).disk.rot(key, old)
  return [simulation, peers]
}

function lacks(peer: SimPeer): boolean {
  const { id } = present(peer.node?.configuration?.keyspaces[0], 'there is the default keyspace')
  return !storeOf(peer).completeness.isComplete(id, partitionOf(utf8('k'), PARTITIONS))
}

async function assertStaysAway(simulation: Simulation, peers: Peers): Promise<void> {
  const kv = simulation.client({ peers: [peers[0].address] })
  const found = await simulation.settle(kv.get('k', { r: 'all' }))
  assert.equal(found.values, [])
  assert.equal(
    peers.map((peer) => findEntry(simulation, peer, 'k') === null),
    [true, true, true],
  )
}

const NEVER_MS = 1e9

test('noticed by the first quorum read that meets it: the old value is not shown', async () => {
  const [simulation, peers] = await fallenBack(NEVER_MS)
  const [a, , c] = peers
  const kv = simulation.client({ peers: [a.address] })
  const isAnswered = await simulation.settle(
    kv.get('k', { r: 'all' }).then(
      ({ values }) => values.length === 0,
      ({ code }: { code: string }) => code === 'UNAVAILABLE',
    ),
  )
  assert.ok(isAnswered, 'all of them had to be asked, and one had to catch up first')
  assert.is(storeOf(c).damage.lostLeaves, 1)
  const isOver = () => storeOf(c).completeness.cause === null
  assert.ok(await simulation.until(isOver, NOTICED_MS), 'caught up')
  await assertStaysAway(simulation, peers)
  await simulation.stop()
})

test('noticed by its own read', async () => {
  const [simulation, peers] = await fallenBack(NEVER_MS)
  const [, , c] = peers
  const kv = simulation.client({ peers: [c.address], pinned: true })
  assert.equal((await simulation.settle(kv.get('k'))).values, [])
  assert.is(storeOf(c).damage.lostLeaves, 1)
  await simulation.run(60_000)
  await assertStaysAway(simulation, peers)
  await simulation.stop()
})

test('noticed by a rescue that would bring it to another owner', async () => {
  const [simulation, peers] = await fallenBack(NEVER_MS)
  const [a, , c] = peers
  const [key, old] = present(findEntry(simulation, c, 'k'), 'it is there')
  simulation.world.host(a.host).disk.rot(key, damaged(old))
  const { damage, quarantine } = storeOf(a)
  const { id } = present(a.node?.configuration?.keyspaces[0], 'there is the default keyspace')
  const read = () => storeOf(a).read(id, partitionOf(utf8('k'), PARTITIONS), utf8('k'))
  assert.throws(read, (error: { code: string }) => error.code === 'UNAVAILABLE')
  assert.ok(await simulation.until(() => damage.count === 0, NOTICED_MS), 'the key is free')
  assert.is(read(), null)
  assert.is(quarantine.size, 1, 'what was left of it')
  assert.is(storeOf(c).damage.lostLeaves, 1)
  await assertStaysAway(simulation, peers)
  await simulation.stop()
})

test('noticed by the put that would take it along', async () => {
  const [simulation, peers] = await fallenBack(NEVER_MS)
  const [a, , c] = peers
  const kv = simulation.client({ peers: [a.address], pinned: true })
  await simulation.settle(kv.put('k', 'new', { w: 'all' }))
  const { context } = await simulation.settle(kv.get('k', { r: 'one' }))
  const here = simulation.client({ peers: [c.address], pinned: true })
  const put = here.put('k', 'newer', { context: present(context, 'it was read'), timeoutMs: 5000 })
  await simulation.settle(put.catch(() => undefined))
  assert.is(storeOf(c).damage.lostLeaves, 1)
  await simulation.run(60_000)
  const found = await simulation.settle(kv.get('k', { r: 'all' }))
  assert.not(found.values.some(({ value }) => text(value) === 'v'))
  await simulation.stop()
})

test('noticed by an exchange about another key of the same leaf', async () => {
  const [simulation, peers] = await fallenBack(NEVER_MS)
  const [a, b, c] = peers
  const leaf = sliceOf(hash32(utf8('k')), LEAF_BITS)
  const partition = partitionOf(utf8('k'), PARTITIONS)
  const isBeside = (name: string) =>
    sliceOf(hash32(utf8(name)), LEAF_BITS) === leaf && partitionOf(utf8(name), PARTITIONS) === partition
  let beside = ''
  for (let i = 0; beside === ''; i++) if (isBeside(`beside ${i}`)) beside = `beside ${i}`
  const kv = simulation.client({ peers: [a.address] })
  await simulation.settle(kv.put(beside, 'v', { w: 'all' }))
  const [key] = present(findEntry(simulation, b, beside), 'it is there')
  simulation.world.host(b.host).disk.rot(key, null)
  b.crash('process')
  b.start()
  const isBack = () => findEntry(simulation, b, beside) !== null
  assert.ok(await simulation.until(isBack, 600_000), 'its tree, made of the disk, told')
  assert.is(storeOf(c).damage.lostLeaves, 1)
  await simulation.run(60_000)
  await assertStaysAway(simulation, [a, b, c])
  await simulation.stop()
})

for (const isCut of [true, false]) {
  const when = isCut ? 'while it is alone' : 'while it is with the others'
  test(`noticed ${when}: what it gave back is in quarantine, and nobody is sent it`, async () => {
    const [simulation, peers] = await fallenBack(20_000)
    const [, , c] = peers
    const touches = (from: string, to: string) => (from === c.host) !== (to === c.host)
    const heal = isCut ? simulation.world.paths.add({ touches, cut: true }) : () => undefined
    assert.ok(await simulation.until(() => lacks(c), NOTICED_MS), 'noticed')
    heal()
    const isOver = () => storeOf(c).completeness.cause === null
    assert.ok(await simulation.until(isOver, NOTICED_MS), 'caught up')
    await simulation.run(60_000)
    await assertStaysAway(simulation, peers)
    assert.is(storeOf(c).quarantine.size, 1)
    const kept = storeOf(c).inventory.counts.total.records
    assert.is(kept, storeOf(peers[0]).inventory.counts.total.records, 'what others hold came back')
    await simulation.stop()
  })
}

test('nor when an operator gives up what may be missing before the others were compared', async () => {
  const [simulation, peers] = await fallenBack(20_000)
  const [a, b, c] = peers
  const isAway = (host: string) => host === c.host
  const touches = (from: string, to: string) => isAway(from) !== isAway(to)
  const heal = simulation.world.paths.add({ touches, cut: true })
  assert.ok(await simulation.until(() => lacks(c), NOTICED_MS), 'noticed')
  const wanted = { keyspace: null, round: 'given-up', acceptLoss: true }
  await simulation.settle(present(c.node, 'it runs').service.repair(wanted))
  assert.ok(await simulation.until(() => storeOf(c).completeness.cause === null, NOTICED_MS), 'given up')
  heal()
  await simulation.run(60_000)
  await assertStaysAway(simulation, [a, b, c])
  await simulation.stop()
})

test.run()
