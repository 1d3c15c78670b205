import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { text, utf8 } from '../../src/base/bytes.ts'
import type { KeyspaceId } from '../../src/base/ids.ts'
import type { Client } from '../../src/client/client.ts'
import { createRing } from '../../src/protocol/ring.ts'
import type { NodeWorld, TestPeer } from './node-world.ts'
import { cluster, isStable, rejection } from './ring-cluster.ts'

const test = suite('change of the ring')
const KEYS = 300

async function fill(world: NodeWorld, client: Client): Promise<void> {
  const writes = Array.from({ length: KEYS }, (_, i) => client.put(`key-${i}`, `value ${i}`))
  await world.settle(Promise.all(writes))
  await world.pass(500) // The third copies.
}

async function checkAll(world: NodeWorld, client: Client): Promise<void> {
  const reads = Array.from({ length: KEYS }, (_, i) => client.get(`key-${i}`, { r: 'all' }))
  const replies = await world.settle(Promise.all(reads))
  replies.forEach(({ values }, i) => {
    assert.equal(
      values.map(({ value }) => text(value)),
      [`value ${i}`],
    )
  })
}

/** How many records each peer holds of what it owns, and of what it does not. */
function holdings(peers: readonly TestPeer[]): { own: number; foreign: number } {
  let [own, foreign] = [0, 0]
  for (const { node } of peers) {
    const ring = createRing(node.configuration as NonNullable<typeof node.configuration>)
    const [keyspace] = ring.configuration.keyspaces
    for (let i = 0; i < KEYS; i++) {
      const key = utf8(`key-${i}`)
      const partition = ring.partitionOf(key)
      if (node.store.read(1 as KeyspaceId, partition, key) === null) continue
      const isOwn = keyspace !== undefined && ring.isOwner(node.nodeId, keyspace, partition)
      if (isOwn) own += 1
      else foreign += 1
    }
  }
  return { own, foreign }
}

test('peers join a cluster with data: they take over their part, and the old owners drop it', async () => {
  const { world, peers } = await cluster(3, 'ring change')
  const client = world.client(...peers)
  await fill(world, client)
  assert.equal(holdings(peers), { own: 3 * KEYS, foreign: 0 })
  for (const place of [4, 5]) {
    const join = peers.map(({ address }) => address)
    peers.push(await world.peer(place, { join }).start())
    assert.ok(await world.until(() => isStable(peers, place)))
    await checkAll(world, client)
    assert.ok(await world.until(() => holdings(peers).foreign === 0))
    assert.equal(holdings(peers), { own: 3 * KEYS, foreign: 0 })
  }
})

test('a peer alone is joined by two at once', async () => {
  const { world, peers } = await cluster(1, 'ring change')
  const client = world.client(...peers)
  await fill(world, client)
  const join = [(peers[0] as TestPeer).address]
  for (const place of [2, 3]) {
    const peer = world.peer(place, { join })
    void peer.begin().catch(() => undefined)
    peers.push(peer)
  }
  assert.ok(await world.until(() => isStable(peers, 3)))
  assert.equal(holdings(peers), { own: 3 * KEYS, foreign: 0 })
  await checkAll(world, client)
})

test('what a peer takes over is one of its tasks', async () => {
  const { world, peers } = await cluster(2, 'ring change')
  await fill(world, world.client(...peers))
  const third = await world.peer(3, { join: peers.map(({ address }) => address) }).start()
  assert.ok(await world.until(() => isStable([...peers, third], 3)))
  const { tasks } = await world.settle((peers[0] as TestPeer).node.service.tasks())
  const task = tasks.find(({ kind, peer }) => kind === 'takeover' && peer === third.node.nodeId)
  assert.equal([task?.state, task?.unit, task?.done, task?.total], ['done', 'partitions', 16, 16])
  assert.is(task?.repaired, KEYS, 'each record came once')
})

