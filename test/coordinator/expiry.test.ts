import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { utf8 } from '../../src/base/bytes.ts'
import { CoordinatorWorld, contents, dot, record, shown, value } from './coordinator-world.ts'

const test = suite('expiry')

test('a value with a time to live is found until then, and kept as it is afterwards', async () => {
  const world = await CoordinatorWorld.open()
  world.put({ blind: true, value: utf8('v'), ttlMs: 1000 })
  world.replyAll()
  await world.settle()
  assert.equal(shown(await read(world)), ['v'])
  await world.pass(1000)
  assert.equal(shown(await read(world)), [])
  assert.equal(contents(world.onDisk()), ['v'])
})

async function read(world: CoordinatorWorld) {
  const told = world.get({ r: 'one' })
  await world.settle()
  return told.reply
}

test('repair does not revive a value that has expired', async () => {
  const world = await CoordinatorWorld.open()
  const expired = { ...value(dot('a', 1)), expiresAtMs: 1 }
  const told = world.get()
  world.replyAll(record([expired]))
  await world.settle()
  world.replyAll()
  await world.settle()
  assert.equal(shown(told.reply), [])
  assert.equal(world.onDisk()?.values, [expired])
})

test('every owner is sent the same absolute time', async () => {
  const world = await CoordinatorWorld.open()
  world.put({ blind: true, value: utf8('v'), ttlMs: 1000 })
  const [first, second] = world.asked('replicate')
  assert.equal(first?.record, second?.record)
  await world.settle()
  assert.type(world.onDisk()?.values[0]?.expiresAtMs, 'number')
})

test('a delete does not expire, and no value lives for no time or for ever so long', async () => {
  const world = await CoordinatorWorld.open()
  for (const request of [{ value: null, ttlMs: 1000 }, { ttlMs: 0 }, { ttlMs: 1e15 }]) {
    assert.is(world.put({ blind: true, ...request }).error?.code, 'INVALID_ARGUMENT')
  }
  assert.is(world.onDisk(), null)
})

test.run()
