import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import type { NodeId } from '../../src/base/ids.ts'
import { encodeRecord } from '../../src/store/record-codec.ts'
import type { GetReply } from '../../src/wire/requests.ts'
import {
  CoordinatorWorld,
  dot,
  KEY,
  makeRing,
  node,
  nodes,
  type Outcome,
  record,
  recordReply,
  refusal,
  shown,
  value,
} from './coordinator-world.ts'

const test = suite('quorum read')

const [N1, N2] = nodes(1, 2) as [NodeId, NodeId]
const HELD = record([value(dot('a', 1))])
const NEWER = record([value(dot('a', 2))])

/** The bytes of a record, one of them another one. */
function damaged(): { type: 'record'; record: Uint8Array } {
  const bytes = encodeRecord(KEY, HELD).slice()
  bytes[bytes.length - 1] = (bytes[bytes.length - 1] as number) ^ 1
  return { type: 'record', record: bytes }
}

async function reading(): Promise<{ world: CoordinatorWorld; told: Outcome<GetReply> }> {
  const world = await CoordinatorWorld.open()
  await world.seed(HELD)
  return { world, told: world.get() }
}

test('as many owners are asked as the level needs, the one here first', async () => {
  const { world, told } = await reading()
  assert.equal(world.askedWhom('read'), [N1])
  assert.not(told.isDone)
  world.reply(N1, recordReply(HELD))
  assert.equal(shown(told.reply), ['a1'])
  assert.is(told.reply?.owners, 2)
})

test('a peer that owns nothing asks the first owners by preference', async () => {
  const world = await CoordinatorWorld.open({ owners: nodes(1, 2, 3) })
  const told = world.get()
  assert.equal(world.askedWhom('read'), [N1, N2])
  world.replyAll(HELD)
  assert.equal(shown(told.reply), ['a1'])
})

test('level one is answered from the disk here alone', async () => {
  const world = await CoordinatorWorld.open()
  await world.seed(HELD)
  assert.equal(shown(world.get({ r: 'one' }).reply), ['a1'])
  assert.equal(world.questions, [])
})

test('level all asks every owner', async () => {
  const world = await CoordinatorWorld.open()
  const told = world.get({ r: 'all' })
  assert.equal(world.askedWhom('read'), [N1, N2])
  world.reply(N2, recordReply(null))
  assert.not(told.isDone)
  world.reply(N1, recordReply(null))
  assert.equal(shown(told.reply), [])
})

test('an owner that is down is not asked, and counts for nothing', async () => {
  const world = await CoordinatorWorld.open()
  world.dead.add(N1)
  const told = world.get()
  assert.equal(world.askedWhom('read'), [N2])
  world.reply(N2, recordReply(null))
  assert.is(told.error, null)
})

test('when too few owners are up it is unavailable at once', async () => {
  const world = await CoordinatorWorld.open()
  world.dead.add(N1).add(N2)
  const told = world.get()
  assert.is(told.error?.code, 'UNAVAILABLE')
  assert.match(told.error?.message ?? '', '1 of 3 owners of this key are up, 2 are needed')
  assert.equal(world.questions, [])
})

test('an owner that answers after 100 ms is backed up by the next one', async () => {
  const { world, told } = await reading()
  await world.pass(90)
  assert.equal(world.askedWhom('read'), [N1])
  await world.pass(20)
  assert.equal(world.askedWhom('read'), [N1, N2])
  world.reply(N2, recordReply(HELD))
  assert.equal(shown(told.reply), ['a1'])
  world.reply(N1, recordReply(NEWER))
})

test('backing up has a budget: when all are slow few are asked twice', async () => {
  const world = await CoordinatorWorld.open()
  for (let i = 0; i < 40; i++) world.get()
  await world.pass(150)
  const backups = world.askedWhom('read').filter((to) => to === N2).length
  assert.ok(backups >= 10 && backups <= 12, `${backups} backups`)
})

test('an owner that refuses is replaced by the next one', async () => {
  for (const reason of ['failed', 'overloaded', 'notOwner', 'stopping'] as const) {
    const { world, told } = await reading()
    world.reply(N1, refusal(reason))
    assert.equal(world.askedWhom('read'), [N1, N2], reason)
    world.reply(N2, recordReply(HELD))
    assert.equal(shown(told.reply), ['a1'], reason)
  }
})

test('an owner whose link breaks is replaced by the next one', async () => {
  const { world, told } = await reading()
  world.rpc.lost(N1, 'data')
  world.reply(N1, recordReply(NEWER))
  assert.not(told.isDone, 'what comes after that is not counted')
  world.reply(N2, recordReply(HELD))
  assert.equal(shown(told.reply), ['a1'])
})

test('an owner that cannot be reached, with no other left, is asked again', async () => {
  const world = await CoordinatorWorld.open()
  world.dead.add(N2)
  world.unreachable.add(N1)
  const told = world.get()
  assert.not(told.isDone)
  world.unreachable.clear()
  await world.pass(60)
  world.reply(N1, recordReply(null))
  assert.is(told.error, null)
})

test('a damaged record from an owner is as if it had not answered', async () => {
  const { world, told } = await reading()
  world.reply(N1, damaged())
  assert.equal(world.askedWhom('read'), [N1, N2])
  world.reply(N2, recordReply(HELD))
  assert.equal(shown(told.reply), ['a1'])
})

