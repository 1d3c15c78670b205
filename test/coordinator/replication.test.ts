import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { present } from '../../src/base/assert.ts'
import { utf8 } from '../../src/base/bytes.ts'
import { hash32 } from '../../src/base/hash.ts'
import type { NodeId } from '../../src/base/ids.ts'
import { LEAF_BITS, sliceOf } from '../../src/protocol/hash-tree.ts'
import type { PutReply } from '../../src/wire/requests.ts'
import {
  CoordinatorWorld,
  contents,
  contextOf,
  decoded,
  dot,
  dots,
  KEY,
  makeRing,
  nodes,
  type Outcome,
  record,
  refusal,
  SELF,
  STORED,
  value,
} from './coordinator-world.ts'

const test = suite('replication')

const [N1, N2, N3, N4] = nodes(1, 2, 3, 4) as [NodeId, NodeId, NodeId, NodeId]

/** A blind put is the shortest way to a replication: it asks nothing first. */
async function writing(
  options: { w?: number | 'one' | 'all'; at?: CoordinatorWorld } = {},
): Promise<{ world: CoordinatorWorld; told: Outcome<PutReply> }> {
  const world = options.at ?? (await CoordinatorWorld.open())
  return { world, told: world.put({ blind: true, w: options.w ?? null, value: utf8('v') }) }
}

test('every other owner is sent the whole record at once, siblings too', async () => {
  const world = await CoordinatorWorld.open()
  await world.seed(record([value(dot('a', 1)), value(dot('b', 1))]))
  world.put({ context: contextOf(dots(dot('a', 1))), value: utf8('v') })
  assert.equal(world.askedWhom('replicate'), [N1, N2])
  for (const sent of world.asked('replicate')) assert.equal(contents(decoded(sent.record)), ['b1', 'v'])
})

test('a write is answered when W owners have it on disk, the one here among them', async () => {
  const { world, told } = await writing()
  await world.settle()
  assert.not(told.isDone, 'one')
  world.reply(N2, STORED)
  assert.is(told.reply?.owners, 2)
  assert.is(told.reply?.standIns, 0)
})

test('what is not on the disk here does not count', async () => {
  const { world, told } = await writing()
  world.reply(N1, STORED)
  assert.not(told.isDone)
  await world.settle()
  assert.ok(told.isDone)
  assert.equal(contents(world.onDisk()), ['v'])
})

test('W of one waits for one disk, W of all for every one', async () => {
  const one = await writing({ w: 'one' })
  await one.world.settle()
  assert.is(one.told.reply?.owners, 1)
  const all = await writing({ w: 'all' })
  await all.world.settle()
  all.world.reply(N1, STORED)
  assert.not(all.told.isDone)
  all.world.reply(N2, STORED)
  assert.is(all.told.reply?.owners, 3)
})

test('an owner that answers twice counts once', async () => {
  const { world, told } = await writing({ w: 'all' })
  const [first] = world.questions
  if (first === undefined) throw new Error('nobody was asked')
  world.replyTo(first, STORED)
  world.replyTo(first, STORED)
  await world.settle()
  assert.not(told.isDone)
})

test('an answer of a peer that was not asked counts for nothing', async () => {
  const { world, told } = await writing()
  await world.settle()
  const [first] = world.questions
  if (first !== undefined) world.replyTo({ ...first, to: N4 }, STORED)
  assert.not(told.isDone)
})

test('an owner that could not take it is asked again, each time after twice as long', async () => {
  const { world, told } = await writing({ w: 'all' })
  await world.settle()
  world.reply(N2, STORED)
  for (const [reason, waitMs] of [
    ['failed', 50],
    ['overloaded', 100],
    ['behind', 200],
  ] as const) {
    world.reply(N1, refusal(reason))
    const asked = world.askedWhom('replicate').length
    await world.pass(waitMs - 5)
    assert.is(world.askedWhom('replicate').length, asked)
    await world.pass(10)
  }
  assert.equal(world.askedWhom('replicate'), [N1, N2, N1, N1, N1])
  world.reply(N1, STORED)
  assert.is(told.error, null)
})

