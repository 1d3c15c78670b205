import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { present } from '../../src/base/assert.ts'
import { utf8 } from '../../src/base/bytes.ts'
import type { NodeId } from '../../src/base/ids.ts'
import { DISAGREES } from '../../src/coordinator/purge-owner.ts'
import { recordDigest } from '../../src/protocol/hash-tree.ts'
import { placeName } from '../../src/protocol/place-name.ts'
import type { PeerMessage } from '../../src/wire/peer-messages.ts'
import type { PurgeRequest } from '../../src/wire/purge-messages.ts'
import {
  CoordinatorWorld,
  DEFAULT,
  dot,
  KEY,
  makeRing,
  node,
  nodes,
  PURGE_RULE,
  record,
  recordReply,
  SLOPPY,
  STORED,
  value,
} from './coordinator-world.ts'

const test = suite('purge owner')

type Ask<T extends PurgeRequest['type']> = Extract<PurgeRequest, { type: T }>

const TOMBSTONE = record([value(dot('a', 2), null)], [dot('a', 1)])

function bytesOf(held: Parameters<typeof recordReply>[0]): Uint8Array {
  return (recordReply(held) as { readonly record: Uint8Array }).record
}

const DIGEST = recordDigest(DEFAULT.id, KEY, bytesOf(TOMBSTONE))

function ask(fields: Partial<Ask<'purge'>> = {}): PurgeRequest {
  const what = { keyspaceId: DEFAULT.id, step: 'hold', era: 0, keys: [KEY], digests: [DIGEST] } as const
  return { type: 'purge', id: 7, number: 1, ...what, ...fields }
}

function fence(fields: Partial<Ask<'fence'>> = {}): PurgeRequest {
  return { type: 'fence', id: 8, number: 1, step: 'survey', era: 0, round: 'round', lives: [], ...fields }
}

/** A tombstone that was held for long enough, with the era closed that the steps are to name. */
async function holding(): Promise<CoordinatorWorld> {
  const world = await CoordinatorWorld.open()
  await world.seed(TOMBSTONE)
  found(world)
  await world.pass(PURGE_RULE.purgeAfterMs)
  return world
}

function found(world: CoordinatorWorld): void {
  const partition = present(world.ring, 'a ring').partitionOf(KEY)
  world.holds.found(placeName(DEFAULT.id, partition), [DIGEST], world.clock.monotonic())
}

async function answer(world: CoordinatorWorld, message: PurgeRequest, from?: NodeId): Promise<PeerMessage> {
  const before = world.answers.length
  world.serve(message, from)
  await world.settle()
  assert.is(world.answers.length, before + 1)
  return present(world.answers.at(-1), 'an answer')
}

async function digests(world: CoordinatorWorld, fields: Partial<Ask<'purge'>> = {}) {
  const reply = await answer(world, ask(fields))
  return reply.type === 'purgeDone' ? reply.digests : reply
}

async function close(world: CoordinatorWorld, era: number): Promise<void> {
  await answer(world, fence({ step: 'enter', era }))
  const reply = await answer(world, fence({ step: 'close', era }))
  assert.ok(reply.type === 'fenceDone' && reply.agrees)
}

test('an owner states that it holds a tombstone when it has for long enough', async () => {
  const world = await CoordinatorWorld.open()
  await world.seed(TOMBSTONE)
  assert.equal(await digests(world), [DISAGREES])
  found(world)
  await world.pass(PURGE_RULE.purgeAfterMs - 100)
  assert.equal(await digests(world), [DISAGREES])
  await world.pass(100)
  assert.equal(await digests(world), [DIGEST])
  assert.equal(await digests(world, { digests: [DIGEST + 1n] }), [DISAGREES])
})

test('steps are taken for the digest that was stated, behind the era that they name', async () => {
  const world = await holding()
  assert.equal(await digests(world, { step: 'strip', era: 1 }), [DISAGREES])
  await close(world, 1)
  assert.equal(await digests(world, { step: 'strip', era: 2 }), [DISAGREES])
  assert.equal(await digests(world, { step: 'strip', era: 1, digests: [DIGEST + 1n] }), [DISAGREES])
  assert.equal(world.onDisk(), TOMBSTONE)
  const [bare] = (await digests(world, { step: 'strip', era: 1 })) as readonly bigint[]
  assert.equal(world.onDisk(), { ...TOMBSTONE, values: [] })
  assert.equal(await digests(world, { step: 'bare' }), [bare])
  assert.equal(await digests(world, { step: 'erase', era: 1, digests: [DIGEST] }), [bare])
  assert.is.not(world.onDisk(), null)
  assert.equal(await digests(world, { step: 'erase', era: 1, digests: [bare ?? 0n] }), [0n])
  assert.is(world.onDisk(), null)
})

