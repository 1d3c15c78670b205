import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { createPrng } from '../../src/base/prng.ts'
import { type ClusterChecks, createClusterChecks } from '../../src/simulator/checker/cluster-checks.ts'
import { findDisagreement } from '../../src/simulator/checker/convergence.ts'
import { Load, type LoadPlace } from '../../src/simulator/load.ts'
import { createSimulation, type SimPeer, type Simulation } from '../../src/simulator/simulation.ts'
import { DEFAULT_KEYSPACE_OPTIONS } from '../../src/wire/requests.ts'
import { violates } from './checker-story.ts'

const test = suite('what owners have in the end')

const PATIENCE_MS = 60_000

interface World {
  readonly simulation: Simulation
  readonly checks: ClusterChecks
  readonly places: readonly LoadPlace[]
}

/** Four peers; a keyspace of three copies that was written to and has two from this moment on. */
async function withOneCopyFewer(): Promise<World> {
  const checks = createClusterChecks()
  const { disks: observer, frames: frame } = checks
  const simulation = createSimulation({ seed: 'fewer', peers: 4, partitionCount: 8, observer, frame })
  checks.watch(simulation)
  await simulation.start()
  const client = simulation.client()
  const options = { ...DEFAULT_KEYSPACE_OPTIONS, quorum: 'strict' } as const
  const keyspaces = [await simulation.settle(client.service.createKeyspace('siblings', options))]
  checks.learnKeyspaces(keyspaces)
  const load = new Load({
    scheduler: simulation.world.scheduler,
    clients: [client],
    clusterId: simulation.peers[0]?.node?.configuration?.clusterId ?? '',
    keyspaces,
    peerCount: 4,
    copiesVary: true,
    observers: checks.history,
    prng: createPrng(1),
    ratePerSecond: 200,
    keyCount: 20,
  })
  load.begin()
  await simulation.run(2000)
  load.end()
  assert.ok(await simulation.until(() => load.underWay === 0, PATIENCE_MS))
  await simulation.settle(client.service.alterKeyspace('siblings', { replicas: 2 }))
  const isOver = (): boolean => findDisagreement(simulation.peers, null) === null
  assert.ok(await simulation.until(isOver, PATIENCE_MS))
  return { simulation, checks, places: load.places }
}

// Campaign seed 10134: the checks had looked at the peers a moment before the last one finished the change.
test('2: who owned a key before a change that everybody has finished need not have it', async () => {
  const { simulation, checks, places } = await withOneCopyFewer()
  for (let ms = 0; ms < 50; ms++) {
    for (const { keyspace, key } of places) checks.checkEveryOwner(keyspace, key)
    await simulation.run(1)
  }
  await simulation.stop()
})

test('2: that an owner of now has not all of a key is found', async () => {
  const { simulation, checks, places } = await withOneCopyFewer()
  const [peer] = simulation.peers as [SimPeer]
  await simulation.run(1000)
  peer.crash('power')
  simulation.world.host(peer.host).disk.wipe()
  checks.ledger.replaced(peer.host)
  const checkAll = (): void => {
    for (const { keyspace, key } of places) checks.checkEveryOwner(keyspace, key)
  }
  violates(checkAll, 2, /only 1 of 2 owners have all of siblings\/key-/)
  await simulation.stop()
})

test.run()
