import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { runScenario } from '../../src/simulator/scenario.ts'
import { createSimulation, type SimPeer, type Simulation } from '../../src/simulator/simulation.ts'

const test = suite('simulation')

/** Three of a cluster's lives in one line: forms, is written to, loses and regains a peer. */
async function episode(simulation: Simulation): Promise<string> {
  await simulation.start()
  const kv = simulation.client()
  await simulation.settle(kv.put('a', '1'))
  simulation.peers[1]?.crash()
  await simulation.run(3_000)
  await simulation.settle(kv.put('a', '2'))
  simulation.peers[1]?.start()
  assert.ok(await simulation.until(simulation.isFormed, 20_000))
  assert.is((await simulation.settle(kv.get('a', { r: 'all' }))).text(), '2')
  await simulation.stop()
  return simulation.digest
}

test('a cluster forms, serves through the crash of a peer, and takes it back', async () => {
  await episode(createSimulation({ seed: 'episode', peers: 3 }))
})

test('the same seed gives the same trace again, also by way of the real event loop', async () => {
  const first = await episode(createSimulation({ seed: 7, peers: 3 }))
  assert.is(await episode(createSimulation({ seed: 7, peers: 3 })), first)
  assert.is(await episode(createSimulation({ seed: 7, peers: 3, slow: true })), first)
  assert.is.not(await episode(createSimulation({ seed: 8, peers: 3 })), first)
})

test('the same seed gives the same trace in another process', async () => {
  const here = (await runScenario({ seed: 42, minutes: 0.25 })).digest
  const script = `
    import { runScenario } from './src/simulator/scenario.ts'
    process.stdout.write((await runScenario({ seed: 42, minutes: 0.25 })).digest)`
  const cwd = fileURLToPath(new URL('../../', import.meta.url))
  const args = ['--import', 'tsx', '--input-type=module', '-e', script]
  const { stdout, stderr } = spawnSync(process.execPath, args, { cwd, encoding: 'utf8' })
  assert.is(stdout, here, stderr)
})

test('the side of a partition that has a quorum goes on, and after healing the other reads it', async () => {
  const simulation = createSimulation({ seed: 3, peers: 3 })
  await simulation.start()
  const [a, b, c] = simulation.peers
  if (a === undefined || b === undefined || c === undefined) throw new Error('three peers')
  const inside = simulation.client({ peers: [a.address] })
  const outside = simulation.client({ peers: [c.address] })
  await simulation.settle(inside.put('k', 'before'))
  const heal = simulation.partition([[a, b], [c]])
  await simulation.run(5_000)
  await simulation.settle(inside.put('k', 'meanwhile'))
  heal()
  await simulation.run(10_000)
  assert.is((await simulation.settle(outside.get('k'))).text(), 'meanwhile')
  await simulation.stop()
})

test('a peer that is paused for a second is not called dead, one for ten seconds comes back', async () => {
  const simulation = createSimulation({ seed: 4, peers: 3 })
  await simulation.start()
  await simulation.run(5_000)
  const [first, second] = simulation.peers
  const viewed = () =>
    first?.node?.membership.peers().find(({ address }) => address === second?.address)?.state
  for (const pausedMs of [1_000, 10_000]) {
    const resume = second?.pause()
    let died = false
    await simulation.until(() => {
      died ||= viewed() === 'dead'
      return false
    }, pausedMs)
    resume?.()
    assert.is(died, pausedMs === 10_000)
    assert.ok(await simulation.until(() => viewed() === 'alive', 2_000), `alive after ${pausedMs} ms`)
  }
  await simulation.stop()
})

test('a peer that is paused by two goes on when both let it, and each of them once', async () => {
  const simulation = createSimulation({ seed: 6, peers: 3 })
  await simulation.start()
  const third = simulation.peers[2] as SimPeer
  const [one, other] = [third.pause(), third.pause()]
  one()
  one()
  assert.ok(third.isPaused)
  other()
  assert.not(third.isPaused)
  await simulation.stop()
})

test('a hundred peers start from a formed cluster and agree', async () => {
  const simulation = createSimulation({ seed: 5, peers: 100, formed: true, partitionCount: 512 })
  await simulation.start()
  assert.is(simulation.peers[0]?.node?.configuration?.members.length, 100)
  await simulation.run(5_000)
  assert.ok(simulation.peers.every((peer) => peer.node?.membership.peers().length === 99))
})

for (const seed of [101, 102, 103]) {
  test(`seed ${seed}: half a minute of load and faults without a violation, twice the same`, async () => {
    const report = await runScenario({ seed, minutes: 0.5 })
    assert.is(report.failure, null)
    assert.ok(report.load.writesAcknowledged > 50)
    assert.is((await runScenario({ seed, minutes: 0.5 })).digest, report.digest)
  })
}

test.run()
