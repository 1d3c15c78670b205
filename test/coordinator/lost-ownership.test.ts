/** Requests that were begun by an owner of the key and outlast that: the ring is another one meanwhile. */
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { utf8 } from '../../src/base/bytes.ts'
import type { KvError } from '../../src/base/error.ts'
import type { NodeId } from '../../src/base/ids.ts'
import { NAMES_ANOTHER } from '../../src/store/dot-clashes.ts'
import { encodeRecord } from '../../src/store/record-codec.ts'
import {
  CoordinatorWorld,
  contents,
  contextOf,
  DEFAULT,
  dot,
  dots,
  KEY,
  makeRing,
  nodes,
  record,
  recordReply,
  SLOPPY,
  STORED,
  value,
} from './coordinator-world.ts'

const test = suite('lost ownership')

const PARTITION = makeRing(1, [nodes(0)]).partitionOf(KEY)
const OWNERS = nodes(0, 1, 2)
const OTHERS = nodes(1, 2, 3)
const [N1, N2, N3, N4] = nodes(1, 2, 3, 4) as [NodeId, NodeId, NodeId, NodeId]

/** What the node does once every member has acknowledged the ring that says so. */
async function drop(world: CoordinatorWorld): Promise<void> {
  const place = { keyspaceId: DEFAULT.id, partition: PARTITION }
  const { removal } = world.store
  const dropping = removal.dropPartitions(
    [place],
    () => true,
    () => undefined,
  )
  await world.pass(100)
  await dropping
}

test('a put that looks first, and owns the key no more when it knows, writes nothing', async () => {
  const world = await CoordinatorWorld.open()
  const told = world.put({ value: utf8('new') })
  world.adopt(makeRing(2, [OTHERS]))
  await drop(world)
  world.replyAll(null)
  await world.settle()
  assert.is(told.error?.code, 'UNAVAILABLE')
  assert.match(told.error?.message ?? '', /nothing was written/)
  assert.is(world.onDisk(), null)
  assert.equal(world.asked('replicate'), [])
})

test('a put that was minted before the partition was dropped is not minted again', async () => {
  for (const seenUpTo of [0, 1, 5]) {
    const world = await CoordinatorWorld.open()
    const told = world.put({ context: contextOf(dots(dot('a', 1))), value: utf8('new') })
    await world.settle()
    world.adopt(makeRing(2, [OTHERS]))
    await drop(world)
    const { length } = world.asked('replicate')
    for (const owner of [N1, N2]) {
      for (const question of world.questions.filter(({ to, isAnswered }) => to === owner && !isAnswered)) {
        question.isAnswered = true
        world.replyTo(question, { type: 'stored', seenUpTo })
      }
    }
    await world.settle()
    assert.is(told.error, null)
    assert.is(told.reply?.owners, 2)
    assert.is(world.asked('replicate').length, length)
    assert.not.ok(world.logged.includes('actor.impostor'))
    assert.is(world.onDisk(), null)
  }
})

test('where its dot names another value, an owner’s answer still does not count', async () => {
  const world = await CoordinatorWorld.open()
  const told = world.put({ context: contextOf(dots(dot('a', 1))), value: utf8('new') })
  await world.settle()
  world.adopt(makeRing(2, [OTHERS]))
  await drop(world)
  world.questions
    .filter(({ message }) => 'number' in message && message.number === 1)
    .forEach((question) => {
      question.isAnswered = true
    })
  world.reply(N1, { type: 'stored', seenUpTo: NAMES_ANOTHER })
  world.reply(N2, STORED)
  await world.settle()
  assert.not(told.isDone)
})

test('what repair brings to a partition that is owned no more is not taken', async () => {
  const world = await CoordinatorWorld.open()
  world.adopt(makeRing(2, [OTHERS]))
  const bytes = encodeRecord(KEY, record([value(dot('a', 1))]))
  const codes: (string | undefined)[] = []
  for (const write of ['merge', 'restore'] as const) {
    const done = (error: KvError | null): void => void codes.push(error?.code)
    if (write === 'merge') world.store.merge(DEFAULT, PARTITION, KEY, bytes, null, done)
    else world.store.restore(DEFAULT, PARTITION, KEY, bytes, done)
    await world.settle()
  }
  assert.equal(codes, ['UNAVAILABLE', 'UNAVAILABLE'])
  assert.is(world.onDisk(), null)
})

test('a put outlasts that its partition was dropped and gained back', async () => {
  const world = await CoordinatorWorld.open()
  const told = world.put({ context: contextOf(dots(dot('a', 1))), value: utf8('new') })
  await world.settle()
  world.adopt(makeRing(2, [OTHERS]))
  await drop(world)
  world.adopt(makeRing(3, [OTHERS, OWNERS], 'begun'))
  for (const question of world.questions.filter(({ isAnswered }) => !isAnswered)) {
    question.isAnswered = true
    world.replyTo(question, { type: 'stored', seenUpTo: 1 })
  }
  await world.settle()
  assert.is(told.error, null)
  assert.not.ok(world.logged.includes('actor.impostor'))
  assert.ok(contents(world.onDisk()).length <= 1)
})

