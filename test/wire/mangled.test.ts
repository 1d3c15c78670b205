import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { text, utf8 } from '../../src/base/bytes.ts'
import type { KvError } from '../../src/base/error.ts'
import type { ClusterId, NodeId } from '../../src/base/ids.ts'
import { createPrng } from '../../src/base/prng.ts'
import type { Client } from '../../src/client/client.ts'
import type { LogEntry } from '../../src/simulator/sim-world.ts'
import { createSimulation, type SimPeer, type Simulation } from '../../src/simulator/simulation.ts'
import { DEFAULT_KEYSPACE_OPTIONS } from '../../src/wire/requests.ts'
import { Attacker } from './attacker.ts'
import { Recording } from './recording.ts'

const SEED = 'mangled'
const PEERS = 3
const MANGLED_FRAMES = 5_000
const LIES = 2_000
const SETTLE_MS = 10_000
const AT_ONCE = 20
const KEYS = 50

const test = suite('mangled frames')

test('never do more than close a link: nobody fails, nobody is blamed, nothing is written', async () => {
  const { simulation, kv, recording, logged, ends } = await startRecorded()
  const before = await contentOf(simulation, kv)
  const number = simulation.peers[0]?.node?.configuration?.number
  await attack(simulation, recording, MANGLED_FRAMES, false)
  assert.equal(ends, [])

  assert.ok(simulation.isFormed(), 'the peers are one cluster')
  for (const { node } of simulation.peers) {
    assert.is(node?.configuration?.number, number)
  }
  assertAllUp(simulation)
  const after = await contentOf(simulation, kv)
  const changed = after.filter((found, i) => JSON.stringify(found) !== JSON.stringify(before[i]))
  assert.equal(changed, [], 'what was written is there, and nothing else')
  await simulation.settle(kv.put('afterwards', 'served'))
  assert.equal(errorsIn(logged), [])
  await simulation.stop()
})

test('a well-formed lie, which nobody can tell from the truth, ends no peer and fills no log', async () => {
  const { simulation, kv, recording, logged, ends } = await startRecorded()
  await attack(simulation, recording, LIES, true)
  for (const peer of simulation.peers) assert.is(peer.state, 'ready')
  assert.equal(ends, [])
  assertAllUp(simulation)
  await simulation.settle(kv.put('afterwards', 'served', { w: 'all' }))
  const events = new Set(errorsIn(logged).map(({ event }) => event))
  for (const event of events) assert.is(event, 'configuration.foreign')
  assert.ok(errorsIn(logged).length < 50, `${errorsIn(logged).length} errors`)
})

interface Recorded {
  readonly simulation: Simulation
  readonly kv: Client
  readonly recording: Recording
  /** Why peers ended themselves. */
  readonly ends: readonly KvError[]
  /** Since the recording. */
  readonly logged: readonly LogEntry[]
}

async function startRecorded(): Promise<Recorded> {
  const recording = new Recording()
  const logged: LogEntry[] = []
  const ends: KvError[] = []
  const simulation = createSimulation({
    seed: SEED,
    peers: PEERS,
    log: (entry) => logged.push(entry),
    ended: (_host, error) => ends.push(error),
    frame: ({ from, to, frame }) => {
      recording.add([from, to].some((host) => host.startsWith('10.1.')) ? 'client' : 'peer', frame)
    },
  })
  await simulation.start()
  const kv = simulation.client()
  await work(simulation, kv)
  recording.finish()
  await simulation.run(SETTLE_MS)
  logged.length = 0
  return { simulation, kv, recording, logged, ends }
}

async function attack(
  simulation: Simulation,
  recording: Recording,
  frames: number,
  lies: boolean,
): Promise<void> {
  const { effects } = simulation.world.host('10.2.0.1').boot()
  const clusterId = simulation.peers[0]?.node?.configuration?.clusterId as ClusterId
  const prng = createPrng(SEED)
  const attacker = new Attacker(effects, recording, prng, clusterId, lies)
  while (attacker.counts.frames < frames) {
    const targets = Array.from({ length: AT_ONCE }, () => simulation.peers[prng.int(PEERS)] as SimPeer)
    await simulation.settle(Promise.all(targets.map(({ address }) => attacker.strike(address))))
  }
  await simulation.run(SETTLE_MS)
}

function assertAllUp({ peers }: Simulation): void {
  for (const { node } of peers) {
    for (const other of peers) {
      const isUp = other.node === node || node?.membership.isAlive(other.node?.nodeId as NodeId)
      assert.ok(isUp, `${other.host} is up for everybody`)
    }
  }
}

function errorsIn(logged: readonly LogEntry[]): readonly Omit<LogEntry, 'timeMs'>[] {
  const errors = logged.filter(({ level }) => level === 'error')
  return errors.map(({ host, level, event, fields }) => ({ host, level, event, fields }))
}

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
