import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { text, utf8 } from '../../src/base/bytes.ts'
import { KvError } from '../../src/base/error.ts'
import { type NodeId, parseActorId } from '../../src/base/ids.ts'
import { covers, EMPTY_DOTS } from '../../src/protocol/dvv.ts'
import type { Dot } from '../../src/protocol/record.ts'
import { NAMES_ANOTHER } from '../../src/store/dot-clashes.ts'
import {
  CoordinatorWorld,
  contents,
  contextOf,
  decoded,
  dot,
  dots,
  makeRing,
  nodes,
  readContext,
  record,
  recordReply,
  refusal,
  STORED,
  value,
} from './coordinator-world.ts'

const test = suite('write')

/** Of as many actors, none of which has a name that a test gives. */
function dotsOfMany(count: number): Dot[] {
  return Array.from({ length: count }, (_, i) => ({
    actor: parseActorId((i + 1).toString(16).padStart(16, '0')),
    n: 1,
  }))
}

const [N1, N2] = nodes(1, 2) as [NodeId, NodeId]
const refused = new KvError('UNAVAILABLE', 'nothing was written: the store would not')

/** The dot of the write that replaced everything else here. */
function mintedDot(world: CoordinatorWorld): Dot {
  const [only] = world.onDisk()?.values ?? []
  if (only === undefined) throw new Error('nothing was written')
  return only.dot
}

test('a put without a context asks a quorum what it has seen, without the values', async () => {
  const world = await CoordinatorWorld.open()
  world.put()
  assert.equal(world.askedWhom('read'), [N1])
  assert.ok(world.asked('read').every(({ seenOnly }) => seenOnly))
  assert.equal(world.askedWhom('replicate'), [])
})

test('it supersedes what the quorum has seen', async () => {
  const world = await CoordinatorWorld.open()
  const held = record([value(dot('a', 1))])
  await world.seed(held)
  const told = world.put({ value: utf8('new') })
  world.replyAll(held)
  await world.settle()
  world.replyAll()
  await world.settle()
  assert.is(told.error, null)
  assert.equal(contents(world.onDisk()), ['new'])
})

test('it supersedes what another owner has seen, also when the copy here is behind', async () => {
  const world = await CoordinatorWorld.open()
  await world.seed(record([value(dot('a', 1))]))
  world.put({ value: utf8('new') })
  world.reply(N1, recordReply({ seen: dots(dot('a', 2), dot('b', 7)), values: [] }))
  await world.settle()
  const [sent] = world.asked('replicate', N1)
  assert.equal(contents(decoded(sent?.record ?? null)), ['new'])
  assert.ok(covers(decoded(sent?.record ?? null).seen, dot('a', 2)))
  assert.ok(covers(decoded(sent?.record ?? null).seen, dot('b', 7)), 'also there it is replaced')
})

test('a delete is a put of a tombstone', async () => {
  const world = await CoordinatorWorld.open()
  const held = record([value(dot('a', 1))])
  await world.seed(held)
  world.put({ value: null })
  world.replyAll(held)
  await world.settle()
  assert.equal(contents(world.onDisk()), ['deleted'])
})

test('two puts that run at the same time show as siblings', async () => {
  const world = await CoordinatorWorld.open()
  world.put({ value: utf8('one') })
  world.put({ value: utf8('two') })
  world.replyAll(null)
  await world.settle()
  assert.equal(contents(world.onDisk()), ['one', 'two'])
})

test('a put with a context asks nobody what there is to replace', async () => {
  const world = await CoordinatorWorld.open()
  world.put({ context: contextOf(dots(dot('a', 1))) })
  assert.equal(world.askedWhom('read'), [])
  assert.equal(world.askedWhom('replicate'), [N1, N2])
})

test('it replaces what its context covers and leaves the siblings it never saw', async () => {
  const world = await CoordinatorWorld.open()
  await world.seed(record([value(dot('a', 1)), value(dot('b', 1))]))
  world.put({ context: contextOf(dots(dot('a', 1))), value: utf8('new') })
  await world.settle()
  assert.equal(contents(world.onDisk()), ['b1', 'new'])
})

