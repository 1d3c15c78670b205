import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { HASH_NAME } from '../../src/base/hash.ts'
import { type Address, parseAddress, parseNodeId } from '../../src/base/ids.ts'
import { MAX_GENERATION, type PeerRecord } from '../../src/protocol/membership/peer.ts'
import { PROTOCOL_VERSION, packFrame } from '../../src/wire/frame.ts'
import { type PeerMessage, peerCodec } from '../../src/wire/peer-messages.ts'
import { NodeWorld, type TestPeer } from './node-world.ts'

const test = suite('life claims')

type Three = [TestPeer, TestPeer, TestPeer]

async function cluster(seed: string): Promise<{ world: NodeWorld; peers: Three }> {
  const world = new NodeWorld(seed)
  const first = await world.peer(1).start()
  const join = [first.address]
  const peers: Three = [first, await world.peer(2, { join }).start(), await world.peer(3, { join }).start()]
  const isFormed = (): boolean =>
    peers.every(({ node: { configuration: now } }) => now?.phase === 'stable' && now.members.length === 3)
  assert.ok(await world.until(isFormed))
  await world.pass(5_000)
  return { world, peers }
}

let nextPlace = 20

/** What a stranger who has shaken hands says of a peer. */
async function lie(
  world: NodeWorld,
  to: TestPeer,
  about: TestPeer,
  claim: Partial<PeerRecord>,
): Promise<void> {
  const { clusterId } = about.node.configuration ?? {}
  if (clusterId === undefined) throw new Error('no cluster')
  const stranger = { bootNonce: 'x', address: parseAddress('10.9.0.1:1'), zone: '', weight: 1, version: '0' }
  const facts = { protocolVersion: PROTOCOL_VERSION, clusterId, partitionCount: 0, hashName: HASH_NAME }
  const eras = { era: null, closedBelow: null }
  const nodeId = parseNodeId('stranger')
  const frame = (message: PeerMessage) => packFrame([peerCodec.encode(message)])
  const truth = { nodeId: about.node.nodeId, incarnation: 0, state: 'alive', accusers: [] } as const
  const meta = { zone: '', weight: 1, version: '0' }
  const record = { ...truth, generation: 1, bootNonce: 'another', address: about.address, meta, ...claim }
  const link = world.boot(nextPlace++).network.dial(to.address, 'control', {
    opened() {
      link.send(
        frame({ type: 'hello', ...facts, ...stranger, nodeId, generation: 1, expects: null, ...eras }),
      )
    },
    received() {
      link.send(frame({ type: 'gossip', configuration: 1, updates: [record] }))
    },
    progressed() {},
    closed() {},
  })
  await world.pass(100)
  link.terminate()
}

async function assertAllUp(world: NodeWorld, peers: Three): Promise<void> {
  const isWell = (): boolean =>
    peers.every(({ node, ends }) => {
      const states = peers.map((other) => other.node === node || node.membership.isAlive(other.node.nodeId))
      return ends.length === 0 && node.isReady && !states.includes(false)
    })
  await world.pass(10_000)
  assert.ok(isWell(), 'everyone is up for everyone')
  for (const peer of peers) await world.settle(world.client(peer).put('k', 'v', { w: 'all' }))
}

const SILENT = parseAddress('10.0.1.1:7000')

test('a life that nobody has is taken back, whatever it is said to be and whoever is told', async () => {
  const { world, peers } = await cluster('forged')
  const [first, second, third] = peers
  const addresses: Address[] = [third.address, second.address, SILENT]
  for (const to of peers) {
    for (const address of addresses) {
      for (const generation of [1, 2, 3, 1_000, 2 ** 32]) {
        await lie(world, to, third, { generation, address })
      }
    }
    await assertAllUp(world, peers)
  }
  assert.ok(world.logged.includes('node.claim_refuted'))
  assert.not(world.logged.includes('node.outranked'))
  assert.ok(first.node.membership.view(third.node.nodeId)?.address === third.address)
})

test('from the first claim of a newer life on writes are named anew, wherever it is said to be', async () => {
  const { world, peers } = await cluster('renamed')
  const [first, , third] = peers
  for (let generation = 10; generation < 13; generation++) {
    await lie(world, first, third, { generation, address: third.address })
    await world.pass(5_000)
  }
  assert.ok(world.logged.filter((event) => event === 'node.claim_refuted').length > 1)
  const renamed = world.logged.filter((event) => event === 'store.actor-renewed')
  assert.is(renamed.length, 1, 'each new name makes every key that is written larger')
})

test('no lie takes the last number that a peer can rise to', async () => {
  const { world, peers } = await cluster('greatest')
  const [first, , third] = peers
  for (const to of peers) {
    for (const generation of [MAX_GENERATION, Number.MAX_SAFE_INTEGER]) {
      await lie(world, to, third, { generation })
    }
  }
  await assertAllUp(world, peers)
  assert.ok((first.node.membership.view(third.node.nodeId)?.generation ?? 0) < 2 ** 33)
  await third.stop()
  await third.start()
  await assertAllUp(world, peers)
})

test('what was taken back does not come back with a restart', async () => {
  const { world, peers } = await cluster('restart')
  const [, , third] = peers
  for (const to of peers) await lie(world, to, third, { generation: 50 })
  await assertAllUp(world, peers)
  for (const how of ['stop', 'process', 'power'] as const) {
    if (how === 'stop') await third.stop()
    else third.crash(how)
    await world.pass(4_000)
    await third.start()
    await assertAllUp(world, peers)
  }
  assert.not(world.logged.includes('node.rolled_back'))
})

test('a copy that came up unseen ends the one that runs, once it answers for itself', async () => {
  const { world, peers } = await cluster('copy')
  const [, , third] = peers
  const clone = world.peer(4)
  clone.host.disk.restore(third.host.disk.image())
  const heal = world.sim.paths.add({
    touches: (from, to) => from === clone.host.name || to === clone.host.name,
    cut: true,
  })
  await clone.start({ join: [] })
  assert.ok(clone.node.isReady)
  heal()
  assert.ok(await world.until(() => third.ends.length > 0 || clone.ends.length > 0))
  await world.pass(5_000)
  assert.is(third.ends.length + clone.ends.length, 1, 'one of the two')
  assert.match([...third.ends, ...clone.ends][0]?.message ?? '', /node .* (runs|ran) as generation/)
})

test('word of a newer life is in doubt while a member was not met', async () => {
  // With the last three the member that comes back hears the word before it meets the one it is about.
  for (const seed of ['doubt', 'd1', 'd5', 'd6']) {
    const { world, peers } = await cluster(seed)
    const [first, second, third] = peers
    second.crash()
    await third.stop()
    await third.start()
    await lie(world, first, third, { generation: 9 })
    await world.pass(5_000)
    assert.ok(world.logged.includes('node.claim_in_doubt'))
    const renamed = world.logged.filter((event) => event === 'store.actor-renewed')
    assert.is(renamed.length, 1, 'were it true, the actor may have been used')
    assert.not(world.logged.includes('node.claim_refuted'))
    assert.equal(third.ends, [])
    await second.start()
    await assertAllUp(world, peers)
    assert.ok(world.logged.includes('node.claim_refuted'))
  }
})

test.run()
