import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { type Bytes, text, utf8 } from '../../src/base/bytes.ts'
import type { KeyspaceId } from '../../src/base/ids.ts'
import { EMPTY_DOTS } from '../../src/protocol/dvv.ts'
import { recordKey } from '../../src/store/keys.ts'
import type { RecordPage } from '../../src/store/record-page.ts'
import type { Store } from '../../src/store/store.ts'
import { World } from './world.ts'

const test = suite('pages of a partition')

const KEYSPACE = { id: 1 as KeyspaceId, durability: 'disk' } as const
const PLACE = { keyspaceId: KEYSPACE.id, partition: 2 }
const KEYS = Array.from({ length: 40 }, (_, i) => `key ${String(i).padStart(2, '0')}`)

function write(store: Store, name: string, value: string): void {
  const fields = { value: utf8(value), contentType: null, writeId: value, expiresAtMs: null }
  store.put(KEYSPACE, PLACE.partition, utf8(name), EMPTY_DOTS, fields, () => undefined)
}

async function filled(seed: string): Promise<{ world: World; store: Store }> {
  const world = new World(seed)
  const store = await world.open()
  for (const name of KEYS) write(store, name, `of ${name}`)
  await world.settle()
  return { world, store }
}

/** All pages. */
async function readAll(world: World, store: Store, maxRecords: number): Promise<RecordPage[]> {
  const pages: RecordPage[] = []
  for (let after: Bytes | null = null; pages.length === 0 || after !== null; ) {
    const page: RecordPage = await world.result(store.partitions.page(PLACE, after, maxRecords, 1e6))
    pages.push(page)
    after = page.last
  }
  return pages
}

function names(pages: readonly RecordPage[]): string[] {
  return pages.flatMap(({ keys }) => keys.map(text))
}

test('one page or many have all keys in their order, each once', async () => {
  const { world, store } = await filled('order')
  for (const maxRecords of [7, 40, 41, 1000]) {
    const pages = await readAll(world, store, maxRecords)
    assert.equal(names(pages), KEYS)
    assert.is(pages.length > 2, maxRecords < KEYS.length)
  }
})

test('what is written while a page is read is in it or not, and does not hold it up', async () => {
  const { world, store } = await filled('meanwhile')
  for (let round = 0; round < 20; round++) {
    write(store, KEYS[round] as string, `again ${round}`)
    const read = store.partitions.page(PLACE, null, 1000, 1e6)
    write(store, KEYS[round + 1] as string, `and again ${round}`)
    const { keys, last } = await world.result(read)
    assert.equal(keys.map(text), KEYS)
    assert.is(last, null)
    await world.settle()
  }
})

test('a record that the disk lost, or gives back of an older time, goes to nobody', async () => {
  for (const maxRecords of [7, 1000]) {
    for (const comesBack of [false, true]) {
      const { world, store } = await filled(`rotten ${maxRecords} ${comesBack}`)
      const key = recordKey(PLACE.keyspaceId, PLACE.partition, utf8('key 03'))
      const old = world.disk.newest.get(key) as Bytes
      write(store, 'key 03', 'newer')
      await world.pass(3_000) // The first pass over all trees is over.
      world.disk.rot(key, comesBack ? old : null)
      if (maxRecords < KEYS.length) await world.pass(61_000) // Until then the last look at it is believed.
      const failure = store.partitions.page(PLACE, null, maxRecords, 1e6).then(
        () => 'none',
        ({ message }: Error) => message,
      )
      await world.pass(1000)
      assert.is(await failure, "this peer's disk has to be looked at first")
      assert.ok(world.logged.includes('trees.records-lost'))
    }
  }
})

test('without trees nobody can say whether it is what was written', async () => {
  const { world } = await filled('unclean')
  world.crash('process')
  const opened = await world.open()
  assert.is(opened.hashTrees, null)
  const { keys } = await world.result(opened.partitions.page(PLACE, null, 1000, 1e6))
  assert.equal(keys.map(text), KEYS, 'what is being made of the disk has nothing better to be compared with')
})

test.run()