test('the reply’s context is the given one plus the new dot, and not the whole record', async () => {
  const world = await CoordinatorWorld.open()
  await world.seed(record([value(dot('a', 1)), value(dot('b', 1))]))
  const told = world.put({ context: contextOf(dots(dot('a', 1))), value: utf8('new'), w: 'one' })
  await world.settle()
  const context = readContext(told.reply?.context)
  assert.ok(covers(context, dot('a', 1)))
  assert.not(covers(context, dot('b', 1)), 'that sibling was never shown to the writer')
  const minted = world.onDisk()?.values.find((each) => text(each.value as Uint8Array) === 'new')
  assert.ok(minted !== undefined && covers(context, minted.dot))
})

test('the next put with the reply’s context replaces one’s own write and nothing else', async () => {
  const world = await CoordinatorWorld.open()
  await world.seed(record([value(dot('b', 1))]))
  const first = world.put({ context: contextOf(dots(dot('a', 1))), value: utf8('first'), w: 'one' })
  await world.settle()
  world.put({ context: first.reply?.context ?? null, value: utf8('second'), w: 'one' })
  await world.settle()
  assert.equal(contents(world.onDisk()), ['b1', 'second'])
})

test('contexts stay short however many puts go on from each other', async () => {
  const world = await CoordinatorWorld.open()
  let context: string | null = null
  for (let i = 0; i < 500; i++) {
    const told = world.put({ context, blind: context === null, w: 'one' })
    await world.settle()
    context = told.reply?.context ?? null
  }
  assert.ok(context !== null && context.length < 60, String(context))
  assert.is(world.onDisk()?.values.length, 1)
})

test('on a key that thousands of stores wrote, contexts replace what was seen, and stay short', async () => {
  const world = await CoordinatorWorld.open()
  const crowd = record([value(dot('a', 1)), value(dot('b', 1))], dotsOfMany(4000))
  await world.seed(crowd)
  const read = world.get()
  world.replyAll(crowd)
  await world.settle()
  const seen = read.reply?.context ?? null
  assert.ok(seen !== null && seen.length < 8192, `${seen?.length}`)
  const replaced = world.put({ context: seen, value: utf8('first'), w: 'one' })
  await world.settle()
  assert.equal(contents(world.onDisk()), ['first'])
  world.put({ context: replaced.reply?.context ?? null, value: utf8('second'), w: 'one' })
  await world.settle()
  assert.equal(contents(world.onDisk()), ['second'])
  const blind = world.put({ blind: true, value: utf8('third'), w: 'one' })
  await world.settle()
  const { context = '' } = blind.reply ?? {}
  assert.ok(context.length < 60, context)
  world.put({ context, value: utf8('fourth'), w: 'one' })
  await world.settle()
  assert.equal(contents(world.onDisk()), ['fourth'])
})

test('a context stands for no value of the same actor that is still beside the new one', async () => {
  const world = await CoordinatorWorld.open()
  world.put({ blind: true, value: utf8('first'), w: 'one' })
  await world.settle()
  const beside = world.put({ context: contextOf(EMPTY_DOTS), value: utf8('beside'), w: 'one' })
  await world.settle()
  world.put({ context: beside.reply?.context ?? null, value: utf8('next'), w: 'one' })
  await world.settle()
  assert.equal(contents(world.onDisk()).sort(), ['first', 'next'])
})

test('a blind put skips the round and replaces only what is held here', async () => {
  const world = await CoordinatorWorld.open()
  await world.seed(record([value(dot('a', 1))]))
  const told = world.put({ blind: true, value: utf8('new'), w: 'one' })
  assert.equal(world.askedWhom('read'), [])
  await world.settle()
  assert.equal(contents(world.onDisk()), ['new'])
  assert.ok(covers(readContext(told.reply?.context), dot('a', 1)))
})

test('a put into an lww keyspace skips the round', async () => {
  const world = await CoordinatorWorld.open()
  world.put({ keyspace: 'newest' })
  assert.equal(world.askedWhom('read'), [])
  assert.equal(world.askedWhom('replicate'), [N1, N2])
})

