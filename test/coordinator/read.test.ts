import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import type { NodeId } from '../../src/base/ids.ts'
import {
  CoordinatorWorld,
  contents,
  decoded,
  dot,
  dots,
  LWW,
  makeRing,
  nodes,
  readContext,
  record,
  recordReply,
  refusal,
  SELF,
  STORED,
  shown,
  value,
} from './coordinator-world.ts'

const test = suite('read')

const [N1, N2] = nodes(1, 2) as [NodeId, NodeId]
const OLD = record([value(dot('a', 1))])
const NEW = record([value(dot('a', 2))])
const OTHER = record([value(dot('b', 1))])

test('a key that nobody ever wrote is not found, and has no context', async () => {
  const world = await CoordinatorWorld.open()
  const told = world.get()
  world.replyAll(null)
  assert.equal(told.reply, { values: [], context: null, owners: 2, standIns: 0 })
})

test('an old record that owners differ about is asked for once more, with doubt', async () => {
  const world = await CoordinatorWorld.open({ isAllOld: true })
  const told = world.get()
  world.reply(N1, recordReply(OLD))
  const [first] = world.asked('read')
  assert.is(first?.isDoubted, false)
  const again = world.asked('read').slice(1)
  assert.ok(again.length > 0 && again.every(({ isDoubted }) => isDoubted === true))
  assert.not(told.isDone)
  world.reply(N1, refusal('failed'))
  world.reply(N2, recordReply(null))
  assert.equal(told.reply?.values, [], 'who is not sure of it has no say')
})

test('a deleted key is not found, and its context covers the deletion', async () => {
  const deleted = record([value(dot('a', 3), null)])
  const world = await CoordinatorWorld.open()
  await world.seed(deleted)
  const told = world.get()
  world.replyAll(deleted)
  assert.equal(told.reply?.values, [])
  assert.equal(readContext(told.reply?.context), dots(dot('a', 3)))
})

test('siblings come newest first, under one context', async () => {
  const both = record([
    { ...value(dot('a', 1)), timestamp: 5 },
    { ...value(dot('b', 1)), timestamp: 9 },
  ])
  const world = await CoordinatorWorld.open()
  await world.seed(both)
  const told = world.get()
  world.replyAll(both)
  assert.equal(shown(told.reply), ['b1', 'a1'])
  assert.equal(readContext(told.reply?.context), dots(dot('a', 1), dot('b', 1)))
})

test('siblings that came of one write sent twice are shown once', async () => {
  const twice = record([
    { ...value(dot('a', 1), 'same'), writeId: 'w' },
    { ...value(dot('b', 1), 'same'), writeId: 'w' },
  ])
  const world = await CoordinatorWorld.open()
  await world.seed(twice)
  const told = world.get()
  world.replyAll(twice)
  assert.equal(shown(told.reply), ['same'])
  assert.equal(
    readContext(told.reply?.context),
    dots(dot('a', 1), dot('b', 1)),
    'both are replaced by the next put',
  )
})

test('in an lww keyspace only the newest is shown', async () => {
  const both = record([
    { ...value(dot('a', 1)), timestamp: 5 },
    { ...value(dot('b', 1)), timestamp: 9 },
  ])
  const world = await CoordinatorWorld.open()
  await world.seed(both, LWW)
  const told = world.get({ keyspace: 'newest' })
  world.replyAll(both)
  assert.equal(shown(told.reply), ['b1'])
})

test('answers that differ are merged', async () => {
  const world = await CoordinatorWorld.open()
  await world.seed(OLD)
  const told = world.get()
  world.reply(N1, recordReply(OTHER))
  await world.settle()
  world.replyAll()
  await world.settle()
  assert.equal(shown(told.reply).sort(), ['a1', 'b1'])
})

test('what one has and another superseded is not shown', async () => {
  const world = await CoordinatorWorld.open()
  await world.seed(OLD)
  const told = world.get()
  world.reply(N1, recordReply(NEW))
  await world.settle()
  world.replyAll()
  await world.settle()
  assert.equal(shown(told.reply), ['a2'])
})

test('a stale copy here is brought up to date on disk before the answer leaves', async () => {
  const world = await CoordinatorWorld.open()
  await world.seed(OLD)
  const told = world.get()
  world.reply(N1, recordReply(NEW))
  assert.not(told.isDone, 'not on this disk yet')
  assert.equal(contents(world.onDisk()), ['a1'])
  await world.settle()
  assert.equal(shown(told.reply), ['a2'])
  assert.equal(contents(world.onDisk()), ['a2'])
})

