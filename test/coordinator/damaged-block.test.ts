import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { present } from '../../src/base/assert.ts'
import { text, utf8 } from '../../src/base/bytes.ts'
import { partitionOf } from '../../src/protocol/ring.ts'
import type { SimPeer, Simulation } from '../../src/simulator/simulation.ts'
import { findEntry, PARTITIONS, type Peers, storeOf, threePeers } from './three-peers.ts'

const test = suite('a damaged block of a disk')

const KEYS = 100
const SPOILT = 'k7'
const CAUGHT_UP_MS = 60_000

function partitionOfKey(name: string): number {
  return partitionOf(utf8(name), PARTITIONS)
}

function idOf(peer: SimPeer) {
  return present(peer.node?.configuration?.keyspaces[0], 'there is the default keyspace').id
}

/** Null: there is none, or it cannot be read. */
function valueAt(peer: SimPeer, name: string): string | null {
  try {
    const record = storeOf(peer).readRecord(idOf(peer), partitionOfKey(name), utf8(name))
    const value = record?.values[0]?.value ?? null
    return value === null ? null : text(value)
  } catch {
    return null
  }
}

function gaps(peer: SimPeer): number[] {
  const { completeness } = storeOf(peer)
  const all = Array.from({ length: PARTITIONS }, (_, partition) => partition)
  return all.filter((partition) => !completeness.isComplete(idOf(peer), partition))
}

async function putAll(simulation: Simulation, asked: SimPeer, value: string): Promise<void> {
  const kv = simulation.client({ peers: [asked.address] })
  for (let i = 0; i < KEYS; i++) await simulation.settle(kv.put(`k${i}`, value))
}

async function back(simulation: Simulation, peer: SimPeer): Promise<void> {
  peer.start()
  assert.ok(await simulation.until(() => peer.state === 'ready', 20_000))
}

function spoil(simulation: Simulation, peer: SimPeer): void {
  const [key] = present(findEntry(simulation, peer, SPOILT), 'it is there')
  simulation.world.host(peer.host).disk.spoil(key)
}

/** All three hold `v` of every key. */
async function filled(seed: string): Promise<[Simulation, Peers]> {
  const [simulation, peers] = await threePeers(seed, {})
  await putAll(simulation, peers[2], 'v')
  await simulation.run(5000)
  return [simulation, peers]
}

/** A peer misses a new value of each key, and comes back with a block of its disk damaged. */
async function missed(seed: string, missing: number): Promise<[Simulation, SimPeer]> {
  const [simulation, peers] = await threePeers(seed, {})
  const peer = present(peers[missing], 'there are three')
  const other = present(peers[(missing + 1) % 3], 'there are three')
  await putAll(simulation, other, 'old')
  await simulation.run(5000)
  await simulation.settle(peer.stop())
  await putAll(simulation, other, 'new')
  spoil(simulation, peer)
  await back(simulation, peer)
  return [simulation, peer]
}

for (const missing of [0, 2]) {
  test(`what lies elsewhere on the disk of peer ${missing} is repaired all the same`, async () => {
    const [simulation, peer] = await missed(`elsewhere ${missing}`, missing)
    await simulation.run(CAUGHT_UP_MS)
    const names = Array.from({ length: KEYS }, (_, i) => `k${i}`)
    const old = names.filter((name) => valueAt(peer, name) !== 'new')
    const damaged = partitionOfKey(SPOILT)
    assert.equal(
      old.filter((name) => partitionOfKey(name) !== damaged),
      [],
    )
    await simulation.stop()
  })
}

async function acceptLoss(simulation: Simulation, asked: SimPeer): Promise<void> {
  const wanted = { keyspace: null, round: 'accepted', acceptLoss: true }
  await simulation.settle(present(asked.node, 'it runs').service.repair(wanted))
}

async function wipe(simulation: Simulation, peer: SimPeer): Promise<void> {
  peer.crash('power')
  await simulation.run(100)
  peer.wipe()
  await back(simulation, peer)
}

test('a wiped peer lacks the partition of the block alone, and an operator can give that up', async () => {
  const [simulation] = await missed('wiped', 1)
  const [a, , c] = simulation.peers as Peers
  await simulation.run(CAUGHT_UP_MS)
  await wipe(simulation, a)
  await simulation.run(CAUGHT_UP_MS)
  assert.equal(gaps(a), [partitionOfKey(SPOILT)])
  await acceptLoss(simulation, c)
  assert.ok(await simulation.until(() => storeOf(a).completeness.cause === null, CAUGHT_UP_MS))
  await simulation.stop()
})

test('what another owner has as well is no reason to wait for a damaged block', async () => {
  const [simulation, [a, b]] = await filled('equal')
  spoil(simulation, b)
  await wipe(simulation, a)
  assert.ok(await simulation.until(() => storeOf(a).completeness.cause === null, CAUGHT_UP_MS))
  await simulation.stop()
})

test('a disk that cannot be counted for it is named, and an operator can give it up', async () => {
  const [simulation, [a, b, c]] = await filled('not counted')
  b.crash('process')
  spoil(simulation, b)
  await back(simulation, b)
  await wipe(simulation, a)
  await simulation.run(CAUGHT_UP_MS)
  assert.is(gaps(a).length, PARTITIONS)
  const { warnings } = await simulation.settle(present(c.node, 'it runs').service.status())
  assert.ok(
    warnings.some((warning) => /can not be compared with .*: records there are damaged/.test(warning)),
    warnings.join('\n'),
  )
  await acceptLoss(simulation, c)
  assert.ok(await simulation.until(() => storeOf(a).completeness.cause === null, CAUGHT_UP_MS))
  for (let i = 0; i < KEYS; i++) assert.is(valueAt(a, `k${i}`), 'v')
  await simulation.stop()
})

test.run()
