import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { text, utf8 } from '../../src/base/bytes.ts'
import { KvError } from '../../src/base/error.ts'
import type { NodeId } from '../../src/base/ids.ts'
import {
  CoordinatorWorld,
  contents,
  decoded,
  makeRing,
  nodes,
  type Question,
  type ReplyBody,
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

/** Records for n1 and others of the keys, as they say; all are down. The walks have not begun. */
async function keepingMany(
  keys: readonly string[],
  target: (key: string) => NodeId = () => N1,
  sizeBytes = 3,
): Promise<CoordinatorWorld> {
  const world = await CoordinatorWorld.open({ owners: nodes(1, 2, 3, 0, 4) })
  for (const nodeId of [N1, N2, N3]) world.dead.add(nodeId)
  const nothing = { vector: new Map(), loose: [] }
  const value = { ...NEW, value: new Uint8Array(sizeBytes) }
  for (const key of keys) world.store.standIns.put(SLOPPY, 0, utf8(key), [target(key)], nothing, value, noop)
  await world.settle()
  world.handoff.start()
  return world
}

function noop(): void {}

function keyOf({ message }: Question): string {
  return text((message as unknown as { readonly key: Uint8Array }).key)
}

function numbered(count: number): string[] {
  return Array.from({ length: count }, (_, i) => `k${String(i).padStart(3, '0')}`)
}

/** Whatever is asked meanwhile gets an answer within 10 ms. */
async function answering(
  world: CoordinatorWorld,
  ms: number,
  answer: (key: string) => ReplyBody,
): Promise<void> {
  for (let passedMs = 0; passedMs < ms; passedMs += 10) {
    await world.pass(10)
    for (const question of world.questions.splice(0)) world.replyTo(question, answer(keyOf(question)))
  }
  await world.settle()
}

test('a record that its owner cannot store does not keep those behind it from that owner', async () => {
  const world = await keepingMany(numbered(200))
  back(world, N1)
  await answering(world, 5000, (key) => (key === 'k000' ? refusal('failed') : STORED))
  assert.equal(world.keptFor(), { n1: 1 })
  assert.ok(world.handoff.lastWalk?.failure?.includes('could not store 1 of the records'))
  await answering(world, UNTIL_NEXT_WALK_MS, () => STORED)
  assert.equal(world.keptFor(), {})
})

test('however many such records there are, the others get there in the end', async () => {
  const world = await keepingMany(numbered(300))
  back(world, N1)
  const isLost = (key: string): boolean => key < 'k250'
  for (let walk = 0; walk < 6; walk++) {
    await answering(world, UNTIL_NEXT_WALK_MS, (key) => (isLost(key) ? refusal('failed') : STORED))
  }
  assert.equal(world.keptFor(), { n1: 250 })
})

test('an owner that can store nothing at all is not sent everything in each walk', async () => {
  const world = await keepingMany(numbered(400))
  back(world, N1)
  let asked = 0
  await answering(world, UNTIL_NEXT_WALK_MS, () => {
    asked += 1
    return refusal('failed')
  })
  assert.ok(asked >= 64 && asked <= 128, `${asked} of 400`)
  assert.equal(world.keptFor(), { n1: 400 })
})

test('what is sent counts as unsent bytes of the link', async () => {
  const world = await keepingMany(['k'], () => N1, 5000)
  back(world, N1)
  await world.pass(150)
  assert.ok((world.questions[0]?.payloadBytes ?? 0) > 5000)
})

test('a walk that fails is over when all that it sent has come back', async () => {
  const world = await keepingMany(['a', 'b'], (key) => (key === 'a' ? N1 : N2))
  world.store.standIns.delivered = () => {
    throw new KvError('OVERLOADED', 'the disk has too much to do')
  }
  back(world, N1, N2)
  await world.pass(150)
  world.reply(N1, STORED)
  await world.settle()
  assert.is(world.handoff.lastWalk?.endedMs, null)
  world.reply(N2, refusal('failed'))
  await world.settle()
  assert.is(world.handoff.lastWalk?.failure, 'the disk has too much to do')
})

test('a walk takes its time also where it only reads, as who it is for is down', async () => {
  const world = await keepingMany(numbered(200), (key) => (key === 'k000' ? N2 : N1), 16 * 1024)
  back(world, N2)
  await answering(world, 1000, () => STORED)
  const { startedMs = 0, endedMs = 0, done } = world.handoff.lastWalk ?? {}
  assert.is(done, 200)
  assert.ok((endedMs ?? 0) - startedMs >= 180, `3 MiB in ${(endedMs ?? 0) - startedMs} ms`)
})

test('to an owner that has no room for a record that one is not sent again for a minute', async () => {
  const world = await keeping()
  back(world, N1, N2)
  await world.pass(150)
  world.reply(N1, refusal('overfull'))
  world.reply(N2, STORED)
  await world.settle()
  assert.equal(world.keptFor(), { n1: 1, n3: 1 })
  world.questions.length = 0
  let seconds = 0
  await world.pass(10 * UNTIL_NEXT_WALK_MS)
  assert.equal(world.askedWhom('replicate'), [])
  while (world.questions.length === 0 && seconds++ < 20) await world.pass(1000)
  assert.equal(world.askedWhom('replicate'), [N1])
  world.reply(N1, STORED)
  await world.settle()
  assert.equal(world.keptFor(), { n3: 1 })
})

/** This peer is to leave: these owners are to own the key afterwards. */
function leaving(world: CoordinatorWorld, after: NodeId[], excluded: readonly NodeId[] = []): void {
  world.ring = makeRing(2, [nodes(1, 2, 3, 0, 4), after], 'switched', excluded)
  world.handoff.ringChanged()
}

test('what an excluded owner was meant to have goes to all other owners, and is gone then', async () => {
  const world = await keepingMany(['k'])
  const [N4, N5] = nodes(4, 5) as [NodeId, NodeId]
  world.dead.delete(N2)
  leaving(world, nodes(3, 4, 5), [N1])
  await world.pass(150)
  assert.equal([...world.askedWhom('replicate')].sort(), [N2, N4, N5])
  world.reply(N2, STORED)
  world.reply(N4, refusal('overloaded'))
  world.reply(N5, STORED)
  await world.settle()
  assert.equal(world.keptFor(), { n3: 1, n4: 1 }, 'it counted, and not all have it')
  world.questions.length = 0
  back(world, N3)
  await world.pass(150)
  assert.equal([...world.askedWhom('replicate')].sort(), [N3, N4])
  world.replyAll()
  await world.settle()
  assert.equal(world.keptFor(), {})
  const nothing = { vector: new Map(), loose: [] }
  world.store.standIns.put(SLOPPY, 0, utf8('later'), [N1], nothing, NEW, noop)
  world.questions.length = 0
  await world.pass(UNTIL_NEXT_WALK_MS)
  assert.equal([...world.askedWhom('replicate')].sort(), [N2, N3, N4, N5], 'what comes later, too')
})

test('before a change is open an excluded owner is one still', async () => {
  const world = await keepingMany(['k'])
  world.ring = makeRing(2, [nodes(1, 2, 3, 0, 4)], 'stable', [N1])
  world.handoff.ringChanged()
  back(world, N2, N3)
  await world.pass(UNTIL_NEXT_WALK_MS)
  assert.equal(world.keptFor(), { n1: 1 })
})

test('who leaves hands on what an owner refuses that is up', async () => {
  const world = await keepingMany(['k'], () => N2)
  leaving(world, nodes(1, 2, 3, 4))
  back(world, N2)
  await world.pass(150)
  world.reply(N2, refusal('failed'))
  await world.settle()
  assert.equal(
    world.asked('replicate').map(({ standInFor }) => standInFor),
    [null, N2],
  )
  const [N4] = nodes(4) as [NodeId]
  assert.equal(world.askedWhom('replicate'), [N2, N4])
  world.reply(N4, STORED)
  await world.settle()
  assert.equal(world.keptFor(), {})
  assert.is(world.handoff.complaint, null)
})

test('where nobody else may keep it, it says who refuses how much, until that one is given up', async () => {
  const world = await keepingMany(numbered(100), () => N2)
  leaving(world, nodes(1, 2, 3))
  back(world, N1, N2, N3)
  assert.is(world.handoff.complaint, null)
  let refused = refusal('failed')
  const reply = (): ReplyBody => refused
  await answering(world, UNTIL_NEXT_WALK_MS, reply)
  assert.match(world.handoff.complaint ?? '', /^cannot leave: .* others n2 refuses 100, and no/)
  assert.equal(world.keptFor(), { n2: 100 })
  refused = STORED
  leaving(world, nodes(1, 3), [N2])
  assert.is(world.handoff.complaint, null)
  await answering(world, UNTIL_NEXT_WALK_MS, reply)
  assert.equal(world.keptFor(), {})
})

test.run()
