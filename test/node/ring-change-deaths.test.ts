/** How a change of the ring gets through when peers die for good, or one leaves and nobody heard of it. */
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { text } from '../../src/base/bytes.ts'
import type { Client } from '../../src/client/client.ts'
import type { NodeWorld, TestPeer } from './node-world.ts'
import { cluster, die, isStable, oneCopy, rejection } from './ring-cluster.ts'

const test = suite('deaths while the ring changes')
const KEYS = 60
/** Before a peer has the last step of a change, the driver is proposing that. */
const EARLIER_MS = [4, 5.5, 7]

async function fill(world: NodeWorld, client: Client): Promise<void> {
  const writes = Array.from({ length: KEYS }, (_, i) => client.put(`key-${i}`, `value ${i}`))
  await world.settle(Promise.all(writes))
  await world.pass(500)
}

/** How many of the keys can be read, and show their values. */
async function readable(world: NodeWorld, client: Client): Promise<number> {
  const reads = Array.from({ length: KEYS }, (_, i) => client.get(`key-${i}`))
  const replies = await world.settle(Promise.allSettled(reads))
  return replies.filter((reply, i) => {
    const [value] = reply.status === 'fulfilled' ? reply.value.values : []
    return value !== undefined && text(value.value) === `value ${i}`
  }).length
}

test('a new owner that dies for good after the switch is left out, and nobody drops anything', async () => {
  const { world, peers, first, client } = await cluster(3, 'a new owner dies')
  await oneCopy(world, first, peers)
  await fill(world, client)
  const fourth = world.peer(4, { join: peers.map(({ address }) => address) })
  void fourth.begin().catch(() => undefined)
  assert.ok(await world.until(() => fourth.node.configuration?.phase === 'switched'))
  await die(world, first, fourth)
  await world.settle(first.node.service.remove(fourth.address))
  assert.ok(await world.until(() => isStable(peers, 3)))
  assert.equal(first.node.configuration?.removed, [fourth.node.nodeId])
  assert.is(await readable(world, client), KEYS)
  const fifth = await world.peer(5, { join: peers.map(({ address }) => address) }).start()
  assert.ok(await world.until(() => isStable([...peers, fifth], 4)), 'the ring can be changed again')
  assert.is(await readable(world, client), KEYS)
})

test('who may have the only copies is not removed, and comes back with them', async () => {
  const { world, peers, first, client } = await cluster(3, 'the only copies')
  const [, second, third] = peers as [TestPeer, TestPeer, TestPeer]
  await oneCopy(world, first, peers)
  await fill(world, client)
  await die(world, first, third)
  const refused = await rejection(world.settle(first.node.service.remove(third.address)))
  assert.is(refused.code, 'CONFLICT')
  assert.match(refused.message, /0 of 1 owners of partition \d+ of keyspace default would be left/)
  assert.match(refused.message, /start 10\.0\.0\.3:7000 again, or .*'kvctl remove .* --accept-loss'/)
  assert.ok(isStable([first, second], 3))
  await world.settle(third.begin())
  assert.is(await readable(world, client), KEYS)
  await die(world, first, third)
  await world.settle(first.node.service.remove(third.address, true))
  assert.ok(await world.until(() => isStable([first, second], 2)))
  const left = await readable(world, world.client(first, second))
  assert.ok(left > 0 && left < KEYS, `${left} left`)
})

