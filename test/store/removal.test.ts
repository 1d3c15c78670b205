import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { utf8 } from '../../src/base/bytes.ts'
import { KvError } from '../../src/base/error.ts'
import type { KeyspaceId } from '../../src/base/ids.ts'
import { covers, EMPTY_DOTS, mergeRecords } from '../../src/protocol/dvv.ts'
import type { Minted } from '../../src/store/minting.ts'
import type { KeyspacePlace } from '../../src/store/slot.ts'
import { Store } from '../../src/store/store.ts'
import { World } from './world.ts'

const test = suite('removal of partitions')
const KEYSPACE: KeyspacePlace = { id: 1 as KeyspaceId, durability: 'disk' }

function put(store: Store, partition: number, key: string): void {
  const value = { value: utf8(key), contentType: null, writeId: key, expiresAtMs: null }
  store.put(KEYSPACE, partition, utf8(key), EMPTY_DOTS, value, () => undefined)
}

async function filled(seed: string): Promise<{ world: World; store: Store }> {
  const world = new World(seed)
  const store = await world.open()
  for (let i = 0; i < 1200; i++) put(store, i % 3, `key ${i}`)
  return { world, store }
}

/** Partition 1; how many records. @param left how many looks at the ring say that it is left over */
async function drop(store: Store, left = Number.POSITIVE_INFINITY): Promise<number> {
  let looks = 0
  let dropped = 0
  const place = { keyspaceId: KEYSPACE.id, partition: 1 }
  await store.removal.dropPartitions(
    [place],
    () => looks++ < left,
    (_, records) => {
      dropped += records
    },
  )
  return dropped
}

const held = (store: Store, partition: number, key: string): boolean =>
  store.read(KEYSPACE.id, partition, utf8(key)) !== null

test('a partition goes, with its part of counts and trees; the others stay', async () => {
  const { world, store } = await filled('goes')
  assert.is(await world.result(drop(store)), 400)
  assert.is(store.inventory.counts.total.records, 800)
  assert.is(store.hashTrees?.root(KEYSPACE.id, 1), 0n)
  assert.equal(
    [held(store, 0, 'key 0'), held(store, 1, 'key 1'), held(store, 2, 'key 2')],
    [true, false, true],
  )
  await world.result(store.close())
  world.crash('process')
  const again = await world.open()
  assert.ok(again.inventory.isExact)
  assert.is(again.inventory.counts.total.records, 800)
  assert.not(held(again, 1, 'key 1'))
})

test('a crash in the middle leaves the rest, and counts and trees that are right', async () => {
  for (let steps = 1; steps < 60; steps += 3) {
    const { world, store } = await filled(`crash after ${steps}`)
    await world.settle()
    const dropping = drop(store)
    dropping.catch(() => undefined)
    for (let step = 0; step < steps; step++) await world.step()
    world.crash('power')
    const again = await world.open()
    await world.settle()
    const { total } = again.inventory.counts
    assert.ok(total.records >= 800 && total.records <= 1200)
    await world.result(drop(again))
    assert.is(again.inventory.counts.total.records, 800)
    assert.is(again.hashTrees?.root(KEYSPACE.id, 1), 0n)
  }
})

test('while the disk is being counted nothing is removed', async () => {
  const { world } = await filled('counting')
  await world.settle()
  world.crash('power')
  const store = await world.open()
  const code = await world.result(drop(store).catch(({ code }) => code))
  assert.is(code, 'UNAVAILABLE')
})

/** What the put of a value that replaces nothing says it has seen. */
function mint(store: Store): Minted {
  const value = { value: utf8('v'), contentType: null, writeId: 'w', expiresAtMs: null }
  return store.put(KEYSPACE, 1, utf8('key 1'), EMPTY_DOTS, value, () => undefined)
}

test('who owns it again does not say that a put replaces what he minted before he dropped it', async () => {
  for (const stop of ['none', 'clean', 'crash'] as const) {
    const { world, store } = await filled(`minted before, ${stop}`)
    const before = mint(store)
    assert.is(before.whole.values.length, 2, 'it is beside another one')
    await world.settle()
    const other = store.actor
    await world.result(drop(store))
    assert.is.not(store.actor, other)
    let again = store
    if (stop === 'clean') await world.result(store.close())
    if (stop !== 'none') {
      world.crash(stop === 'clean' ? 'process' : 'power')
      again = await world.open()
    }
    const { whole } = mint(again)
    assert.not(covers(whole.seen, before.dot))
    assert.is(mergeRecords(before.whole, whole).values.length, 3)
  }
})

test('a stop in the middle of a drop leaves the new name, and the rest', async () => {
  const { world, store } = await filled('stop in the middle')
  const { dot } = mint(store)
  await world.settle()
  assert.is(await world.result(drop(store, 1)), 0)
  const { actor } = store
  assert.is.not(actor, dot.actor)
  await world.result(store.close())
  world.crash('process')
  const again = await world.open()
  assert.is(again.actor, actor)
  await world.result(drop(again))
  assert.is(again.actor, actor, 'nothing was minted under it')
})

test('what may be owned again is left as it is', async () => {
  const { world, store } = await filled('owned again')
  await world.settle()
  const { actor } = store
  assert.is(await world.result(drop(store, 0)), 0)
  assert.is(store.actor, actor)
  assert.is(store.inventory.counts.total.records, 1200)
})

test('a disk that cannot be read says so with an error of ours, and the drop goes on later', async () => {
  const world = new World('unreadable')
  const storage = world.openStorage()
  const open = storage.openDatabase.bind(storage)
  let isFailing = false
  storage.openDatabase = async () => {
    const database = await open()
    const iterator = database.iterator.bind(database)
    const failing = () => Promise.reject(new Error('Corruption: block checksum mismatch'))
    const wrapped = (options: object) => Object.assign(iterator(options), isFailing ? { nextv: failing } : {})
    return Object.assign(database, { iterator: wrapped })
  }
  const store = await world.result(Store.open(world.effects(storage)))
  put(store, 1, 'key 1')
  await world.settle()
  isFailing = true
  const error = await world.result(drop(store).catch((reason: unknown) => reason))
  assert.ok(error instanceof KvError, String(error))
  assert.is(error.code, 'UNAVAILABLE')
  isFailing = false
  assert.is(await world.result(drop(store)), 1)
})

test.run()