test('a stale owner is brought up to date on disk before the answer leaves', async () => {
  const world = await CoordinatorWorld.open()
  await world.seed(NEW)
  const told = world.get()
  world.reply(N1, recordReply(OLD))
  await world.settle()
  assert.not(told.isDone)
  const [repair] = world.asked('replicate', N1)
  assert.equal(contents(decoded(repair?.record ?? null)), ['a2'])
  assert.is(repair?.mintedBy, null, 'nothing was minted')
  world.reply(N1, STORED)
  assert.equal(shown(told.reply), ['a2'])
})

test('any owner on whose disk the merged record is makes up for one that stays behind', async () => {
  const world = await CoordinatorWorld.open()
  await world.seed(NEW)
  const told = world.get()
  world.reply(N1, recordReply(null))
  world.reply(N2, STORED)
  assert.equal(shown(told.reply), ['a2'])
})

test('when nobody can be brought up to date the read is unavailable, not ahead of the next', async () => {
  const world = await CoordinatorWorld.open()
  await world.seed(NEW)
  const told = world.get()
  world.reply(N1, recordReply(OLD))
  world.reply(N1, refusal('failed'))
  world.reply(N2, refusal('failed'))
  await world.pass(1100)
  assert.is(told.error?.code, 'UNAVAILABLE')
})

test('a reader that owns nothing repairs the owners and keeps nothing itself', async () => {
  const world = await CoordinatorWorld.open({ owners: nodes(1, 2, 3) })
  const told = world.get()
  world.reply(N1, recordReply(OLD))
  world.reply(N2, recordReply(NEW))
  assert.equal(world.askedWhom('replicate'), [N1, ...nodes(3)])
  world.reply(N1, STORED)
  assert.equal(shown(told.reply), ['a2'])
  await world.settle()
  assert.is(world.onDisk(), null)
})

test('a repair under way at an adoption is done again under the new number', async () => {
  const world = await CoordinatorWorld.open({ owners: nodes(1, 2, 3) })
  const told = world.get()
  world.reply(N1, recordReply(OLD))
  world.reply(N2, recordReply(NEW))
  const before = world.questions.length
  world.adopt(makeRing(2, [nodes(1, 2, 3)]))
  const now = world.questions.slice(before)
  assert.equal(
    now.map(({ to }) => to),
    nodes(1, 2, 3),
  )
  if (now[0] !== undefined) world.replyTo(now[0], STORED)
  assert.not(told.isDone, 'what n2 said under 1 does not count under 2')
  if (now[1] !== undefined) world.replyTo(now[1], STORED)
  assert.equal(shown(told.reply), ['a2'])
})

test('a repair while the ring changes asks no more of the old owners than there are', async () => {
  const world = await CoordinatorWorld.open()
  world.adopt(makeRing(2, [[SELF], nodes(0, 1, 2)], 'switched'))
  await world.seed(NEW)
  const told = world.get()
  world.reply(N1, recordReply(OLD))
  await world.settle()
  world.reply(N1, STORED)
  assert.is(told.error, null)
  assert.equal(shown(told.reply), ['a2'])
})

test('of the reads that one owner answers one in ten compares with the others, and repairs', async () => {
  const world = await CoordinatorWorld.open()
  await world.seed(OLD)
  for (let i = 0; i < 10; i++) assert.equal(shown(world.get({ r: 'one' }).reply), ['a1'])
  assert.equal(world.questions, [], 'nine of ten ask nobody')
  assert.equal(shown(world.get({ r: 'one' }).reply), ['a1'], 'the answer does not wait')
  assert.equal(
    world.questions.map(({ to, message }) => [to, message.type]),
    [
      [N1, 'read'],
      [N2, 'read'],
    ],
  )
  world.replyAll(NEW)
  await world.settle()
  assert.equal(shown(world.get({ r: 'one' }).reply), ['a2'])
})

const many = (letter: string) => record(Array.from({ length: 600 }, (_, i) => value(dot(letter, i + 1))))

test('values that are too many for one record together are not shown, and nothing is changed', async () => {
  const world = await CoordinatorWorld.open()
  await world.seed(many('a'))
  const told = world.get()
  world.reply(N1, recordReply(many('b')))
  assert.is(told.error?.code, 'CONFLICT')
  assert.match(told.error?.message ?? '', /more concurrent values than a record can hold.*without a context/)
  assert.equal(world.askedWhom('replicate'), [])
  assert.is(world.onDisk()?.values.length, 600)
  const alone = world.get({ r: 1 })
  assert.is(alone.reply?.values.length, 600)
})

test('an owner that has no room for what a read would bring it makes the same of the read', async () => {
  const world = await CoordinatorWorld.open()
  await world.seed(OLD)
  const told = world.get()
  world.reply(N1, recordReply(OTHER))
  world.reply(N1, refusal('overfull'))
  world.reply(N2, refusal('overfull'))
  await world.settle()
  assert.is(told.error?.code, 'CONFLICT')
})

test.run()