test('in the middle of a change, too, and with its loss accepted the change goes on', async () => {
  for (const phase of ['begun', 'switched'] as const) {
    const { world, peers, first, client } = await cluster(3, `the only copies, ${phase}`)
    const [, second, third] = peers as [TestPeer, TestPeer, TestPeer]
    await oneCopy(world, first, peers)
    await fill(world, client)
    const fourth = world.peer(4, { join: peers.map(({ address }) => address) })
    void fourth.begin().catch(() => undefined)
    assert.ok(await world.until(() => first.node.configuration?.phase === phase))
    await die(world, first, third)
    const refused = await rejection(world.settle(first.node.service.remove(third.address)))
    assert.match(refused.message, /'kvctl remove .* --accept-loss'/, phase)
    await world.settle(first.node.service.remove(third.address, true))
    const left = [first, second, fourth]
    assert.ok(await world.until(() => isStable(left, 3)), phase)
    const found = await readable(world, world.client(...left))
    assert.ok(found > 0 && found < KEYS, `${found} left, ${phase}`)
    await world.settle(first.node.service.alterKeyspace('default', { replicas: 3 }))
    await world.pass(4000)
    assert.ok(isStable(left, 3), 'the ring can be changed again')
    assert.is(await readable(world, world.client(...left)), found, phase)
  }
})

test('two members that are down for good are removed, one after the other', async () => {
  const { world, peers, first, client } = await cluster(5, 'two are down')
  await fill(world, client)
  const [gone, alsoGone] = peers.slice(3) as [TestPeer, TestPeer]
  await world.settle(first.node.service.alterKeyspace('default', { replicas: 5 }))
  assert.ok(await world.until(() => first.node.configuration?.phase === 'begun'))
  assert.ok(await world.until(() => isStable(peers, 5)))
  await die(world, first, gone, alsoGone)
  for (const { address } of [gone, alsoGone]) await world.settle(first.node.service.remove(address))
  const rest = peers.slice(0, 3)
  assert.ok(await world.until(() => isStable(rest, 3)))
  assert.is(await readable(world, world.client(...rest)), KEYS)
})

test('in the middle of a change, too, in every phase', async () => {
  for (const phase of ['begun', 'switched'] as const) {
    const { world, peers, first, client } = await cluster(5, `two are down, ${phase}`)
    await world.settle(first.node.service.alterKeyspace('default', { replicas: 5 }))
    assert.ok(await world.until(() => first.node.configuration?.phase === 'begun'))
    assert.ok(await world.until(() => isStable(peers, 5)))
    await fill(world, client)
    const sixth = world.peer(6, { join: peers.map(({ address }) => address) })
    void sixth.begin().catch(() => undefined)
    assert.ok(await world.until(() => first.node.configuration?.phase === phase))
    const gone = peers.slice(3)
    await die(world, first, ...gone)
    for (const { address } of gone) await world.settle(first.node.service.remove(address))
    const rest = [...peers.slice(0, 3), sixth]
    assert.ok(await world.until(() => isStable(rest, 4)), phase)
    assert.is(await readable(world, world.client(...rest)), KEYS)
  }
})

test('who leaves drives no change that others can drive', async () => {
  const { world, peers, first } = await cluster(4, 'who drives')
  const [lowest] = [...peers].sort((a, b) => (a.node.nodeId < b.node.nodeId ? -1 : 1)) as [TestPeer]
  await world.settle(first.node.service.leave(lowest.address))
  const rest = peers.filter((peer) => peer !== lowest)
  assert.ok(await world.until(() => isStable(rest, 3)))
  assert.not.equal(rest[0]?.node.configuration?.decidedBy, lowest.node.nodeId)
})

test('who has left tells those that do not know, before it stops', async () => {
  await afterEachCut(async ({ world, leaver, others }, when) => {
    if (others.some(knowsTheEnd)) return false
    assert.ok(await world.until(() => isStable(others, 3)), when)
    assert.ok(await world.until(() => leaver.hasLeft), when)
    assert.not(world.logged.includes('node.farewell_unheard'))
    return true
  })
})

/**
 * A peer leaves; from a moment on, if one is given, the driver reaches nobody but that peer, and it dies once
 * that peer has the last step. Null: it never got it.
 */
