import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import type { KvError } from '../../src/base/error.ts'
import { parseAddress } from '../../src/base/ids.ts'
import { Pauses } from '../../src/cluster/pauses.ts'
import { Identity } from '../../src/node/identity.ts'
import { takeVacantPlace } from '../../src/node/lost-directory.ts'
import { NodeWorld, type TestPeer } from './node-world.ts'

const test = suite('lost directory')

type Three = [TestPeer, TestPeer, TestPeer]

/** Each is started as the others are: all it knows is whom to join. */
async function cluster(seed: string): Promise<{ world: NodeWorld; peers: Three }> {
  const world = new NodeWorld(seed)
  const first = await world.peer(1).start()
  const join = [first.address]
  const peers: Three = [first, await world.peer(2, { join }).start(), await world.peer(3, { join }).start()]
  assert.ok(await world.until(() => peers.every(({ node }) => node.configuration?.members.length === 3)))
  assert.ok(await world.until(() => peers.every(({ node }) => node.configuration?.phase === 'stable')))
  return { world, peers }
}

function isComplete({ node }: TestPeer): boolean {
  return node.store.completeness.cause === null
}

function write(world: NodeWorld, peer: TestPeer, keys: readonly string[], value: string): Promise<unknown> {
  const kv = world.client(peer)
  return world.settle(Promise.all(keys.map((key) => kv.put(key, value, { w: 'all' }))))
}

function names(count: number): string[] {
  return Array.from({ length: count }, (_, i) => `key-${i}`)
}

test('an empty peer refuses to join nobody but itself, by whatever name, and no other', async () => {
  const world = new NodeWorld()
  const effects = world.boot(1)
  const identity = await world.settle(Identity.load(effects))
  const codeOf = async (listens: string, joins: readonly string[]): Promise<string> => {
    const listening = parseAddress(listens)
    const address = parseAddress(listens.replace('0.0.0.0', '10.0.0.1').replace('[::]', '10.0.0.1'))
    const place = { identity, replace: null, address, listening, pauses: new Pauses(effects.clock) }
    const join = joins.map(parseAddress)
    const attempt = takeVacantPlace(effects, { ...place, join, isStopped: () => true })
    return world.settle(attempt.then(String, (error: KvError) => error.code))
  }
  const itself: [string, string[]][] = [
    ['127.0.0.1:7001', ['127.0.0.1:7001']],
    ['127.0.0.1:7001', ['localhost:7001', '127.0.0.1:7001']],
    ['[::1]:7001', ['localhost:7001']],
    ['localhost:7001', ['127.0.0.1:7001']],
    ['0.0.0.0:7001', ['10.0.0.1:7001']],
    ['0.0.0.0:7001', ['localhost:7001', '127.0.0.1:7001', '0.0.0.0:7001']],
    ['[::]:7001', ['[::1]:7001']],
  ]
  for (const [listens, joins] of itself) assert.is(await codeOf(listens, joins), 'INVALID_ARGUMENT', listens)
  const others: [string, string[]][] = [
    ['127.0.0.1:7001', ['localhost:7002']],
    ['127.0.0.1:7001', ['localhost:7001', '127.0.0.1:7002']],
    ['127.0.0.1:7001', ['127.0.0.2:7001']],
    ['127.0.0.1:7001', ['[::1]:7001']],
    ['10.0.0.1:7001', ['localhost:7001']],
    ['0.0.0.0:7001', ['[::1]:7001']],
    ['0.0.0.0:7001', ['10.0.0.2:7001']],
  ]
  for (const [listens, joins] of others) assert.is(await codeOf(listens, joins), 'UNAVAILABLE', joins.join())
})

test('an empty peer that is to replace somebody, and to join nobody, founds no cluster', async () => {
  const world = new NodeWorld('replace alone')
  const peer = world.peer(1, { replace: '10.0.0.9:7000' })
  const refused = await world.settle(peer.begin().then(String, (error: KvError) => error))
  assert.is((refused as KvError).code, 'INVALID_ARGUMENT')
  assert.match(
    (refused as KvError).message,
    /10\.0\.0\.9:7000 is to be replaced: name another peer .* --join/,
  )
  peer.crash()
  const again = await world.peer(1, { replace: null }).start()
  assert.is(again.node.configuration?.members.length, 1, 'the directory is as empty as it was')
  await again.stop()
  await world.peer(1, { replace: '10.0.0.9:7000' }).start() // It is somebody already.
})

