import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { utf8 } from '../../src/base/bytes.ts'
import { KvError } from '../../src/base/error.ts'
import type { Network } from '../../src/effects/network.ts'
import { ADDRESSES_FILE } from '../../src/node/address-book.ts'
import { createNode } from '../../src/node/node.ts'
import { DEFAULT_NODE_OPTIONS } from '../../src/node/node-options.ts'
import { CLEAN_STOP_FILE } from '../../src/store/clean-stop.ts'
import type { KvService } from '../../src/wire/requests.ts'
import { DEFAULT_KEYSPACE_OPTIONS } from '../../src/wire/requests.ts'
import { NodeWorld, type TestPeer } from './node-world.ts'

const test = suite('node')

/** So many peers of one cluster, each of which names the first. */
async function cluster(count: number, seed?: string): Promise<{ world: NodeWorld; peers: TestPeer[] }> {
  const world = new NodeWorld(seed)
  const peers: TestPeer[] = []
  for (let i = 1; i <= count; i++) {
    const join = peers.slice(0, 1).map(({ address }) => address)
    peers.push(await world.peer(i, { join }).start())
  }
  assert.ok(await world.until(() => peers.every((peer) => isSettled(peer, count))))
  return { world, peers }
}

function isSettled({ node }: TestPeer, members: number): boolean {
  const { configuration } = node
  return configuration?.phase === 'stable' && configuration.members.length === members
}

async function rejection(promise: Promise<unknown>): Promise<KvError> {
  try {
    await promise
  } catch (error) {
    if (error instanceof KvError) return error
    throw error
  }
  throw new Error('it was to be rejected')
}

function write(service: KvService, key: string, value: string): Promise<unknown> {
  const rest = {
    keyspace: 'default',
    contentType: null,
    context: null,
    blind: false,
    w: null,
    timeoutMs: 5000,
    ttlMs: null,
  }
  return service.put({ ...rest, key: utf8(key), value: utf8(value), writeId: `${key}=${value}` })
}

test('a peer that is told to join nobody is a cluster of one, and serves', async () => {
  const { world, peers } = await cluster(1)
  const kv = world.client(...peers)
  assert.ok(peers[0]?.node.isReady)
  await world.settle(kv.put('k', 'v'))
  assert.is((await world.settle(kv.get('k'))).text(), 'v')
})

test('a peer that joins is a member when it is ready, and serves what was written before', async () => {
  const world = new NodeWorld()
  const first = await world.peer(1).start()
  const second = await world.peer(2, { join: [first.address] }).start()
  assert.ok(second.node.configuration?.members.some(({ nodeId }) => nodeId === second.node.nodeId))
  await world.settle(write(first.node.service, 'k', 'v'))
  assert.is((await world.settle(world.client(second).get('k'))).text(), 'v')
})

test('one who is to join waits until somebody is there, and never founds a cluster of its own', async () => {
  const world = new NodeWorld()
  const [first, second] = [world.peer(1), world.peer(2)]
  const starting = second.begin({ join: [first.address] })
  await world.pass(20_000)
  assert.is(second.node.configuration, null)
  assert.not(second.node.isReady)
  await first.start()
  await world.settle(starting)
  assert.is(second.node.configuration?.clusterId, first.node.configuration?.clusterId)
})

test('one who is told to join himself alone says so; with others to ask he waits', async () => {
  const world = new NodeWorld()
  const [first, second, third] = [world.peer(1), world.peer(2), world.peer(3)]
  const error = await rejection(world.settle(first.begin({ join: [first.address] })))
  assert.is(error.code, 'INVALID_ARGUMENT')
  assert.match(error.message, /told to join itself at 10\.0\.0\.1:7000: name a peer/)
  const starting = second.begin({ join: [second.address, third.address] })
  await world.pass(5_000)
  await third.start()
  await world.settle(starting)
})

