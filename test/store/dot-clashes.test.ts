import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { text, utf8 } from '../../src/base/bytes.ts'
import { type ActorId, type KeyspaceId, parseNodeId } from '../../src/base/ids.ts'
import { dataWarnings, reportOf } from '../../src/node/peer-reports.ts'
import { EMPTY_DOTS } from '../../src/protocol/dvv.ts'
import type { KeyRecord } from '../../src/protocol/record.ts'
import { DotClashes, NAMES_ANOTHER } from '../../src/store/dot-clashes.ts'
import { encodeRecord } from '../../src/store/record-codec.ts'
import type { Store } from '../../src/store/store.ts'
import { World } from './world.ts'

const test = suite('a dot that names two values')

const KEYSPACE = { id: 1 as KeyspaceId, durability: 'disk' } as const
const PARTITION = 7
const KEY = utf8('key')
const ACTOR = 'aaaaaaaaaaaaaaaa' as ActorId
const ALARM = 'store.dot-names-two-values'

function recordOf(content: string, actor = ACTOR, n = 1): KeyRecord {
  const value = { value: utf8(content), contentType: null, writeId: content, timestamp: n, expiresAtMs: null }
  return { seen: { vector: new Map([[actor, n]]), loose: [] }, values: [{ dot: { actor, n }, ...value }] }
}

/** @returns what the merge said was seen before */
async function merge(world: World, store: Store, record: KeyRecord, by: ActorId | null): Promise<number> {
  const seen = new Promise<number>((resolve, reject) => {
    store.merge(KEYSPACE, PARTITION, KEY, encodeRecord(KEY, record), by, (error, seenUpTo) =>
      error === null ? resolve(seenUpTo) : reject(error),
    )
  })
  return await world.result(seen)
}

function contents(record: KeyRecord | null): string[] {
  return (record?.values ?? []).map(({ value }) => text(value ?? utf8('deleted')))
}

function alarms(world: World): number {
  return world.logged.filter((event) => event === ALARM).length
}

test('is an alarm, and every store keeps the same one of the two', async () => {
  for (const order of [
    ['first', 'second'],
    ['second', 'first'],
  ]) {
    const world = new World('clash')
    const store = await world.open()
    for (const content of order) await merge(world, store, recordOf(content), null)
    assert.equal(contents(store.readRecord(KEYSPACE.id, PARTITION, KEY)), ['second'])
    assert.is(alarms(world), 1)
    assert.is(store.clashes.count, 1)
    const report = reportOf(store)
    assert.is(report.dotClashes, 1)
    assert.match(dataWarnings('here:1', report).join(), /here:1 met 1 value.* was a data directory copied\?/)
    await merge(world, store, recordOf('second'), null)
    assert.is(store.clashes.count, 1, 'what is held is no news')
  }
})

test('is told to who minted it, as more than any store ever minted', async () => {
  const world = new World('minted')
  const store = await world.open()
  await merge(world, store, recordOf('second'), ACTOR)
  assert.is(await merge(world, store, recordOf('second'), ACTOR), 1, 'the same value again is no clash')
  assert.is(await merge(world, store, recordOf('first'), ACTOR), NAMES_ANOTHER)
  assert.is(await merge(world, store, recordOf('other', 'bbbbbbbbbbbbbbbb' as ActorId), ACTOR), 1)
})

test('of our own makes us write under another name', async () => {
  const world = new World('ours')
  const store = await world.open()
  const value = { value: utf8('ours'), contentType: null, writeId: 'w', expiresAtMs: null }
  const { dot } = store.put(KEYSPACE, PARTITION, KEY, EMPTY_DOTS, value, (error) => assert.is(error, null))
  await world.settle()
  assert.is(store.actor, dot.actor)
  await merge(world, store, recordOf('theirs', dot.actor, dot.n), null)
  assert.is.not(store.actor, dot.actor)
})

test('is seen in what is kept for others too', async () => {
  const world = new World('stand-in')
  const store = await world.open()
  const targets = [parseNodeId('target')]
  const value = { value: utf8('ours'), contentType: null, writeId: 'w', expiresAtMs: null }
  const { standIns } = store
  const kept = standIns.put(KEYSPACE, PARTITION, KEY, targets, EMPTY_DOTS, value, () => undefined)
  const theirs = encodeRecord(KEY, recordOf('theirs', kept.dot.actor, kept.dot.n))
  const seen = new Promise<number>((resolve) => {
    standIns.merge(KEYSPACE, PARTITION, KEY, targets, theirs, kept.dot.actor, (_, seenUpTo) =>
      resolve(seenUpTo),
    )
  })
  assert.is(await world.result(seen), NAMES_ANOTHER)
  assert.is(alarms(world), 1)
  assert.is.not(standIns.actor, kept.dot.actor)
  assert.equal(contents(standIns.newest(KEYSPACE.id, PARTITION, KEY)), ['theirs'])
})

test('thousands of them are counted, and fill no log', () => {
  const world = new World('many')
  let added = 0
  const metrics = {
    counter: () => ({
      add() {
        added += 1
      },
    }),
    gauge: () => undefined,
    histogram: () => ({ observe: () => undefined }),
  }
  const clashes = new DotClashes({ ...world.effects(world.openStorage()), metrics }, () => [])
  for (let n = 1; n <= 5_000; n++) {
    assert.ok(clashes.look(recordOf('a', ACTOR, n), recordOf('b', ACTOR, n), ACTOR))
  }
  assert.is(clashes.count, 5_000)
  assert.is(added, 5_000)
  assert.is(alarms(world), 1)
})

test.run()