test('a peer whose directory was wiped is the same member again, with all data', async () => {
  const { world, peers } = await cluster('wiped')
  const [first, , third] = peers
  await write(world, first, names(200), 'v')
  const acceptorOf = ({ node }: TestPeer) =>
    node.configuration?.acceptors.find((one) => one.nodeId === nodeId)
  const { nodeId } = third.node
  const { storeId } = third.node.store
  const acceptorId = acceptorOf(first)?.acceptorId
  third.crash('process')
  third.host.disk.wipe()
  await third.start()
  assert.is(third.node.nodeId, nodeId)
  assert.is.not(third.node.store.storeId, storeId)
  assert.ok(world.logged.includes('node.took_place'))
  assert.ok(await world.until(() => isComplete(third)))
  assert.is(third.node.store.inventory.counts.total.keys, 200)
  assert.is(first.node.configuration?.members.length, 3)
  const isRenewed = (): boolean => acceptorOf(first)?.acceptorId !== acceptorId
  assert.ok(await world.until(isRenewed), 'its acceptor is named again')
  assert.ok(peers.every(({ ends }) => ends.length === 0))
})

test('while it catches up no read counts its answers, and its writes count', async () => {
  const { world, peers } = await cluster('counting')
  const [first, second, third] = peers
  await write(world, first, ['old'], 'v')
  third.crash('process')
  third.host.disk.wipe()
  await third.start()
  assert.ok(await world.until(() => third.node.store.completeness.isAdmitted))
  second.crash('process')
  const kv = world.client(first, third)
  await world.pass(1000)
  assert.not(isComplete(third), 'one of those it needs is down')
  assert.is((await world.settle(kv.put('new', 'v', { blind: true, w: 2 }))).owners, 2)
  const alone = world.client(third)
  for (const r of ['quorum', 2] as const) {
    const error = await world.settle(
      alone.get('old', { r }).then(
        () => null,
        (reason: unknown) => reason as { code: string },
      ),
    )
    assert.is(error?.code, 'UNAVAILABLE')
  }
  assert.is((await world.settle(alone.get('old', { r: 'one' }))).text(), 'v', 'from one who has it')
  await second.start()
  assert.ok(await world.until(() => isComplete(third)))
  assert.is((await world.settle(alone.get('old', { r: 'all' }))).text(), 'v')
})

test('a wiped peer gets in again though the others go down before they let it in', async () => {
  const { world, peers } = await cluster('unfenced')
  const [first, second, third] = peers
  third.crash('process')
  third.host.disk.wipe()
  const starting = third.begin()
  assert.ok(await world.until(() => world.logged.includes('node.took_place')))
  first.crash('process')
  second.crash('process')
  await world.pass(5000)
  await world.settle(Promise.all([first.begin(), second.begin(), starting]))
  assert.ok(await world.until(() => isComplete(third)))
  assert.equal(
    peers.flatMap(({ ends }) => ends),
    [],
  )
})

test('an operator may give up what could not be found', async () => {
  const { world, peers } = await cluster('accepted')
  const [first, second, third] = peers
  await write(world, first, ['k'], 'v')
  third.crash('process')
  third.host.disk.wipe()
  await third.start()
  assert.ok(await world.until(() => third.node.store.completeness.isAdmitted))
  second.crash('process')
  await world.pass(60_000)
  assert.not(isComplete(third))
  const { warnings } = await world.settle(first.node.service.status())
  assert.ok(warnings.some((warning) => warning.includes(`needs ${second.address}, which is down`)))
  assert.ok(
    warnings.some((warning) => warning.includes("'kvctl fault list' shows that it is cut off or plays dead")),
  )
  assert.ok(warnings.some((warning) => warning.includes('kvctl repair --accept-loss')))
  await world.settle(first.node.service.repair({ keyspace: null, round: 'accepted', acceptLoss: true }))
  assert.ok(await world.until(() => isComplete(third)))
  assert.ok(world.logged.includes('catch-up.loss_accepted'))
  assert.is((await world.settle(world.client(third).get('k', { r: 2 }))).text(), 'v', 'as first has it')
})