test('a write with too few owners up is unavailable before anything is written', async () => {
  const world = await CoordinatorWorld.open()
  world.dead.add(N1).add(N2)
  const attempts = [
    [{}, 'write blind and with a lower w'],
    [{ blind: true }, 'write with a lower w'],
    [{ context: contextOf(dots(dot('a', 1))) }, 'write with a lower w'],
  ] as const
  for (const [request, advice] of attempts) {
    const told = world.put(request)
    assert.is(told.error?.code, 'UNAVAILABLE')
    assert.match(told.error?.message ?? '', 'nothing was written')
    assert.match(told.error?.message ?? '', advice)
  }
  await world.settle()
  assert.is(world.onDisk(), null)
  assert.equal(world.questions, [])
})

test('while the ring changes a write needs enough owners up in both layouts', async () => {
  const world = await CoordinatorWorld.open()
  world.adopt(makeRing(2, [nodes(0, 1, 2), nodes(3, 4, 5)], 'begun'))
  for (const nodeId of nodes(3, 4)) world.dead.add(nodeId)
  assert.is(world.put({ blind: true }).error?.code, 'UNAVAILABLE')
})

test('when the round fails nothing was written, and it is said so', async () => {
  const world = await CoordinatorWorld.open()
  const told = world.put()
  await world.pass(1100)
  assert.is(told.error?.code, 'UNAVAILABLE')
  assert.match(told.error?.message ?? '', 'nothing was written')
  assert.is(world.onDisk(), null)
  assert.equal(world.askedWhom('replicate'), [])
})

test('once a store was handed the write a missing quorum is unknown, never unavailable', async () => {
  const world = await CoordinatorWorld.open()
  const told = world.put({ blind: true })
  await world.settle()
  assert.equal(contents(world.onDisk()), ['value'])
  world.reply(N1, refusal('failed'))
  world.reply(N2, refusal('overloaded'))
  world.dead.add(N1).add(N2)
  await world.pass(1100)
  assert.is(told.error?.code, 'TIMEOUT_UNKNOWN')
})

test('it is unknown also when the only store that was handed the write failed', async () => {
  const world = await CoordinatorWorld.open()
  world.disk.isFailing = true
  const told = world.put({ blind: true, w: 'all' })
  await world.settle()
  assert.is(told.error?.code, 'TIMEOUT_UNKNOWN')
})

test('while the copy here is damaged a write is unavailable, and the peer goes on', async () => {
  const world = await CoordinatorWorld.open()
  const { newest } = world.store
  world.store.newest = () => {
    throw refused
  }
  assert.is(world.put({ blind: true }).error, refused)
  world.store.newest = newest
  assert.is(world.put({ blind: true }).error, null)
})

test('a damaged record that arrives in the round is as if its owner had not answered', async () => {
  const world = await CoordinatorWorld.open()
  const told = world.put({ value: utf8('new') })
  world.reply(N1, { type: 'record', record: utf8('no record') })
  assert.equal(world.askedWhom('read'), [N1, N2])
  world.reply(N2, recordReply(null))
  await world.settle()
  world.replyAll()
  assert.is(told.error, null)
})

test('a write that is sent again mints no second dot, and is brought to W disks', async () => {
  const world = await CoordinatorWorld.open()
  world.put({ blind: true, writeId: 'again', value: utf8('v') })
  await world.settle()
  const first = mintedDot(world)
  const told = world.put({ writeId: 'again', value: utf8('v') })
  for (const open of world.questions) open.isAnswered = open.message.type !== 'read'
  world.replyAll(null)
  await world.settle()
  world.replyAll()
  await world.settle()
  assert.is(told.reply?.owners, 2)
  assert.equal(
    world.onDisk()?.values.map((each) => each.dot),
    [first],
  )
  assert.ok(covers(readContext(told.reply?.context), first))
})

