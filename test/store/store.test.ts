import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { type Bytes, text, utf8 } from '../../src/base/bytes.ts'
import { KvError } from '../../src/base/error.ts'
import type { ActorId, KeyspaceId } from '../../src/base/ids.ts'
import { EMPTY_DOTS } from '../../src/protocol/dvv.ts'
import type { DotSet, KeyRecord } from '../../src/protocol/record.ts'
import type { SimDiskFailure } from '../../src/simulator/sim-disk.ts'
import type { NewValue } from '../../src/store/minting.ts'
import { decodeRecord, encodeRecord } from '../../src/store/record-codec.ts'
import type { KeyspacePlace } from '../../src/store/slot.ts'
import type { Store } from '../../src/store/store.ts'
import { World } from './world.ts'

const test = suite('store')

const KEYSPACE: KeyspacePlace = { id: 1 as KeyspaceId, durability: 'disk' }
const OTHER: KeyspacePlace = { id: 2 as KeyspaceId, durability: 'disk' }
const LAX: KeyspacePlace = { id: 3 as KeyspaceId, durability: 'os' }
const KEY = utf8('key')
const PARTITION = 7

let writes = 0
const newValue = (content: string | null): NewValue => ({
  value: content === null ? null : utf8(content),
  contentType: null,
  writeId: `write-${++writes}`,
  expiresAtMs: null,
})

interface Outcome {
  isDone: boolean
  error: KvError | null
  seenUpTo: number
}

function outcome(): Outcome & { done(error: KvError | null, seenUpTo?: number): void } {
  return {
    isDone: false,
    error: null,
    seenUpTo: 0,
    done(error, seenUpTo = 0) {
      assert.not(this.isDone, 'told once')
      Object.assign(this, { isDone: true, error, seenUpTo })
    },
  }
}

interface PutOptions {
  readonly keyspace?: KeyspacePlace
  readonly key?: Bytes
  readonly context?: DotSet
}

function put(store: Store, content: string | null, options: PutOptions = {}) {
  const { keyspace = KEYSPACE, key = KEY, context = EMPTY_DOTS } = options
  const told = outcome()
  const minted = store.put(keyspace, PARTITION, key, context, newValue(content), (error) => told.done(error))
  return { ...minted, told }
}

function merge(store: Store, record: Bytes, keyspace = KEYSPACE, mintedBy: ActorId | null = null): Outcome {
  const told = outcome()
  store.merge(keyspace, PARTITION, KEY, record, mintedBy, (error, seenUpTo) => told.done(error, seenUpTo))
  assert.not(told.isDone, 'not told before the call returns')
  return told
}

function contents(record: KeyRecord | null): string[] {
  return (record?.values ?? []).map(({ value }) => (value === null ? 'deleted' : text(value))).sort()
}

function onDisk(store: Store, keyspace = KEYSPACE): string[] {
  return contents(store.readRecord(keyspace.id, PARTITION, KEY))
}

function foreignRecord(actor: string, n: number, content: string): Bytes {
  const dot = { actor: actor as ActorId, n }
  const value = { dot, timestamp: n, ...newValue(content), writeId: `${actor}/${n}` }
  return encodeRecord(KEY, { seen: { vector: new Map([[dot.actor, n]]), loose: [] }, values: [value] })
}

const ACTOR_A = 'aaaaaaaaaaaaaaaa'
const ACTOR_B = 'bbbbbbbbbbbbbbbb'

test('a put is acknowledged when it is on disk, and only then read', async () => {
  const world = new World(1)
  const store = await world.open()
  const { told, record, dot } = put(store, 'first')
  assert.is(store.read(KEYSPACE.id, PARTITION, KEY), null)
  assert.equal(contents(store.newest(KEYSPACE.id, PARTITION, KEY)), ['first'])
  assert.equal(contents(decodeRecord(KEY, record)), ['first'])
  assert.is(dot.actor, store.actor)
  while (!told.isDone) {
    assert.equal(onDisk(store), [])
    await world.step()
  }
  assert.is(told.error, null)
  assert.equal(onDisk(store), ['first'])
  assert.equal(store.read(KEYSPACE.id, PARTITION, KEY), record)
})

