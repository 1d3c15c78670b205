import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { present } from '../../src/base/assert.ts'
import { type Bytes, utf8 } from '../../src/base/bytes.ts'
import { hash32 } from '../../src/base/hash.ts'
import type { KeyspaceId } from '../../src/base/ids.ts'
import type { Database, Storage } from '../../src/effects/storage.ts'
import { EMPTY_DOTS } from '../../src/protocol/dvv.ts'
import { HashTrees } from '../../src/store/hash-trees.ts'
import { KIND, userKey } from '../../src/store/keys.ts'
import { Store } from '../../src/store/store.ts'
import { World } from './world.ts'

const test = suite('what there is on a disk')

const KEYSPACE = { id: 1 as KeyspaceId, durability: 'disk' } as const
const RECORDS = 1_200

let writes = 0

function put(store: Store, name: string): void {
  const value = { value: utf8(`${++writes}`), contentType: null, writeId: `${writes}`, expiresAtMs: null }
  store.put(KEYSPACE, hash32(utf8(name)) % 3, utf8(name), EMPTY_DOTS, value, () => undefined)
}

/** So many reads of many records fail, each some way into the disk. */
function failing(storage: Storage, failures: number, afterReads: number): Storage {
  let left = failures
  return new Proxy(storage, {
    get: (target, name) => {
      if (name === 'openDatabase') return async () => watched(await target.openDatabase())
      const found = target[name as keyof Storage] as unknown
      return typeof found === 'function' ? found.bind(target) : found
    },
  })

  function watched(database: Database): Database {
    const iterator = database.iterator.bind(database)
    const failingIterator = (options: Parameters<Database['iterator']>[0]): ReturnType<typeof iterator> => {
      const made = iterator(options as never)
      if (!('highWaterMarkBytes' in (options ?? {}))) return made
      const nextv = made.nextv.bind(made) as (size: number) => Promise<[Bytes, Bytes][]>
      let reads = 0
      made.nextv = ((size: number) => {
        if (left === 0 || reads++ < afterReads) return nextv(size)
        left -= 1
        return Promise.reject(new Error('EIO'))
      }) as typeof made.nextv
      return made
    }
    database.iterator = failingIterator as typeof database.iterator
    return database
  }
}

function assertExact(world: World, store: Store): void {
  const trees = new HashTrees()
  let records = 0
  for (const place = world.disk.newest.begin; place.valid; place.next()) {
    const key = place.key as Bytes
    if (key[0] !== KIND.record) continue
    trees.wrote(hash32(userKey(key)), key, null, place.value as Bytes)
    records += 1
  }
  const kept = present(store.hashTrees, 'they are exact')
  assert.is(store.inventory.counts.total.records, records)
  for (const { keyspaceId, partition } of [...kept.places(), ...trees.places()]) {
    assert.is(kept.root(keyspaceId, partition), trees.root(keyspaceId, partition))
  }
}

async function uncleanly(seed: string): Promise<World> {
  const world = new World(seed)
  const store = await world.open()
  for (let i = 0; i < RECORDS; i++) put(store, `key ${i}`)
  await world.settle()
  world.crash('process')
  return world
}

test('is taken again when the disk could not be read, with all that is written meanwhile', async () => {
  for (const [failures, afterReads] of [
    [1, 0],
    [1, 1],
    [4, 2],
  ] as const) {
    const world = await uncleanly(`${failures} after ${afterReads}`)
    const storage = failing(world.openStorage(), failures, afterReads)
    const store = await world.result(Store.open(world.effects(storage)))
    for (let i = 0; i < 400; i++) {
      put(store, `key ${world.prng.int(2 * RECORDS)}`)
      await world.pass(100)
    }
    await world.settle()
    assert.is(world.logged.filter((event) => event === 'store.count-failed').length, failures)
    assert.is(store.inventory.rebuild?.failure ?? null, null)
    assertExact(world, store)
  }
})

test('a disk that cannot be read keeps no store from closing, and nothing goes on after', async () => {
  const world = await uncleanly('closing')
  const storage = failing(world.openStorage(), 1_000, 1)
  const store = await world.result(Store.open(world.effects(storage)))
  await world.pass(10_000)
  assert.match(store.inventory.rebuild?.failure ?? '', 'is tried again')
  assert.is(store.hashTrees, null)
  await world.result(store.close())
  const failed = world.logged.length
  await world.pass(3_600_000)
  assert.is(world.logged.length, failed)
})

test.run()
