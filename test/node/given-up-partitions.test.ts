/** Partitions that peers give up, and own again later, while clients go on. */
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { present } from '../../src/base/assert.ts'
import { text, utf8 } from '../../src/base/bytes.ts'
import type { KeyspaceId } from '../../src/base/ids.ts'
import type { Client, Written } from '../../src/client/client.ts'
import { createRing, type Ring } from '../../src/protocol/ring.ts'
import { NodeWorld, type TestPeer } from './node-world.ts'

const test = suite('partitions given up')
const KEYS = Array.from({ length: 60 }, (_, i) => `key-${i}`)
const PURGE = { purgeAfterMs: 10_000, expiryGraceMs: 1000 }

interface Cluster {
  readonly world: NodeWorld
  readonly peers: readonly TestPeer[]
  /** Knows that peer alone. */
  readonly clients: ReadonlyMap<TestPeer, Client>
  /** By key: who owns it with three copies, and not with two. */
  readonly thirds: ReadonlyMap<string, TestPeer>
}

function ringOf({ node }: TestPeer): Ring {
  return createRing(present(node.configuration, 'it is in a cluster'))
}

async function cluster(seed: string): Promise<Cluster> {
  const world = new NodeWorld(seed)
  const peers: TestPeer[] = []
  for (let place = 1; place <= 4; place++) {
    const join = peers.map(({ address }) => address)
    peers.push(await world.peer(place, { join, purge: PURGE }).start())
  }
  assert.ok(await world.until(() => isStable(peers)))
  const clients = new Map(peers.map((peer) => [peer, world.client(peer)]))
  const ring = ringOf(peers[0] as TestPeer)
  const thirds = new Map<string, TestPeer>()
  for (const key of KEYS) {
    const keyspace = present(ring.keyspace('default'), 'there is one')
    const third = ring.readOwners(keyspace, ring.partitionOf(utf8(key)))[2]
    thirds.set(
      key,
      present(
        peers.find(({ node }) => node.nodeId === third),
        'a key has three owners',
      ),
    )
  }
  return { world, peers, clients, thirds }
}

function isStable(peers: readonly TestPeer[]): boolean {
  const number = peers[0]?.node.configuration?.number
  return peers.every(({ node: { configuration } }) => {
    return (
      configuration?.phase === 'stable' &&
      configuration.members.length === 4 &&
      configuration.number === number
    )
  })
}

async function alter({ world, peers }: Cluster, replicas: number): Promise<void> {
  const number = peers[0]?.node.configuration?.number ?? 0
  await world.settle((peers[0] as TestPeer).node.service.alterKeyspace('default', { replicas }))
  const isDone = (): boolean => isStable(peers) && (peers[0]?.node.configuration?.number ?? 0) > number
  assert.ok(await world.until(isDone))
}

/** How many records of these keys lie with those who own them, or with those who do not. */
function count(peers: readonly TestPeer[], isOwned: boolean): number {
  let records = 0
  for (const peer of peers) {
    const ring = ringOf(peer)
    for (const key of KEYS.map(utf8)) {
      const partition = ring.partitionOf(key)
      const { nodeId, store } = peer.node
      if (ring.isLeftOver(nodeId, 1 as KeyspaceId, partition) === isOwned) continue
      if (store.read(1 as KeyspaceId, partition, key) !== null) records += 1
    }
  }
  return records
}

test('no write that straddles finish stays where it is owned no more; no purged key returns', async () => {
  const all = await cluster('straddle')
  const { world, peers, clients, thirds } = all
  const put = (key: string, value: string): Promise<unknown> =>
    present(clients.get(present(thirds.get(key), 'it has')), 'each has one').put(key, value)
  await world.settle(Promise.all(KEYS.map((key) => put(key, 'v1'))))
  await world.settle((peers[0] as TestPeer).node.service.alterKeyspace('default', { replicas: 2 }))
  const { scheduler } = world.sim
  let puts = 0
  let nextMs = 0
  await world.until(() => {
    if (scheduler.nowMs >= nextMs && peers.some(({ node }) => node.configuration?.phase === 'switched')) {
      nextMs = scheduler.nowMs + 1
      for (let i = 0; i < 4; i++) {
        puts += 1
        put(KEYS[puts % KEYS.length] as string, `v${puts + 1}`).catch(() => undefined)
      }
    }
    return isStable(peers) && puts > 0
  })
  await world.pass(10_000)
  assert.not.ok(world.logged.includes('actor.impostor'))
  assert.is(count(peers, false), 0)
  const client = world.client(...peers)
  await world.settle(Promise.all(KEYS.map((key) => client.delete(key))))
  await world.pass(120_000)
  assert.is(count(peers, true), 0, 'all is purged')
  await alter(all, 3)
  const replies = await world.settle(Promise.all(KEYS.map((key) => client.get(key))))
  assert.is(replies.filter(({ values }) => values.length > 0).length, 0)
})

test('a put at who owns a key again does not replace what he minted when he owned it before', async () => {
  const all = await cluster('dots')
  const { world, peers, clients, thirds } = all
  const client = world.client(...peers)
  const put = (key: string, value: string, context: string): Promise<Written> =>
    present(clients.get(present(thirds.get(key), 'it has')), 'each has one').put(key, value, { context })
  const first = await world.settle(Promise.all(KEYS.map((key) => client.put(key, 'v0'))))
  const contexts = new Map(KEYS.map((key, i) => [key, present(first[i], 'each has one').context]))
  await world.settle(Promise.all(KEYS.map((key) => put(key, 'v1', present(contexts.get(key), 'it has')))))
  await world.pass(1000)
  await alter(all, 2)
  await world.pass(5000)
  await world.settle((peers[0] as TestPeer).node.service.alterKeyspace('default', { replicas: 3 }))
  // In the moment in which each of them owns its keys again, and has copied nothing yet.
  const done = new Set<TestPeer>()
  const puts: Promise<unknown>[] = []
  await world.until(() => {
    for (const peer of peers) {
      if (done.has(peer) || peer.node.configuration?.phase !== 'begun') continue
      done.add(peer)
      const keys = KEYS.filter((key) => thirds.get(key) === peer)
      puts.push(...keys.map((key) => put(key, 'v2', present(contexts.get(key), 'it has'))))
    }
    return done.size === peers.length
  })
  await world.settle(Promise.all(puts))
  assert.is(puts.length, KEYS.length)
  assert.ok(await world.until(() => isStable(peers)))
  const replies = await world.settle(Promise.all(KEYS.map((key) => client.get(key, { r: 'all' }))))
  for (const { values } of replies) {
    assert.equal(values.map(({ value }) => text(value)).sort(), ['v1', 'v2'])
  }
})

test.run()
