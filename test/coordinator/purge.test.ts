import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { present } from '../../src/base/assert.ts'
import { type Bytes, text, utf8 } from '../../src/base/bytes.ts'
import type { NodeOptions } from '../../src/node/node-options.ts'
import { recordDigest } from '../../src/protocol/hash-tree.ts'
import { createRing, partitionOf } from '../../src/protocol/ring.ts'
import { findUnequal } from '../../src/simulator/checker/trees.ts'
import type { SimDisk } from '../../src/simulator/sim-disk.ts'
import { createSimulation, type SimPeer, type Simulation } from '../../src/simulator/simulation.ts'
import { KIND, userKey } from '../../src/store/keys.ts'

const test = suite('purge')

const PARTITIONS = 16
const RULE = { purgeAfterMs: 4000, expiryGraceMs: 2000 }
/** Long enough to be held, looked at, stripped and erased. */
const ENOUGH_MS = 30_000

type Peers = [SimPeer, SimPeer, SimPeer]

async function cluster(seed: string, node: Partial<NodeOptions> = {}): Promise<[Simulation, Peers]> {
  const options = { partitionCount: PARTITIONS, formed: true, node: { purge: RULE, ...node } }
  const simulation = createSimulation({ seed, peers: 3, ...options })
  await simulation.start()
  return [simulation, simulation.peers as unknown as Peers]
}

/** Whatever is on a peer's disk of this key: records, stand-in records, what is in quarantine. */
function traces(simulation: Simulation, peer: SimPeer, name: string): number {
  const { disk } = simulation.world.host(peer.host)
  let count = 0
  for (const place = disk.newest.begin; place.valid; place.next()) {
    const key = place.key as Bytes
    if (key[0] !== KIND.meta && text(userKey(key)) === name) count += 1
  }
  return count
}

const allTraces = (simulation: Simulation, name: string): number[] =>
  simulation.peers.map((peer) => traces(simulation, peer, name))

function held(peer: SimPeer, name: string) {
  const { store, configuration } = present(peer.node, 'it runs')
  const { id } = present(configuration?.keyspaces[0], 'there is the default keyspace')
  return store.readRecord(id, partitionOf(utf8(name), PARTITIONS), utf8(name))
}

function areEqual(simulation: Simulation): boolean {
  return findUnequal(simulation.peers, ({ host }) => simulation.world.host(host).disk.newest) === null
}

test('a deleted key is gone from all disks once it was held for long enough, and not before', async () => {
  const [simulation] = await cluster('deleted')
  const kv = simulation.client()
  await simulation.settle(kv.put('k', 'v', { w: 'all' }))
  await simulation.settle(kv.put('stays', 'v', { w: 'all' }))
  await simulation.settle(kv.delete('k', { w: 'all' }))
  await simulation.run(RULE.purgeAfterMs - 500)
  assert.equal(allTraces(simulation, 'k'), [1, 1, 1])
  await simulation.run(ENOUGH_MS)
  assert.equal(allTraces(simulation, 'k'), [0, 0, 0])
  assert.equal(allTraces(simulation, 'stays'), [1, 1, 1])
  await simulation.stop()
})

for (const lost of ['its disk', 'its record']) {
  test(`what is left of a key is gone too when the one who leads loses ${lost} in between`, async () => {
    const [simulation, peers] = await cluster(`left over, ${lost}`)
    const kv = simulation.client()
    await simulation.settle(kv.put('k', 'v', { w: 'all' }))
    await simulation.settle(kv.delete('k', { w: 'all' }))
    const areBare = () => peers.every((peer) => held(peer, 'k')?.values.length === 0)
    assert.ok(await simulation.until(areBare, ENOUGH_MS))
    const first = firstOwner(peers, 'k')
    if (lost === 'its disk') {
      first.wipe()
      first.start()
    } else {
      const { store, configuration } = present(first.node, 'it runs')
      const keyspace = present(configuration?.keyspaces[0], 'there is the default keyspace')
      const partition = partitionOf(utf8('k'), PARTITIONS)
      const bytes = present(store.read(keyspace.id, partition, utf8('k')), 'it is there')
      const place = { keyspace, partition, key: utf8('k') }
      store.mortals.erase(place, recordDigest(keyspace.id, utf8('k'), bytes), () => undefined)
    }
    await simulation.run(2 * ENOUGH_MS)
    assert.equal(allTraces(simulation, 'k'), [0, 0, 0])
    await simulation.stop()
  })
}