test('sent again to another coordinator, newer dots of the first one are no impostor’s', async () => {
  const world = await CoordinatorWorld.open()
  const written = { ...value(dot('a', 1), 'v'), writeId: 'again' }
  await world.seed(record([written]))
  world.put({ context: contextOf(dots(dot('b', 1))), writeId: 'again', value: utf8('v') })
  const [sent] = world.asked('replicate', N1)
  assert.is(sent?.mintedBy, null, 'nothing was minted just now')
  world.reply(N1, { type: 'stored', seenUpTo: 5 })
  await world.settle()
  assert.equal(
    world.onDisk()?.values.map((each) => each.dot),
    [dot('a', 1)],
  )
})

test('with 100 siblings a put with a context is refused before a dot is minted', async () => {
  const world = await CoordinatorWorld.open()
  await world.seed(record(Array.from({ length: 100 }, (_, i) => value(dot('a', i + 1)))))
  const told = world.put({ context: contextOf(dots(dot('b', 1))) })
  assert.is(told.error?.code, 'CONFLICT')
  assert.match(told.error?.message ?? '', 'nothing was written: the key has 100 siblings')
  assert.equal(world.questions, [])
  await world.settle()
  assert.is(world.onDisk()?.values.length, 100)
})

test('with 100 siblings a context that replaces some of them is welcome', async () => {
  const world = await CoordinatorWorld.open()
  await world.seed(record(Array.from({ length: 100 }, (_, i) => value(dot('a', i + 1)))))
  const told = world.put({ context: contextOf(dots(dot('a', 50))), w: 'one' })
  await world.settle()
  assert.is(told.error, null)
  assert.is(world.onDisk()?.values.length, 51)
})

test('with 100 siblings a put or delete without a context goes on, and leaves one', async () => {
  for (const content of [utf8('v'), null]) {
    const world = await CoordinatorWorld.open()
    const crowd = record(Array.from({ length: 100 }, (_, i) => value(dot('a', i + 1))))
    await world.seed(crowd)
    const told = world.put({ value: content, w: 'one' })
    world.replyAll(crowd)
    await world.settle()
    assert.is(told.error, null)
    assert.is(world.onDisk()?.values.length, 1)
  }
})

test('from 25 siblings on it is logged', async () => {
  const world = await CoordinatorWorld.open()
  await world.seed(record(Array.from({ length: 25 }, (_, i) => value(dot('a', i + 1)))))
  world.put({ context: contextOf(dots(dot('b', 1))) })
  assert.ok(world.logged.includes('key.siblings'))
})

test('a replica that saw dots of ours we never minted makes us write again by another name', async () => {
  const world = await CoordinatorWorld.open()
  const told = world.put({ blind: true })
  const name = world.store.actor
  world.reply(N1, { type: 'stored', seenUpTo: 9 })
  assert.is.not(world.store.actor, name)
  assert.ok(world.logged.includes('actor.impostor'))
  const again = world.asked('replicate', N1)
  assert.is(again.length, 2)
  assert.is(again[1]?.mintedBy, world.store.actor)
  assert.equal(
    decoded(again[1]?.record ?? null).values.map((each) => each.dot.actor),
    [world.store.actor],
  )
  await world.settle()
  assert.not(told.isDone)
  const [first] = world.questions
  if (first !== undefined) world.replyTo({ ...first, to: N2 }, STORED)
  assert.not(told.isDone, 'the first attempt is given up')
})

test('a dot of ours that names another value is given up; what it names there is not replaced', async () => {
  const world = await CoordinatorWorld.open()
  const told = world.put({ blind: true, value: utf8('v') })
  await world.settle()
  const name = world.store.actor
  world.reply(N1, { type: 'stored', seenUpTo: NAMES_ANOTHER })
  assert.not(told.isDone, 'that answer does not count')
  assert.is.not(world.store.actor, name)
  assert.ok(world.logged.includes('actor.impostor'))
  const again = world.asked('replicate', N1)[1]
  assert.is(again?.mintedBy, world.store.actor)
  assert.equal(contents(decoded(again?.record ?? null)), ['v', 'v'])
  await world.settle()
  world.reply(N1, STORED)
  const theirs = { ...dot('x', 1), actor: name }
  assert.not(covers(readContext(told.reply?.context), theirs))
})

