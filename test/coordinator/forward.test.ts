import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { equalBytes, utf8 } from '../../src/base/bytes.ts'
import type { NodeId } from '../../src/base/ids.ts'
import {
  CoordinatorWorld,
  contextOf,
  dot,
  dots,
  makeRing,
  nodes,
  type ReplyBody,
  refusal,
} from './coordinator-world.ts'

const test = suite('forward')

const OWNERS = nodes(1, 2, 3)
const [N1, N2, N3] = OWNERS as [NodeId, NodeId, NodeId]
const DONE: ReplyBody = { type: 'forwardDone', context: 'c', owners: 2, standIns: 0 }

/** A peer that owns nothing. */
function outsider(): Promise<CoordinatorWorld> {
  return CoordinatorWorld.open({ owners: OWNERS })
}

test('a write is handed on to the first owner, as it is', async () => {
  const world = await outsider()
  const context = contextOf(dots(dot('a', 1)))
  world.put({ value: utf8('v'), contentType: 'text/plain', context, blind: true, w: 'all', writeId: 'w1' })
  assert.equal(world.askedWhom('forwardPut'), [N1])
  const [sent] = world.asked('forwardPut')
  if (sent === undefined) throw new Error('nothing was handed on')
  const { keyspace, contentType, blind, w, writeId } = sent
  assert.equal(
    { keyspace, contentType, blind, w, writeId },
    { keyspace: 'default', contentType: 'text/plain', blind: true, w: 'all', writeId: 'w1' },
  )
  assert.is(sent.context, context)
  assert.ok(sent.value !== null && equalBytes(sent.value, utf8('v')))
  assert.ok(sent.timeoutMs <= 1000 && sent.timeoutMs > 900, 'the time that is left')
})

test('what the owner answers is the answer', async () => {
  const world = await outsider()
  const told = world.put()
  world.reply(N1, DONE)
  assert.equal(told.reply, { context: 'c', owners: 2, standIns: 0 })
  assert.is(world.rpc.openCount, 0)
})

test('what the owner could not do is said with its own words', async () => {
  const world = await outsider()
  for (const code of ['TIMEOUT_UNKNOWN', 'CONFLICT', 'TOO_LARGE'] as const) {
    const told = world.put()
    world.reply(N1, { type: 'forwardFailed', code, message: 'because' })
    assert.is(told.error?.code, code)
    assert.is(told.error?.message, 'because')
  }
  assert.ok(
    world.askedWhom('forwardPut').every((to) => to === N1),
    'nobody else is asked',
  )
})

test('an owner that did nothing is followed by the next one, and the last is quoted', async () => {
  const world = await outsider()
  const told = world.put()
  for (const owner of [N1, N2, N3]) {
    assert.not.ok(told.isDone)
    world.reply(owner, { type: 'forwardFailed', code: 'OVERLOADED', message: `busy ${owner}` })
  }
  assert.equal(world.askedWhom('forwardPut'), [N1, N2, N3])
  assert.is(told.error?.code, 'OVERLOADED')
  assert.is(told.error?.message, `busy ${N3}`)
})

test('an owner that is down is passed over', async () => {
  const world = await outsider()
  world.dead.add(N1)
  world.put()
  assert.equal(world.askedWhom('forwardPut'), [N2])
})

test('an owner that cannot be reached did nothing: the next one is asked', async () => {
  const world = await outsider()
  world.unreachable.add(N1).add(N2)
  world.put()
  assert.equal(world.askedWhom('forwardPut'), [N3])
})

test('an owner that refuses did nothing: the next one is asked', async () => {
  const world = await outsider()
  const told = world.put()
  world.reply(N1, refusal('overloaded'))
  world.reply(N2, refusal('stopping'))
  world.reply(N3, DONE)
  assert.is(told.error, null)
  assert.equal(world.askedWhom('forwardPut'), [N1, N2, N3])
})

test('when no owner can be reached nothing was written', async () => {
  const world = await outsider()
  for (const nodeId of OWNERS) world.unreachable.add(nodeId)
  const told = world.put()
  assert.is(told.error?.code, 'UNAVAILABLE')
  assert.match(told.error?.message ?? '', 'nothing was written')
})

test('when the link to an owner that was handed the write breaks, no second one is asked', async () => {
  const world = await outsider()
  const told = world.put()
  world.rpc.lost(N2, 'data')
  assert.not(told.isDone, 'that was another one')
  world.rpc.lost(N1, 'data')
  assert.is(told.error?.code, 'TIMEOUT_UNKNOWN')
  assert.equal(world.askedWhom('forwardPut'), [N1])
})

test('when the owner does not answer in time the outcome is unknown', async () => {
  const world = await outsider()
  const told = world.put()
  await world.pass(1100)
  assert.is(told.error?.code, 'TIMEOUT_UNKNOWN')
})

test('an adoption does not hand a write on a second time', async () => {
  const world = await outsider()
  const told = world.put()
  world.adopt(makeRing(2, [nodes(2, 3, 4)]))
  assert.equal(world.askedWhom('forwardPut'), [N1])
  world.reply(N1, DONE)
  assert.is(told.error, null)
})

test('an owner that adopted first refuses, and the write is handed on under the new number', async () => {
  const world = await outsider()
  const told = world.put()
  world.adopt(makeRing(2, [OWNERS]))
  world.reply(N1, refusal('stale', 2))
  assert.equal(
    world.asked('forwardPut').map(({ number }) => number),
    [1, 2],
  )
  world.reply(N1, DONE)
  assert.is(told.error, null)
  assert.is(world.rpc.openCount, 0)
})

test('an owner that is two numbers ahead is asked again when its number came here', async () => {
  const world = await outsider()
  const told = world.put()
  world.adopt(makeRing(2, [OWNERS]))
  world.reply(N1, refusal('stale', 3))
  world.reply(N1, refusal('stale', 3))
  assert.is(world.asked('forwardPut').length, 2, 'not under number 2 for a second time')
  world.adopt(makeRing(3, [OWNERS]))
  world.reply(N1, DONE)
  assert.is(told.error, null)
})

test('a write that was handed on is not handed on again', async () => {
  const world = await outsider()
  const told = world.put({}, true)
  assert.is(told.error?.code, 'UNAVAILABLE')
  assert.match(told.error?.message ?? '', 'nothing was written: this peer does not own the key')
  assert.equal(world.questions, [])
})

test('a write that was handed on to an owner is coordinated there', async () => {
  const world = await CoordinatorWorld.open()
  world.put({ blind: true }, true)
  assert.equal(world.askedWhom('replicate'), nodes(1, 2))
})

test('an owner of either layout coordinates while the ring changes', async () => {
  const world = await CoordinatorWorld.open()
  world.adopt(makeRing(2, [nodes(1, 2, 3), nodes(0, 1, 2)], 'begun'))
  world.put({ blind: true })
  assert.equal(world.askedWhom('forwardPut'), [])
  assert.is(world.asked('replicate').length, 3)
})

test.run()