async function leaveDriven(cutMs: number | null) {
  const { world, peers, first, client } = await cluster(4, 'nobody heard')
  await fill(world, client)
  const [driver, ...rest] = [...peers].sort((a, b) => (a.node.nodeId < b.node.nodeId ? -1 : 1))
  const acceptors = first.node.configuration?.acceptors.map(({ nodeId }) => nodeId)
  // The driver and the leaver are a majority.
  const leaver = rest.find(({ node }) => acceptors?.includes(node.nodeId))
  if (driver === undefined || leaver === undefined) throw new Error('four peers, of whom three vote')
  const others = peers.filter((peer) => peer !== leaver && peer !== driver)
  await world.settle(first.node.service.leave(leaver.address))
  assert.ok(await world.until(() => leaver.node.configuration?.phase === 'switched'))
  if (cutMs !== null) {
    await world.sim.scheduler.run(cutMs)
    const otherHosts = others.map(({ host }) => host.name)
    const touches = (from: string, to: string): boolean => {
      return from === driver.host.name && otherHosts.includes(to)
    }
    world.sim.paths.add({ touches, cut: true })
  }
  const hasLast = (): boolean => leaver.node.configuration?.reason === 'finish'
  if (!(await world.until(hasLast, 2000))) return null
  if (cutMs !== null) driver.crash()
  return { world, leaver, others, atMs: world.sim.scheduler.nowMs }
}

type Left = NonNullable<Awaited<ReturnType<typeof leaveDriven>>>

/** @param look false: somebody else knew that it was over */
async function afterEachCut(look: (left: Left, when: string) => Promise<boolean>): Promise<void> {
  const finishedMs = (await leaveDriven(null))?.atMs ?? 0
  let unheard = 0
  for (const earlierMs of EARLIER_MS) {
    const left = await leaveDriven(finishedMs - earlierMs)
    if (left !== null && (await look(left, `${earlierMs} ms`))) unheard += 1
  }
  assert.ok(unheard > 0, 'nobody knew but the one that left')
}

function knowsTheEnd({ node }: TestPeer): boolean {
  return node.configuration?.phase === 'stable'
}

test('one that left is told so when it is started again', async () => {
  const { world, peers, first } = await cluster(4, 'started again')
  const last = peers[3] as TestPeer
  await world.settle(first.node.service.leave(last.address))
  assert.ok(await world.until(() => last.hasLeft))
  await last.stop()
  for (const afterMs of [0, 20_000]) {
    await world.pass(afterMs)
    const back = await rejection(world.settle(last.begin()))
    assert.is(back.code, 'CONFLICT')
    assert.match(
      back.message,
      /has left its cluster and handed over .* of no more use; .* needs an empty one/,
    )
    await last.stop()
  }
})

test('one that stopped before anybody heard of it tells them when it is started again', async () => {
  await afterEachCut(async ({ world, leaver, others }, when) => {
    leaver.crash()
    await world.pass(5000)
    if (others.some(knowsTheEnd)) return false
    assert.is((await rejection(world.settle(leaver.begin()))).code, 'CONFLICT')
    assert.ok(isStable(others, 3), when)
    return true
  })
})

// Campaign seed 3 of changes of the ring: its own words about the other ended it.
test('one that dials a peer which was removed does not take itself for that peer', async () => {
  const { world, peers, first } = await cluster(3, 'who was removed')
  const [, second, third] = peers as [TestPeer, TestPeer, TestPeer]
  const touches = (...hosts: string[]): boolean => hosts.includes(third.host.name)
  world.sim.paths.add({ touches, cut: true })
  assert.ok(await world.until(() => !first.node.membership.isAlive(third.node.nodeId)))
  await world.settle(first.node.service.remove(third.address))
  assert.ok(await world.until(() => isStable([first, second], 2)))
  for (const peer of [first, second]) peer.crash()
  world.sim.paths.clear()
  let failure: unknown = null
  const join = [first.address, third.address]
  const started = second.begin({ join }).catch((error: unknown) => {
    failure = error
  })
  await world.pass(20_000)
  assert.is(failure, null)
  await world.settle(first.begin())
  await world.settle(started)
  assert.equal([failure, first.node.isReady, second.node.isReady], [null, true, true])
})

test.run()
