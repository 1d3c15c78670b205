import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { utf8 } from '../../src/base/bytes.ts'
import type { NodeId } from '../../src/base/ids.ts'
import {
  CoordinatorWorld,
  contents,
  decoded,
  makeRing,
  nodes,
  refusal,
  SLOPPY,
  STORED,
} from './coordinator-world.ts'

const test = suite('hinted handoff')

const [N1, N2, N3] = nodes(1, 2, 3) as [NodeId, NodeId, NodeId]
const UNTIL_NEXT_WALK_MS = 5100

/** n1, n2, n3 own the key; all are down, and this peer keeps a write for them. */
async function keeping(): Promise<CoordinatorWorld> {
  const world = await CoordinatorWorld.open({ owners: nodes(1, 2, 3, 0, 4) })
  for (const nodeId of [N1, N2, N3]) world.dead.add(nodeId)
  world.put({ keyspace: 'sloppy', blind: true, w: 'one', value: utf8('v'), timeoutMs: 50 })
  world.replyAll()
  await world.settle()
  await world.pass(100)
  world.questions.length = 0
  assert.equal(world.keptFor(), { n1: 1, n2: 1, n3: 1 })
  world.handoff.start()
  return world
}

function back(world: CoordinatorWorld, ...nodeIds: NodeId[]): void {
  for (const nodeId of nodeIds) world.dead.delete(nodeId)
  world.handoff.wake()
}

test('an owner that is back gets what was kept for it, and is taken off when its disk has it', async () => {
  const world = await keeping()
  back(world, N2)
  await world.pass(150)
  assert.equal(world.askedWhom('replicate'), [N2])
  const [sent] = world.asked('replicate')
  assert.is(sent?.standInFor, null)
  assert.is(sent?.mintedBy, null)
  assert.equal(contents(decoded(sent?.record ?? null)), ['v'])
  assert.equal(world.keptFor(), { n1: 1, n2: 1, n3: 1 })
  world.reply(N2, STORED)
  await world.settle()
  assert.equal(world.keptFor(), { n1: 1, n3: 1 })
})

test('when all have it, it is gone', async () => {
  const world = await keeping()
  back(world, N1, N2, N3)
  await world.pass(150)
  world.replyAll()
  await world.settle()
  assert.equal(world.keptFor(), {})
  assert.is(world.kept(), null)
})

test('whose delivery failed stays on the record, and is tried in the next walk', async () => {
  const world = await keeping()
  back(world, N1, N2)
  await world.pass(150)
  world.reply(N1, refusal('overloaded'))
  await world.pass(2100)
  assert.equal(world.keptFor(), { n1: 1, n2: 1, n3: 1 })
  world.questions.length = 0
  await world.pass(UNTIL_NEXT_WALK_MS)
  assert.equal(world.askedWhom('replicate'), [N1, N2])
  world.replyAll()
  await world.settle()
  assert.equal(world.keptFor(), { n3: 1 })
})

test('nobody is asked while those it is meant for are down', async () => {
  const world = await keeping()
  await world.pass(3 * UNTIL_NEXT_WALK_MS)
  assert.equal(world.questions, [])
})

test('when the owners are other ones, it is meant for those', async () => {
  const world = await keeping()
  world.adopt(makeRing(2, [nodes(2, 3, 4, 0, 5)]))
  world.handoff.ringChanged()
  await world.pass(150)
  assert.equal(world.askedWhom('replicate'), nodes(4))
  world.replyAll()
  await world.settle()
  assert.equal(world.keptFor(), { n2: 1, n3: 1 })
})

test('while the owners change it is meant for the new one too, who gets it once', async () => {
  const world = await keeping()
  world.ring = makeRing(2, [nodes(1, 2, 3, 0, 4), nodes(4, 2, 3, 0, 1)], 'begun')
  world.handoff.ringChanged()
  back(world, N1)
  await world.pass(150)
  const [N4] = nodes(4) as [NodeId]
  assert.equal([...world.askedWhom('replicate')].sort(), [N1, N4])
  world.reply(N1, STORED)
  world.reply(N4, STORED)
  await world.settle()
  assert.equal(world.keptFor(), { n2: 1, n3: 1 })
  world.questions.length = 0
  await world.pass(UNTIL_NEXT_WALK_MS)
  assert.equal(world.askedWhom('replicate'), [], 'it has it, and the others are down')
  back(world, N2, N3)
  await world.pass(150)
  assert.equal([...world.askedWhom('replicate')].sort(), [N2, N3])
})

