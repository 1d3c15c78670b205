import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { text, utf8 } from '../../src/base/bytes.ts'
import type { ClusterId, NodeId } from '../../src/base/ids.ts'
import { createPrng } from '../../src/base/prng.ts'
import type { Client } from '../../src/client/client.ts'
import type { LogEntry } from '../../src/simulator/sim-world.ts'
import { createSimulation, type Simulation } from '../../src/simulator/simulation.ts'
import { DEFAULT_KEYSPACE_OPTIONS } from '../../src/wire/requests.ts'
import { Attacker } from './attacker.ts'
import { Recording } from './recording.ts'

const SEED = 'mangled'
const PEERS = 3
const FRAMES = 5_000
const AT_ONCE = 20
const KEYS = 50

const test = suite('mangled frames')

test('never do more than close a link: nobody fails, nobody is blamed, nothing is written', async () => {
  const recording = new Recording()
  const logged: LogEntry[] = []
  const simulation = createSimulation({
    seed: SEED,
    peers: PEERS,
    log: (entry) => logged.push(entry),
    frame: ({ from, to, frame }) => {
      recording.add([from, to].some((host) => host.startsWith('10.1.')) ? 'client' : 'peer', frame)
    },
  })
  await simulation.start()
  const kv = simulation.client()
  await work(simulation, kv)
  recording.finish()
  await simulation.run(5_000)
  const before = await contentOf(simulation, kv)
  const { number, clusterId } = simulation.peers[0]?.node?.configuration ?? { number: 0, clusterId: '' }
  logged.length = 0

  const { effects } = simulation.world.host('10.2.0.1').boot()
  const prng = createPrng(SEED)
  const attacker = new Attacker(effects, recording, prng, clusterId as ClusterId)
  while (attacker.counts.frames < FRAMES) {
    const strikes = Array.from({ length: AT_ONCE }, () =>
      attacker.strike((simulation.peers[prng.int(PEERS)] as (typeof simulation.peers)[0]).address),
    )
    await simulation.settle(Promise.all(strikes))
  }
  await simulation.run(10_000)

  assert.ok(simulation.isFormed(), 'the peers are one cluster')
  for (const { node } of simulation.peers) {
    assert.is(node?.configuration?.number, number)
    for (const other of simulation.peers) {
      const isUp = other.node === node || node?.membership.isAlive(other.node?.nodeId as NodeId)
      assert.ok(isUp, `${other.host} is up for everybody`)
    }
  }
  const after = await contentOf(simulation, kv)
  assert.equal(
    after.filter((found, i) => JSON.stringify(found) !== JSON.stringify(before[i])),
    [],
    'what was written is there, and nothing else',
  )
  await simulation.settle(kv.put('afterwards', 'served'))
  assert.equal(
    logged
      .filter(({ level }) => level === 'error')
      .map(({ host, event, fields }) => ({ host, event, fields })),
    [],
  )
  await simulation.stop()
})

async function work(simulation: Simulation, kv: Client): Promise<void> {
  const { service } = kv
  const settle = simulation.settle
  for (let i = 0; i < KEYS; i++) await settle(kv.put(`key ${i}`, `value ${i}`, { contentType: 'text/plain' }))
  const { context } = await settle(kv.put('siblings', 'base'))
  for (const value of ['a', 'b']) await settle(kv.put('siblings', value, { context }))
  await settle(kv.delete('key 0'))
  await settle(service.createKeyspace('spare', { ...DEFAULT_KEYSPACE_OPTIONS, conflicts: 'lww' }))
  await settle(kv.put('key', 'value', { keyspace: 'spare', blind: true, w: 'all' }))
  await settle(service.dropKeyspace('spare'))
  await settle(Promise.all([service.status(), service.ring(), service.locate('default', utf8('key 1'))]))
  for (const peer of simulation.peers.slice(1)) {
    peer.crash()
    await simulation.run(4_000)
    peer.start()
    await simulation.run(4_000)
  }
}

async function contentOf(simulation: Simulation, kv: Client): Promise<readonly unknown[]> {
  const keys = [...Array.from({ length: KEYS }, (_, i) => `key ${i}`), 'siblings']
  const found = await simulation.settle(Promise.all(keys.map((key) => kv.get(key, { r: 'all' }))))
  return found.map(({ values, context }, i) => [keys[i], values.map(({ value }) => text(value)), context])
}

test.run()
