import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { present } from '../../src/base/assert.ts'
import { text, utf8 } from '../../src/base/bytes.ts'
import { partitionOf } from '../../src/protocol/ring.ts'
import type { SimPeer, Simulation } from '../../src/simulator/simulation.ts'
import { userKey } from '../../src/store/keys.ts'
import {
  areEqual,
  damaged,
  entries,
  findEntry,
  PARTITIONS,
  type Peers,
  storeOf,
  threePeers,
} from './three-peers.ts'

const test = suite('rescue of damaged records')

function cluster(seed: string, treeRebuildIntervalMs = 3_600_000): Promise<[Simulation, Peers]> {
  return threePeers(seed, { treeRebuildIntervalMs })
}

function damage(simulation: Simulation, peer: SimPeer, name: string): void {
  const [key, record] = present(findEntry(simulation, peer, name), 'it is there')
  simulation.world.host(peer.host).disk.rot(key, damaged(record))
}

/** Nothing of what was written is in memory: the disk is read. */
async function restart(simulation: Simulation, peer: SimPeer): Promise<void> {
  await simulation.settle(peer.stop())
  peer.start()
  assert.ok(await simulation.until(() => peer.state === 'ready', 20_000))
  await simulation.run(3000)
}

function contents(peer: SimPeer, name: string): string[] {
  const keyspaceId = present(peer.node?.configuration?.keyspaces[0], 'there is the default keyspace').id
  const record = storeOf(peer).readRecord(keyspaceId, partitionOf(utf8(name), PARTITIONS), utf8(name))
  return (record?.values ?? []).map(({ value }) => text(present(value, 'no tombstones here'))).sort()
}

function isReadable(peer: SimPeer, name: string): boolean {
  try {
    return contents(peer, name).length > 0
  } catch {
    return false
  }
}

test('a record found damaged by a read is answered by others, and brought back from them', async () => {
  const [simulation, [a]] = await cluster('read')
  const kv = simulation.client()
  for (let i = 0; i < 20; i++) await simulation.settle(kv.put(`key ${i}`, `value ${i}`, { w: 'all' }))
  await restart(simulation, a)
  damage(simulation, a, 'key 7')
  assert.not(isReadable(a, 'key 7'))
  const asked = simulation.client({ peers: [a.address], pinned: true })
  assert.is((await simulation.settle(asked.get('key 7'))).text(), 'value 7')
  assert.ok(await simulation.until(() => isReadable(a, 'key 7'), 2000))
  assert.equal(contents(a, 'key 7'), ['value 7'])
  await simulation.run(1000)
  assert.ok(areEqual(simulation))
  const { warnings } = await simulation.settle(asked.service.status())
  assert.ok(
    warnings.some((warning) => /disk of .* damaged 1 records/.test(warning)),
    warnings.join('\n'),
  )
  await simulation.stop()
})

test('a record that nobody reads is found damaged by the schedule, and brought back', async () => {
  const [simulation, [, b]] = await cluster('schedule', 20_000)
  const kv = simulation.client()
  for (let i = 0; i < 20; i++) await simulation.settle(kv.put(`key ${i}`, `value ${i}`, { w: 'all' }))
  damage(simulation, b, 'key 3')
  assert.ok(await simulation.until(() => storeOf(b).damage.restored === 1, 60_000))
  assert.equal(contents(b, 'key 3'), ['value 3'])
  await simulation.run(1000)
  assert.ok(areEqual(simulation))
  await simulation.stop()
})

test('what one owner holds is not enough: this peer may have acknowledged what that one missed', async () => {
  const [simulation, [a, b, c]] = await cluster('both')
  const kv = simulation.client()
  await simulation.settle(kv.put('key', 'old', { w: 'all' }))
  b.crash()
  await simulation.run(10_000)
  await simulation.settle(kv.put('key', 'new'))
  await restart(simulation, a)
  c.crash('power')
  b.start()
  assert.ok(await simulation.until(() => b.state === 'ready', 20_000))
  damage(simulation, a, 'key')
  assert.not(isReadable(a, 'key'))
  await simulation.run(20_000)
  assert.not(isReadable(a, 'key'), 'only a peer that missed the write could be asked')
  const { warnings } = await simulation.settle(present(a.node, 'it runs').service.status())
  assert.ok(
    warnings.some((warning) => /cannot read 1 of its records/.test(warning)),
    warnings.join('\n'),
  )
  c.start()
  assert.ok(await simulation.until(() => isReadable(a, 'key'), 30_000))
  assert.equal(contents(a, 'key'), ['new'])
  assert.ok(await simulation.until(() => areEqual(simulation), 20_000))
  await simulation.stop()
})

test('a disk that lost records says so, and other owners bring them back', async () => {
  const [simulation, [a, , c]] = await cluster('lost', 20_000)
  const kv = simulation.client()
  for (let i = 0; i < 20; i++) await simulation.settle(kv.put(`key ${i}`, `value ${i}`, { w: 'all' }))
  const { disk } = simulation.world.host(c.host)
  const lost = entries(simulation, c)
    .slice(0, 3)
    .map(([key]) => key)
  for (const key of lost) disk.rot(key, null)
  assert.ok(await simulation.until(() => storeOf(c).damage.lostLeaves > 0, 60_000))
  await simulation.run(2000) // To the end of the pass: until then other trees hide what they lost.
  const { warnings } = await simulation.settle(present(a.node, 'it runs').service.status())
  assert.ok(
    warnings.some((warning) => /lost records that it had on it/.test(warning)),
    warnings.join('\n'),
  )
  assert.ok(await simulation.until(() => areEqual(simulation), 240_000))
  for (const key of lost) assert.ok(isReadable(c, text(userKey(key))))
  await simulation.stop()
})

test('what no other owner has anything of goes into quarantine, and the key is free again', async () => {
  const [simulation, [a, b, c]] = await cluster('alone')
  const keyspaceId = present(a.node?.configuration?.keyspaces[0], 'there is the default keyspace').id
  const kv = simulation.client()
  await simulation.settle(kv.put('key', 'value', { w: 'all' }))
  for (const peer of [a, b, c]) await restart(simulation, peer)
  for (const peer of [b, c]) {
    const { disk } = simulation.world.host(peer.host)
    for (const [key] of entries(simulation, peer)) disk.rot(key, null)
  }
  damage(simulation, a, 'key')
  assert.not(isReadable(a, 'key'))
  const store = storeOf(a)
  assert.ok(await simulation.until(() => store.damage.count === 0, 10_000))
  assert.is(store.quarantine.size, 1)
  assert.is(store.read(keyspaceId, partitionOf(utf8('key'), PARTITIONS), utf8('key')), null)
  const { warnings } = await simulation.settle(present(a.node, 'it runs').service.status())
  assert.ok(
    warnings.some((warning) => /keeps 1 records in quarantine/.test(warning)),
    warnings.join('\n'),
  )
  await simulation.settle(kv.put('key', 'new', { w: 'all' }))
  assert.equal(contents(a, 'key'), ['new'])
  await simulation.stop()
})

test.run()
