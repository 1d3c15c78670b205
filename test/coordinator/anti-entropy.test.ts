import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { present } from '../../src/base/assert.ts'
import { type Bytes, text, utf8 } from '../../src/base/bytes.ts'
import type { Keyspace } from '../../src/protocol/configuration.ts'
import { EMPTY_DOTS } from '../../src/protocol/dvv.ts'
import { partitionOf } from '../../src/protocol/ring.ts'
import { findUnequal } from '../../src/simulator/checker/trees.ts'
import { createSimulation, type SimPeer, type Simulation } from '../../src/simulator/simulation.ts'
import { unpackFrame } from '../../src/wire/frame.ts'

const test = suite('anti-entropy')

const PARTITIONS = 16

/** A write that reached this peer's disk and no other. */
function writeHere(peer: SimPeer, key: Bytes, value: string | null): void {
  const { store } = present(peer.node, 'it runs')
  const fields = { value: value === null ? null : utf8(value), contentType: null, expiresAtMs: null }
  const partition = partitionOf(key, PARTITIONS)
  const held = store.newest(keyspaceOf(peer).id, partition, key)?.seen ?? EMPTY_DOTS
  store.put(keyspaceOf(peer), partition, key, held, { ...fields, writeId: `write ${value}` }, (error) =>
    assert.is(error, null),
  )
}

function contents(peer: SimPeer, key: Bytes): string[] {
  const { store } = present(peer.node, 'it runs')
  const record = store.readRecord(keyspaceOf(peer).id, partitionOf(key, PARTITIONS), key)
  return (record?.values ?? []).map(({ value }) => (value === null ? 'deleted' : text(value))).sort()
}

function keyspaceOf(peer: SimPeer): Keyspace {
  return present(peer.node?.configuration?.keyspaces[0], 'there is the default keyspace')
}

function areEqual(simulation: Simulation): boolean {
  return findUnequal(simulation.peers, ({ host }) => simulation.world.host(host).disk.newest) === null
}

async function cluster(seed: string, frame = (_: Bytes): void => undefined): Promise<Simulation> {
  const simulation = createSimulation({
    ...{ seed, peers: 3, partitionCount: PARTITIONS, formed: true },
    frame: (entry) => frame(entry.frame),
  })
  await simulation.start()
  return simulation
}

test('owners that hold different records become equal, and no concurrent value is lost', async () => {
  const simulation = await cluster('differences')
  const [a, b, c] = simulation.peers as [SimPeer, SimPeer, SimPeer]
  for (let i = 0; i < 40; i++) writeHere(a, utf8(`only a ${i}`), 'a')
  for (let i = 0; i < 40; i++) writeHere(c, utf8(`only c ${i}`), 'c')
  writeHere(a, utf8('both'), 'of a')
  writeHere(b, utf8('both'), 'of b')
  writeHere(b, utf8('gone'), null)
  await simulation.run(100)
  assert.not(areEqual(simulation))
  assert.ok(await simulation.until(() => areEqual(simulation), 240_000))
  for (const peer of simulation.peers) {
    assert.equal(contents(peer, utf8('only a 7')), ['a'])
    assert.equal(contents(peer, utf8('only c 7')), ['c'])
    assert.equal(contents(peer, utf8('both')), ['of a', 'of b'])
    assert.equal(contents(peer, utf8('gone')), ['deleted'])
  }
  await simulation.stop()
})

test('of two records the newer one stays, whoever holds it', async () => {
  const simulation = await cluster('newer')
  const [a, b] = simulation.peers as [SimPeer, SimPeer, SimPeer]
  for (const peer of [a, b]) writeHere(peer, utf8(`key of ${peer.host}`), 'old')
  assert.ok(await simulation.until(() => areEqual(simulation), 240_000))
  for (const peer of [a, b]) writeHere(peer, utf8(`key of ${peer.host}`), 'new')
  await simulation.run(100)
  assert.ok(await simulation.until(() => areEqual(simulation), 240_000))
  for (const peer of simulation.peers) {
    for (const { host } of [a, b]) assert.equal(contents(peer, utf8(`key of ${host}`)), ['new'])
  }
  await simulation.stop()
})

for (const place of [0, 1, 2]) {
  test(`peer ${place} gets what it missed within seconds of its return`, async () => {
    const simulation = await cluster(`return ${place}`)
    const absent = present(simulation.peers[place], 'there are three')
    const others = simulation.peers.filter((peer) => peer !== absent)
    const kv = simulation.client({ peers: others.map(({ address }) => address) })
    await simulation.settle(kv.put('early', 'before'))
    absent.crash('power')
    await simulation.run(10_000)
    for (let i = 0; i < 30; i++) await simulation.settle(kv.put(`key ${i}`, `value ${i}`))
    await simulation.settle(kv.delete('early'))
    absent.start()
    assert.ok(await simulation.until(() => absent.state === 'ready', 20_000))
    assert.ok(await simulation.until(() => areEqual(simulation), 10_000))
    assert.equal(contents(absent, utf8('key 7')), ['value 7'])
    assert.equal(contents(absent, utf8('early')), ['deleted'])
    await simulation.stop()
  })
}

test('owners that hold the same say only their roots', async () => {
  const tags: number[] = []
  const simulation = await cluster('equal', (frame) => {
    for (const message of unpackFrame(frame)) tags.push((message as number[])[0] as number)
  })
  const kv = simulation.client()
  for (let i = 0; i < 30; i++) await simulation.settle(kv.put(`key ${i}`, `value ${i}`, { w: 'all' }))
  await simulation.run(10_000)
  assert.ok(areEqual(simulation))
  tags.length = 0
  await simulation.run(400_000)
  const repair = new Set(tags.filter((tag) => tag >= 100))
  assert.equal([...repair].sort(), [100, 101])
  await simulation.stop()
})

test.run()
