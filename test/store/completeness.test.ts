import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { utf8 } from '../../src/base/bytes.ts'
import { hash32, hashText32 } from '../../src/base/hash.ts'
import type { KeyspaceId } from '../../src/base/ids.ts'
import { LEAF_BITS, recordDigest, sliceOf } from '../../src/protocol/hash-tree.ts'
import type { SimDiskFailure } from '../../src/simulator/sim-disk.ts'
import { CATCH_UP_KEY, KIND } from '../../src/store/keys.ts'
import type { Store } from '../../src/store/store.ts'
import { World } from './world.ts'

const test = suite('completeness')

const KEYSPACE = { id: 1 as KeyspaceId, durability: 'disk' } as const
const PARTITION = 3
const KEY = utf8('k')
/** Another leaf than the key's. */
const LOST = { keyspaceId: KEYSPACE.id, partition: PARTITION, leaves: [] }
const LATER = (KEYSPACE.id + 1) as KeyspaceId

/** A store that held one record, and lost the right to speak of it. */
async function begunAnew(seed: string): Promise<{ world: World; store: Store }> {
  const world = new World(seed)
  const store = await world.open()
  write(store, 'before')
  await world.settle()
  await world.result(store.beginAnew('rolledBack'))
  return { world, store }
}

function write(store: Store, value: string): void {
  const content = { value: utf8(value), contentType: null, writeId: value, expiresAtMs: null }
  store.put(KEYSPACE, PARTITION, KEY, { vector: new Map(), loose: [] }, content, () => undefined)
}

function quarantined(store: Store): boolean {
  return store.quarantine.find(KEYSPACE.id, PARTITION, KEY) !== null
}

/** Keys of a kind. */
function onDisk(world: World, kind: number): readonly Uint8Array[] {
  const keys: Uint8Array[] = []
  for (const place = world.disk.newest.begin; place.valid; place.next()) {
    if (place.key?.[0] === kind) keys.push(place.key)
  }
  return keys
}

test('a store lacks nothing until it begins anew; then it lacks everything, through crashes', async () => {
  const world = new World('begins')
  const store = await world.open()
  assert.ok(store.completeness.isComplete(KEYSPACE.id, PARTITION))
  await world.result(store.beginAnew('wiped'))
  assert.not(store.completeness.isComplete(KEYSPACE.id, PARTITION))
  world.crash()
  const after = await world.open()
  assert.is(after.completeness.cause, 'wiped')
  assert.not(after.completeness.isComplete(KEYSPACE.id, PARTITION))
  assert.is(after.storeId, store.storeId)
})

test('what was held is in quarantine, and counts nowhere', async () => {
  const { world, store } = await begunAnew('quarantine')
  assert.is(store.read(KEYSPACE.id, PARTITION, KEY), null)
  assert.is(store.inventory.counts.total.records, 0)
  assert.is(store.hashTrees?.root(KEYSPACE.id, PARTITION), 0n)
  assert.is(store.quarantine.size, 1)
  world.crash()
  const after = await world.open()
  assert.ok(quarantined(after))
  assert.is(after.quarantine.size, 1)
})

test('what comes back out of quarantine is counted again, once', async () => {
  const { world, store } = await begunAnew('counted')
  assert.equal(onDisk(world, KIND.record), [], 'it is put aside, not copied')
  assert.is(onDisk(world, KIND.quarantined).length, 1)
  const kept = store.quarantine.find(KEYSPACE.id, PARTITION, KEY) as Uint8Array
  store.merge(KEYSPACE, PARTITION, KEY, kept, null, () => undefined)
  await world.settle()
  const held = (key: Uint8Array) => store.read(KEYSPACE.id, PARTITION, key)
  await world.result(store.quarantine.release(KEYSPACE.id, PARTITION, held))
  assert.equal(onDisk(world, KIND.quarantined), [])
  assert.is(onDisk(world, KIND.record).length, 1)
  const counted = { records: 1, keys: 1, bytes: KEY.length + kept.length }
  assert.equal(store.inventory.counts.total, counted)
  const digest = recordDigest(KEYSPACE.id, KEY, kept)
  assert.is(store.hashTrees?.root(KEYSPACE.id, PARTITION), digest)
  await world.result(store.close())
  world.crash('process')
  const after = await world.open()
  assert.equal(after.inventory.counts.total, counted, 'also as a clean stop saved it')
  assert.is(after.hashTrees?.root(KEYSPACE.id, PARTITION), digest)
})