test('a peer that waits for its cluster sends clients elsewhere', async () => {
  const world = new NodeWorld()
  const [first, second] = [world.peer(1), world.peer(2)]
  second.begin({ join: [first.address] }).catch(() => undefined)
  await world.pass(500)
  const error = await rejection(world.settle(world.client(second).get('k')))
  assert.is(error.code, 'UNAVAILABLE')
  assert.match(error.message, /has not joined its cluster yet; ask another one/)
})

test('a cluster that was stopped comes back from its directories alone, with what was written', async () => {
  const { world, peers } = await cluster(3)
  const ids = peers.map(({ node }) => node.nodeId)
  const kv = world.client(...peers)
  await world.settle(kv.put('k', 'v'))
  for (const peer of peers) await peer.stop()
  for (const peer of peers) await peer.start({ join: [] })
  assert.equal(
    peers.map(({ node }) => node.nodeId),
    ids,
  )
  assert.is((await world.settle(world.client(...peers).get('k', { r: 'all' }))).text(), 'v')
})

test('a killed peer comes back without being told where the others are', async () => {
  const { world, peers } = await cluster(3)
  const [first, , third] = peers as [TestPeer, TestPeer, TestPeer]
  third.crash()
  await world.settle(write(first.node.service, 'k', 'meanwhile'))
  await third.start({ join: [] })
  assert.is((await world.settle(world.client(third).get('k'))).text(), 'meanwhile')
})

test('a directory of one cluster is not started into another', async () => {
  const { world, peers } = await cluster(1)
  const [mine] = peers as [TestPeer]
  const other = await world.peer(9).start()
  await mine.stop()
  const error = await rejection(mine.start({ join: [other.address] }))
  assert.is(error.code, 'INVALID_ARGUMENT')
  assert.match(error.message, /belongs to cluster .*, 10\.0\.0\.9:7000 to another one; use another --data/)
})

test('a member that names peers which are all down starts all the same', async () => {
  const { world, peers } = await cluster(2)
  const [first, second] = peers as [TestPeer, TestPeer]
  await first.stop()
  await second.stop()
  await second.start({ join: [first.address] })
  assert.ok(second.node.isReady)
  assert.is(world.sim.host('10.0.0.1').process?.state, 'dead')
})

test('when the port is taken the start fails, and the disk is let go', async () => {
  const world = new NodeWorld()
  const effects = world.boot(1)
  const { address } = world.peer(1)
  await world.settle(effects.network.listen(address, (link) => link.terminate()))
  const node = createNode({ ...DEFAULT_NODE_OPTIONS, listen: address }, effects)
  assert.is((await rejection(world.settle(node.start()))).code, 'INVALID_ARGUMENT')
  await world.settle(effects.storage.close())
  await world.settle(node.stop())
})

test('a stop lets requests that are under way end, and takes no more', async () => {
  const { world, peers } = await cluster(1)
  const [peer] = peers as [TestPeer]
  const { service } = peer.node
  const writing = write(service, 'k', 'v')
  const stopping = peer.node.stop()
  assert.is((await rejection(write(service, 'k2', 'v'))).code, 'UNAVAILABLE')
  await world.settle(Promise.all([writing, stopping]))
  await peer.stop()
  assert.not(peer.node.isReady)
  await peer.start()
  assert.is((await world.settle(world.client(peer).get('k'))).text(), 'v')
})

test('a client of a peer that stopped goes on with another one', async () => {
  const { world, peers } = await cluster(3)
  const kv = world.client(...peers)
  await world.settle(kv.put('k', 'v'))
  await (peers[0] as TestPeer).stop()
  await world.pass(20)
  await world.settle(kv.put('k', 'v2'))
  assert.is((await world.settle(kv.get('k'))).text(), 'v2')
})

test('a stop is idempotent, and one in the middle of a start ends it', async () => {
  const world = new NodeWorld()
  const peer = world.peer(2)
  const starting = peer.begin({ join: [world.peer(1).address] })
  starting.catch(() => undefined)
  await world.pass(1_000)
  const [first, second] = [peer.node.stop(), peer.node.stop()]
  assert.is(first, second)
  await world.settle(first)
  assert.is((await rejection(starting)).code, 'UNAVAILABLE')
})

