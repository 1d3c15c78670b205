/** How a change of the ring gets through when the disk of an old owner does not give all that is on it. */
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { present } from '../../src/base/assert.ts'
import { type Bytes, text, utf8 } from '../../src/base/bytes.ts'
import type { Client } from '../../src/client/client.ts'
import { partitionOf } from '../../src/protocol/ring.ts'
import { KIND, userKey } from '../../src/store/keys.ts'
import type { NodeWorld, TestPeer } from './node-world.ts'
import { cluster, die, isStable, oneCopy } from './ring-cluster.ts'

const test = suite('a damaged disk while the ring changes')

const KEYS = 100
const PARTITIONS = 16
const SPOILT = 'key-7'

async function fill(world: NodeWorld, client: Client, value: string): Promise<void> {
  const writes = Array.from({ length: KEYS }, (_, i) => client.put(`key-${i}`, value))
  await world.settle(Promise.all(writes))
  await world.pass(500)
}

/** The keys that do not show this value. */
async function wrong(world: NodeWorld, client: Client, value: string): Promise<string[]> {
  const names = Array.from({ length: KEYS }, (_, i) => `key-${i}`)
  const reads = names.map((name) => client.get(name, { r: 'all' }))
  const replies = await world.settle(Promise.allSettled(reads))
  return names.filter((_, i) => {
    const reply = replies[i]
    const [first] = reply?.status === 'fulfilled' ? reply.value.values : []
    return first === undefined || text(first.value) !== value
  })
}

/** Of the database of a disk. */
function recordKeys({ host: { disk } }: TestPeer): Bytes[] {
  const found: Bytes[] = []
  for (const place = disk.newest.begin; place.valid; place.next()) {
    const key = place.key as Bytes
    if (key[0] === KIND.record) found.push(key)
  }
  return found
}

/** Not the first record of all: a peer that cannot read that does not start. */
function spoil(peer: TestPeer): void {
  const found = recordKeys(peer)
  const key = found.find((one) => text(userKey(one)) === SPOILT) ?? found[3]
  peer.host.disk.spoil(present(key, 'it holds some'))
}

/** It missed the value `new` of all keys, and no range that goes over one of them can be read there. */
async function missAll(world: NodeWorld, peer: TestPeer, others: readonly TestPeer[]): Promise<void> {
  await peer.stop()
  assert.ok(await world.until(() => others.every(({ node }) => !node.membership.isAlive(peer.node.nodeId))))
  await fill(world, world.client(...others), 'new')
  spoil(peer)
}

/** It was killed, so that it does not know what it holds, and cannot find out. */
async function uncounted(world: NodeWorld, peer: TestPeer): Promise<void> {
  peer.crash('process')
  spoil(peer)
  await world.settle(peer.begin())
  await world.pass(3000)
}

async function takeoverOf(world: NodeWorld, { node }: TestPeer) {
  const { tasks } = await world.settle(node.service.tasks())
  const own = tasks.find(({ kind, peer }) => kind === 'takeover' && peer === node.nodeId)
  return present(own, 'it takes over something')
}

async function warnings(world: NodeWorld, { node }: TestPeer): Promise<readonly string[]> {
  return (await world.settle(node.service.status())).warnings
}

