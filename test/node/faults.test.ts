import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { KvError } from '../../src/base/error.ts'
import { createSimulation, type SimPeer, type Simulation } from '../../src/simulator/simulation.ts'
import type { FaultCommand, FaultControl } from '../../src/wire/faults.ts'

const test = suite('faults of whole peers')

async function startThree(enableFaults = true): Promise<{ simulation: Simulation; peers: Trio }> {
  const simulation = createSimulation({ seed: 'faults', peers: 3, formed: true, node: { enableFaults } })
  await simulation.start()
  // Nobody has been heard of yet when everyone is ready.
  await simulation.run(2000)
  return { simulation, peers: simulation.peers as unknown as Trio }
}

type Trio = readonly [SimPeer, SimPeer, SimPeer]

function faultsOf(peer: SimPeer): FaultControl {
  return peer.node?.faults as FaultControl
}

function apply(simulation: Simulation, command: FaultCommand): void {
  for (const peer of simulation.peers) faultsOf(peer).apply(command)
}

/** How many others it believes to be up. */
function upCount({ node }: SimPeer): number {
  const membership = node?.membership
  return membership?.peers().filter(({ nodeId }) => membership.isAlive(nodeId)).length ?? -1
}

async function codeOf(simulation: Simulation, action: Promise<unknown>): Promise<string> {
  try {
    await simulation.settle(action)
    return 'done'
  } catch (error) {
    return (error as KvError).code
  }
}

test('without the option there is nothing to ask', async () => {
  const { peers } = await startThree(false)
  assert.is(peers[0].node?.faults, null)
})

test('an isolated peer and the others lose each other; after the heal all are together again', async () => {
  const { simulation, peers } = await startThree()
  const [first, second, third] = peers
  apply(simulation, { fault: 'isolate', peer: third.address })
  await simulation.run(6000)
  assert.equal([first, second, third].map(upCount), [1, 1, 0])
  const [majority, minority] = [first, third].map(({ address }) =>
    simulation.client({ peers: [address], pinned: true }),
  )
  assert.ok(majority && minority)
  await simulation.settle(majority.put('key', 'value'))
  assert.is(await codeOf(simulation, minority.get('key')), 'UNAVAILABLE')
  const status = await simulation.settle(minority.service.status())
  assert.is(status.faults.length, 2)
  const advice = 'is not reachable from here; a simulated fault may be the cause: kvctl fault list'
  const told = [first, second].map(({ address }) => `${address} ${advice}`)
  assert.equal(
    status.warnings.filter((warning) => /down|reachable/.test(warning)),
    told,
    'they run',
  )
  apply(simulation, { fault: 'heal' })
  assert.ok(await simulation.until(() => peers.every((peer) => upCount(peer) === 2), 3000))
  assert.is((await simulation.settle(minority.get('key'))).text(), 'value')
  assert.equal((await simulation.settle(minority.service.status())).faults, [])
})

test('a failed peer is noticed at once, as a killed one is, and back in a moment', async () => {
  const { simulation, peers } = await startThree()
  const [first, second, third] = peers
  faultsOf(third).apply({ fault: 'fail', peer: third.address })
  assert.ok(await simulation.until(() => upCount(first) === 1 && upCount(second) === 1, 1500))
  const client = simulation.client({ peers: [third.address], pinned: true })
  assert.is(await codeOf(simulation, client.get('key')), 'UNAVAILABLE')
  await simulation.run(10_000)
  const other = simulation.client({ peers: [first.address], pinned: true })
  const { warnings } = await simulation.settle(other.service.status())
  const advice = "is down: unless 'kvctl fault list' shows that it is cut off or plays dead, start it again"
  assert.ok(
    warnings.some((warning) => warning.startsWith(`${third.address} ${advice}`)),
    warnings.join('\n'),
  )
  faultsOf(third).apply({ fault: 'recover', peer: third.address })
  assert.is(faultsOf(third).state, 'recovering')
  assert.ok(await simulation.until(() => faultsOf(third).state === 'up', 3000))
  assert.ok(await simulation.until(() => upCount(first) === 2 && upCount(third) === 2, 3000))
  assert.is(await codeOf(simulation, client.get('key')), 'done')
})

test('a peer that recovers waits for a majority before it takes clients, and not for ever', async () => {
  const { simulation, peers } = await startThree()
  const third = peers[2]
  apply(simulation, { fault: 'fail', peer: third.address })
  apply(simulation, { fault: 'isolate', peer: third.address })
  faultsOf(third).apply({ fault: 'recover', peer: third.address })
  await simulation.run(9000)
  assert.is(faultsOf(third).state, 'recovering')
  assert.match(faultsOf(third).report().faults.join('; '), /looks for its cluster/)
  await simulation.run(1500)
  assert.is(faultsOf(third).state, 'up')
})

test('a peer that recovers holds what it missed before it takes clients', async () => {
  const { simulation, peers } = await startThree()
  const [first, second, third] = peers
  faultsOf(third).apply({ fault: 'fail', peer: third.address })
  assert.ok(await simulation.until(() => upCount(first) === 1 && upCount(second) === 1, 1500))
  await simulation.settle(simulation.client({ peers: [first.address] }).put('missed', 'v', { w: 2 }))
  faultsOf(third).apply({ fault: 'recover', peer: third.address })
  assert.ok(await simulation.until(() => faultsOf(third).state === 'up', 3000))
  const client = simulation.client({ peers: [third.address], pinned: true })
  const { values } = await simulation.settle(client.get('missed', { r: 1 }))
  assert.is(values.length, 1)
})

test('a peer that is stopped while it recovers stops', async () => {
  const { simulation, peers } = await startThree()
  const third = peers[2]
  apply(simulation, { fault: 'fail', peer: third.address })
  apply(simulation, { fault: 'isolate', peer: third.address })
  faultsOf(third).apply({ fault: 'recover', peer: third.address })
  await simulation.settle(third.stop())
  assert.is(third.state, 'down')
})

test('with a third of the frames lost and the rest late, the peers stay together and serve', async () => {
  const { simulation, peers } = await startThree()
  const [first, second, third] = peers
  for (const [a, b] of [
    [first, second],
    [second, third],
    [first, third],
  ] as const) {
    apply(simulation, { fault: 'drop', between: [a.address, b.address], percent: 20 })
    apply(simulation, { fault: 'delay', between: [a.address, b.address], delayMs: 30 })
  }
  const client = simulation.client()
  let done = 0
  for (let i = 0; i < 20; i++)
    if ((await codeOf(simulation, client.put(`key-${i}`, 'value'))) === 'done') done++
  assert.ok(done >= 10, `${done} of 20 writes were acknowledged`)
  apply(simulation, { fault: 'heal' })
  assert.ok(await simulation.until(() => peers.every((peer) => upCount(peer) === 2), 5000))
})

test('a peer that is named wrongly is an error, and nothing changes', async () => {
  const { peers } = await startThree()
  const faults = faultsOf(peers[0])
  assert.throws(
    () => faults.apply({ fault: 'isolate', peer: '9999' }),
    (error: unknown) => error instanceof KvError && error.code === 'INVALID_ARGUMENT',
  )
  assert.equal(faults.report().faults, [])
  assert.is(faults.report().peers.length, 3)
})

test.run()
