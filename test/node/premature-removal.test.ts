/** Who is down is not given up while one of those that would be left does not have all that he has. */
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { present } from '../../src/base/assert.ts'
import { type Bytes, text } from '../../src/base/bytes.ts'
import { KIND } from '../../src/store/keys.ts'
import { parseLayoutChange } from '../../src/wire/layout.ts'
import type { NodeWorld, TestPeer } from './node-world.ts'
import { cluster, die, isStable, type RingCluster, rejection } from './ring-cluster.ts'

const test = suite('removals too early')
const KEYS = 200
const FEW = /1 of 3 owners of partition \d+ of keyspace default would be left that have all of it/

interface Scene extends RingCluster {
  readonly a: TestPeer
  /** Its disk was wiped; it is catching up, and needs the next. */
  readonly b: TestPeer
  /** It is down, and has the only copies of what was written while `a` was down, and `b` lost. */
  readonly c: TestPeer
  readonly rest: readonly TestPeer[]
}

async function scene(seed: string): Promise<Scene> {
  const made = await cluster(5, seed)
  const { world, first, peers } = made
  const [, e, a, b, c] = peers as [TestPeer, TestPeer, TestPeer, TestPeer, TestPeer]
  await world.settle(first.node.service.alterKeyspace('default', { quorum: 'strict' }))
  await world.pass(3000)
  await die(world, first, a)
  const client = world.client(first, e, b, c)
  const writes = Array.from({ length: KEYS }, (_, i) => client.put(`key-${i}`, `value ${i}`))
  await world.settle(Promise.all(writes))
  await world.pass(500)
  b.crash()
  b.host.disk.wipe()
  await world.settle(a.begin())
  void b.begin({ join: [first, e, c, a].map(({ address }) => address) }).catch(() => undefined)
  assert.ok(
    await world.until(() => b.node.configuration !== null && b.node.store.completeness.fence !== null),
  )
  await die(world, first, c)
  await world.pass(15_000)
  return { ...made, a, b, c, rest: [first, e, a, b] }
}

async function readable(world: NodeWorld, peers: readonly TestPeer[]): Promise<number> {
  const client = world.client(...peers)
  const reads = Array.from({ length: KEYS }, (_, i) => client.get(`key-${i}`))
  const replies = await world.settle(Promise.allSettled(reads), 60_000)
  return replies.filter((reply, i) => {
    const [value] = reply.status === 'fulfilled' ? reply.value.values : []
    return value !== undefined && text(value.value) === `value ${i}`
  }).length
}

