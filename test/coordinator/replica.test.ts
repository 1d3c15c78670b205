import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { utf8 } from '../../src/base/bytes.ts'
import type { KeyspaceId } from '../../src/base/ids.ts'
import type { PeerMessage } from '../../src/wire/peer-messages.ts'
import {
  CoordinatorWorld,
  contents,
  DEFAULT,
  decoded,
  dot,
  dots,
  KEY,
  makeRing,
  node,
  nodes,
  record,
  recordReply,
  value,
} from './coordinator-world.ts'

const test = suite('replica')

type ReadMessage = Extract<PeerMessage, { type: 'read' }>
type ReplicateMessage = Extract<PeerMessage, { type: 'replicate' }>

const HELD = record([value(dot('a', 1)), value(dot('b', 1))])
const bytes = (recordReply(HELD) as { readonly record: Uint8Array }).record

const NOT_AS_STAND_IN = { seenOnly: false, asStandIn: false, isDoubted: null, isLost: null }

function read(fields: Partial<ReadMessage> = {}): ReadMessage {
  return { type: 'read', id: 5, number: 1, keyspaceId: DEFAULT.id, key: KEY, ...NOT_AS_STAND_IN, ...fields }
}

function replicate(fields: Partial<ReplicateMessage> = {}): ReplicateMessage {
  const rest = { keyspaceId: DEFAULT.id, key: KEY, record: bytes, mintedBy: null, standInFor: null, era: 0 }
  return { type: 'replicate', id: 6, number: 1, ...rest, ...fields }
}

test('a read is answered with the bytes on disk', async () => {
  const world = await CoordinatorWorld.open()
  world.serve(read())
  assert.equal(world.answers, [{ type: 'record', id: 5, record: null }])
  await world.seed(HELD)
  world.serve(read())
  assert.equal(world.answers.at(-1), { type: 'record', id: 5, record: bytes })
})

test('an old record that is doubted is sent when the disk is as its tree says', async () => {
  const world = await CoordinatorWorld.open({ isAllOld: true })
  await world.seed(HELD)
  world.serve(read({ isDoubted: true }))
  assert.equal(world.answers, [])
  await world.settle()
  assert.equal(world.answers, [{ type: 'record', id: 5, record: bytes }])
  world.serve(read({ isDoubted: true, seenOnly: true }))
  await world.settle()
  assert.is(world.answers.length, 2)
})

test('a record for which the link has no room is refused: there is an answer in any case', async () => {
  const world = await CoordinatorWorld.open()
  await world.seed(HELD)
  world.linkRoomBytes = 0
  world.serve(read())
  assert.equal(world.answers, [{ type: 'refused', id: 5, reason: 'overloaded', number: 1 }])
})

test('what is not on disk yet is not answered', async () => {
  const world = await CoordinatorWorld.open()
  world.serve(replicate())
  world.serve(read())
  assert.equal(world.answers, [{ type: 'record', id: 5, record: null }])
})

test('what is still taken over is told to who owned it alone and lost it, and to nobody else', async () => {
  const before = [nodes(1), nodes(1, 2), nodes(2)]
  for (const [i, old] of before.entries()) {
    const world = await CoordinatorWorld.open()
    await world.seed(HELD)
    const ring = makeRing(2, [old, nodes(0, 1, 2)], 'begun')
    world.adopt(ring)
    const partition = ring.partitionOf(KEY)
    world.arrivals.follow({ isGained: (keyspaceId, at) => keyspaceId === DEFAULT.id && at === partition })
    world.serve(read({ number: 2 }))
    world.serve(read({ number: 2, isLost: true }))
    const refusal = { type: 'refused', id: 5, reason: 'catchingUp', number: 2 }
    assert.equal(world.answers, [refusal, i === 0 ? { type: 'record', id: 5, record: bytes } : refusal])
  }
})

test('a read of what was seen leaves the values out', async () => {
  const world = await CoordinatorWorld.open()
  await world.seed(HELD)
  world.serve(read({ seenOnly: true }))
  const answer = world.answers[0] as Extract<PeerMessage, { type: 'record' }>
  assert.equal(decoded(answer.record), { seen: dots(dot('a', 1), dot('b', 1)), values: [] })
})

test('stored is said when it is on disk, not before', async () => {
  const world = await CoordinatorWorld.open()
  world.serve(replicate())
  assert.equal(world.answers, [])
  await world.settle()
  assert.equal(world.answers, [{ type: 'stored', id: 6, seenUpTo: 0 }])
  assert.equal(contents(world.onDisk()), ['a1', 'b1'])
})