test('who gave up joining is in no status any more, and its address is free for another', async () => {
  const { world, peers } = await cluster(3)
  const [first, second, away] = peers as [TestPeer, TestPeer, TestPeer]
  away.crash() // No change begins meanwhile.
  peers.pop()
  await world.pass(10_000)
  const seen = async (): Promise<string[][]> => {
    const asked = Promise.all(peers.map(({ node }) => node.service.status()))
    return (await world.settle(asked)).map((status) =>
      status.peers.filter(({ state }) => state.endsWith('J')).map((peer) => `${peer.address} ${peer.state}`),
    )
  }
  const fourth = world.peer(4, { join: [first.address] })
  const wait = async (): Promise<void> => {
    fourth.begin().catch(() => undefined)
    await world.pass(3_000)
    assert.equal(await seen(), Array(2).fill([`${fourth.address} UJ`]))
  }
  await wait()
  await fourth.stop()
  await world.pass(500)
  assert.equal(await seen(), [[], []], 'an orderly stop')
  const pending = await world.settle(first.node.service.status())
  assert.is(pending.layout.pending, null)

  await wait()
  fourth.crash('process')
  await world.pass(10_000)
  assert.equal(await seen(), Array(2).fill([`${fourth.address} DJ`]))
  const { warnings } = await world.settle(second.node.service.status())
  assert.match(warnings.join('; '), /10\.0\.0\.4:7000 is down and was no member yet/)
  fourth.host.disk.wipe()
  await wait()
  fourth.crash('process')
  await world.pass(1_000)
  fourth.host.disk.wipe()
  await wait()
  const { layout } = await world.settle(first.node.service.status())
  assert.match(layout.pending ?? '', /^join of 10\.0\.0\.4:7000 waits/, 'for nobody who is gone')
  fourth.crash('process')
  await world.pass(80_000)
  assert.equal(await seen(), [[], []], 'dead for a while')
})

test('a peer that founds a cluster is not drawn into that of somebody it met before', async () => {
  for (let i = 0; i < 10; i++) {
    const world = new NodeWorld(`old acquaintance ${i}`)
    const first = await world.peer(1).start()
    const second = await world.peer(2, { join: [first.address] }).start()
    await world.pass(1_000)
    const addresses = second.host.disk.image().files.get(ADDRESSES_FILE)
    const third = world.peer(3)
    third.host.disk.setFile(ADDRESSES_FILE, addresses as Uint8Array)
    await third.start()
    const clusterId = third.node.configuration?.clusterId
    assert.is.not(clusterId, first.node.configuration?.clusterId)
    await world.pass(2_000)
    assert.not(third.node.membership.isAlive(first.node.nodeId), 'it is of another cluster')
    third.crash()
    await third.start()
    const joiner = await world.peer(4, { join: [third.address] }).start()
    assert.is(joiner.node.configuration?.clusterId, clusterId)
  }
})

test('a crash at any moment of founding leaves a directory of at most one cluster', async () => {
  for (let crashAfterMs = 0; crashAfterMs < 40; crashAfterMs += 0.5) {
    const world = new NodeWorld(`found ${crashAfterMs}`)
    const peer = world.peer(1)
    peer.begin().catch(() => undefined)
    await world.pass(crashAfterMs)
    const before = peer.node.configuration?.clusterId ?? null
    peer.crash()
    await peer.start()
    const after = peer.node.configuration?.clusterId
    if (before !== null) assert.is(after, before, `after ${crashAfterMs} ms`)
    peer.crash()
    await peer.start()
    assert.is(peer.node.configuration?.clusterId, after)
    const joiner = await world.peer(2, { join: [peer.address] }).start()
    assert.is(joiner.node.configuration?.clusterId, after)
    await world.settle(write(peer.node.service, 'k', 'v'))
  }
})

