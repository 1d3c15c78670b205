import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { utf8 } from '../../src/base/bytes.ts'
import type { NodeId } from '../../src/base/ids.ts'
import type { PeerMessage } from '../../src/wire/peer-messages.ts'
import {
  CoordinatorWorld,
  contents,
  DEFAULT,
  decoded,
  dot,
  KEY,
  nodes,
  record,
  recordReply,
  refusal,
  SLOPPY,
  STORED,
  shown,
  value,
} from './coordinator-world.ts'

const test = suite('sloppy quorum')

const [N1, N2, N3, N4] = nodes(1, 2, 3, 4) as [NodeId, NodeId, NodeId, NodeId]
const HELD = record([value(dot('a', 1))])

/** n0, n1, n2 own the key, n3 and n4 are next. */
async function asOwner(...dead: NodeId[]): Promise<CoordinatorWorld> {
  const world = await CoordinatorWorld.open({ owners: nodes(0, 1, 2, 3, 4) })
  for (const nodeId of dead) world.dead.add(nodeId)
  return world
}

/** n1, n2, n3 own the key, this peer is next, then n4. */
async function asStandIn(...dead: NodeId[]): Promise<CoordinatorWorld> {
  const world = await CoordinatorWorld.open({ owners: nodes(1, 2, 3, 0, 4) })
  for (const nodeId of dead) world.dead.add(nodeId)
  return world
}

const blind = { keyspace: 'sloppy', blind: true, value: utf8('v') }

test('while all owners are up nobody stands in', async () => {
  const world = await asOwner()
  world.put(blind)
  assert.equal(world.askedWhom('replicate'), [N1, N2])
  assert.equal(
    world.asked('replicate').map(({ standInFor }) => standInFor),
    [null, null],
  )
})

test('the next live peers stand in for owners that are down, each for one', async () => {
  const world = await asOwner(N1, N2)
  const told = world.put({ ...blind, w: 'all' })
  assert.equal(world.askedWhom('replicate'), [N3, N4])
  assert.equal(
    world.asked('replicate').map(({ standInFor }) => standInFor),
    [N1, N2],
  )
  world.reply(N3, STORED)
  world.reply(N4, STORED)
  await world.settle()
  assert.is(told.reply?.owners, 1)
  assert.is(told.reply?.standIns, 2)
})

test('in a strict keyspace nobody stands in', async () => {
  const world = await asOwner(N1, N2)
  const told = world.put({ ...blind, keyspace: 'default' })
  assert.is(told.error?.code, 'UNAVAILABLE')
  assert.equal(world.questions, [])
})

test('a stand-in that is down is passed over', async () => {
  const world = await asOwner(N1, N3)
  world.put(blind)
  assert.equal(world.askedWhom('replicate'), [N4, N2])
})

test('a write that even stand-ins cannot bring to W disks is refused before it begins', async () => {
  const world = await asOwner(N1, N2, N3)
  assert.is(world.put({ ...blind, w: 'all' }).error?.code, 'UNAVAILABLE')
  assert.equal(world.questions, [])
  assert.is(world.onDisk(SLOPPY), null)
})

test('an owner that dies meanwhile is stood in for', async () => {
  const world = await asOwner()
  const told = world.put({ ...blind, w: 'all' })
  world.reply(N1, STORED)
  world.dead.add(N2)
  world.rpc.lost(N2, 'data')
  assert.is(world.asked('replicate', N3)[0]?.standInFor, N2)
  world.reply(N3, STORED)
  await world.settle()
  assert.is(told.reply?.standIns, 1)
})

test('a stand-in that has no room is replaced by the next one', async () => {
  const world = await asOwner(N1)
  const told = world.put({ ...blind, w: 'all' })
  world.reply(N2, STORED)
  world.reply(N3, refusal('overloaded'))
  assert.is(world.asked('replicate', N4)[0]?.standInFor, N1)
  world.reply(N4, refusal('overloaded'))
  await world.settle()
  assert.is(told.error?.code, 'TIMEOUT_UNKNOWN')
})

test('with no owner up the first stand-in coordinates under a name of its own', async () => {
  const world = await asStandIn(N1, N2, N3)
  const told = world.put(blind)
  assert.equal(world.askedWhom('replicate'), [N4])
  const [sent] = world.asked('replicate')
  assert.is(sent?.mintedBy, world.store.standIns.actor)
  assert.is(sent?.standInFor, N2)
  assert.equal(contents(decoded(sent?.record ?? null)), ['v'])
  world.reply(N4, STORED)
  await world.settle()
  assert.is(told.reply?.owners, 0)
  assert.is(told.reply?.standIns, 2)
  assert.equal(contents(world.kept()), ['v'])
  assert.is(world.onDisk(SLOPPY), null)
  assert.equal(world.keptFor(), { n1: 1, n2: 1, n3: 1 })
})

test('with no owner up a peer further down hands the write to the first stand-in', async () => {
  const world = await CoordinatorWorld.open({ owners: nodes(1, 2, 3, 4, 0) })
  for (const nodeId of [N1, N2, N3]) world.dead.add(nodeId)
  world.put(blind)
  assert.equal(world.askedWhom('forwardPut'), [N4])
})