test('a put replaces what its context covers and nothing else', async () => {
  const world = new World(2)
  const store = await world.open()
  const first = put(store, 'first')
  put(store, 'beside')
  await world.settle()
  assert.equal(onDisk(store), ['beside', 'first'])
  put(store, 'second', { context: { vector: new Map(), loose: [first.dot] } })
  await world.settle()
  assert.equal(onDisk(store), ['beside', 'second'])
  put(store, null, { context: store.newest(KEYSPACE.id, PARTITION, KEY)?.seen ?? EMPTY_DOTS })
  await world.settle()
  assert.equal(onDisk(store), ['deleted'])
})

test('a timestamp is above those it replaces, whatever the clock says', async () => {
  const world = new World(3)
  const store = await world.open()
  put(store, 'first')
  const before = store.newest(KEYSPACE.id, PARTITION, KEY)
  put(store, 'second', { context: before?.seen ?? EMPTY_DOTS })
  const after = store.newest(KEYSPACE.id, PARTITION, KEY)
  assert.ok((after?.values[0]?.timestamp ?? 0) > (before?.values[0]?.timestamp ?? 0))
})

test('writes of one turn share a batch, and one key is written once in it', async () => {
  const batches: number[] = []
  const world = new World(4, { observer: { onWrite: (operations) => batches.push(operations.length) } })
  const store = await world.open()
  batches.length = 0
  const told = ['a', 'b', 'c'].flatMap((key) => [
    put(store, '1', { key: utf8(key) }),
    put(store, '2', { key: utf8(key) }),
  ])
  await world.settle()
  assert.ok(told.every((each) => each.told.isDone && each.told.error === null))
  assert.equal(batches, [3])
})

test('the next batch fills while one is on its way, and they end in order', async () => {
  const world = new World(5)
  const store = await world.open()
  const order: number[] = []
  const putNumbered = (n: number): void => {
    store.put(KEYSPACE, PARTITION, KEY, EMPTY_DOTS, newValue(`${n}`), () => order.push(n))
  }
  putNumbered(1)
  await world.step()
  putNumbered(2)
  putNumbered(3)
  await world.settle()
  assert.equal(order, [1, 2, 3])
  assert.equal(onDisk(store), ['1', '2', '3'])
})

test('a merge stores what is new, and is told at once of what is known', async () => {
  const world = new World(6)
  const store = await world.open()
  const first = foreignRecord(ACTOR_A, 5, 'from a')
  const waiting = merge(store, first)
  const joined = merge(store, first)
  assert.equal(contents(store.newest(KEYSPACE.id, PARTITION, KEY)), ['from a'])
  await world.settle()
  assert.ok(waiting.isDone && joined.isDone)
  assert.equal(store.read(KEYSPACE.id, PARTITION, KEY), first)
  const again = merge(store, first)
  await world.step()
  assert.ok(again.isDone, 'no batch for what is on disk')
  merge(store, foreignRecord(ACTOR_B, 1, 'from b'))
  const newer = foreignRecord(ACTOR_A, 9, 'newer from a')
  merge(store, newer)
  await world.settle()
  assert.equal(onDisk(store), ['from b', 'newer from a'])
  const old = merge(store, first)
  await world.step()
  assert.ok(old.isDone && old.error === null, 'what was superseded needs no batch either')
  assert.equal(onDisk(store), ['from b', 'newer from a'])
})

test('a merge says how much of the minting actor was seen before', async () => {
  const world = new World(7)
  const store = await world.open()
  const actor = ACTOR_A as ActorId
  const first = merge(store, foreignRecord(ACTOR_A, 5, 'five'), KEYSPACE, actor)
  const second = merge(store, foreignRecord(ACTOR_A, 9, 'nine'), KEYSPACE, actor)
  const again = merge(store, foreignRecord(ACTOR_A, 9, 'nine'), KEYSPACE, actor)
  const other = merge(store, foreignRecord(ACTOR_B, 3, 'three'), KEYSPACE, ACTOR_B as ActorId)
  await world.settle()
  assert.equal([first.seenUpTo, second.seenUpTo, again.seenUpTo, other.seenUpTo], [0, 5, 9, 0])
})