test('a crash at any moment of joining leaves a directory that joins when it is started again', async () => {
  for (let crashAfterMs = 0; crashAfterMs < 1_200; crashAfterMs += 60) {
    const world = new NodeWorld(`join ${crashAfterMs}`)
    const first = await world.peer(1).start()
    const second = world.peer(2, { join: [first.address] })
    second.begin().catch(() => undefined)
    await world.pass(crashAfterMs)
    second.crash()
    await world.pass(100)
    await second.start()
    assert.ok(
      await world.until(() => isSettled(first, 2) && isSettled(second, 2)),
      `after ${crashAfterMs} ms`,
    )
  }
})

test('a peer that cannot get into its cluster says soon, then every ten seconds, what for', async () => {
  const { world, peers } = await cluster(2)
  const third = world.peer(3, { join: peers.map(({ address }) => address) })
  // Every step of a change waits for all members.
  ;(peers[1] as TestPeer).crash()
  await world.pass(5000)
  third.begin().catch(() => undefined)
  await world.pass(25_000)
  const waits = (): number => world.logged.filter((event) => event === 'node.waits').length
  assert.is(waits(), 3)
  // Now it knows of its cluster, and of nobody in it.
  third.crash()
  for (const name of [ADDRESSES_FILE, `${ADDRESSES_FILE}.copy`]) third.host.disk.setFile(name, utf8('gone'))
  third.begin({ join: [] }).catch(() => undefined)
  await world.pass(25_000)
  assert.is(waits(), 6)
  await third.stop()
  await world.pass(25_000)
  assert.is(waits(), 6)
})

test('a peer whose directory is deleted while it runs says so soon, written to or not', async () => {
  const world = new NodeWorld()
  const { node, host } = await world.peer(1).start()
  await world.pass(5000)
  assert.is(node.obstacle, null)
  host.diskFailure = (work) => (work === 'look' || work === 'open' ? { message: 'gone', kept: false } : null)
  await world.pass(1500)
  assert.match(node.obstacle ?? '', /can neither read nor write: its disk fails: .*gone/)
  assert.is((await rejection(write(node.service, 'k', 'v'))).code, 'UNAVAILABLE')
  host.diskFailure = null
  assert.ok(await world.until(() => node.obstacle === null))
  await world.settle(write(node.service, 'k', 'v'))
  await world.settle(node.stop())
})

test('whatever goes wrong in a stop, the store is closed', async () => {
  const world = new NodeWorld()
  const effects = world.boot(1)
  const { network } = effects
  const failing: Network = {
    dial: (address, purpose, handler) => network.dial(address, purpose, handler),
    listen: async (address, accept) => {
      const listener = await network.listen(address, accept)
      return {
        address: listener.address,
        refuseLinks: (isRefusing) => listener.refuseLinks(isRefusing),
        close: () => Promise.reject(new KvError('INTERNAL', 'it does not close')),
      }
    },
  }
  const listen = world.peer(1).address
  const node = createNode({ ...DEFAULT_NODE_OPTIONS, listen }, { ...effects, network: failing })
  await world.settle(node.start())
  assert.is((await rejection(world.settle(node.stop()))).code, 'INTERNAL')
  assert.ok(await world.settle(effects.storage.readFile(CLEAN_STOP_FILE)))
})

test('the status has a row for every member, and says who is down', async () => {
  const { world, peers } = await cluster(3)
  const [first, , third] = peers as [TestPeer, TestPeer, TestPeer]
  const healthy = await world.settle(first.node.service.status())
  assert.equal(
    healthy.peers.map(({ address, state }) => [address, state]),
    [
      ['10.0.0.1:7000', 'UN'],
      ['10.0.0.2:7000', 'UN'],
      ['10.0.0.3:7000', 'UN'],
    ],
  )
  assert.equal(healthy.warnings, [])
  assert.ok(healthy.peers.every(({ keys }) => keys === 0))
  third.crash()
  await world.pass(5_000)
  const status = await world.settle(first.node.service.status())
  const row = status.peers.find(({ address }) => address === third.address)
  assert.equal([row?.state, row?.keys], ['DN', null])
  assert.match(status.warnings.join(), /10\.0\.0\.3:7000 is down/)
  assert.ok(Math.abs(status.peers.reduce((sum, { share }) => sum + share, 0) - 1) < 1e-9)
})