test('when every other owner sends damaged records the read is unavailable, not broken', async () => {
  const { world, told } = await reading()
  for (let i = 0; i < 30 && !told.isDone; i++) {
    for (const open of world.questions.filter(({ isAnswered }) => !isAnswered)) {
      open.isAnswered = true
      world.replyTo(open, damaged())
    }
    await world.pass(40)
  }
  assert.is(told.error?.code, 'UNAVAILABLE')
})

test('a damaged record on the disk here is as if this peer had not answered', async () => {
  const world = await CoordinatorWorld.open()
  world.store.read = () => damaged().record
  const told = world.get()
  assert.equal(world.askedWhom('read'), [N1, N2])
  world.replyAll(HELD)
  assert.equal(shown(told.reply), ['a1'])
})

test('while the disk here is away two others are asked', async () => {
  const world = await CoordinatorWorld.open()
  world.disk.isFailing = true
  world.put({ blind: true })
  await world.pass(0.5)
  world.questions.length = 0
  const told = world.get()
  assert.equal(world.askedWhom('read'), [N1, N2])
  world.replyAll(HELD)
  assert.equal(shown(told.reply), ['a1'])
})

test('an owner that is behind is asked again until it has caught up', async () => {
  const { world, told } = await reading()
  world.reply(N1, refusal('behind', 0))
  assert.is(world.questions.length, 1)
  await world.pass(60)
  assert.equal(world.askedWhom('read').slice(0, 2), [N1, N1])
  world.reply(N1, recordReply(HELD))
  assert.equal(shown(told.reply), ['a1'])
})

test('an owner that is ahead is believed, and nothing of it is counted', async () => {
  const { world, told } = await reading()
  world.reply(N1, refusal('stale', 2))
  assert.equal(world.numbersSeen, [{ from: N1, number: 2 }])
  assert.not(told.isDone)
})

test('after an adoption everything is asked anew under the new number', async () => {
  const { world, told } = await reading()
  world.adopt(makeRing(2, [nodes(0, 1, 2)]))
  assert.equal(
    world.asked('read').map(({ number }) => number),
    [1, 2],
  )
  assert.not(told.isDone)
})

test('a late answer to a question asked before an adoption is not counted', async () => {
  const { world, told } = await reading()
  const [before] = world.questions
  world.adopt(makeRing(2, [nodes(0, 1, 2)]))
  if (before !== undefined) world.replyTo(before, recordReply(HELD))
  assert.not(told.isDone)
  world.replyTo(world.questions[1] as (typeof world.questions)[0], recordReply(HELD))
  assert.ok(told.isDone)
})

test('answers given under different numbers never make a quorum together', async () => {
  const world = await CoordinatorWorld.open({ owners: nodes(1, 2, 3) })
  const told = world.get()
  world.reply(N1, recordReply(HELD))
  world.adopt(makeRing(2, [nodes(1, 2, 3)]))
  const [, second, third] = world.questions
  assert.equal([second?.to, third?.to], [N2, N1])
  if (second !== undefined) world.replyTo(second, recordReply(HELD))
  assert.not(told.isDone, 'one under 1 and a late one of the same')
  const now = world.questions.filter(({ message }) => message.type === 'read' && message.number === 2)
  assert.equal(
    now.map(({ to }) => to),
    [N1, N2],
  )
  if (now[1] !== undefined) world.replyTo(now[1], recordReply(NEWER))
  assert.not(told.isDone, 'one under 1 and one under 2')
})

test('under a new configuration the new owners are asked', async () => {
  const { world, told } = await reading()
  world.adopt(makeRing(2, [nodes(3, 4, 5)]))
  assert.equal(world.askedWhom('read').slice(1), [node(3), node(4)])
  world.reply(node(3), recordReply(NEWER))
  world.reply(node(4), recordReply(NEWER))
  assert.equal(shown(told.reply), ['a2'])
})

test('while the ring changes reads use the old owners, after the switch the new ones too', async () => {
  const layouts = [nodes(1, 2, 3), nodes(4, 5, 6)]
  const world = await CoordinatorWorld.open()
  world.adopt(makeRing(2, layouts, 'begun'))
  world.get()
  world.adopt(makeRing(3, layouts, 'switched'))
  world.get()
  assert.equal(world.askedWhom('read').slice(0, 2), nodes(1, 2))
  assert.equal(world.askedWhom('read').slice(-2), nodes(4, 5))
})

test('at its deadline the read says how many owners answered', async () => {
  const { world, told } = await reading()
  await world.pass(1100)
  assert.is(told.error?.code, 'UNAVAILABLE')
  assert.match(told.error?.message ?? '', '1 of 2 owners of this key answered in time')
  assert.is(world.rpc.openCount, 0, 'nothing is left of it')
})

test('while the ring changes it says so of the owners that are short', async () => {
  const world = await CoordinatorWorld.open()
  world.adopt(makeRing(2, [nodes(1, 2, 3), nodes(4, 5, 6)], 'switched'))
  const told = world.get()
  for (const each of [1, 2, 4]) world.reply(node(each), recordReply(HELD))
  await world.pass(1100)
  assert.match(told.error?.message ?? '', '1 of 2 owners of this key answered in time')
})

test.run()