test('bytes that are not a record of the key are refused', async () => {
  const world = new World(8)
  const store = await world.open()
  const elsewhere = merge(
    store,
    encodeRecord(utf8('other key'), decodeRecord(KEY, foreignRecord(ACTOR_A, 1, 'x'))),
  )
  const garbage = merge(store, utf8('garbage'))
  await world.settle()
  assert.is(elsewhere.error?.code, 'INTERNAL')
  assert.is(garbage.error?.code, 'INTERNAL')
  assert.is(store.inventory.counts.total.records, 0)
})

test('a clean stop lets the next life go on under the same actor, once', async () => {
  const world = new World(9)
  const first = await world.open()
  const { dot } = put(first, 'first')
  await stop(world, first)
  const second = await world.open()
  assert.is(second.actor, first.actor)
  assert.is(second.storeId, first.storeId)
  assert.equal(put(second, 'second').dot, { actor: dot.actor, n: dot.n + 1 })
  world.crash()
  const third = await world.open()
  assert.is.not(third.actor, first.actor)
  assert.is(third.storeId, first.storeId)
})

test('a marker that belongs to other data, or is damaged, is not believed', async () => {
  const world = new World(10)
  const first = await world.open()
  put(first, 'first')
  await stop(world, first)
  const marker = world.disk.image().files
  world.disk.wipe()
  world.disk.restore({ tree: world.disk.image().tree, files: marker })
  const second = await world.open()
  assert.is.not(second.storeId, first.storeId)
  assert.is.not(second.actor, first.actor)
  await stop(world, second)
  const image = world.disk.image()
  const damaged = (image.files.get('clean-stop') as Bytes).slice()
  damaged[20] = (damaged[20] as number) ^ 1
  world.disk.restore({ tree: image.tree, files: new Map([['clean-stop', damaged]]) })
  const third = await world.open()
  assert.is(third.storeId, second.storeId)
  assert.is.not(third.actor, second.actor)
})

test('a dot that somebody has seen before it was minted makes a new actor', async () => {
  const world = new World(11)
  const store = await world.open()
  const { dot } = put(store, 'first')
  const context = { vector: new Map([[dot.actor, 100]]), loose: [] }
  const second = put(store, 'second', { context })
  assert.is.not(second.dot.actor, dot.actor)
  assert.is(second.dot.actor, store.actor)
  merge(store, foreignRecord(store.actor, 100, 'by a clone'))
  const third = put(store, 'third')
  assert.is.not(third.dot.actor, second.dot.actor)
  await world.settle()
})

test('a new store id lasts, and comes with a new actor', async () => {
  const world = new World(12)
  const store = await world.open()
  const { storeId, actor } = store
  await world.result(store.beginAnew('rolledBack'))
  assert.is.not(store.storeId, storeId)
  assert.is.not(store.actor, actor)
  world.crash()
  assert.is((await world.open()).storeId, store.storeId)
})

test('when too much waits, writes are refused before anything is taken', async () => {
  const world = new World(13)
  const store = await world.open({ maxWaiting: 3 })
  for (let i = 0; i < 3; i++) put(store, `${i}`, { key: utf8(`${i}`) })
  throwsCode(() => put(store, 'too many'), 'OVERLOADED')
  const refused = merge(store, foreignRecord(ACTOR_A, 1, 'x'))
  await world.settle()
  assert.is(refused.error?.code, 'OVERLOADED')
  assert.equal(onDisk(store), [])
  put(store, 'now')
  await world.settle()
  assert.equal(onDisk(store), ['now'])
})

test('a large backlog is written in several batches', async () => {
  const batches: number[] = []
  const world = new World(14, { observer: { onWrite: (operations) => batches.push(operations.length) } })
  const store = await world.open({ maxBatchOperations: 2 })
  batches.length = 0
  const told = [1, 2, 3, 4, 5].map((n) => put(store, `${n}`, { key: utf8(`${n}`) }).told)
  await world.settle()
  assert.equal(batches, [2, 2, 1])
  assert.ok(told.every((each) => each.isDone && each.error === null))
})

