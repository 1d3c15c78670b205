import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import type { NodeId } from '../../src/base/ids.ts'
import { CoordinatorWorld, nodes } from './coordinator-world.ts'

const test = suite('a disk that is away')

const [N1, N2] = nodes(1, 2) as [NodeId, NodeId]

test('while the disk here is away a write is handed on to another owner, but not twice', async () => {
  const world = await CoordinatorWorld.open()
  world.disk.isFailing = true
  world.put({ blind: true })
  await world.pass(0.5)
  world.questions.length = 0
  const refused = world.put({ blind: true }, true)
  assert.is(refused.error?.code, 'UNAVAILABLE')
  assert.match(refused.error?.message ?? '', /^nothing was written .*: its disk fails: EIO$/)
  const told = world.put({ blind: true })
  assert.equal(world.askedWhom('forwardPut'), [N1])
  world.reply(N1, { type: 'forwardFailed', code: 'UNAVAILABLE', message: 'its disk is away too' })
  assert.equal(world.askedWhom('forwardPut'), [N1, N2], 'never this peer itself')
  world.reply(N2, { type: 'forwardDone', context: 'c', owners: 2, standIns: 0 })
  assert.is(told.reply?.context, 'c')
})

test('while the only owner that is up has its disk away, it is said why', async () => {
  const world = await CoordinatorWorld.open()
  world.dead.add(N1).add(N2)
  world.disk.isFailing = true
  const first = world.put({ blind: true, w: 'one' })
  await world.pass(0.5)
  assert.is(first.error?.code, 'TIMEOUT_UNKNOWN')
  assert.match(first.error?.message ?? '', 'this peer: its disk fails: EIO')
  const second = world.put({ blind: true, w: 'one' })
  assert.is(second.error?.code, 'UNAVAILABLE')
  assert.match(second.error?.message ?? '', /^nothing was written .*: its disk fails: EIO$/)
  const read = world.get({ r: 'one' })
  assert.is(read.error?.code, 'UNAVAILABLE')
  assert.match(read.error?.message ?? '', 'this peer cannot be read: its disk fails: EIO')
})

test.run()