test('however often a name is taken, what names another value never counts as stored', async () => {
  const world = await CoordinatorWorld.open()
  const told = world.put({ blind: true, timeoutMs: 1000 })
  for (let i = 0; i < 20; i++) {
    await world.pass(100)
    for (const question of world.questions.filter(({ isAnswered }) => !isAnswered)) {
      question.isAnswered = true
      world.replyTo(question, { type: 'stored', seenUpTo: NAMES_ANOTHER })
    }
  }
  assert.is(told.error?.code, 'TIMEOUT_UNKNOWN')
})

test('an answer from beside an impostor does not acknowledge the write it superseded', async () => {
  const world = await CoordinatorWorld.open()
  const told = world.put({ blind: true })
  await world.settle()
  world.reply(N1, { type: 'stored', seenUpTo: 9 })
  assert.not(told.isDone, 'one disk here, and one where it may look superseded')
  const last = world.questions.filter(({ to }) => to === N2).at(-1)
  if (last !== undefined) world.replyTo(last, STORED)
  await world.settle()
  assert.is(told.error, null)
  const second = world.onDisk()?.values[0]?.dot
  assert.ok(second !== undefined && covers(readContext(told.reply?.context), second))
})

test('when the second attempt cannot be made the outcome is unknown: the first was handed out', async () => {
  const world = await CoordinatorWorld.open()
  const told = world.put({ blind: true })
  world.store.put = () => {
    throw refused
  }
  world.reply(N1, { type: 'stored', seenUpTo: 9 })
  assert.is(told.error?.code, 'TIMEOUT_UNKNOWN')
  assert.is(told.error?.cause, refused)
})

test('dots of ours that the replica saw before are nobody else’s', async () => {
  const world = await CoordinatorWorld.open()
  world.put({ blind: true })
  await world.settle()
  world.replyAll()
  const told = world.put({ blind: true })
  const name = world.store.actor
  await world.settle()
  world.reply(N1, { type: 'stored', seenUpTo: 1 })
  assert.is(world.store.actor, name)
  assert.is(told.reply?.owners, 2)
})

test('what was minted before the disk failed is no impostor’s when it is answered afterwards', async () => {
  const world = await CoordinatorWorld.open()
  const told = world.put({ blind: true })
  const name = world.store.actor
  world.disk.isFailing = true
  await world.pass(5)
  world.disk.isFailing = false
  await world.pass(200)
  const renewed = world.store.actor
  assert.is.not(renewed, name)
  world.reply(N1, { type: 'stored', seenUpTo: 1 })
  assert.not(world.logged.includes('actor.impostor'))
  assert.is(world.store.actor, renewed, 'one new name is enough')
  assert.not(told.isDone, 'what this store knew of that name is gone, so that answer does not count')
  assert.is(world.asked('replicate', N1).at(-1)?.mintedBy, renewed)
})

test('while the disk here is away nobody is called an impostor, and that answer waits', async () => {
  const world = await CoordinatorWorld.open()
  await world.seed(record([value(dot('a', 1))]))
  world.disk.isFailing = true
  const told = world.put({ blind: true })
  await world.pass(0.5)
  world.reply(N1, { type: 'stored', seenUpTo: 1 })
  assert.not(world.logged.includes('actor.impostor'))
  world.reply(N2, STORED)
  assert.not(told.isDone)
  world.disk.isFailing = false
  await world.pass(500)
  assert.ok(world.asked('replicate', N1).length >= 2, 'it is asked again')
})

test('a round under way at an adoption starts over, and the write is made once', async () => {
  const world = await CoordinatorWorld.open()
  const told = world.put({ value: utf8('v') })
  world.adopt(makeRing(2, [nodes(0, 1, 2)]))
  const [before] = world.questions
  if (before !== undefined) world.replyTo(before, recordReply(null))
  assert.equal(world.askedWhom('replicate'), [])
  const now = world.questions[1]
  if (now !== undefined) world.replyTo(now, recordReply(null))
  await world.settle()
  assert.equal(
    world.asked('replicate').map(({ number }) => number),
    [2, 2],
  )
  for (const open of world.questions.slice(2)) world.replyTo(open, STORED)
  assert.is(told.reply?.owners, 3 - 1)
  assert.is(world.onDisk()?.values.length, 1)
})

test.run()