test('what was dropped here and is owned again counts once it is on the disk again', async () => {
  const world = await CoordinatorWorld.open()
  const told = world.put({ blind: true, value: utf8('new') })
  await world.settle()
  world.adopt(makeRing(2, [OTHERS]))
  await drop(world)
  world.questions.splice(0)
  world.adopt(makeRing(3, [OTHERS, OWNERS], 'switched'))
  world.reply(N1, STORED)
  world.reply(N3, STORED)
  assert.not(told.isDone, 'one of its new owners has it')
  await world.settle()
  assert.is(told.error, null)
  assert.equal(contents(world.onDisk()), ['new'])
})

test('a stand-in that owns the key meanwhile counts when it holds it as an owner', async () => {
  const world = await CoordinatorWorld.open({ owners: nodes(1, 2, 3, 0, 4) })
  for (const owner of nodes(1, 2, 3)) world.dead.add(owner)
  const told = world.put({ keyspace: SLOPPY.name, blind: true, value: utf8('new') })
  await world.settle()
  assert.equal(contents(world.kept()), ['new'])
  world.questions.splice(0)
  world.adopt(makeRing(2, [nodes(0, 1, 2, 3, 4)]))
  world.reply(N4, STORED)
  assert.not(told.isDone)
  assert.is(world.onDisk(SLOPPY), null)
  await world.settle()
  assert.equal(contents(world.onDisk(SLOPPY)), ['new'])
  assert.equal([told.reply?.owners, told.reply?.standIns], [1, 1])
})

test('what a stand-in handed over is kept once more before it counts under a new number', async () => {
  const world = await CoordinatorWorld.open({ owners: nodes(1, 2, 3, 0, 4) })
  for (const owner of nodes(1, 2, 3)) world.dead.add(owner)
  const told = world.put({ keyspace: SLOPPY.name, blind: true, value: utf8('new') })
  await world.settle()
  const partition = makeRing(1, [nodes(1)]).partitionOf(KEY)
  const { standIns } = await world.store.standIns.slice(null, 1, 1e6)
  for (const each of standIns) world.store.standIns.delivered(each, nodes(1, 2, 3), new Set(nodes(1, 2, 3)))
  await world.settle()
  assert.is(world.store.standIns.newest(SLOPPY.id, partition, KEY), null)
  world.questions.splice(0)
  world.adopt(makeRing(2, [nodes(1, 2, 4, 0, 3)]))
  assert.not(told.isDone)
  await world.settle()
  assert.equal(contents(world.kept()), ['new'])
})

/** It leaves: its id is in the old layout alone. */
const LEAVING = makeRing(2, [nodes(1, 2, 3, 0, 4), nodes(1, 2, 3, 4)], 'begun')

test('a peer that leaves keeps nothing for others any more: no write that it had begun', async () => {
  const world = await CoordinatorWorld.open({ owners: nodes(1, 2, 3, 0, 4) })
  for (const owner of nodes(1, 2, 3)) world.dead.add(owner)
  const told = world.put({ keyspace: SLOPPY.name, value: utf8('new') })
  world.adopt(LEAVING)
  world.replyAll(null)
  await world.settle()
  assert.is(told.error?.code, 'UNAVAILABLE')
  assert.match(told.error?.message ?? '', /nothing was written/)
  assert.is(world.kept(), null)
})

test('nor does it count what it kept before, or keep what a read finds', async () => {
  const world = await CoordinatorWorld.open({ owners: nodes(1, 2, 3, 0, 4, 5) })
  for (const owner of nodes(1, 2, 3)) world.dead.add(owner)
  const told = world.put({ keyspace: SLOPPY.name, blind: true, w: 'all', value: utf8('new') })
  await world.settle()
  const taken = world.store.standIns.takenCount
  world.adopt(makeRing(2, [nodes(1, 2, 3, 0, 4, 5), nodes(1, 2, 3, 4, 5)], 'begun'))
  world.replyAll(null)
  await world.settle()
  assert.not(told.error === null && told.isDone, 'two stand in for three')
  world.get({ keyspace: SLOPPY.name })
  const kept = record([value(dot('a', 1))])
  for (const question of world.questions.filter(({ isAnswered }) => !isAnswered)) {
    question.isAnswered = true
    if (question.message.type === 'read') world.replyTo(question, recordReply(kept))
  }
  await world.settle()
  assert.is(world.store.standIns.takenCount, taken)
})

test.run()