test('a failed fsync fails all that wait as unknown; then the store recovers under a new actor', async () => {
  for (const kept of [true, false]) {
    let failure: SimDiskFailure | null = null
    const world = new World(15, { fail: (work) => (work === 'sync' ? failure : null) })
    const store = await world.open()
    const { actor } = store
    put(store, 'before')
    await world.settle()
    failure = { message: 'input/output error', kept }
    const inFlight = put(store, 'in flight').told
    await world.step()
    const queued = put(store, 'queued').told
    while (!inFlight.isDone) await world.step()
    assert.is(inFlight.error?.code, 'TIMEOUT_UNKNOWN')
    assert.is(queued.error?.code, 'TIMEOUT_UNKNOWN')
    throwsCode(() => put(store, 'meanwhile'), 'UNAVAILABLE')
    throwsCode(() => store.read(KEYSPACE.id, PARTITION, KEY), 'UNAVAILABLE')
    failure = null
    await world.settle()
    assert.is.not(store.actor, actor)
    assert.equal(onDisk(store), kept ? ['before', 'in flight'] : ['before'])
    put(store, 'after')
    await world.settle()
    assert.ok(onDisk(store).includes('after'))
    assert.is(store.inventory.counts.of(KEYSPACE.id).records, 1)
    assert.ok(store.inventory.isExact)
  }
})

test('a store that cannot be opened again is tried again, until it is closed', async () => {
  let isBroken = false
  const world = new World(16, {
    fail: (work) => (isBroken && work !== 'file' ? { message: 'gone', kept: false } : null),
  })
  const store = await world.open()
  assert.is(store.outage, null)
  isBroken = true
  const { told } = put(store, 'lost')
  for (let i = 0; i < 20; i++) await world.step()
  assert.match(told.error?.message ?? '', /^it is not known whether .*: its disk fails: gone$/)
  assert.is(store.outage, 'its disk fails: gone')
  assert.ok(world.logged.filter((event) => event === 'store.reopen-failed').length > 1)
  await world.result(store.close())
  assert.not(world.disk.image().files.has('clean-stop'))
})

test('why the disk is away is said in words, from the first failure until it is back', async () => {
  let message: string | null = 'IO error: /data/000003.log: No space left on device'
  const world = new World(18, { fail: () => (message === null ? null : { message, kept: false }) })
  message = null
  const store = await world.open()
  message = 'IO error: /data/000003.log: No space left on device'
  const { told } = put(store, 'lost')
  while (!told.isDone) await world.step()
  const full = 'its disk is full; make room there, and it goes on by itself'
  assert.is(told.error?.message, `it is not known whether this peer has written it: ${full}`)
  assert.is(store.outage, full)
  message = 'cannot open the database in /data: the disk is full'
  for (let i = 0; i < 20; i++) await world.step()
  assert.is(store.outage, full)
  message = null
  await world.settle()
  assert.is(store.outage, null)
  put(store, 'kept')
  await world.settle()
  assert.equal(onDisk(store), ['kept'])
})

test('closing brings to the disk what was taken, refuses more, and can be done twice', async () => {
  const world = new World(17)
  const store = await world.open()
  const { told } = put(store, 'last')
  const closing = store.close()
  throwsCode(() => put(store, 'too late'), 'UNAVAILABLE')
  await world.result(closing)
  await store.close()
  assert.ok(told.isDone && told.error === null)
  throwsCode(() => store.read(KEYSPACE.id, PARTITION, KEY), 'UNAVAILABLE')
  world.crash()
  assert.equal(onDisk(await world.open()), ['last'])
})

test('what was written without fsync is written again for who needs one', async () => {
  const syncs: boolean[] = []
  const world = new World(18, { observer: { onWrite: (_, sync) => syncs.push(sync) } })
  const store = await world.open()
  syncs.length = 0
  const { told, record } = put(store, 'lax', { keyspace: LAX })
  await world.settle()
  assert.ok(told.isDone)
  const strict = merge(store, record, { ...LAX, durability: 'disk' })
  await world.settle()
  assert.ok(strict.isDone)
  assert.equal(syncs, [false, true])
  world.crash()
  assert.equal(onDisk(await world.open(), LAX), ['lax'])
})

test('to wait for a sync while an unsynced batch is under way is to write again', async () => {
  const world = new World(19)
  const store = await world.open()
  const { record } = put(store, 'lax', { keyspace: LAX })
  await world.step()
  const strict = merge(store, record, { ...LAX, durability: 'disk' })
  while (!strict.isDone) await world.step()
  assert.is(store.inventory.counts.of(LAX.id).records, 1)
  world.crash()
  assert.equal(onDisk(await world.open(), LAX), ['lax'])
})

