import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { present } from '../../src/base/assert.ts'
import { text, utf8 } from '../../src/base/bytes.ts'
import type { KvError } from '../../src/base/error.ts'
import type { KeyspaceId } from '../../src/base/ids.ts'
import { EMPTY_DOTS } from '../../src/protocol/dvv.ts'
import { recordDigest } from '../../src/protocol/hash-tree.ts'
import { bareRecord } from '../../src/protocol/purge.ts'
import { MortalPlaces } from '../../src/store/mortal-places.ts'
import { encodeRecord, isBare } from '../../src/store/record-codec.ts'
import type { KeyspacePlace } from '../../src/store/slot.ts'
import { Store } from '../../src/store/store.ts'
import { World } from './world.ts'

const test = suite('mortals')

const KEYSPACE: KeyspacePlace = { id: 1 as KeyspaceId, durability: 'disk' }
const LAX: KeyspacePlace = { id: 2 as KeyspaceId, durability: 'os' }
const PARTITION = 7
const KEY = utf8('key')

interface PutOptions {
  readonly keyspace?: KeyspacePlace
  readonly key?: string
  readonly expiresAtMs?: number
}

function put(store: Store, content: string | null, options: PutOptions = {}): void {
  const { keyspace = KEYSPACE, key = 'key', expiresAtMs = null } = options
  const value = content === null ? null : utf8(content)
  const fields = { value, contentType: null, writeId: `${key}-${content}`, expiresAtMs }
  const context = store.readRecord(keyspace.id, PARTITION, utf8(key))?.seen ?? EMPTY_DOTS
  store.put(keyspace, PARTITION, utf8(key), context, fields, (error) => assert.is(error, null))
}

function bytes(store: Store, { id } = KEYSPACE) {
  return store.read(id, PARTITION, KEY)
}

function digestOf(store: Store, keyspace = KEYSPACE): bigint {
  return recordDigest(keyspace.id, KEY, present(bytes(store, keyspace), 'it is there'))
}

interface Step {
  readonly isTaken: boolean
  error: KvError | null | undefined
}

function purge(store: Store, digest: bigint, leaves: 'seen' | 'nothing', keyspace = KEYSPACE): Step {
  const told: { error: KvError | null | undefined } = { error: undefined }
  const place = { keyspace, partition: PARTITION, key: KEY }
  const done = (error: KvError | null): void => {
    told.error = error
  }
  const { mortals } = store
  const isTaken =
    leaves === 'nothing' ? mortals.erase(place, digest, done) : mortals.strip(place, digest, () => true, done)
  return Object.assign(told, { isTaken })
}

test('a purge takes the values first and the rest later, on disk before it says so', async () => {
  const world = new World('steps')
  const store = await world.open()
  put(store, 'old')
  put(store, null)
  await world.settle()
  const { seen } = present(store.readRecord(KEYSPACE.id, PARTITION, KEY), 'a tombstone')
  const strip = purge(store, digestOf(store), 'seen')
  assert.ok(strip.isTaken)
  assert.is(strip.error, undefined)
  await world.settle()
  assert.is(strip.error, null)
  assert.equal(store.readRecord(KEYSPACE.id, PARTITION, KEY), { seen, values: [] })
  const erase = purge(store, digestOf(store), 'nothing')
  await world.settle()
  assert.is(erase.error, null)
  assert.is(bytes(store), null)
  const total = store.inventory.counts.total
  assert.equal([total.records, total.keys, total.bytes], [0, 0, 0])
})

test('a record that is another one by now is left alone, on disk or on its way there', async () => {
  const world = new World('another')
  const store = await world.open()
  assert.not(purge(store, 1n, 'seen').isTaken)
  put(store, null)
  await world.settle()
  const digest = digestOf(store)
  put(store, 'new')
  assert.not(purge(store, digest, 'seen').isTaken)
  await world.settle()
  assert.not(purge(store, digestOf(store), 'nothing').isTaken, 'it has values')
  const [value] = present(store.readRecord(KEYSPACE.id, PARTITION, KEY), 'it stays').values
  assert.is(text(present(value?.value, 'a value')), 'new')
})

test('a put that comes while an erase is on its way is kept', async () => {
  const world = new World('put')
  const store = await world.open()
  put(store, null)
  await world.settle()
  purge(store, digestOf(store), 'seen')
  await world.settle()
  purge(store, digestOf(store), 'nothing')
  put(store, 'new')
  await world.settle()
  assert.is(store.readRecord(KEYSPACE.id, PARTITION, KEY)?.values.length, 1)
})