test('a stand-in that became an owner keeps it as a record of its own', async () => {
  const world = await keeping()
  world.adopt(makeRing(2, [nodes(0, 2, 3, 4)]))
  world.handoff.ringChanged()
  await world.pass(200)
  assert.equal(contents(world.onDisk(SLOPPY)), ['v'])
  assert.equal(world.keptFor(), { n2: 1, n3: 1 })
})

test('an owner under a newer configuration is asked what it is, and gets it later', async () => {
  const world = await keeping()
  back(world, N1)
  await world.pass(150)
  world.reply(N1, refusal('stale', 2))
  await world.settle()
  assert.equal(world.numbersSeen, [{ from: N1, number: 2 }])
  assert.equal(world.keptFor(), { n1: 1, n2: 1, n3: 1 })
})

test('a record that was written meanwhile is not let go with the one that was delivered', async () => {
  const world = await keeping()
  back(world, N1, N2, N3)
  await world.pass(150)
  world.dead.add(N1).add(N2).add(N3)
  const keep = { type: 'replicate', id: 9, number: 1, keyspaceId: SLOPPY.id, mintedBy: null } as const
  const other = await CoordinatorWorld.open()
  const minted = other.store.put(SLOPPY, 0, utf8('key'), { vector: new Map(), loose: [] }, NEW, () => {})
  world.serve({ ...keep, key: utf8('key'), record: minted.record, standInFor: N1, era: 0 }, N2)
  for (const question of world.questions) world.replyTo(question, STORED)
  await world.settle()
  assert.equal(contents(world.kept()), ['new', 'v'])
  assert.equal(world.keptFor(), { n1: 1, n2: 1, n3: 1 })
})

const NEW = { value: utf8('new'), contentType: null, writeId: 'new', expiresAtMs: null }

test('at a clean stop it delivers what it can, and waits for the silent only so long', async () => {
  const world = await keeping()
  for (const nodeId of [N1, N2]) world.dead.delete(nodeId)
  let isStopped = false
  void world.handoff.stop(1000).then(() => {
    isStopped = true
  })
  await world.settle()
  assert.equal(world.askedWhom('replicate'), [N1, N2])
  world.reply(N1, STORED)
  await world.pass(500)
  assert.not(isStopped)
  await world.pass(600)
  assert.ok(isStopped)
  assert.equal(world.keptFor(), { n2: 1, n3: 1 })
})

test('a slow owner slows the walk down', async () => {
  const world = await CoordinatorWorld.open({ owners: nodes(1, 2, 3, 0, 4) })
  for (const nodeId of [N1, N2, N3]) world.dead.add(nodeId)
  const partitions = [0, 1, 2, 3]
  for (let i = 0; i < 400; i++) {
    const partition = partitions[i % 4] as number
    const context = { vector: new Map(), loose: [] }
    world.store.standIns.put(SLOPPY, partition, utf8(`k${i}`), [N1], context, { ...NEW }, () => {})
  }
  await world.settle()
  world.handoff.start()
  const delivered = async (answer: boolean): Promise<number> => {
    world.questions.length = 0
    back(world, N1)
    for (let ms = 0; ms < 200; ms++) {
      await world.pass(1)
      if (answer) world.replyAll()
    }
    return world.asked('replicate').length
  }
  const quiet = await delivered(false)
  assert.ok(quiet <= 64, 'one slice, then it waits')
  await world.pass(2 * UNTIL_NEXT_WALK_MS)
  const after = await delivered(true)
  assert.ok(after > 0 && after < 200, `${after} in 200 ms`)
  for (let i = 0; i < 60; i++) await delivered(true)
  assert.equal(world.keptFor(), {})
})

test.run()