for (const damaged of [0, 1, 2]) {
  test(`who joins takes what peer ${damaged} cannot read from the other owners, many at once`, async () => {
    const { world, peers, client } = await cluster(3, `joins ${damaged}`)
    await fill(world, client, 'v')
    spoil(present(peers[damaged], 'there are three'))
    const fourth = world.peer(4, { join: peers.map(({ address }) => address) })
    await world.settle(fourth.begin())
    const all = [...peers, fourth]
    assert.ok(await world.until(() => isStable(all, 4), 60_000))
    const { records } = fourth.node.store.inventory.counts.total
    assert.ok(records > 0)
    const task = await takeoverOf(world, fourth)
    assert.is(task.repaired, records, 'nothing came one by one')
  })

  test(`what peer ${damaged} missed and cannot list holds up nobody else, and it is taken out`, async () => {
    const { world, peers } = await cluster(3, `missed ${damaged}`)
    await fill(world, world.client(...peers), 'old')
    const peer = present(peers[damaged], 'there are three')
    const others = peers.filter((one) => one !== peer)
    await missAll(world, peer, others)
    await world.settle(peer.begin())
    const fourth = world.peer(4, { join: others.map(({ address }) => address) })
    void fourth.begin().catch(() => undefined)
    assert.ok(await world.until(() => fourth.node.configuration?.phase === 'begun'))
    await world.pass(60_000)
    assert.is((await takeoverOf(world, fourth)).state, 'done')
    // It goes on owning what it cannot compare, or keeps what it is to drop.
    const own = /cannot take over what it is to own: of 1 of them .* its own disk|cannot drop partitions/
    const told = await warnings(world, fourth)
    assert.ok(
      told.some((warning) => warning.startsWith(peer.address) && own.test(warning)),
      told.join('\n'),
    )
    await die(world, fourth, peer)
    await world.settle(fourth.node.service.remove(peer.address))
    const rest = [...others, fourth]
    assert.ok(await world.until(() => isStable(rest, 3), 60_000))
    assert.equal(await wrong(world, world.client(...rest), 'new'), [])
  })
}

test('one that does not know what it holds says so, and is given up', async () => {
  const { world, peers } = await cluster(4, 'uncounted')
  await fill(world, world.client(...peers), 'v')
  const [first, second] = peers as [TestPeer, TestPeer]
  const rest = peers.filter((peer) => peer !== second)
  const fifth = world.peer(5, { join: [first.address] })
  void fifth.begin().catch(() => undefined)
  assert.ok(await world.until(() => first.node.configuration?.phase === 'begun'))
  await uncounted(world, second)
  await world.pass(60_000)
  const told = await warnings(world, first)
  assert.ok(
    told.some((warning) => /10\.0\.0\.2:7000 cannot read all of its disk/.test(warning)),
    told.join('\n'),
  )
  await die(world, first, second)
  await world.settle(first.node.service.remove(second.address))
  const left = [...rest, fifth]
  assert.ok(await world.until(() => isStable(left, 4), 60_000))
  assert.equal(await wrong(world, world.client(...left), 'v'), [])
})

test('one that is to leave and does not know what it holds is no reason to wait', async () => {
  const { world, peers } = await cluster(4, 'leaves uncounted')
  await fill(world, world.client(...peers), 'v')
  const [first, , , last] = peers as [TestPeer, TestPeer, TestPeer, TestPeer]
  await world.settle(first.node.service.leave(last.address))
  assert.ok(await world.until(() => first.node.configuration?.phase === 'begun'))
  await uncounted(world, last)
  const rest = peers.slice(0, 3)
  assert.ok(await world.until(() => isStable(rest, 3), 60_000))
  assert.equal(await wrong(world, world.client(...rest), 'v'), [])
})

test('what the only owner cannot read is named, and an operator can give it up', async () => {
  const { world, peers, client } = await cluster(2, 'only owner')
  const [first, second] = peers as [TestPeer, TestPeer]
  await oneCopy(world, first, peers)
  await fill(world, client, 'v')
  const partition = partitionOf(utf8(SPOILT), PARTITIONS)
  const holder = peers.find(({ node }) => node.store.inventory.counts.at(1 as never, partition).records > 0)
  spoil(present(holder, 'somebody has it'))
  await world.settle(first.node.service.alterKeyspace('default', { strategy: 'full' }))
  await world.pass(60_000)
  const told = await warnings(world, first)
  assert.is(first.node.configuration?.phase, 'begun', `it waits ${told}`)
  const named = new RegExp(
    `cannot take over .*default/${partition}\\).* cannot be read at ${holder?.address}; `,
  )
  assert.ok(
    told.some((warning) => named.test(warning)),
    told.join('\n'),
  )
  const wanted = { keyspace: null, round: 'accepted', acceptLoss: true }
  await world.settle(second.node.service.repair(wanted))
  assert.ok(await world.until(() => isStable(peers, 2), 60_000))
  const lost = await wrong(world, client, 'v')
  assert.ok(
    lost.every((name) => partitionOf(utf8(name), PARTITIONS) === partition),
    `${lost}`,
  )
})

