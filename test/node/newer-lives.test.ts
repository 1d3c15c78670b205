import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { KvError } from '../../src/base/error.ts'
import type { SimDiskImage } from '../../src/simulator/sim-disk.ts'
import { NodeWorld, type TestPeer } from './node-world.ts'

const test = suite('newer lives')

type Three = [TestPeer, TestPeer, TestPeer]

async function cluster(seed: string): Promise<{ world: NodeWorld; peers: Three }> {
  const world = new NodeWorld(seed)
  const first = await world.peer(1).start()
  const join = [first.address]
  const peers: Three = [first, await world.peer(2, { join }).start(), await world.peer(3, { join }).start()]
  assert.ok(await world.until(() => peers.every((peer) => isSettled(peer, 3))))
  return { world, peers }
}

function isSettled({ node }: TestPeer, members: number): boolean {
  const { configuration } = node
  return configuration?.phase === 'stable' && configuration.members.length === members
}

async function rejection(promise: Promise<unknown>): Promise<KvError> {
  const error = await promise.then(
    () => null,
    (reason: unknown) => reason,
  )
  if (error instanceof KvError) return error
  throw new Error('it was to be rejected')
}

/** What `cp -a` of a stopped peer's directory gives; the peer is up again afterwards. */
async function backup(peer: TestPeer): Promise<SimDiskImage> {
  await peer.stop()
  const image = peer.host.disk.image()
  await peer.start()
  return image
}

function idsOf({ node }: TestPeer): string {
  const { nodeId, configuration } = node
  return configuration?.acceptors.find((one) => one.nodeId === nodeId)?.acceptorId ?? ''
}

test('a directory that was rolled back mints under another name: no acknowledged write is lost', async () => {
  for (const end of ['stop', 'crash'] as const) {
    const { world, peers } = await cluster(`rolled back after ${end}`)
    const [first, second, third] = peers
    const copy = await backup(third)
    await world.settle(world.client(third).put('k', 'old', { w: 'all' }))
    if (end === 'stop') await third.stop()
    else third.crash('process')
    third.host.disk.restore(copy)
    await third.start()
    assert.ok(world.logged.includes('node.rolled_back'))
    const kv = world.client(third)
    const before = await world.settle(kv.get('k', { r: 'quorum' }))
    await world.settle(kv.put('k', 'new', { context: before.context, w: 'all' }))
    for (const peer of [first, second, third]) {
      for (const r of ['one', 'quorum', 'all'] as const) {
        assert.is((await world.settle(world.client(peer).get('k', { r }))).text(), 'new')
      }
    }
    await world.pass(5_000)
    assert.equal(
      peers.flatMap(({ ends }) => ends),
      [],
    )
    assert.ok(peers.every(({ node }) => node.membership.peers().every(({ state }) => state === 'alive')))
  }
})

test('a blind write of a rolled back directory does not erase what it was sent since', async () => {
  const { world, peers } = await cluster('blind')
  const [, , third] = peers
  const copy = await backup(third)
  await world.settle(world.client(third).put('k', 'old', { blind: true, w: 'all' }))
  await third.stop()
  third.host.disk.restore(copy)
  await third.start()
  await world.settle(world.client(third).put('k', 'new', { blind: true, w: 'all' }))
  assert.ok(await world.until(() => third.node.store.completeness.cause === null))
  const found = await world.settle(world.client(third).get('k', { r: 'all' }))
  assert.equal(found.values.map((value) => new TextDecoder().decode(value.value)).sort(), ['new', 'old'])
})

test('a directory that was rolled back is another acceptor', async () => {
  const { world, peers } = await cluster('acceptor')
  const [first, , third] = peers
  const before = idsOf(third)
  const copy = await backup(third)
  assert.is(idsOf(third), before, 'a stop and a start change nothing')
  await third.stop()
  const newest = third.host.disk.image()
  third.host.disk.restore(copy)
  await third.start()
  await third.stop()
  const votes = (image: SimDiskImage) => String(image.files.get('votes'))
  assert.is.not(votes(third.host.disk.image()), votes(newest))
  await third.start()
  assert.ok(await world.until(() => isSettled(first, 3) && third.node.isReady))
  assert.ok(await world.until(() => third.node.store.completeness.cause === null))
  assert.ok(await world.until(() => idsOf(third) !== before), 'once it has caught up it is named again')
})