test('to the hash trees a bare record is none', async () => {
  const world = new World('trees')
  const store = await world.open()
  put(store, null)
  await world.settle()
  const root = (): bigint | undefined => store.inventory.trees?.root(KEYSPACE.id, PARTITION)
  assert.is.not(root(), 0n)
  purge(store, digestOf(store), 'seen')
  await world.settle()
  assert.is(root(), 0n)
  purge(store, digestOf(store), 'nothing')
  await world.settle()
  assert.is(root(), 0n)
  put(store, 'new')
  await world.settle()
  assert.is(root(), digestOf(store))
})

test('a bare record from another peer survives a power loss, even where others need not', async () => {
  const world = new World('power')
  const store = await world.open()
  put(store, null, { keyspace: LAX })
  await world.settle()
  const held = present(store.readRecord(LAX.id, PARTITION, KEY), 'a tombstone')
  const bare = encodeRecord(KEY, bareRecord(held))
  store.merge(LAX, PARTITION, KEY, bare, null, (error) => assert.is(error, null))
  await world.settle()
  world.crash('power')
  const next = await world.open()
  assert.ok(isBare(present(bytes(next, LAX), 'the bare record')))
})

test('what was taken for granted by the system alone is on disk once it was hardened', async () => {
  const world = new World('harden')
  const store = await world.open()
  put(store, null, { keyspace: LAX })
  await world.settle()
  const hardened = store.harden()
  await world.settle()
  await hardened
  world.crash('power')
  const next = await world.open()
  assert.is(next.readRecord(LAX.id, PARTITION, KEY)?.values.length, 1)
})

test('only what may be purged some day is listed, and its partition is known', async () => {
  const world = new World('list')
  const store = await world.open()
  put(store, 'lives', { key: 'a' })
  await world.settle()
  assert.equal(store.mortals.places.partitions(KEYSPACE.id), [])
  put(store, null, { key: 'b' })
  put(store, 'expires', { key: 'c', expiresAtMs: 1 })
  await world.settle()
  assert.equal(store.mortals.places.partitions(KEYSPACE.id), [PARTITION])
  const found: string[] = []
  let count = 0
  const goOn = async (recordCount: number): Promise<boolean> => {
    count += recordCount
    return true
  }
  await world.result(store.mortals.read(KEYSPACE.id, PARTITION, (key) => found.push(text(key)), goOn))
  assert.equal(found, ['b', 'c'])
  assert.is(count, 3)
})

test('only the disk makes reading unavailable: what fails with a record comes out as it is', async () => {
  const world = new World('fails')
  const store = await world.open()
  put(store, null)
  await world.settle()
  const read = (found: () => void, goOn: () => Promise<boolean>): Promise<unknown> =>
    world.result(store.mortals.read(KEYSPACE.id, PARTITION, found, goOn).catch((error: unknown) => error))
  const bug = new TypeError('a bug')
  const fails = (): never => {
    throw bug
  }
  assert.is(await read(fails, async () => true), bug)
  assert.is(await read(() => undefined, fails), bug)
  const closes = async (): Promise<boolean> => {
    await store.close()
    return true
  }
  const error = (await read(() => undefined, closes)) as KvError
  assert.is(error.code, 'UNAVAILABLE')
  assert.match(error.message, /^deleted keys cannot be purged now: a disk cannot be read where they are: /)
})

test('where there are any is known again after a stop, clean or not', async () => {
  const world = new World('known')
  const storage = world.openStorage()
  const store = await world.result(Store.open(world.effects(storage)))
  put(store, 'lives', { keyspace: LAX })
  put(store, null)
  await world.settle()
  await world.result(store.close())
  await world.result(storage.close())
  const next = await world.open()
  assert.equal(next.mortals.places.entries, [[KEYSPACE.id, [PARTITION]]])
  world.crash('power')
  const last = await world.open()
  await world.pass(1000)
  assert.equal(last.mortals.places.entries, [[KEYSPACE.id, [PARTITION]]])
})

test('a partition is known until nothing was found there, and nothing came meanwhile', () => {
  const places = new MortalPlaces()
  const id = KEYSPACE.id
  places.add(id, 1)
  places.add(id, 2)
  places.look(id, 1)
  places.look(id, 2)
  assert.not(places.isNew(id, 1))
  places.add(id, 2)
  places.remove(id, 1)
  places.remove(id, 2)
  assert.equal(places.partitions(id), [2])
  assert.ok(places.isNew(id, 2))
  places.drop(id)
  assert.equal(places.entries, [])
})

test.run()