test('what turns out later to be unreadable is not given up with what was', async () => {
  const { world, peers, client } = await cluster(3, 'given up before')
  const [first] = peers as [TestPeer]
  await oneCopy(world, first, peers)
  await fill(world, client, 'v')
  const nameOf = (key: Bytes): string => text(userKey(key))
  const partition = partitionOf(utf8(SPOILT), PARTITIONS)
  const isHolder = (peer: TestPeer): boolean => recordKeys(peer).some((key) => nameOf(key) === SPOILT)
  const holder = present(peers.find(isHolder), 'somebody has it')
  const [taker, other] = peers.filter((peer) => peer !== holder) as [TestPeer, TestPeer]
  spoil(holder)
  const between = [taker.host.name, other.host.name]
  const touches = (from: string, to: string): boolean => between.includes(from) && between.includes(to)
  const heal = world.sim.paths.add({ touches, cut: true })
  await world.settle(first.node.service.alterKeyspace('default', { strategy: 'full' }))
  await world.pass(30_000)
  const accepted = { keyspace: null, round: 'accepted', acceptLoss: true }
  await world.settle(holder.node.service.repair(accepted))
  await world.pass(5000)
  const late = present(recordKeys(other)[3], 'it holds some')
  const latePartition = partitionOf(userKey(late), PARTITIONS)
  assert.is.not(latePartition, partition)
  other.host.disk.spoil(late)
  heal()
  await world.pass(60_000)
  const told = await warnings(world, first)
  assert.is(first.node.configuration?.phase, 'begun', `it waits ${told}`)
  const place = `1 of them \\(default/${latePartition}\\)`
  const names = `cannot take over .*: ${place} cannot be read at ${other.address}; `
  assert.ok(
    told.some((warning) => warning.startsWith(taker.address) && new RegExp(names).test(warning)),
    told.join('\n'),
  )
  await world.settle(holder.node.service.repair({ ...accepted, round: 'accepted-too' }))
  assert.ok(await world.until(() => isStable(peers, 3), 60_000))
  const lost = await wrong(world, client, 'v')
  const places = new Set(lost.map((name) => partitionOf(utf8(name), PARTITIONS)))
  assert.ok([...places].every((one) => one === partition || one === latePartition))
})

test('what its disk lost of what it took over is taken over again before anybody drops it', async () => {
  const { world, peers, client } = await cluster(5, 'lost again')
  const [first, second] = peers as [TestPeer, TestPeer]
  await oneCopy(world, first, peers)
  await fill(world, client, 'v')
  const sixth = world.peer(6, { treeRebuildIntervalMs: 20_000, join: [first.address] })
  void sixth.begin().catch(() => undefined)
  assert.ok(await world.until(() => sixth.node.configuration?.phase === 'switched'))
  second.crash() // It holds the change open.
  await world.pass(10_000)
  const held = new Set(recordKeys(sixth).map((key) => text(key)))
  const others = peers.filter((peer) => peer !== second && peer !== first)
  const owner = present(
    others.find((peer) => recordKeys(peer).some((key) => held.has(text(key)))),
    'it has taken over something',
  )
  const lost = present(
    recordKeys(owner).find((key) => held.has(text(key))),
    'of him',
  )
  const between = [owner.host.name, sixth.host.name]
  const touches = (from: string, to: string): boolean => between.includes(from) && between.includes(to)
  const heal = world.sim.paths.add({ touches, cut: true })
  await world.pass(10_000)
  sixth.host.disk.rot(lost, null)
  assert.ok(await world.until(() => sixth.node.store.completeness.lossCount > 0, 60_000))
  assert.ok(await world.until(() => sixth.node.store.completeness.cause === null, 60_000))
  void second.begin().catch(() => undefined)
  await world.pass(20_000)
  heal()
  const all = [...peers, sixth]
  assert.ok(await world.until(() => isStable(all, 6), 60_000))
  await world.pass(5000)
  assert.equal(await wrong(world, client, 'v'), [])
})

test.run()