test('the ring and the location of a key agree', async () => {
  const { world, peers } = await cluster(3)
  const { service } = (peers[0] as TestPeer).node
  const ring = await world.settle(service.ring())
  const found = await world.settle(service.locate('default', utf8('k')))
  assert.is(ring.partitionCount, 16)
  assert.equal(ring.partitions[found.partition]?.owners, found.owners)
  assert.is(found.replicas, 3)
  assert.is((await rejection(service.locate('nope', utf8('k')))).code, 'NOT_FOUND')
})

test('a keyspace is made once, known everywhere, and dropped with what it held', async () => {
  const { world, peers } = await cluster(3)
  const [first, second] = peers as [TestPeer, TestPeer]
  const made = await world.settle(first.node.service.createKeyspace('new', DEFAULT_KEYSPACE_OPTIONS))
  const again = await world.settle(second.node.service.createKeyspace('new', DEFAULT_KEYSPACE_OPTIONS))
  assert.equal(again, made)
  const other = { ...DEFAULT_KEYSPACE_OPTIONS, replicas: 2 }
  const conflict = await rejection(world.settle(second.node.service.createKeyspace('new', other)))
  assert.is(conflict.code, 'CONFLICT')
  const kv = world.client(first)
  await world.settle(kv.put('k', 'v', { keyspace: 'new' }))
  await world.settle(second.node.service.dropKeyspace('new'))
  await world.pass(2_000)
  assert.is((await rejection(world.settle(kv.get('k', { keyspace: 'new' })))).code, 'NOT_FOUND')
  await world.settle(first.node.service.createKeyspace('new', DEFAULT_KEYSPACE_OPTIONS))
  await world.pass(500)
  assert.is((await world.settle(kv.get('k', { keyspace: 'new' }))).value, null, 'it is another one')
  await world.settle(second.node.service.dropKeyspace(made.id))
  const isThere = second.node.configuration?.keyspaces.some(({ name }) => name === 'new')
  assert.ok(isThere, 'which a drop of the first one spares')
  const unknown = await rejection(world.settle(first.node.service.dropKeyspace('nowhere')))
  assert.is(unknown.code, 'NOT_FOUND')
  assert.is(
    (await rejection(world.settle(first.node.service.dropKeyspace('default')))).code,
    'INVALID_ARGUMENT',
  )
})

test('a peer that was away when a keyspace was dropped drops its records when it is back', async () => {
  const { world, peers } = await cluster(3)
  const [first, , third] = peers as [TestPeer, TestPeer, TestPeer]
  const { service } = first.node
  await world.settle(service.createKeyspace('new', DEFAULT_KEYSPACE_OPTIONS))
  await world.settle(world.client(first).put('k', 'v', { keyspace: 'new', w: 'all' }))
  await third.stop()
  await world.pass(5_000)
  await world.settle(service.dropKeyspace('new'))
  await third.start()
  await world.pass(5_000)
  const { peers: rows } = await world.settle(service.status())
  assert.equal(
    rows.map(({ keys }) => keys),
    [0, 0, 0],
  )
})

/** What is thrown at once counts as a rejection. */
async function asked(ask: () => Promise<unknown>): Promise<unknown> {
  return ask()
}

test('a peer answers those that ask before it has joined, and goes on', async () => {
  const world = new NodeWorld()
  const [first, second] = [world.peer(1), world.peer(2)]
  const starting = second.begin({ join: [first.address] })
  await world.pass(100)
  for (const act of [
    (it: KvService) => it.status(),
    (it: KvService) => it.ring(),
    (it: KvService) => it.keyspaces(),
  ]) {
    assert.is((await rejection(asked(() => act(second.node.service)))).code, 'UNAVAILABLE')
  }
  assert.is((await rejection(asked(() => write(second.node.service, 'k', 'v')))).code, 'UNAVAILABLE')
  await first.start()
  await world.settle(starting)
})

test.run()