/** Who leads its purge. */
function firstOwner(peers: readonly SimPeer[], name: string): SimPeer {
  const configuration = present(present(peers[0]?.node, 'it runs').configuration, 'it has joined')
  const keyspace = present(configuration.keyspaces[0], 'there is the default keyspace')
  const [first] = createRing(configuration).allOwners(keyspace, partitionOf(utf8(name), PARTITIONS))
  return present(
    peers.find(({ node }) => node?.nodeId === first),
    'it is one of them',
  )
}

test('an expired key is gone when its grace is over too', async () => {
  const [simulation] = await cluster('expired')
  const kv = simulation.client()
  await simulation.settle(kv.put('k', 'v', { w: 'all', ttlMs: 20_000 }))
  await simulation.run(20_000 + RULE.expiryGraceMs)
  assert.equal(allTraces(simulation, 'k'), [1, 1, 1])
  await simulation.run(ENOUGH_MS)
  assert.equal(allTraces(simulation, 'k'), [0, 0, 0])
  await simulation.stop()
})

test('nothing is purged while a member is down, and a value that only it holds stays deleted', async () => {
  const [simulation, [, b, c]] = await cluster('down')
  const kv = simulation.client({ peers: [b.address] })
  await simulation.settle(kv.put('k', 'v', { w: 'all' }))
  c.crash()
  await simulation.run(5000)
  await simulation.settle(kv.delete('k', { w: 2 }))
  await simulation.run(60_000)
  assert.equal(allTraces(simulation, 'k'), [1, 1, 1])
  c.start()
  assert.ok(await simulation.until(() => allTraces(simulation, 'k').every((count) => count === 0), 120_000))
  assert.equal((await simulation.settle(kv.get('k', { r: 'all' }))).values, [])
  await simulation.stop()
})

test('a put that meets a purge stays, on all owners', async () => {
  const [simulation, peers] = await cluster('meets')
  const kv = simulation.client()
  for (let i = 0; i < 40; i++) await simulation.settle(kv.delete(`k${i}`, { w: 'all' }))
  // One every 100 ms, from before the first is stripped until after the last was erased.
  await simulation.run(RULE.purgeAfterMs - 1000)
  for (let i = 0; i < 40; i++) {
    await simulation.settle(kv.put(`k${i}`, `new ${i}`, { w: 'all' }))
    await simulation.run(100)
  }
  await simulation.run(2 * ENOUGH_MS)
  for (let i = 0; i < 40; i++) {
    for (const peer of peers) {
      const contents = held(peer, `k${i}`)?.values.map(({ value }) => value && text(value))
      assert.equal(contents, [`new ${i}`])
    }
  }
  assert.ok(areEqual(simulation))
  await simulation.stop()
})

test('a disk that comes back from a copy brings nothing back that was purged since', async () => {
  const [simulation, [a, b, c]] = await cluster('restored')
  const kv = simulation.client({ peers: [b.address] })
  await simulation.settle(kv.put('k', 'v', { w: 'all' }))
  await simulation.settle(c.stop())
  const { disk } = simulation.world.host(c.host)
  const copy = disk.image()
  c.start()
  assert.ok(await simulation.until(simulation.isFormed, 20_000))
  await simulation.settle(kv.delete('k', { w: 'all' }))
  await simulation.run(2 * ENOUGH_MS)
  assert.equal(allTraces(simulation, 'k'), [0, 0, 0])
  await simulation.settle(c.stop())
  disk.restore(copy)
  c.start()
  const isWhole = (): boolean => c.node?.isWhole === true
  assert.ok(await simulation.until(isWhole, 120_000))
  await simulation.run(ENOUGH_MS)
  assert.is(held(c, 'k'), null)
  assert.equal([traces(simulation, a, 'k'), traces(simulation, b, 'k')], [0, 0])
  assert.is(traces(simulation, c, 'k'), 1, 'what the copy had of it is in quarantine, for an operator')
  assert.equal((await simulation.settle(kv.get('k', { r: 'all' }))).values, [])
  await simulation.stop()
})