test('stored says how much of the minting actor was seen before', async () => {
  const world = await CoordinatorWorld.open()
  await world.seed(record([value(dot('a', 7))]))
  world.serve(replicate({ mintedBy: dot('a', 1).actor }))
  await world.settle()
  assert.equal(world.answers, [{ type: 'stored', id: 6, seenUpTo: 7 }])
})

test('a replica refuses a stale number and names its own', async () => {
  const world = await CoordinatorWorld.open()
  world.ring = makeRing(4, [nodes(0, 1, 2)])
  world.serve(read({ number: 3 }))
  world.serve(replicate({ number: 3 }))
  assert.equal(world.answers, [
    { type: 'refused', id: 5, reason: 'stale', number: 4 },
    { type: 'refused', id: 6, reason: 'stale', number: 4 },
  ])
  await world.settle()
  assert.is(world.onDisk(), null)
})

test('a replica refuses a newer number, and goes to fetch that configuration', async () => {
  const world = await CoordinatorWorld.open()
  world.serve(read({ number: 2 }), node(2))
  world.serve(replicate({ number: 3 }), node(1))
  assert.equal(
    world.answers.map((answer) => (answer.type === 'refused' ? [answer.reason, answer.number] : answer)),
    [
      ['behind', 1],
      ['behind', 1],
    ],
  )
  assert.equal(world.numbersSeen, [
    { from: node(2), number: 2 },
    { from: node(1), number: 3 },
  ])
  await world.settle()
  assert.is(world.onDisk(), null)
})

test('a peer that has no configuration yet says that it is behind, whatever the number', async () => {
  const world = await CoordinatorWorld.open()
  world.ring = null
  for (const number of [0, 1]) {
    world.serve(read({ number }))
    world.serve(replicate({ number }))
  }
  assert.is(world.answers.length, 4)
  for (const answer of world.answers) assert.is(answer.type === 'refused' && answer.reason, 'behind')
})

test('a peer that does not own the key says so', async () => {
  const world = await CoordinatorWorld.open({ owners: nodes(1, 2, 3) })
  world.serve(read())
  world.serve(replicate())
  for (const answer of world.answers) assert.is(answer.type === 'refused' && answer.reason, 'notOwner')
  assert.is(world.answers.length, 2)
})

test('a keyspace that this configuration does not have is nobody’s', async () => {
  const world = await CoordinatorWorld.open()
  world.serve(read({ keyspaceId: 99 as KeyspaceId }))
  world.serve(replicate({ keyspaceId: 99 as KeyspaceId }))
  for (const answer of world.answers) assert.is(answer.type === 'refused' && answer.reason, 'notOwner')
})

test('a record that is none fails, and leaves what is held', async () => {
  const world = await CoordinatorWorld.open()
  await world.seed(HELD)
  world.serve(replicate({ record: utf8('no record') }))
  await world.settle()
  assert.equal(world.answers, [{ type: 'refused', id: 6, reason: 'failed', number: 1 }])
  assert.equal(contents(world.onDisk()), ['a1', 'b1'])
})

test('a damaged copy on disk fails the read, not the peer', async () => {
  const world = await CoordinatorWorld.open()
  world.store.read = () => utf8('no record')
  world.serve(read({ seenOnly: true }))
  assert.equal(world.answers, [{ type: 'refused', id: 5, reason: 'failed', number: 1 }])
})

test('when the disk fails the replica says failed, not stored, and gives nothing for now', async () => {
  const world = await CoordinatorWorld.open()
  world.disk.isFailing = true
  world.serve(replicate())
  await world.pass(0.5)
  world.serve(read())
  assert.equal(
    world.answers.map((answer) => answer.type === 'refused' && answer.reason),
    ['failed', 'catchingUp'],
  )
})

test('when the disk’s queue is full the replica says overloaded', async () => {
  const world = await CoordinatorWorld.open()
  for (let i = 0; i < 16_400; i++) world.serve(replicate({ id: i + 1 }))
  await world.settle()
  const reasons = world.answers.map((answer) => (answer.type === 'refused' ? answer.reason : answer.type))
  assert.is(reasons.filter((reason) => reason === 'overloaded').length, 16)
  assert.is(reasons.filter((reason) => reason === 'stored').length, 16_384)
})

test('a record for which there is no room beside what is held is refused as such', async () => {
  const world = await CoordinatorWorld.open()
  const many = (letter: string) => record(Array.from({ length: 600 }, (_, i) => value(dot(letter, i + 1))))
  await world.seed(many('a'))
  const { record: sent } = recordReply(many('b')) as { readonly record: Uint8Array }
  world.serve(replicate({ record: sent }))
  await world.settle()
  assert.equal(world.answers, [{ type: 'refused', id: 6, reason: 'overfull', number: 1 }])
  assert.is(world.onDisk()?.values.length, 600)
})

test.run()