test('after the quorum the owners that are left are still asked, until the deadline', async () => {
  const { world, told } = await writing()
  await world.settle()
  world.reply(N1, STORED)
  assert.ok(told.isDone)
  world.rpc.lost(N2, 'data')
  await world.pass(60)
  assert.equal(world.askedWhom('replicate'), [N1, N2, N2])
  await world.pass(1100)
  assert.is(world.rpc.openCount, 0)
})

test('acknowledged writes wait for their last owners within a limit of bytes, together', async () => {
  const world = await CoordinatorWorld.open({ maxLingeringBytes: 2000 })
  const acknowledge = async (): Promise<void> => {
    const told = world.put({ blind: true, value: new Uint8Array(800), timeoutMs: 60_000 })
    await world.settle()
    world.reply(N1, STORED)
    assert.is(told.error, null)
    assert.ok(told.isDone)
  }
  for (let i = 0; i < 5; i++) await acknowledge()
  assert.is(world.rpc.openCount, 2, 'the others let go')
  world.reply(N2, STORED)
  assert.is(world.rpc.openCount, 1)
  await acknowledge()
  assert.is(world.rpc.openCount, 2, 'there was room for one more')
  await world.pass(61_000)
  assert.is(world.rpc.openCount, 0)
})

test('when the disk here fails the others can still make the quorum', async () => {
  const world = await CoordinatorWorld.open()
  world.disk.isFailing = true
  const { told } = await writing({ at: world })
  await world.settle()
  world.reply(N1, STORED)
  assert.not(told.isDone)
  world.reply(N2, STORED)
  assert.is(told.reply?.owners, 2)
})

test('when so many owners fail that W cannot be met the outcome is unknown, at once', async () => {
  const { world, told } = await writing()
  await world.settle()
  world.dead.add(N1).add(N2)
  world.rpc.lost(N1, 'data')
  assert.not(told.isDone)
  world.rpc.lost(N2, 'data')
  assert.is(told.error?.code, 'TIMEOUT_UNKNOWN')
})

test('at the deadline the outcome is unknown, and says how many confirmed it', async () => {
  const { world, told } = await writing()
  await world.pass(1100)
  assert.is(told.error?.code, 'TIMEOUT_UNKNOWN')
  assert.match(told.error?.message ?? '', '1 owners confirmed it in time')
})

test('under a new number all others are asked again; what they confirmed before does not count', async () => {
  const { world, told } = await writing({ w: 'all' })
  await world.settle()
  const before = world.questions.slice()
  world.reply(N1, STORED)
  world.adopt(makeRing(2, [nodes(0, 1, 2)]))
  const now = world.questions.slice(before.length)
  assert.equal(
    now.map(({ to }) => to),
    [N1, N2],
  )
  if (before[1] !== undefined) world.replyTo(before[1], STORED)
  if (now[1] !== undefined) world.replyTo(now[1], STORED)
  assert.not(told.isDone, 'a late answer under 1, one under 2, and what was counted under 1')
  if (now[0] !== undefined) world.replyTo(now[0], STORED)
  assert.is(told.reply?.owners, 3, 'the disk here needs no asking')
})

test('what this disk held and has put aside is stored anew before it counts under a new number', async () => {
  const { world, told } = await writing()
  const { store } = world
  await world.settle()
  const keyspace = present(world.ring?.keyspace('default'), 'it is there')
  const partition = present(world.ring, 'it is there').partitionOf(KEY)
  const leaves = [sliceOf(hash32(KEY), LEAF_BITS)]
  store.completeness.lose({ keyspaceId: keyspace.id, partition, leaves })
  await world.settle()
  const [lost] = store.completeness.suspects
  const aside = store.putAside(present(lost, 'it was noted'))
  await world.settle()
  await aside
  assert.is(store.quarantine.size, 1)
  store.completeness.cleared([present(lost, 'it was noted')])
  await world.settle()
  const before = world.questions.length
  world.adopt(makeRing(2, [nodes(0, 1, 2)]))
  world.replyTo(present(world.questions[before], 'one is asked anew'), STORED)
  assert.not(told.isDone, 'one other has it, and this disk not yet')
  await world.settle()
  assert.is(told.reply?.owners, 2)
  assert.equal(contents(world.onDisk()), ['v'])
})

