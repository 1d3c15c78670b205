import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { utf8 } from '../../src/base/bytes.ts'
import { KvError } from '../../src/base/error.ts'
import { RequestBudget } from '../../src/coordinator/request-budget.ts'
import { CoordinatorWorld, contextOf, dot, dots, LWW, nodes } from './coordinator-world.ts'

const test = suite('coordinator')

const overloaded = new KvError('OVERLOADED', 'nothing was written: the disk has too much to do')

test('a keyspace that is not there is not found, and the message says where to look', async () => {
  const world = await CoordinatorWorld.open()
  for (const told of [world.put({ keyspace: 'nope' }), world.get({ keyspace: 'nope' })]) {
    assert.is(told.error?.code, 'NOT_FOUND')
    assert.match(told.error?.message ?? '', "there is no keyspace 'nope'")
  }
})

test('a key has 1 to 1024 bytes', async () => {
  const world = await CoordinatorWorld.open()
  for (const key of [new Uint8Array(0), new Uint8Array(1025)]) {
    assert.is(world.put({ key }).error?.code, 'INVALID_ARGUMENT')
    assert.is(world.get({ key }).error?.code, 'INVALID_ARGUMENT')
  }
  assert.is(world.put({ key: new Uint8Array(1024), blind: true }).error, null)
})

test('a value above the limit is too large, and the message names the option', async () => {
  const world = await CoordinatorWorld.open()
  const told = world.put({ value: new Uint8Array(1001) })
  assert.is(told.error?.code, 'TOO_LARGE')
  assert.match(told.error?.message ?? '', '--max-value')
  assert.is(world.put({ value: new Uint8Array(1000), blind: true }).error, null)
})

test('a level above the number of owners is an invalid argument, said before anything is done', async () => {
  const world = await CoordinatorWorld.open()
  for (const told of [world.put({ w: 4, blind: true }), world.get({ r: 4 })]) {
    assert.is(told.error?.code, 'INVALID_ARGUMENT')
    assert.match(told.error?.message ?? '', 'a key here has 3 owners')
  }
  assert.equal(world.questions, [])
})

test('a context of another key, keyspace or cluster is an invalid argument', async () => {
  const world = await CoordinatorWorld.open()
  const seen = dots(dot('a', 1))
  for (const context of [contextOf(seen, undefined, utf8('other')), contextOf(seen, LWW), 'nonsense', '']) {
    const told = world.put({ context })
    assert.is(told.error?.code, 'INVALID_ARGUMENT')
    assert.match(told.error?.message ?? '', 'not a context of this key')
  }
  await world.settle()
  assert.is(world.onDisk(), null)
})

test('a peer that owns nothing refuses a wrong context itself, without handing the write on', async () => {
  const world = await CoordinatorWorld.open({ owners: nodes(1, 2, 3) })
  assert.is(world.put({ context: 'nonsense' }).error?.code, 'INVALID_ARGUMENT')
  assert.equal(world.questions, [])
})

test('past the limit of requests under way one more is overloaded, at once', async () => {
  const world = await CoordinatorWorld.open({ limits: { maxInFlight: 2 } })
  const first = world.get()
  world.put()
  for (const told of [world.get(), world.put()]) {
    assert.is(told.error?.code, 'OVERLOADED')
  }
  assert.is(world.coordinator.inFlight, 2)
  world.replyAll(null)
  assert.ok(first.isDone)
  assert.is(world.coordinator.inFlight, 1, 'the read is answered, the put goes on')
  assert.is(world.get().error, null)
})

test('past the limit of bytes under way one more is overloaded, reads by what they gave lately', async () => {
  const world = await CoordinatorWorld.open({ limits: { maxInFlightBytes: 800 } })
  const value = new Uint8Array(1000)
  const rest = { blind: true, value, w: 'all' as const }
  const first = world.put(rest)
  assert.is(world.put(rest).error?.code, 'OVERLOADED')
  await world.settle()
  world.replyAll(null)
  await world.settle()
  assert.ok(first.isDone)
  for (let i = 0; i < 10; i++) assert.is(world.get({ r: 'one' }).error, null)
  assert.is(world.coordinator.inFlight, 0, 'our own copy was enough')
  world.get({ r: 'all' })
  assert.is(world.get({ r: 'all' }).error?.code, 'OVERLOADED')
})

test('a peer that had stopped begins no write, however it came, and answers reads', async () => {
  const world = await CoordinatorWorld.open()
  world.stalls.hasJustStalled = true
  for (const forwarded of [false, true]) {
    const told = world.put({}, forwarded)
    assert.is(told.error?.code, 'UNAVAILABLE')
    assert.match(told.error?.message ?? '', /nothing was written/)
  }
  assert.is(world.get().error, null)
  world.stalls.hasJustStalled = false
  assert.is(world.put().error, null)
})

test('when the disk’s queue is full a write is overloaded, and nothing was written', async () => {
  const world = await CoordinatorWorld.open()
  const codes = new Set<string | undefined>()
  const big = new Uint8Array(1000)
  const rest = { blind: true, value: big, w: 'one' as const }
  for (let i = 0; i < 100; i++) codes.add(world.put({ ...rest, key: utf8(`k${i}`) }).error?.code)
  assert.equal([...codes], [undefined], 'a hundred are taken')
  world.store.put = () => {
    throw overloaded
  }
  await world.settle()
  const told = world.put(rest)
  assert.is(told.error, overloaded)
})

test('a peer that stops takes no more requests, and those under way go on', async () => {
  const world = await CoordinatorWorld.open()
  const told = world.get()
  world.coordinator.stop()
  for (const refused of [world.put(), world.get()]) assert.is(refused.error?.code, 'UNAVAILABLE')
  world.replyAll(null)
  assert.is(told.error, null)
  assert.is(world.coordinator.inFlight, 0)
})

test('no request runs longer than a minute, whatever it asks for', async () => {
  const world = await CoordinatorWorld.open()
  const told = world.get({ timeoutMs: 600_000 })
  await world.pass(59_000)
  assert.not(told.isDone)
  await world.pass(1_100)
  assert.is(told.error?.code, 'UNAVAILABLE')
})

test('a request without time left is not done', async () => {
  const world = await CoordinatorWorld.open()
  const told = world.put({ timeoutMs: 0 })
  await world.settle()
  await world.settle()
  assert.is(told.error?.code, 'UNAVAILABLE')
  assert.is(world.onDisk(), null)
})

test('when the rpc stops every request under way ends, and says what is known', async () => {
  const world = await CoordinatorWorld.open()
  const [read, round, writing] = [world.get(), world.put(), world.put({ blind: true })]
  world.rpc.stop()
  assert.equal(
    [read, round, writing].map(({ error }) => error?.code),
    ['UNAVAILABLE', 'UNAVAILABLE', 'TIMEOUT_UNKNOWN'],
  )
})

test('twenty requests earn one hedge, and no more than ten are saved up', () => {
  const budget = new RequestBudget(0.05)
  const spendAll = (): number => {
    let spent = 0
    while (budget.spend()) spent++
    return spent
  }
  assert.is(spendAll(), 10)
  for (let i = 0; i < 21; i++) budget.earn()
  assert.is(spendAll(), 1)
  for (let i = 0; i < 1000; i++) budget.earn()
  assert.is(spendAll(), 10)
})

test.run()