test('what the record says too leaves the quarantine, the rest stays', async () => {
  const { world, store } = await begunAnew('release')
  const held = (key: Uint8Array) => store.read(KEYSPACE.id, PARTITION, key)
  write(store, 'another')
  await world.settle()
  await world.result(store.quarantine.release(KEYSPACE.id, PARTITION, held))
  assert.ok(quarantined(store), 'the new record knows nothing of it')
  const kept = store.quarantine.find(KEYSPACE.id, PARTITION, KEY) as Uint8Array
  store.merge(KEYSPACE, PARTITION, KEY, kept, null, () => undefined)
  await world.settle()
  await world.result(store.quarantine.release(KEYSPACE.id, PARTITION, held))
  assert.not(quarantined(store))
  assert.is(store.quarantine.size, 0)
})

test('partitions become complete one after the other, later keyspaces with the fence', async () => {
  const { world, store } = await begunAnew('steps')
  const { completeness } = store
  assert.not(completeness.isAdmitted)
  await world.result(completeness.passFence({ number: 7, nextKeyspaceId: LATER }))
  assert.ok(completeness.isAdmitted)
  assert.ok(completeness.isComplete(LATER, PARTITION))
  assert.not(completeness.isComplete(KEYSPACE.id, PARTITION))
  await world.result(completeness.complete(KEYSPACE.id, [PARTITION]))
  world.crash()
  const after = (await world.open()).completeness
  assert.ok(after.isComplete(KEYSPACE.id, PARTITION))
  assert.not(after.isComplete(KEYSPACE.id, PARTITION + 1))
  assert.equal(after.fence, { number: 7, nextKeyspaceId: LATER })
  await world.result(after.end())
  world.crash()
  assert.is((await world.open()).completeness.cause, null)
})

test('records that were found lost take their partition out, through crashes, and no other', async () => {
  const world = new World('lost')
  const store = await world.open()
  const { completeness } = store
  let told = 0
  completeness.watch(() => told++)
  completeness.lose(LOST)
  assert.is(told, 1)
  assert.not(completeness.isComplete(KEYSPACE.id, PARTITION), 'from that moment on')
  assert.is(completeness.cause, 'lostRecords')
  await world.result(completeness.noteLosses())
  world.crash()
  const after = (await world.open()).completeness
  assert.is(after.cause, 'lostRecords')
  assert.not(after.isComplete(KEYSPACE.id, PARTITION))
  assert.ok(after.isComplete(KEYSPACE.id, PARTITION + 1))
  assert.ok(after.isComplete(LATER, PARTITION))
  assert.ok(after.isAdmitted, 'it goes on as the same life')
  assert.is(after.fence, null)
  await world.result(after.passFence({ number: 7, nextKeyspaceId: KEYSPACE.id }))
  assert.not(after.isComplete(KEYSPACE.id, PARTITION))
  await world.result(after.complete(KEYSPACE.id, [PARTITION]))
  assert.ok(after.isComplete(KEYSPACE.id, PARTITION))
  after.lose(LOST)
  await world.result(after.noteLosses())
  assert.not(after.isComplete(KEYSPACE.id, PARTITION), 'it was lost once more')
  assert.is(after.fence, null, 'a fence says nothing of what is lost after it')
})

test('what is found lost while everything is caught up with is not taken for complete', async () => {
  const { world, store } = await begunAnew('both')
  const { completeness } = store
  await world.result(completeness.passFence({ number: 7, nextKeyspaceId: LATER }))
  await world.result(completeness.complete(KEYSPACE.id, [PARTITION, PARTITION + 1]))
  completeness.lose(LOST)
  assert.is(completeness.fence, null, 'from that moment on')
  await world.settle()
  assert.not(completeness.isComplete(KEYSPACE.id, PARTITION))
  world.crash()
  const after = (await world.open()).completeness
  assert.not(after.isComplete(KEYSPACE.id, PARTITION))
  assert.ok(after.isComplete(KEYSPACE.id, PARTITION + 1))
})