test('a stand-in that was handed a write coordinates it', async () => {
  const world = await asStandIn(N1, N2)
  const told = world.put({ ...blind, w: 1 }, true)
  assert.equal(world.askedWhom('replicate'), [N4, N3])
  world.reply(N3, STORED)
  await world.settle()
  assert.ok((told.reply?.owners ?? 0) + (told.reply?.standIns ?? 0) >= 1)
  assert.equal(contents(world.kept()), ['v'])
})

test('nobody who owns nothing of a strict keyspace takes a write', async () => {
  const world = await asStandIn(N1, N2, N3)
  assert.is(world.put({ ...blind, keyspace: 'default' }, true).error?.code, 'UNAVAILABLE')
})

test('a contextless put asks stand-ins too what it replaces, and nothing is an answer', async () => {
  const world = await asOwner(N1, N2)
  world.put({ keyspace: 'sloppy', value: utf8('v') })
  assert.equal(world.asked('read', N3)[0]?.asStandIn, true)
  world.reply(N3, recordReply(null))
  await world.settle()
  assert.equal(contents(world.onDisk(SLOPPY)), ['v'])
})

test('a contextless put replaces what a stand-in keeps', async () => {
  const world = await asOwner(N1, N2)
  world.put({ keyspace: 'sloppy', value: utf8('v') })
  world.reply(N3, recordReply(HELD))
  await world.settle()
  const [sent] = world.asked('replicate')
  assert.is(decoded(sent?.record ?? null).seen.vector.get(dot('a', 1).actor), 1)
})

test('a stand-in counts towards R when it holds a record', async () => {
  const world = await asOwner(N1, N2)
  await world.seed(HELD, SLOPPY)
  const told = world.get({ keyspace: 'sloppy' })
  assert.equal(world.askedWhom('read'), [N3])
  world.reply(N3, recordReply(HELD))
  assert.equal(shown(told.reply), ['a1'])
  assert.is(told.reply?.owners, 1)
  assert.is(told.reply?.standIns, 1)
})

test('"not found" needs R owners: a stand-in with nothing is no answer', async () => {
  const world = await asOwner(N1, N2)
  const told = world.get({ keyspace: 'sloppy' })
  world.reply(N3, recordReply(null))
  assert.not(told.isDone, 'the next one may hold it')
  world.reply(N4, recordReply(null))
  assert.is(told.error?.code, 'UNAVAILABLE')
})

test('while R owners are up no stand-in is asked', async () => {
  const world = await asOwner(N1)
  world.get({ keyspace: 'sloppy' })
  assert.equal(world.askedWhom('read'), [N2])
})

test('a read of stand-ins that differ repairs them before it answers', async () => {
  const world = await asStandIn(N1, N2, N3)
  world.put({ ...blind, w: 'one' })
  await world.settle()
  const told = world.get({ keyspace: 'sloppy' })
  world.replyTo(world.questions.find(({ message }) => message.type === 'read') as never, recordReply(HELD))
  assert.not(told.isDone)
  const sent = world.asked('replicate', N4).at(-1)
  assert.equal(contents(decoded(sent?.record ?? null)), ['a1', 'v'])
  world.replyAll()
  await world.settle()
  assert.equal(shown(told.reply).sort(), ['a1', 'v'])
  assert.is(told.reply?.standIns, 2)
  assert.equal(contents(world.kept()), ['a1', 'v'])
})

type ReplicateMessage = Extract<PeerMessage, { type: 'replicate' }>

function keepFor(standInFor: NodeId, fields: Partial<ReplicateMessage> = {}): ReplicateMessage {
  const bytes = (recordReply(HELD) as { readonly record: Uint8Array }).record
  const rest = { keyspaceId: SLOPPY.id, key: KEY, record: bytes, mintedBy: null }
  return { type: 'replicate', id: 6, number: 1, standInFor, era: 0, ...rest, ...fields }
}

test('what is kept for an owner is kept apart, and given only to who asks for that', async () => {
  const world = await asStandIn(N1)
  world.serve(keepFor(N1))
  await world.settle()
  assert.equal(world.answers, [{ type: 'stored', id: 6, seenUpTo: 0 }])
  assert.equal(world.keptFor(), { n1: 1 })
  const fields = { keyspaceId: SLOPPY.id, key: KEY, seenOnly: false, isDoubted: null, isLost: null }
  const read = { type: 'read', id: 7, number: 1, ...fields } as const
  world.serve({ ...read, asStandIn: true })
  assert.is(world.answers[1]?.type, 'record')
  world.serve({ ...read, asStandIn: false })
  assert.equal(world.answers[2], { type: 'refused', id: 7, reason: 'notOwner', number: 1 })
})

test('an owner stands in for nobody, and nobody does in a strict keyspace', async () => {
  const owner = await asOwner()
  owner.serve(keepFor(N1))
  assert.equal(owner.answers, [{ type: 'refused', id: 6, reason: 'notOwner', number: 1 }])
  const other = await asStandIn()
  other.serve(keepFor(N1, { keyspaceId: DEFAULT.id }))
  assert.is(other.answers[0]?.type, 'refused')
  assert.equal(other.keptFor(), {})
})

test.run()