test('counts follow every write, through clean stops and crashes', async () => {
  const world = new World(20)
  let store = await world.open()
  assert.ok(store.inventory.isExact)
  for (let i = 0; i < 1200; i++) put(store, `value ${i}`, { key: utf8(`key ${i}`) })
  await world.settle()
  put(store, null, {
    key: utf8('key 3'),
    context: store.newest(KEYSPACE.id, PARTITION, utf8('key 3'))?.seen ?? EMPTY_DOTS,
  })
  put(store, 'elsewhere', { keyspace: OTHER })
  await world.settle()
  const counts = { one: store.inventory.counts.of(KEYSPACE.id), other: store.inventory.counts.of(OTHER.id) }
  assert.is(counts.one.records, 1200)
  assert.is(counts.one.keys, 1199)
  assert.is(counts.other.keys, 1)

  await stop(world, store)
  store = await world.open()
  assert.ok(store.inventory.isExact)
  assert.equal(
    { one: store.inventory.counts.of(KEYSPACE.id), other: store.inventory.counts.of(OTHER.id) },
    counts,
  )

  world.crash()
  store = await world.open()
  assert.not(store.inventory.isExact)
  put(store, 'while counting', { key: utf8('key 900') })
  put(store, 'new', { key: utf8('new key') })
  await world.settle()
  assert.ok(store.inventory.isExact)
  assert.is(store.inventory.counts.of(KEYSPACE.id).records, 1201)
  assert.is(store.inventory.counts.of(KEYSPACE.id).keys, 1200)
  assert.is(store.inventory.counts.total.records, 1202)
  const { bytes } = store.inventory.counts.total
  world.crash()
  store = await world.open()
  await world.settle()
  assert.is(store.inventory.counts.total.bytes, bytes)
})

test('a dropped keyspace is gone, stays gone, and takes no writes', async () => {
  const world = new World(21)
  let store = await world.open()
  put(store, 'here')
  put(store, 'there', { keyspace: OTHER })
  await world.settle()
  assert.equal(await world.result(store.keyspaceIds()), [KEYSPACE.id, OTHER.id])
  const waiting = put(store, 'still waiting').told
  await world.result(store.removal.dropKeyspace(KEYSPACE.id))
  assert.ok(waiting.isDone)
  throwsCode(() => put(store, 'again'), 'NOT_FOUND')
  assert.equal(onDisk(store), [])
  assert.is(store.inventory.counts.of(KEYSPACE.id).records, 0)
  world.crash()
  store = await world.open()
  assert.equal(await world.result(store.keyspaceIds()), [OTHER.id])
  await world.result(store.removal.dropKeyspace(OTHER.id))
  assert.equal(await world.result(store.keyspaceIds()), [])
})

test('a record that the disk damaged is reported, and only that key suffers', async () => {
  const world = new World(22)
  const first = await world.open()
  put(first, 'value')
  put(first, 'sound', { key: utf8('sound') })
  await stop(world, first)
  const { tree, files } = world.disk.image()
  const place = tree.ge(Uint8Array.of(0x10))
  const bytes = (place.value as Bytes).slice()
  bytes[bytes.length - 1] = (bytes[bytes.length - 1] as number) ^ 1
  world.disk.restore({ tree: place.update(bytes), files })
  const store = await world.open()
  throwsCode(() => store.read(KEYSPACE.id, PARTITION, KEY), 'UNAVAILABLE')
  throwsCode(() => put(store, 'over it'), 'UNAVAILABLE')
  const merged = merge(store, foreignRecord(ACTOR_A, 1, 'x'))
  await world.settle()
  assert.is(merged.error?.code, 'UNAVAILABLE')
  assert.ok(world.logged.includes('store.damaged'))
  assert.is(contents(store.readRecord(KEYSPACE.id, PARTITION, utf8('sound')))[0], 'sound')
})

async function stop(world: World, store: Store): Promise<void> {
  await world.result(store.close())
  world.disk.crash(world.prng)
}

function throwsCode(run: () => unknown, code: string): void {
  assert.throws(run, (error: unknown) => error instanceof KvError && error.code === code)
}

test.run()