test('a crash at any moment of the start of a rolled back directory leaves it one', async () => {
  const { world, peers } = await cluster('crash')
  const [, , third] = peers
  const copy = await backup(third)
  await third.stop()
  for (let crashAfterMs = 0; crashAfterMs < 30; crashAfterMs += 1) {
    third.host.disk.restore(copy)
    third.begin().catch(() => undefined)
    await world.pass(crashAfterMs)
    third.crash()
    const stillCopy = third.host.disk.image().files.get('identity')
    const found = world.logged.filter((event) => event === 'node.rolled_back').length
    await third.start()
    const foundAgain = world.logged.filter((event) => event === 'node.rolled_back').length > found
    const hadBegun = String(stillCopy) !== String(copy.files.get('identity'))
    assert.ok(foundAgain || hadBegun, `after ${crashAfterMs} ms`)
    await third.stop()
  }
})

test('a copy of a directory that is in use does not start, however often it is tried', async () => {
  const { world, peers } = await cluster('clone')
  const [, , third] = peers
  const cold = await backup(third)
  const hot = third.host.disk.image()
  for (const image of [cold, hot]) {
    const clone = world.peer(image === cold ? 4 : 5)
    clone.host.disk.restore(image)
    for (let tries = 0; tries < 3; tries++) {
      const error = await rejection(clone.start())
      assert.is(error.code, 'INVALID_ARGUMENT')
      assert.match(error.message, /runs at 10\.0\.0\.3:7000; stop one of the two; .* an empty one and --join/)
      clone.crash()
    }
  }
  await world.pass(5_000)
  assert.equal(third.ends, [])
  assert.ok(third.node.isReady)
})

test('the memory of a generation outlives the restarts of all who have it', async () => {
  const { world, peers } = await cluster('memory')
  const [first, second, third] = peers
  const copy = await backup(third)
  await world.pass(2_000)
  await third.stop()
  first.crash()
  second.crash()
  third.host.disk.restore(copy)
  const starting = [first, second, third].map((peer) => peer.begin({ join: [] }))
  await world.settle(Promise.all(starting))
  assert.ok(world.logged.includes('node.rolled_back'), 'though all of them started at once')
  await world.pass(5_000)
  assert.equal(
    peers.flatMap(({ ends }) => ends),
    [],
  )
})

test('restarts of every kind are no reason for suspicion', async () => {
  const { world, peers } = await cluster('restarts')
  for (const peer of peers) {
    for (const pauseMs of [0, 50, 700, 5_000]) {
      for (const how of ['stop', 'process', 'power'] as const) {
        if (how === 'stop') await peer.stop()
        else peer.crash(how)
        await world.pass(pauseMs)
        await peer.start()
      }
    }
  }
  await world.pass(5_000)
  assert.not(world.logged.includes('node.rolled_back'))
  assert.not(world.logged.includes('node.outranked'))
  assert.ok(peers.every(({ node, ends }) => node.isReady && ends.length === 0))
})

test('a peer that moves to another place is not taken for its own copy', async () => {
  const { world, peers } = await cluster('move')
  const [, , third] = peers
  third.crash('process')
  const moved = world.peer(6)
  moved.host.disk.restore(third.host.disk.image())
  await moved.start()
  assert.ok(moved.node.isReady)
  assert.not(world.logged.includes('node.rolled_back'))
})

test('a start does not wait for those who are silent, beyond moments', async () => {
  const { world, peers } = await cluster('silent')
  const [first, second, third] = peers
  await third.stop()
  first.host.process?.pause()
  second.host.process?.pause()
  const beganMs = world.sim.scheduler.nowMs
  await third.start({ join: [] })
  assert.ok(world.sim.scheduler.nowMs - beganMs < 600)
})

test('one who could ask nobody and is told later ends itself; the next start goes well', async () => {
  const { world, peers } = await cluster('later')
  const [, , third] = peers
  const copy = await backup(third)
  await third.stop()
  third.host.disk.restore(copy)
  const heal = world.sim.paths.add({
    touches: (from, to) => from === third.host.name || to === third.host.name,
    cut: true,
  })
  await third.start()
  assert.ok(third.node.isReady)
  heal()
  assert.ok(await world.until(() => third.ends.length > 0))
  assert.not(third.node.isReady)
  assert.match(third.ends[0]?.message ?? '', /node .* ran as generation 2 at 10\.0\.0\.3:7000; stop one of/)
  await third.stop()
  await third.start()
  assert.ok(world.logged.includes('node.rolled_back'))
  await world.pass(5_000)
  assert.is(third.ends.length, 1)
  assert.ok(peers.every(({ node }) => node.isReady))
})

test.run()
