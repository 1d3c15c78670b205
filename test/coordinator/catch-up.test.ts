import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { present } from '../../src/base/assert.ts'
import { utf8 } from '../../src/base/bytes.ts'
import { partitionOf } from '../../src/protocol/ring.ts'
import type { LogEntry } from '../../src/simulator/sim-world.ts'
import type { SimPeer, Simulation } from '../../src/simulator/simulation.ts'
import { damaged, findEntry, PARTITIONS, storeOf, threePeers } from './three-peers.ts'

const test = suite('catching up while another disk is damaged')

const KEYS = 200
const CAUGHT_UP_MS = 60_000

/** The first is wiped; a record of the second was damaged by a power loss, and its tree made of that. */
async function damagedTwice(seed: string, log?: (entry: LogEntry) => void): Promise<Simulation> {
  const [simulation, [a, b]] = await threePeers(seed, {}, log)
  const kv = simulation.client({ peers: [b.address] })
  for (let i = 0; i < KEYS; i++) await simulation.settle(kv.put(`k${i}`, 'v', { w: 'all' }))
  b.crash('power')
  await simulation.run(100)
  const [key, record] = present(findEntry(simulation, b, 'k7'), 'it is there')
  simulation.world.host(b.host).disk.rot(key, damaged(record))
  a.wipe()
  b.start()
  a.start()
  const areReady = () => [a, b].every(({ state }) => state === 'ready')
  assert.ok(await simulation.until(areReady, 20_000))
  return simulation
}

/** Partitions of the default keyspace that the peer lacks something of. */
function gaps(peer: SimPeer): number[] {
  const { id } = present(peer.node?.configuration?.keyspaces[0], 'there is the default keyspace')
  const { completeness } = storeOf(peer)
  const all = Array.from({ length: PARTITIONS }, (_, partition) => partition)
  return all.filter((partition) => !completeness.isComplete(id, partition))
}

async function statusOf(simulation: Simulation, peer: SimPeer): Promise<readonly string[]> {
  return (await simulation.settle(present(peer.node, 'it runs').service.status())).warnings
}

test('a record that another owner cannot read holds up its own partition alone, and is named', async () => {
  const simulation = await damagedTwice('one partition')
  const [a, b, c] = simulation.peers as [SimPeer, SimPeer, SimPeer]
  const partition = partitionOf(utf8('k7'), PARTITIONS)
  await simulation.run(CAUGHT_UP_MS)
  assert.equal(gaps(a), [partition])
  const warnings = await statusOf(simulation, c)
  const named = `1 of them (default/${partition}) can not be compared with ${b.address}`
  assert.ok(
    warnings.some((warning) => warning.includes(named) && warning.includes('kvctl repair --accept-loss')),
    warnings.join('\n'),
  )
  await simulation.stop()
})

test('a loss is accepted in the keyspace that is named, and nowhere else', async () => {
  const simulation = await damagedTwice('one keyspace')
  const [a, , c] = simulation.peers as [SimPeer, SimPeer, SimPeer]
  await simulation.run(CAUGHT_UP_MS)
  const { service } = present(c.node, 'it runs')
  await simulation.settle(service.createKeyspace('other'))
  const accept = (keyspace: string) => service.repair({ keyspace, round: keyspace, acceptLoss: true })
  await simulation.settle(accept('other'))
  await simulation.run(CAUGHT_UP_MS)
  assert.is(gaps(a).length, 1)
  await simulation.settle(accept('default'))
  assert.ok(await simulation.until(() => storeOf(a).completeness.cause === null, CAUGHT_UP_MS))
  await simulation.stop()
})

test('what is accepted as lost then lets both come to an end', async () => {
  const simulation = await damagedTwice('accepted')
  const [a, b, c] = simulation.peers as [SimPeer, SimPeer, SimPeer]
  await simulation.run(CAUGHT_UP_MS)
  const wanted = { keyspace: null, round: 'accepted', acceptLoss: true }
  await simulation.settle(present(c.node, 'it runs').service.repair(wanted))
  const isOver = () => storeOf(a).completeness.cause === null && storeOf(b).damage.count === 0
  assert.ok(await simulation.until(isOver, 2 * CAUGHT_UP_MS))
  const kv = simulation.client({ peers: [a.address], pinned: true })
  assert.is((await simulation.settle(kv.get('k7', { r: 'all' }))).text(), 'v')
  await simulation.stop()
})

test('an operator who accepts a loss at once loses nothing that can still be compared', async () => {
  const given: unknown[] = []
  const simulation = await damagedTwice('at once', ({ event, fields }) => {
    if (event === 'catch-up.loss_accepted') given.push(fields.partitions)
  })
  const [a, , c] = simulation.peers as [SimPeer, SimPeer, SimPeer]
  const wanted = { keyspace: null, round: 'accepted', acceptLoss: true }
  await simulation.settle(present(c.node, 'it runs').service.repair(wanted))
  assert.ok(await simulation.until(() => storeOf(a).completeness.cause === null, 2 * CAUGHT_UP_MS))
  assert.equal(given, [1])
  assert.is(storeOf(a).inventory.counts.total.records, KEYS)
  await simulation.stop()
})

test.run()