test('a member is not removed while another one catches up that needs it', async () => {
  const { world, first, b, c, rest, peers } = await scene('removed')
  const { service } = first.node
  const refused = await rejection(world.settle(service.remove(c.address)))
  assert.is(refused.code, 'CONFLICT')
  assert.match(refused.message, FEW)
  assert.match(refused.message, /\(10\.0\.0\.4:7000 lacks some of it: catching up/)
  assert.match(refused.message, /: wait until 10\.0\.0\.4:7000 has caught up \(/)
  assert.match(
    refused.message,
    /, start 10\.0\.0\.5:7000 again, or give up .*'kvctl remove .* --accept-loss'$/,
  )
  assert.equal(first.node.configuration?.excluded, [])
  await world.settle(c.begin())
  assert.ok(await world.until(() => b.node.store.completeness.cause === null))
  assert.is(await readable(world, peers), KEYS)
  await die(world, first, c)
  await world.settle(service.remove(c.address))
  assert.ok(await world.until(() => isStable(rest, 4), 60_000))
  assert.is(await readable(world, rest), KEYS)
})

test('with the loss accepted it goes, and who needs it says what is left to be done', async () => {
  const { world, first, b, c, rest } = await scene('accepted')
  const { service } = first.node
  await world.settle(service.remove(c.address, true))
  await world.pass(20_000)
  const { warnings } = await world.settle(service.status())
  const advice = /needs 10\.0\.0\.5:7000, which is being removed: 'kvctl repair --accept-loss' goes on/
  assert.ok(
    warnings.some((warning) => advice.test(warning)),
    warnings.join('\n'),
  )
  await world.settle(service.repair({ keyspace: null, round: 'accepted', acceptLoss: true }))
  assert.ok(await world.until(() => b.node.store.completeness.cause === null && isStable(rest, 4), 60_000))
  const found = await readable(world, rest)
  assert.ok(found > 0 && found < KEYS, `${found} left`)
})

test('nobody takes its place either, and the reason is shown, until it was there once more', async () => {
  const { world, first, b, c, rest } = await scene('replaced')
  const join = rest.map(({ address }) => address)
  const sixth = world.peer(6, { join, replace: c.address })
  void sixth.begin().catch(() => undefined)
  await world.pass(20_000)
  assert.equal(first.node.configuration?.phase, 'stable')
  assert.equal(first.node.configuration?.excluded, [])
  const { layout, warnings } = await world.settle(first.node.service.status())
  const ways = 'wait until 10\\.0\\.0\\.4:7000 has.*, start 10\\.0\\.0\\.5:7000 again'
  const why = new RegExp(`waits: 1 of 3 owners of .* \\(10\\.0\\.0\\.4:7000 lacks some of it.*${ways}`)
  assert.match(layout.pending ?? '', why)
  assert.ok(
    warnings.some((warning) => why.test(warning)),
    warnings.join('\n'),
  )
  await world.settle(c.begin())
  assert.ok(await world.until(() => b.node.store.completeness.cause === null))
  c.crash()
  const five = [...rest, sixth]
  assert.ok(await world.until(() => isStable(five, 5), 60_000))
  assert.ok(first.node.configuration?.removed.includes(c.node.nodeId))
  assert.is(await readable(world, five), KEYS)
})

// Killed, it has to find out what it holds, and cannot.
test('what a disk does not give counts as little as what it lost, in an open change, too', async () => {
  const { world, peers, client } = await cluster(4, 'unreadable')
  const [first, second, , last] = peers as [TestPeer, TestPeer, TestPeer, TestPeer]
  await world.settle(Promise.all(Array.from({ length: KEYS }, (_, i) => client.put(`key-${i}`, 'value'))))
  await world.pass(500)
  const fifth = world.peer(5, { join: [first.address] })
  void fifth.begin().catch(() => undefined)
  assert.ok(await world.until(() => first.node.configuration?.phase === 'begun'))
  second.crash('process')
  spoil(second)
  await world.settle(second.begin())
  await die(world, first, last)
  const refused = await rejection(world.settle(first.node.service.remove(last.address)))
  assert.match(
    refused.message,
    /\(10\.0\.0\.2:7000 lacks some of it: catching up, or its disk does not give it\)/,
  )
  const sixth = world.peer(6, { join: [first.address], replace: last.address })
  void sixth.begin().catch(() => undefined)
  await world.pass(20_000)
  const { phase, excluded } = first.node.configuration ?? {}
  assert.equal([phase, excluded], ['begun', []])
  const { layout } = await world.settle(first.node.service.status())
  assert.match(layout.pending ?? '', /waits: 1 of 3 owners .* \(10\.0\.0\.2:7000 lacks some of it/)
})

test('who does not answer does not count, where removals were staged, too', async () => {
  const { world, first, peers } = await cluster(5, 'silent')
  const [silent, gone] = peers.slice(3) as [TestPeer, TestPeer]
  const { service } = first.node
  const change = (given: object) => world.settle(service.changeLayout(parseLayoutChange(given)))
  await die(world, first, silent, gone)
  const refused = await rejection(world.settle(service.remove(gone.address)))
  assert.match(refused.message, /left that have all of it \(10\.0\.0\.4:7000 does not answer\)/)
  assert.match(refused.message, /: start 10\.0\.0\.4:7000, 10\.0\.0\.5:7000 again, or give up/)
  await change({ action: 'remove', peer: gone.address })
  const number = first.node.configuration?.number ?? 0
  const unapplied = await rejection(change({ action: 'apply', number }))
  assert.match(unapplied.message, /\(10\.0\.0\.4:7000 does not answer\).* --number \d+ --accept-loss'$/)
  assert.is(first.node.configuration?.number, number)
  await world.settle(silent.begin())
  await change({ action: 'apply', number })
  assert.ok(await world.until(() => isStable(peers.slice(0, 4), 4), 60_000))
})

/** Not the first record of all: a peer that cannot read that does not start. */
function spoil({ host: { disk } }: TestPeer): void {
  const found: Bytes[] = []
  for (const place = disk.newest.begin; place.valid; place.next()) {
    const key = place.key as Bytes
    if (key[0] === KIND.record) found.push(key)
  }
  disk.spoil(present(found[3], 'it holds some'))
}

test.run()