test('a key that was deleted in an lww keyspace, concurrently with an earlier put, is purged', async () => {
  const [simulation, [a, , c]] = await cluster('lww')
  const service = present(a.node, 'it runs').service
  await simulation.settle(service.createKeyspace('l', { conflicts: 'lww', w: 'one' }))
  await simulation.run(2000)
  const ka = simulation.client({ peers: [a.address], pinned: true })
  const kc = simulation.client({ peers: [c.address], pinned: true })
  const isPeer = (host: string): boolean => simulation.peers.some((peer) => peer.host === host)
  const touches = (from: string, to: string): boolean => {
    return isPeer(from) && isPeer(to) && (from === c.host) !== (to === c.host)
  }
  const heal = simulation.world.paths.add({ touches, cut: true })
  await simulation.run(200)
  await simulation.settle(kc.put('k', 'v', { keyspace: 'l', w: 'one' }))
  await simulation.run(500)
  await simulation.settle(ka.delete('k', { keyspace: 'l', w: 'one' }))
  heal()
  await simulation.run(2 * ENOUGH_MS)
  assert.equal((await simulation.settle(ka.get('k', { keyspace: 'l', r: 'all' }))).values, [])
  assert.equal(allTraces(simulation, 'k'), [0, 0, 0])
  await simulation.stop()
})

test('a damaged stand-in record ends no purging: it goes into quarantine, and status says so', async () => {
  const simulation = createSimulation({
    ...{ seed: 'damaged', peers: 4, partitionCount: PARTITIONS, formed: true, node: { purge: RULE } },
  })
  await simulation.start()
  const { peers } = simulation
  const d = present(peers[3], 'the last one')
  const kv = simulation.client()
  await simulation.settle(kv.put('gone', 'v', { w: 'all' }))
  d.crash()
  await simulation.run(6000)
  for (let i = 0; i < 12; i++) await simulation.settle(kv.put(`h${i}`, 'v', { w: 2 }))
  await simulation.run(1000)
  const damaged = present(
    peers.find(({ host }) => damageStandIn(simulation.world.host(host).disk)),
    'a stand-in',
  )
  d.start()
  await simulation.run(10_000)
  await simulation.settle(kv.delete('gone', { w: 'all' }))
  await simulation.run(60_000)
  assert.equal(allTraces(simulation, 'gone'), [0, 0, 0, 0])
  const { warnings } = await simulation.settle(present(peers[0]?.node, 'it runs').service.status())
  assert.equal(warnings.length, 1)
  assert.match(warnings[0] ?? '', `${damaged.address} has 1 hints in quarantine`)
  await simulation.stop()
})

test('who waits for a purge for long is told in the status why, and what to do', async () => {
  const [simulation, [a, , c]] = await cluster('waits')
  const kv = simulation.client({ peers: [a.address] })
  await simulation.settle(kv.delete('k', { w: 'all' }))
  c.crash()
  const told = async () => {
    const { warnings } = await simulation.settle(present(a.node, 'it runs').service.status())
    return warnings.filter((warning) => warning.includes('purged'))
  }
  await simulation.run(7000)
  assert.equal(await told(), [])
  await simulation.run(20_000)
  const [why, ...others] = await told()
  assert.match(why ?? '', /peer .* is down; start it again/)
  assert.equal(others, [])
  c.start()
  await simulation.run(ENOUGH_MS)
  assert.equal(await told(), [])
  await simulation.stop()
})

test('who waits for a purge that an owner never agrees to is told which owner', async () => {
  const [simulation, [a, , c]] = await cluster('disagrees')
  simulation.world.host(c.host).clock.jump(-3_600_000)
  const kv = simulation.client({ peers: [a.address] })
  await simulation.settle(kv.put('k', 'v', { w: 'all', ttlMs: 1000 }))
  await simulation.run(ENOUGH_MS)
  const status = await simulation.settle(present(a.node, 'it runs').service.status())
  const warnings = status.warnings.filter((warning) => warning.includes('purged'))
  assert.is(warnings.length, 1)
  const behind = present(c.node, 'it runs').nodeId
  assert.ok(
    warnings[0]?.includes(`peer ${behind} holds something else of a key, has for less long`),
    warnings[0],
  )
  await simulation.stop()
})

/** The first one, if there is any. */
function damageStandIn(disk: SimDisk): boolean {
  for (const place = disk.newest.begin; place.valid; place.next()) {
    const key = place.key as Bytes
    if (key[0] !== KIND.standIn) continue
    const value = Uint8Array.from(place.value as Bytes)
    value[value.length - 3] = (value.at(-3) as number) ^ 64
    disk.rot(key, value)
    return true
  }
  return false
}

test.run()