test('of a wiped peer that founded its own cluster, others do not say to start it once more', async () => {
  const { world, peers } = await cluster('stranger')
  const [first, , third] = peers
  third.crash('process')
  await world.pass(20_000)
  const warned = async (): Promise<string> => {
    const { warnings } = await world.settle(first.node.service.status())
    return warnings.find((warning) => warning.startsWith(`${third.address} is down`)) ?? 'nothing'
  }
  const advice = 'is down: start it again with the same data directory'
  assert.is(await warned(), `${third.address} ${advice}`)
  third.host.disk.wipe()
  await third.start({ join: [] })
  await world.pass(30_000)
  assert.match(await warned(), 'another peer answers at its address')
  await third.stop()
  await world.pass(30_000)
  assert.is(await warned(), `${third.address} ${advice}`)
  third.host.disk.wipe()
  await third.start()
  assert.ok(await world.until(() => isComplete(third)))
  await world.pass(5000)
  assert.is(await warned(), 'nothing')
})

test('a wiped peer waits while another member cannot say that it is gone', async () => {
  const { world, peers } = await cluster('cut')
  const [first, second, third] = peers
  third.crash('process')
  third.host.disk.wipe()
  second.crash('process')
  const starting = third.begin()
  await world.pass(20_000)
  assert.not(third.node.isReady)
  await second.start()
  await world.settle(starting)
  assert.is(first.node.configuration?.members.length, 3)
})

test('a new peer at an address where nobody was is a new member', async () => {
  const { world, peers } = await cluster('new')
  const fourth = await world.peer(4, { join: [peers[0].address] }).start()
  assert.ok(isComplete(fourth))
  assert.is(fourth.node.configuration?.members.length, 4)
})

test('what a directory from the past holds and nobody else knows goes into quarantine', async () => {
  const { world, peers } = await cluster('quarantine')
  const [first, second, third] = peers
  await write(world, first, ['shared'], 'v')
  first.crash('process')
  second.crash('process')
  const lonely = world.client(third).put('lonely', 'v', { w: 1, blind: true, timeoutMs: 1000 })
  await world.settle(lonely.catch(() => undefined))
  await third.stop()
  const copy = third.host.disk.image()
  await world.settle(Promise.all([first.begin(), second.begin()]))
  await third.start()
  await world.pass(500) // It is met as a newer life; two seconds later it would bring the others the key.
  await third.stop()
  third.host.disk.restore(copy)
  await third.start()
  assert.ok(await world.until(() => isComplete(third)))
  const kv = world.client(first)
  assert.is((await world.settle(kv.get('shared', { r: 'all' }))).text(), 'v')
  assert.equal((await world.settle(kv.get('lonely', { r: 'all' }))).values, [])
  assert.is(third.node.store.quarantine.size, 1)
  const { warnings } = await world.settle(first.node.service.status())
  assert.ok(warnings.some((warning) => warning.includes('quarantine')))
  await third.stop()
  await third.start()
  assert.is(third.node.store.quarantine.size, 1, 'it stays there')
})

test('a restored backup gives the peer what the others have, and the same counts', async () => {
  for (const how of ['stopped', 'killed'] as const) {
    const { world, peers } = await cluster(`backup of a peer that was ${how}`)
    const [first, , third] = peers
    const end = async (): Promise<void> => {
      if (how === 'stopped') await third.stop()
      else third.crash('process')
    }
    await write(world, first, ['kept', 'deleted', 'replaced'], 'v')
    await end()
    const backup = third.host.disk.image()
    await third.start()
    await write(world, first, ['afterwards', 'replaced'], 'longer')
    await world.settle(world.client(first).delete('deleted', { w: 'all' }))
    await end()
    third.host.disk.restore(backup)
    await third.start()
    assert.ok(await world.until(() => isComplete(third)))
    const { peers: rows } = await world.settle(first.node.service.status())
    assert.equal(
      rows.map(({ keys }) => keys),
      [3, 3, 3],
    )
    assert.is(new Set(rows.map(({ bytes }) => bytes)).size, 1)
    await third.stop()
    await third.start()
    assert.equal(third.node.store.inventory.counts.total, first.node.store.inventory.counts.total)
  }
})

test('a peer that is catching up goes on with that after a restart, and its status says so', async () => {
  const { world, peers } = await cluster('restart')
  const [first, second, third] = peers
  await write(world, first, names(50), 'v')
  third.crash('process')
  third.host.disk.wipe()
  await third.start()
  second.crash('process')
  await third.stop()
  await third.start()
  if (!isComplete(third)) {
    const { warnings, peers: rows } = await world.settle(first.node.service.status())
    assert.ok(rows.some(({ catchingUp }) => catchingUp !== null))
    assert.ok(warnings.some((warning) => warning.includes('catching up')))
  }
  await second.start()
  assert.ok(await world.until(() => isComplete(third)))
  assert.is(third.node.store.inventory.counts.total.keys, 50)
})

test.run()