test('a newcomer that was started again copies nothing that it has', async () => {
  const { world, peers } = await cluster(3, 'copied once')
  await fill(world, world.client(...peers))
  const [first, second] = peers as [TestPeer, TestPeer]
  const fourth = world.peer(4, { join: peers.map(({ address }) => address) })
  void fourth.begin().catch(() => undefined)
  assert.ok(await world.until(() => fourth.node.configuration?.phase === 'begun'))
  second.crash() // It holds the change open.
  const copied = async (): Promise<number> => {
    await world.pass(20_000)
    const { tasks } = await world.settle(first.node.service.tasks())
    const own = tasks.find(({ kind, peer }) => kind === 'takeover' && peer === fourth.node.nodeId)
    return own?.repaired ?? Number.NaN
  }
  assert.ok((await copied()) > 0)
  fourth.crash()
  void fourth.begin().catch(() => undefined)
  assert.is(await copied(), 0)
  void second.begin().catch(() => undefined)
  assert.ok(await world.until(() => isStable([...peers, fourth], 4)))
})

test('owners that cannot give what is taken over yet are asked ever more rarely', async () => {
  const { world, peers } = await cluster(3, 'ever more rarely')
  await fill(world, world.client(...peers))
  const [first, second, third] = peers as [TestPeer, TestPeer, TestPeer]
  const fourth = world.peer(4, { join: peers.map(({ address }) => address) })
  void fourth.begin().catch(() => undefined)
  assert.ok(await world.until(() => fourth.node.configuration?.phase === 'begun'))
  third.crash()
  third.host.disk.wipe()
  void third.begin({ join: [first.address, second.address] }).catch(() => undefined)
  const isLetIn = (): boolean => first.node.configuration?.reason?.startsWith('readmit') === true
  assert.ok(await world.until(isLetIn))
  second.crash() // The third needs it to catch up.
  await world.pass(20_000)
  const comparisons = (): number => world.logged.filter((event) => event === 'takeover.compared').length
  const before = comparisons()
  await world.pass(60_000)
  assert.ok(comparisons() - before < 100, `${comparisons() - before} in a minute`)
})

test('a source, or the newcomer, that dies on the way is waited for, and goes on', async () => {
  for (const dying of [0, 1, 2, 3]) {
    const { world, peers } = await cluster(3, `dying ${dying}`)
    const client = world.client(...peers)
    await fill(world, client)
    const fourth = world.peer(4, { join: peers.map(({ address }) => address) })
    peers.push(fourth)
    void fourth.begin().catch(() => undefined)
    const isOpen = (): boolean => fourth.node.configuration?.phase === 'begun'
    assert.ok(await world.until(isOpen))
    const victim = peers[dying] as TestPeer
    victim.crash()
    await world.pass(10_000)
    for (const peer of peers) if (peer !== victim) assert.is(peer.node.configuration?.phase, 'begun')
    void victim.begin().catch(() => undefined)
    assert.ok(await world.until(() => isStable(peers, 4)), `${dying}`)
    await checkAll(world, client)
    assert.ok(await world.until(() => holdings(peers).foreign === 0))
  }
})

test('a peer leaves: the others take over what it owns, then it stops, and is a member no more', async () => {
  const { world, peers } = await cluster(4, 'ring change')
  const client = world.client(...peers)
  await fill(world, client)
  const [first, , , last] = peers as [TestPeer, TestPeer, TestPeer, TestPeer]
  await world.settle(first.node.service.leave(last.address))
  const rest = peers.slice(0, 3)
  assert.ok(await world.until(() => isStable(rest, 3)))
  assert.ok(await world.until(() => last.hasLeft))
  assert.equal(last.ends, [])
  await checkAll(world, world.client(...rest))
  assert.equal(holdings(rest), { own: 3 * KEYS, foreign: 0 })
  const status = await world.settle(first.node.service.status())
  assert.equal(status.warnings, [])
  assert.is((await rejection(world.settle(first.node.service.leave(last.address)))).code, 'NOT_FOUND')
})

test('any peer can be asked, also the one that is to leave, and the one that drives the change', async () => {
  for (const [asked, leaving] of [
    [3, 3],
    [0, 1],
    [2, 0],
  ] as const) {
    const { world, peers } = await cluster(4, `leave ${asked} ${leaving}`)
    await fill(world, world.client(...peers))
    const gone = peers[leaving] as TestPeer
    await world.settle((peers[asked] as TestPeer).node.service.leave(gone.address))
    const rest = peers.filter((peer) => peer !== gone)
    assert.ok(await world.until(() => isStable(rest, 3)))
    assert.ok(await world.until(() => gone.hasLeft))
    await checkAll(world, world.client(...rest))
  }
})

