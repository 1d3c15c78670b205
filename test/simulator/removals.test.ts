import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { createPrng } from '../../src/base/prng.ts'
import { createFaultInjector } from '../../src/simulator/fault-injector.ts'
import { Removals } from '../../src/simulator/removals.ts'
import { createSimulation, type SimPeer } from '../../src/simulator/simulation.ts'
import type { Fault } from '../../src/simulator/swarm.ts'
import { DEFAULT_KEYSPACE_OPTIONS } from '../../src/wire/requests.ts'

const test = suite('removals')

const LEDGER = { isElsewhere: () => true, replaced: () => undefined }
const PATIENCE_MS = 60_000

interface Options {
  /** Of what becomes of who goes. */
  readonly seed?: number
  readonly replicas?: number
  readonly schedule?: readonly Fault[]
}

/** Four peers; the last one is to go. */
async function fourPeers({ seed = 2, replicas = 3, schedule = [] }: Options = {}) {
  const simulation = createSimulation({ seed: 'removals', peers: 4, partitionCount: 8 })
  await simulation.start()
  const client = simulation.client()
  await simulation.settle(client.service.createKeyspace('few', { ...DEFAULT_KEYSPACE_OPTIONS, replicas }))
  const isWell = (): boolean =>
    simulation.isFormed() && simulation.peers.every(({ node }) => node?.isWhole === true)
  assert.ok(await simulation.until(isWell, PATIENCE_MS))
  const injector = createFaultInjector(simulation, schedule, createPrng(1), LEDGER)
  const counts = { removals: 0, replacements: 0, givenUp: 0 }
  const load = { onlyQuorums: false }
  const parts = { simulation, clients: [client], load, dataLoss: injector.dataLoss }
  const removals = new Removals(parts, counts, createPrng(seed))
  const peer = simulation.peers[3] as SimPeer
  const comesToRest = async (): Promise<void> => {
    const isOver = await simulation.until(() => removals.open === null, PATIENCE_MS)
    assert.ok(isOver, removals.open ?? '')
    assert.not(load.onlyQuorums)
    assert.ok(await simulation.until(isWell, PATIENCE_MS))
  }
  return { simulation, injector, removals, counts, load, peer, comesToRest }
}

test('who is given up is removed, and stops when it comes back', async () => {
  let startedAgain = 0
  for (let seed = 1; seed <= 10; seed++) {
    const { simulation, removals, counts, load, peer, comesToRest } = await fourPeers({ seed })
    removals.giveUp(peer)
    assert.ok(load.onlyQuorums)
    assert.ok(await simulation.until(() => peer.isPaused, PATIENCE_MS))
    const { process } = simulation.world.host(peer.host)
    await comesToRest()
    assert.is(counts.givenUp, 1)
    assert.not(simulation.peers.includes(peer))
    if (simulation.world.host(peer.host).process !== process) startedAgain += 1
    await simulation.stop()
  }
  assert.ok(startedAgain > 0 && startedAgain < 10, `${startedAgain} were started again`)
})

test('no other fault brings back who is given up', async () => {
  const fault = { host: '10.0.0.4', forMs: 300 }
  const schedule = (['pause', 'crash', 'restart'] as const).map((name, i) => {
    return { class: name, atMs: 7000 + 500 * i, ...fault }
  })
  const { simulation, injector, removals, counts, peer, comesToRest } = await fourPeers({ schedule })
  removals.giveUp(peer)
  injector.begin()
  assert.ok(await simulation.until(() => peer.isPaused, 7000))
  let wasBack = false
  const isRemoved = (): boolean => {
    wasBack ||= !peer.isPaused
    return counts.givenUp > 0
  }
  assert.ok(await simulation.until(isRemoved, PATIENCE_MS))
  assert.not(wasBack)
  assert.is(injector.struck.crash, 0)
  await comesToRest()
  assert.not(simulation.peers.includes(peer))
  await simulation.stop()
})

test('who has the only copies goes on as a member, as its removal is refused', async () => {
  const { simulation, removals, counts, peer, comesToRest } = await fourPeers({ replicas: 1 })
  removals.giveUp(peer)
  assert.ok(await simulation.until(() => peer.isPaused, PATIENCE_MS))
  await comesToRest()
  assert.is(counts.removals, 0)
  assert.is(simulation.peers.length, 4)
  await simulation.stop()
})

test('who dies as the one owner of what is empty is removed, as that loss is accepted', async () => {
  const { simulation, removals, counts, peer, comesToRest } = await fourPeers({ replicas: 1 })
  removals.kill(peer)
  await comesToRest()
  assert.is(counts.removals, 1)
  assert.is(simulation.peers.length, 3)
  await simulation.stop()
})

test('who is given up, and begins anew on an empty disk, has gone', async () => {
  const { simulation, removals, counts, peer, comesToRest } = await fourPeers()
  removals.giveUp(peer)
  assert.ok(await simulation.until(() => counts.givenUp > 0 && !peer.isPaused, PATIENCE_MS))
  peer.wipe()
  await simulation.run(3000)
  peer.start()
  await comesToRest()
  assert.is(simulation.peers.length, 4)
  await simulation.stop()
})

test('what cannot be done yet is said in words', async () => {
  const { simulation, removals, peer, comesToRest } = await fourPeers()
  removals.giveUp(peer)
  assert.match(removals.open ?? '', /^10\.0\.0\.4 \(.+\), given up, may not be struck yet$/)
  assert.ok(await simulation.until(() => peer.isPaused, PATIENCE_MS))
  const heal = simulation.partition(simulation.peers.map((one) => [one]))
  await simulation.run(15_000)
  assert.match(removals.open ?? '', /^10\.0\.0\.4 \(.+\), given up, cannot be removed: ./)
  heal()
  await comesToRest()
  await simulation.stop()
})

test.run()
