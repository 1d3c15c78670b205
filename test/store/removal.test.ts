import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { utf8 } from '../../src/base/bytes.ts'
import type { KeyspaceId } from '../../src/base/ids.ts'
import { EMPTY_DOTS } from '../../src/protocol/dvv.ts'
import type { KeyspacePlace } from '../../src/store/slot.ts'
import type { Store } from '../../src/store/store.ts'
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

const held = (store: Store, partition: number, key: string): boolean =>
  store.read(KEYSPACE.id, partition, utf8(key)) !== null

test('a partition goes, with its part of counts and trees; the others stay', async () => {
  const { world, store } = await filled('goes')
  assert.is(await world.result(store.removal.dropPartition({ keyspaceId: KEYSPACE.id, partition: 1 })), 400)
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
    const dropping = store.removal.dropPartition({ keyspaceId: KEYSPACE.id, partition: 1 })
    dropping.catch(() => undefined)
    for (let step = 0; step < steps; step++) await world.step()
    world.crash('power')
    const again = await world.open()
    await world.settle()
    const { total } = again.inventory.counts
    assert.ok(total.records >= 800 && total.records <= 1200)
    await world.result(again.removal.dropPartition({ keyspaceId: KEYSPACE.id, partition: 1 }))
    assert.is(again.inventory.counts.total.records, 800)
    assert.is(again.hashTrees?.root(KEYSPACE.id, 1), 0n)
  }
})

test('while the disk is being counted nothing is removed', async () => {
  const { world } = await filled('counting')
  await world.settle()
  world.crash('power')
  const store = await world.open()
  const code = await world.result(
    store.removal.dropPartition({ keyspaceId: KEYSPACE.id, partition: 1 }).catch(({ code }) => code),
  )
  assert.is(code, 'UNAVAILABLE')
})

test.run()