test('a peer that is down for good is removed, and what it owned is rebuilt', async () => {
  const { world, peers } = await cluster(4, 'ring change')
  await fill(world, world.client(...peers))
  const [first, , , last] = peers as [TestPeer, TestPeer, TestPeer, TestPeer]
  assert.is((await rejection(world.settle(first.node.service.remove(last.address)))).code, 'CONFLICT')
  last.crash()
  assert.ok(await world.until(() => !first.node.membership.isAlive(last.node.nodeId)))
  assert.is((await rejection(world.settle(first.node.service.leave(last.address)))).code, 'CONFLICT')
  await world.settle(first.node.service.remove(last.address))
  const rest = peers.slice(0, 3)
  assert.ok(await world.until(() => isStable(rest, 3)))
  await checkAll(world, world.client(...rest))
  assert.equal(holdings(rest), { own: 3 * KEYS, foreign: 0 })

  const back = await rejection(
    world
      .settle(last.begin())
      .then(() => world.pass(20_000))
      .then(() => {
        throw last.ends[0] ?? new Error('it goes on')
      }),
  )
  assert.is(back.code, 'CONFLICT')
  assert.match(back.message, /was removed from its cluster/)
})

test('a newcomer that dies for good on the way is left out', async () => {
  const { world, peers } = await cluster(3, 'ring change')
  await fill(world, world.client(...peers))
  const [first] = peers as [TestPeer]
  const fourth = world.peer(4, { join: peers.map(({ address }) => address) })
  void fourth.begin().catch(() => undefined)
  assert.ok(await world.until(() => fourth.node.configuration?.phase === 'begun'))
  fourth.crash()
  assert.ok(await world.until(() => !first.node.membership.isAlive(fourth.node.nodeId)))
  await world.settle(first.node.service.remove(fourth.address))
  assert.ok(await world.until(() => isStable(peers, 3)))
  await checkAll(world, world.client(...peers))
  assert.ok(await world.until(() => holdings(peers).foreign === 0))
})

test('an old owner that dies for good while another peer joins is left out, too', async () => {
  const { world, peers } = await cluster(3, 'ring change')
  await fill(world, world.client(...peers))
  const [first, , third] = peers as [TestPeer, TestPeer, TestPeer]
  const fourth = world.peer(4, { join: peers.map(({ address }) => address) })
  void fourth.begin().catch(() => undefined)
  assert.ok(await world.until(() => fourth.node.configuration?.phase === 'begun'))
  third.crash()
  assert.ok(await world.until(() => !first.node.membership.isAlive(third.node.nodeId)))
  await world.settle(first.node.service.remove(third.address))
  const rest = [...peers.slice(0, 2), fourth]
  assert.ok(await world.until(() => isStable(rest, 3)))
  await checkAll(world, world.client(...rest))
  assert.equal(holdings(rest), { own: 3 * KEYS, foreign: 0 })
})

test('a new peer takes the place of one that is down for good, once it is down', async () => {
  const { world, peers } = await cluster(4, 'ring change')
  await fill(world, world.client(...peers))
  const [first, , , last] = peers as [TestPeer, TestPeer, TestPeer, TestPeer]
  const join = peers.map(({ address }) => address)
  const stranger = world.peer(6, { join, replace: '10.0.0.9:7000' })
  assert.match((await rejection(stranger.start())).message, /10\.0\.0\.9:7000 is no member of this cluster/)
  await stranger.stop()

  const fifth = world.peer(5, { join, replace: last.address })
  void fifth.begin().catch(() => undefined)
  await world.pass(5000)
  const { layout } = await world.settle(fifth.node.service.status().catch(() => first.node.service.status()))
  assert.is(layout.phase, 'stable', 'it waits')
  const before = first.node.configuration?.number ?? 0
  last.crash()
  const rest = [...peers.slice(0, 3), fifth]
  assert.ok(await world.until(() => isStable(rest, 4)))
  assert.ok(first.node.configuration?.removed.includes(last.node.nodeId))
  assert.is(first.node.configuration?.number, before + 3, 'begin, switch and finish: one change')
  await checkAll(world, world.client(...rest))
  assert.ok(await world.until(() => holdings(rest).foreign === 0))
  assert.equal(holdings(rest), { own: 3 * KEYS, foreign: 0 })
})