test('a record with a value that lives is never stated, whatever a peer asks for', async () => {
  const world = await CoordinatorWorld.open()
  const living = record([value(dot('a', 1))])
  await world.seed(living)
  const digest = recordDigest(DEFAULT.id, KEY, bytesOf(living))
  const partition = present(world.ring, 'a ring').partitionOf(KEY)
  world.holds.found(placeName(DEFAULT.id, partition), [digest], world.clock.monotonic())
  await world.pass(2 * PURGE_RULE.purgeAfterMs)
  assert.equal(await digests(world, { digests: [digest] }), [DISAGREES])
  assert.equal(await digests(world, { step: 'bare', digests: [digest] }), [DISAGREES])
})

test('a stray erase does not take values, nor a strip what is alive', async () => {
  const world = await holding()
  await close(world, 1)
  assert.equal(await digests(world, { step: 'erase', era: 1 }), [DISAGREES])
  assert.equal(world.onDisk(), TOMBSTONE)
  const living = record([value(dot('b', 1))])
  const other = await CoordinatorWorld.open()
  await other.seed(living)
  await close(other, 1)
  const digest = recordDigest(DEFAULT.id, KEY, bytesOf(living))
  assert.equal(await digests(other, { step: 'strip', era: 1, digests: [digest] }), [DISAGREES])
  assert.equal(other.onDisk(), living)
})

test('who is no member, has another configuration, or asks amid a change is refused', async () => {
  const world = await holding()
  const refused = async (message: PurgeRequest, from?: NodeId) => {
    const reply = await answer(world, message, from)
    return reply.type === 'refused' ? reply.reason : reply
  }
  for (const message of [ask(), fence(), { type: 'askFence', id: 9, number: 1 } as const]) {
    assert.is(await refused(message, node(9)), 'notOwner')
    assert.is(await refused({ ...message, number: 2 }), 'behind')
    assert.is(await refused({ ...message, number: 0 }), 'stale')
  }
  assert.is(await refused(ask({ keyspaceId: 77 as typeof DEFAULT.id })), 'notOwner')
  assert.is(await refused(ask({ digests: [] })), 'notOwner')
  world.adopt(makeRing(1, [nodes(0, 1, 2), nodes(0, 1, 3)], 'begun'))
  assert.is(await refused(ask()), 'failed')
})

test('a key that this peer does not own is not touched', async () => {
  const world = await CoordinatorWorld.open()
  await world.seed(TOMBSTONE)
  world.ring = makeRing(1, [nodes(1, 2, 3, 0)])
  found(world)
  await world.pass(PURGE_RULE.purgeAfterMs)
  await close(world, 1)
  for (const step of ['hold', 'bare', 'strip', 'erase'] as const) {
    assert.equal(await digests(world, { step, era: 1 }), [DISAGREES])
  }
  assert.equal(world.onDisk(), TOMBSTONE)
})

test('a survey counts what is kept for others; an era leapt to is not entered', async () => {
  const world = await CoordinatorWorld.open({ owners: nodes(1, 2, 3, 0, 4) })
  const before = await answer(world, fence())
  assert.ok(before.type === 'fenceDone' && before.kept === 0 && before.taken === 0)
  for (const nodeId of nodes(1, 2, 3)) world.dead.add(nodeId)
  world.put({ keyspace: SLOPPY.name, blind: true, w: 'one', value: utf8('v'), timeoutMs: 50 })
  await world.pass(100)
  const after = await answer(world, fence())
  assert.ok(after.type === 'fenceDone' && after.kept === 1 && after.taken === 1)
  await close(world, 5)
  const leap = await answer(world, fence({ step: 'enter', era: 2 ** 40, round: 'forged' }))
  assert.ok(leap.type === 'fenceDone' && !leap.agrees && leap.era === 5)
})

test('a write of a closed era stores nothing, and its sender is told the era', async () => {
  const world = await CoordinatorWorld.open()
  await close(world, 5)
  const rest = { keyspaceId: DEFAULT.id, key: KEY, record: bytesOf(TOMBSTONE), mintedBy: null }
  const write = { type: 'replicate', id: 6, number: 1, standInFor: null, ...rest } as const
  world.serve({ ...write, era: 4 })
  await world.settle()
  assert.equal(world.answers.at(-1), { type: 'eraClosed', id: 6, era: 5, closedBelow: 5 })
  assert.is(world.onDisk(), null)
  world.serve({ ...write, era: 5 })
  await world.settle()
  assert.is(world.answers.at(-1)?.type, 'stored')
})

test('a fence waits for the work that began before it, and for no member that is down', async () => {
  const world = await CoordinatorWorld.open()
  world.put({ blind: true, value: utf8('v'), w: 'all' })
  await world.settle()
  const reply = await answer(world, fence({ step: 'enter', era: 1 }))
  assert.ok(reply.type === 'fenceDone' && reply.agrees && reply.unfinished > 0)
  world.replyAll()
  await world.settle()
  const again = await answer(world, fence({ step: 'enter', era: 1 }))
  assert.ok(again.type === 'fenceDone' && again.unfinished === 0)
  assert.equal(STORED, { type: 'stored', seenUpTo: 0 })
  world.dead.add(node(2))
  const none = await answer(world, { type: 'askFence', id: 9, number: 1 })
  assert.ok(none.type === 'fenced' && none.era === null && /n2 is down/.test(none.obstacle))
})

test.run()
