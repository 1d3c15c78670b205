import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { present } from '../../src/base/assert.ts'
import { utf8 } from '../../src/base/bytes.ts'
import { partitionOf } from '../../src/protocol/ring.ts'
import type { SimPeer, Simulation } from '../../src/simulator/simulation.ts'
import { areEqual, findEntry, PARTITIONS, type Peers, storeOf, threePeers } from './three-peers.ts'

const test = suite('records that a disk lost while its peer ran')

const NODE = { treeRebuildIntervalMs: 20_000 }

function lacks(peer: SimPeer, name: string): boolean {
  const { id } = present(peer.node?.configuration?.keyspaces[0], 'there is the default keyspace')
  return !storeOf(peer).completeness.isComplete(id, partitionOf(utf8(name), PARTITIONS))
}

/** As they come together: the two others are cut off until the peer has noticed. */
async function noticed(seed: string): Promise<[Simulation, Peers, () => void]> {
  const [simulation, peers] = await threePeers(seed, NODE)
  const [, , c] = peers
  const kv = simulation.client()
  for (let i = 0; i < 20; i++) await simulation.settle(kv.put(`key ${i}`, `value ${i}`, { w: 'all' }))
  const [key] = present(findEntry(simulation, c, 'key 7'), 'it is there')
  simulation.world.host(c.host).disk.rot(key, null)
  const heal = simulation.world.paths.add({
    touches: (from, to) => (from === c.host) !== (to === c.host),
    cut: true,
  })
  assert.ok(await simulation.until(() => lacks(c, 'key 7'), 60_000))
  return [simulation, peers, heal]
}

test('the partition answers no read until it was compared; the others go on', async () => {
  const [simulation, [a, , c], heal] = await noticed('answers')
  const { completeness } = storeOf(c)
  assert.is(completeness.cause, 'lostRecords')
  const lacking = Array.from({ length: 20 }, (_, i) => `key ${i}`).filter((name) => lacks(c, name))
  assert.ok(lacking.length < 20, 'the other partitions lack nothing')
  heal()
  assert.ok(await simulation.until(() => completeness.cause === null, 60_000))
  assert.not(lacks(c, 'key 7'))
  assert.ok(await simulation.until(() => areEqual(simulation), 60_000))
  assert.is(simulation.peers.filter(({ state }) => state === 'ready').length, 3)
  const kv = simulation.client({ peers: [c.address], pinned: true })
  assert.is((await simulation.settle(kv.get('key 7', { r: 'one' }))).text(), 'value 7')
  const { configuration } = present(a.node, 'it runs')
  assert.match(configuration?.reason ?? '', /^readmit /, 'a fence was passed')
  await simulation.stop()
})

test('alone it does not say that there is no such key', async () => {
  const [simulation, [, , c]] = await noticed('alone')
  const kv = simulation.client({ peers: [c.address], pinned: true })
  const found = kv.get('key 7', { r: 'one', timeoutMs: 2000 })
  const code = await simulation.settle(
    found.then(
      () => 'answered',
      (error: { code: string }) => error.code,
    ),
  )
  assert.is.not(code, 'answered')
  const { warnings } = await simulation.settle(present(c.node, 'it runs').service.status())
  assert.ok(
    warnings.some((warning) => /is catching up since its data was lost \(lostRecords\)/.test(warning)),
    warnings.join('\n'),
  )
  await simulation.stop()
})

test('a crash before it was compared changes nothing', async () => {
  const [simulation, [, , c], heal] = await noticed('crash')
  await simulation.run(500)
  c.crash('power')
  await simulation.run(100)
  c.start()
  assert.ok(await simulation.until(() => c.state === 'ready', 20_000))
  assert.ok(lacks(c, 'key 7'))
  heal()
  assert.ok(await simulation.until(() => storeOf(c).completeness.cause === null, 60_000))
  assert.ok(await simulation.until(() => areEqual(simulation), 60_000))
  await simulation.stop()
})

test.run()