// Campaign seed 1007 of changes of the ring: the newcomer waited for the change, and the change for the dead.
test('a change that waits for a peer whose successor is there goes on without it', async () => {
  const { world, peers } = await cluster(4, 'ring change')
  await fill(world, world.client(...peers))
  const [first, , , last] = peers as [TestPeer, TestPeer, TestPeer, TestPeer]
  const join = peers.map(({ address }) => address)
  const fifth = world.peer(5, { join })
  void fifth.begin().catch(() => undefined)
  assert.ok(await world.until(() => fifth.node.configuration?.phase === 'begun'))
  last.crash()
  assert.ok(await world.until(() => !first.node.membership.isAlive(last.node.nodeId)))
  const sixth = world.peer(6, { join, replace: last.address })
  void sixth.begin().catch(() => undefined)
  const rest = [...peers.slice(0, 3), fifth, sixth]
  assert.ok(await world.until(() => isStable(rest, 5)))
  assert.ok(first.node.configuration?.removed.includes(last.node.nodeId))
  await checkAll(world, world.client(...rest))
})

test('the number of copies is changed while it serves, and so is the strategy', async () => {
  const { world, peers } = await cluster(4, 'ring change')
  await fill(world, world.client(...peers))
  const { service } = (peers[0] as TestPeer).node
  const steps = [
    [{ replicas: 2 }, 2],
    [{ replicas: 4 }, 4],
    [{ replicas: 1 }, 1],
    [{ strategy: 'full' }, 4],
    [{ strategy: 'ring', replicas: 3 }, 3],
  ] as const
  for (const [shape, copies] of steps) {
    const number = peers[0]?.node.configuration?.number ?? 0
    await world.settle(service.alterKeyspace('default', shape))
    const isDone = (): boolean => isStable(peers, 4) && (peers[0]?.node.configuration?.number ?? 0) > number
    assert.ok(await world.until(isDone))
    await checkAll(world, world.client(...peers))
    assert.ok(await world.until(() => holdings(peers).foreign === 0))
    assert.equal(holdings(peers), { own: copies * KEYS, foreign: 0 }, JSON.stringify(shape))
  }
  await world.settle(service.alterKeyspace('default', { replicas: 3 }))
  assert.is(peers[0]?.node.configuration?.phase, 'stable', 'there was nothing to change')
  const wrong = await rejection(world.settle(service.alterKeyspace('default', { replicas: 8 })))
  assert.is(wrong.code, 'INVALID_ARGUMENT')
})

test('how many owners must answer is changed in any phase, and for all requests from then on', async () => {
  const { world, peers } = await cluster(3, 'ring change')
  const [first, , third] = peers as [TestPeer, TestPeer, TestPeer]
  const { service } = first.node
  const levels = { quorum: 'strict', r: 1, w: 3 } as const
  await world.settle(service.alterKeyspace('default', levels))
  for (const { node } of peers) {
    const { quorum, r, w, replicas } = node.configuration?.keyspaces[0] ?? {}
    assert.equal({ quorum, r, w, replicas }, { ...levels, replicas: 3 })
  }
  const { number } = first.node.configuration ?? {}
  await world.settle(service.alterKeyspace('default', levels))
  assert.is(first.node.configuration?.number, number, 'there was nothing to change')
  const few = await rejection(world.settle(service.alterKeyspace('default', { replicas: 2 })))
  assert.equal([few.code, few.message], ['INVALID_ARGUMENT', 'w is one, quorum, all or a number from 1 to 2'])
  await world.settle(service.alterKeyspace('default', { w: 'quorum', replicas: 2 }))
  third.crash() // It holds the change open.
  assert.is(first.node.configuration?.phase, 'begun')
  const early = await rejection(world.settle(service.alterKeyspace('default', { w: 3 })))
  assert.is(early.code, 'INVALID_ARGUMENT', 'soon there are two')
  await world.settle(service.alterKeyspace('default', { w: 2 }))
  void third.begin().catch(() => undefined)
  assert.ok(await world.until(() => isStable(peers, 3)))
  const { replicas, w, r } = first.node.configuration?.keyspaces[0] ?? {}
  assert.equal({ replicas, w, r }, { replicas: 2, w: 2, r: 1 })
})

test.run()