test('a write that is under way when the ring changes needs its quorum in the new owners too', async () => {
  const { world, told } = await writing()
  await world.settle()
  world.adopt(makeRing(2, [nodes(0, 1, 2), nodes(0, 3, 4)], 'begun'))
  const now = world.questions.slice(2)
  assert.equal(
    now.map(({ to }) => to),
    [N1, N2, N3, N4],
  )
  if (now[0] !== undefined) world.replyTo(now[0], STORED)
  assert.not(told.isDone, 'two of the old, one of the new')
  if (now[3] !== undefined) world.replyTo(now[3], STORED)
  assert.is(told.reply?.owners, 3)
})

test('while the ring changes a write needs its quorum in both layouts', async () => {
  const world = await CoordinatorWorld.open()
  world.adopt(makeRing(2, [nodes(0, 1, 2), nodes(3, 4, 5)], 'begun'))
  const { told } = await writing({ at: world })
  await world.settle()
  world.reply(N1, STORED)
  world.reply(N3, STORED)
  assert.not(told.isDone)
  world.reply(N4, STORED)
  assert.is(told.reply?.owners, 4)
})

test('a peer that owns the key no more counts for nothing itself', async () => {
  const { world, told } = await writing()
  world.adopt(makeRing(2, [nodes(1, 2, 3)]))
  await world.settle()
  const now = world.questions.slice(2)
  assert.equal(
    now.map(({ to }) => to),
    [N1, N2, N3],
  )
  if (now[0] !== undefined) world.replyTo(now[0], STORED)
  assert.not(told.isDone)
  if (now[1] !== undefined) world.replyTo(now[1], STORED)
  assert.is(told.reply?.owners, 2)
  assert.not(world.ring?.isOwner(SELF, world.ring.keyspace('default') as never, 0))
})

test('when the configuration is refused as stale the write waits for the newer one', async () => {
  const { world, told } = await writing()
  await world.settle()
  world.reply(N1, refusal('stale', 2))
  world.reply(N2, refusal('stale', 2))
  await world.pass(100)
  assert.not(told.isDone)
  assert.is(world.questions.length, 2, 'nobody is asked under the old number')
  world.adopt(makeRing(2, [nodes(0, 1, 2)]))
  world.reply(N1, STORED)
  assert.is(told.error, null)
})

test('an owner without room is not asked again and not stood in for; the outcome says why', async () => {
  const world = await CoordinatorWorld.open({ owners: nodes(0, 1, 2, 3, 4) })
  const told = world.put({ keyspace: 'sloppy', blind: true, w: 'all', value: utf8('v') })
  await world.settle()
  world.reply(N1, refusal('overfull'))
  assert.is(told.error?.code, 'TIMEOUT_UNKNOWN')
  assert.match(told.error?.message ?? '', /does not fit beside them \(write it again without a context/)
  await world.pass(2000)
  assert.equal(world.askedWhom('replicate'), [N1, N2])
})

test('once an owner had no room, a put without a context asks all that are up what it replaces', async () => {
  for (const keyspace of ['default', 'newest']) {
    const world = await CoordinatorWorld.open()
    world.put({ keyspace, blind: true, value: utf8('v') })
    await world.settle()
    world.reply(N1, refusal('overfull'))
    world.questions.length = 0
    world.put({ keyspace, value: utf8('w') })
    assert.equal(world.askedWhom('read'), [N1, N2])
    world.questions.length = 0
    world.dead.add(N2)
    world.put({ keyspace, value: utf8('x') })
    assert.equal(world.askedWhom('read'), [N1])
  }
})

test.run()
