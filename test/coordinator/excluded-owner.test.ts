import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import type { PeerMessage } from '../../src/wire/peer-messages.ts'
import {
  CoordinatorWorld,
  DEFAULT,
  dot,
  KEY,
  makeRing,
  node,
  nodes,
  record,
  recordReply,
  refusal,
  SLOPPY,
  STORED,
  value,
} from './coordinator-world.ts'

const test = suite('excluded owners')

const OWNERS = nodes(0, 1, 2)
const HELD = record([value(dot('a', 1))])
/** Everybody knows more peers than own a key. */
const MORE = nodes(0, 1, 2, 3)

const without = (number: number, ...places: number[]) =>
  makeRing(number, [OWNERS], 'stable', nodes(...places))

test('a write asks no owner that is excluded, and needs as many others as before', async () => {
  const world = await CoordinatorWorld.open()
  world.adopt(without(2, 2))
  const put = world.put({ blind: true })
  await world.settle()
  assert.equal(world.askedWhom('replicate'), nodes(1))
  assert.not(put.isDone, 'the disk here alone is no quorum of three')
  world.reply(node(1), STORED)
  assert.is(put.reply?.owners, 2)
})

test('what an owner confirmed before it was excluded counts for nothing: the write starts over', async () => {
  const world = await CoordinatorWorld.open()
  const put = world.put({ blind: true, w: 'all' })
  await world.settle()
  world.reply(node(2), STORED)
  const [first] = world.questions.filter(({ to }) => to === node(1))
  world.adopt(without(2, 2))
  if (first !== undefined) world.replyTo(first, STORED)
  assert.is(put.error?.code, 'TIMEOUT_UNKNOWN', 'not all three can confirm it any more')

  const other = await CoordinatorWorld.open()
  const quorum = other.put({ blind: true })
  other.reply(node(2), STORED)
  other.adopt(without(2, 2))
  await other.settle()
  assert.not(quorum.isDone)
  other.reply(node(1), { type: 'refused', reason: 'stale', number: 2 })
  assert.equal(other.asked('replicate', node(1)).at(-1)?.number, 2)
  other.replyAll()
  assert.is(quorum.reply?.owners, 2)
})

test('with too few others nothing is written, and it is said who does not count', async () => {
  const world = await CoordinatorWorld.open()
  world.adopt(without(2, 1, 2))
  const { error } = world.put({ blind: true })
  assert.is(error?.code, 'UNAVAILABLE')
  assert.match(error?.message ?? '', /1 of 3 owners of this key are up, 2 are needed \(who is being removed/)
  assert.equal(world.questions, [])
  assert.is(world.onDisk(), null)
})

test('a stand-in counts in the place of an owner that is excluded, though that one is up', async () => {
  const world = await CoordinatorWorld.open()
  world.adopt(makeRing(2, [MORE], 'stable', nodes(2)))
  const put = world.put({ keyspace: 'sloppy', blind: true, w: 'all' })
  await world.settle()
  const questions = world.asked('replicate').map(({ standInFor }) => standInFor)
  assert.equal(world.askedWhom('replicate'), nodes(1, 3))
  assert.equal(questions, [null, node(2)])
  world.replyAll()
  assert.equal([put.reply?.owners, put.reply?.standIns], [2, 1])
})

test('a peer that is excluded coordinates no write, neither as an owner nor in their place', async () => {
  for (const [owners, keyspace] of [
    [OWNERS, 'default'],
    [nodes(1, 2, 3, 0), 'sloppy'],
  ] as const) {
    const world = await CoordinatorWorld.open({ owners })
    world.adopt(makeRing(2, [[...owners]], 'stable', nodes(0)))
    for (const isForwarded of [false, true]) {
      const { error } = world.put({ keyspace, blind: true }, isForwarded)
      assert.is(error?.code, 'UNAVAILABLE')
      assert.match(
        error?.message ?? '',
        /^nothing was written: this peer is being removed .*; ask another one$/,
      )
    }
    assert.equal(world.questions, [])
  }
})

test('a write under way at a peer that is excluded meanwhile is done when others have it', async () => {
  const world = await CoordinatorWorld.open()
  const put = world.put({ blind: true })
  await world.settle()
  world.adopt(without(2, 0))
  const asked = world.questions.filter((question) => (question.message as { number: number }).number === 2)
  assert.equal(
    asked.map(({ to }) => to),
    nodes(1, 2),
  )
  for (const [i, question] of asked.entries()) {
    assert.not(put.isDone, `${i}: the disk here does not count`)
    world.replyTo(question, STORED)
  }
  assert.is(put.reply?.owners, 2)
})

test('a write that looks first, at a peer that is excluded meanwhile, writes nothing', async () => {
  const world = await CoordinatorWorld.open()
  const put = world.put()
  world.adopt(without(2, 0))
  world.replyAll()
  world.replyAll()
  await world.settle()
  assert.is(put.error?.code, 'UNAVAILABLE')
  assert.is(world.onDisk(), null)
})

test('an excluded peer stores nothing that others send, for itself or for others', async () => {
  const { record: bytes } = recordReply(HELD) as { readonly record: Uint8Array }
  const question: Extract<PeerMessage, { type: 'replicate' }> = {
    ...{ type: 'replicate', id: 6, number: 2, keyspaceId: DEFAULT.id, key: KEY, record: bytes },
    ...{ mintedBy: null, standInFor: null, era: 0 },
  }
  const world = await CoordinatorWorld.open()
  world.adopt(without(2, 0))
  world.serve(question)
  world.serve({ ...question, keyspaceId: SLOPPY.id, standInFor: node(1) })
  world.serve({ ...question, number: 1 })
  await world.settle()
  const reasons = world.answers.map((answer) => (answer.type === 'refused' ? answer.reason : answer.type))
  assert.equal(reasons, ['notOwner', 'notOwner', 'stale'])
  assert.is(world.onDisk(), null)
})

test('who is no owner hands a write on to one that is not excluded', async () => {
  const world = await CoordinatorWorld.open({ owners: nodes(1, 2, 3) })
  world.adopt(makeRing(2, [nodes(1, 2, 3)], 'stable', nodes(1)))
  world.put()
  assert.equal(world.askedWhom('forwardPut'), nodes(2))
})

test('a read asks no owner that is excluded', async () => {
  const world = await CoordinatorWorld.open()
  world.adopt(without(2, 1))
  const get = world.get()
  assert.equal(world.askedWhom('read'), nodes(2))
  world.reply(node(2), refusal('notOwner', 2))
  assert.is(get.error?.code, 'UNAVAILABLE')
})

test.run()