test('what is left of a lost leaf can be neither read nor written until it was put aside', async () => {
  const world = new World('suspects')
  const store = await world.open()
  write(store, 'before')
  await world.settle()
  const lost = { ...LOST, leaves: [sliceOf(hash32(KEY), LEAF_BITS)] }
  store.completeness.lose(lost)
  assert.throws(() => store.read(KEYSPACE.id, PARTITION, KEY), /disk lost/)
  assert.throws(() => write(store, 'meanwhile'), /disk lost/)
  await world.result(store.completeness.noteLosses())
  world.crash()
  const after = await world.open()
  assert.throws(() => after.read(KEYSPACE.id, PARTITION, KEY), /disk lost/)
  const [suspects] = after.completeness.suspects
  assert.equal(suspects, lost)
  await world.result(after.putAside(lost))
  await world.result(after.completeness.cleared([suspects as typeof lost]))
  assert.is(after.read(KEYSPACE.id, PARTITION, KEY), null)
  assert.ok(quarantined(after))
  assert.is(after.quarantine.size, 1)
  write(after, 'after')
  await world.settle()
  assert.ok(after.read(KEYSPACE.id, PARTITION, KEY) !== null)
  assert.is(after.inventory.counts.total.records, 1)
  assert.not(after.completeness.isComplete(KEYSPACE.id, PARTITION), 'it is still to be compared')
})

test('records of other leaves stay where they are', async () => {
  const world = new World('other leaves')
  const store = await world.open()
  write(store, 'before')
  await world.settle()
  const leaf = sliceOf(hash32(KEY), LEAF_BITS)
  store.completeness.lose({ ...LOST, leaves: [(leaf + 1) % 2 ** LEAF_BITS] })
  await world.result(store.putAside(store.completeness.suspects[0] as typeof LOST))
  assert.ok(store.read(KEYSPACE.id, PARTITION, KEY) !== null)
  assert.is(store.quarantine.size, 0)
})

test('a loss that could not be noted is noted by a clean stop, at the latest', async () => {
  let failure: SimDiskFailure | null = null
  const world = new World('unnoted', { fail: (work) => (work === 'open' ? null : failure) })
  const store = await world.open()
  await world.settle()
  failure = { message: 'input/output error', kept: false }
  store.completeness.lose(LOST)
  while (!world.logged.includes('store.write-failed')) await world.step()
  failure = null
  while (!world.logged.includes('store.reopened')) await world.step()
  assert.not(store.completeness.isComplete(KEYSPACE.id, PARTITION))
  await world.result(store.close())
  world.crash('process')
  assert.not((await world.open()).completeness.isComplete(KEYSPACE.id, PARTITION))
})

test('a note of an earlier version is about everything', async () => {
  const { world } = await begunAnew('earlier')
  world.crash()
  const fence = { number: 7, nextKeyspaceId: LATER }
  const complete = [[KEYSPACE.id, [PARTITION]]]
  const body = JSON.stringify({ cause: 'wiped', isMoving: false, fence, complete })
  const database = await world.result(world.openStorage().openDatabase())
  const note = utf8(`${hashText32(body)} ${body}\n`)
  await world.result(database.put(CATCH_UP_KEY, note, { sync: true } as object))
  world.crash()
  const { completeness } = await world.open()
  assert.is(completeness.cause, 'wiped')
  assert.ok(completeness.isComplete(KEYSPACE.id, PARTITION))
  assert.not(completeness.isComplete(KEYSPACE.id, PARTITION + 1))
})

test('a note that cannot be read says that nothing is complete', async () => {
  const { world, store } = await begunAnew('damaged')
  assert.not(store.completeness.isMoving)
  world.crash()
  const storage = world.openStorage()
  const database = await world.result(storage.openDatabase())
  await world.result(database.put(Uint8Array.of(1, 2), utf8('nonsense'), { sync: true } as object))
  world.crash()
  const after = await world.open()
  assert.is(after.completeness.cause, 'replaced')
  assert.not(after.completeness.isComplete(KEYSPACE.id, PARTITION))
})

test.run()
