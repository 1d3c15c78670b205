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
import type { TaskInfo } from '../../src/wire/tasks.ts'

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

/** What kvctl does: asks one peer, then looks until nothing of the round is open. */
async function repairRound(simulation: Simulation, asked: SimPeer, round: string): Promise<TaskInfo[]> {
  const { service } = present(asked.node, 'it runs')
  const { parts } = await simulation.settle(service.repair({ keyspace: null, round }))
  const exchanges = parts.reduce((sum, part) => sum + part.exchanges, 0)
  for (let looks = 0; looks < 300; looks++) {
    const { tasks } = await simulation.settle(service.tasks())
    const ended = tasks.filter((task) => task.round === round && task.endedAgoMs !== null)
    if (ended.length === exchanges) return ended
    await simulation.run(100)
  }
  throw new Error('the round does not end')
}

function sum(tasks: readonly TaskInfo[], figure: 'differing' | 'repaired' | 'failed' | 'bytes'): number {
  return tasks.reduce((total, task) => total + task[figure], 0)
}

test('a round compares each pair of owners once, whoever is asked, and tells what it repaired', async () => {
  const simulation = await cluster('round')
  await simulation.run(20_000)
  for (const [place, asked] of simulation.peers.entries()) {
    for (const peer of simulation.peers) writeHere(peer, utf8(`round ${place} of ${peer.host}`), 'x')
    await simulation.run(100)
    assert.not(areEqual(simulation))
    const tasks = await repairRound(simulation, asked, `round-${place}`)
    assert.ok(areEqual(simulation))
    assert.is(new Set(tasks.map((task) => [task.peer, task.with].sort().join())).size, 3)
    for (const task of tasks) {
      assert.is(task.state, 'done')
      assert.equal([task.done, task.total], [PARTITIONS, PARTITIONS])
    }
    // Each of three keys is brought to two peers, maybe by way of one of them.
    assert.ok(sum(tasks, 'repaired') >= 6 && sum(tasks, 'repaired') === sum(tasks, 'differing'))
    assert.is(sum(tasks, 'failed'), 0)
    assert.ok(sum(tasks, 'bytes') > 6 * 50)
  }
  await simulation.stop()
})

test('a round asked for twice under one name is begun once', async () => {
  const simulation = await cluster('twice')
  const [a, b] = simulation.peers as [SimPeer, SimPeer, SimPeer]
  await repairRound(simulation, a, 'same')
  const [first] = await repairRound(simulation, b, 'same')
  assert.ok(present(first, 'there are tasks').endedAgoMs !== null)
  const all = await simulation.settle(present(a.node, 'it runs').service.tasks())
  assert.is(all.tasks.filter(({ round }) => round === 'same').length, 3)
  await simulation.stop()
})

test('a round says which peers take no part because they are down', async () => {
  const simulation = await cluster('absent')
  const [a, b] = simulation.peers as [SimPeer, SimPeer, SimPeer]
  b.crash()
  await simulation.run(10_000)
  const { service } = present(a.node, 'it runs')
  const { parts } = await simulation.settle(service.repair({ keyspace: null, round: 'absent' }))
  assert.equal(
    parts.filter(({ refusal }) => refusal !== null).map(({ peerAddress }) => peerAddress),
    [b.address],
  )
  const tasks = await repairRound(simulation, a, 'absent')
  const { silent } = await simulation.settle(service.tasks())
  assert.equal(silent, [b.address])
  for (const task of tasks) assert.is(task.state, task.withAddress === b.address ? 'failed' : 'done')
  await simulation.stop()
})

test('so many rounds are under way at once, and no more; what ended makes room', async () => {
  const simulation = await cluster('many')
  const [a] = simulation.peers as [SimPeer, SimPeer, SimPeer]
  const { service } = present(a.node, 'it runs')
  const begin = (i: number) => service.repair({ keyspace: null, round: `round-${i}` })
  const starts = await simulation.settle(Promise.all(Array.from({ length: 20 }, (_, i) => begin(i))))
  const refused = starts.filter(({ parts }) => parts.some(({ refusal }) => refusal !== null))
  assert.ok(refused.length > 0 && refused.length < 20, `${refused.length} were refused`)
  await simulation.run(20_000)
  const later = await simulation.settle(begin(20))
  assert.ok(later.parts.every(({ refusal }) => refusal === null))
  await simulation.stop()
})

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
