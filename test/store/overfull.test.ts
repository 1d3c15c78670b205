import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { type Bytes, utf8 } from '../../src/base/bytes.ts'
import type { KvError } from '../../src/base/error.ts'
import type { ActorId, KeyspaceId, NodeId } from '../../src/base/ids.ts'
import {
  type DotSet,
  type DottedValue,
  MAX_PUT_RECORD_BYTES,
  MAX_RECORD_BYTES,
} from '../../src/protocol/record.ts'
import { recordKey } from '../../src/store/keys.ts'
import { encodeRecord, RecordOverflow } from '../../src/store/record-codec.ts'
import type { KeyspacePlace } from '../../src/store/slot.ts'
import type { Store } from '../../src/store/store.ts'
import { World } from './world.ts'

const test = suite('keys with more values than a record can hold')

const KEYSPACE: KeyspacePlace = { id: 1 as KeyspaceId, durability: 'disk' }
const KEY = utf8('key')
const PARTITION = 7
const PLACE = recordKey(KEYSPACE.id, PARTITION, KEY)
const A = 'aaaaaaaaaaaaaaaa' as ActorId
const B = 'bbbbbbbbbbbbbbbb' as ActorId

const seenUpTo = (actor: ActorId, n: number): DotSet => ({ vector: new Map([[actor, n]]), loose: [] })

/** So many siblings, each so large. */
function siblings(actor: ActorId, count: number, sizeBytes = 1): Bytes {
  const values = Array.from({ length: count }, (_, i): DottedValue => {
    const dot = { actor, n: i + 1 }
    const fields = { contentType: null, writeId: `${actor[0]}${i}`, timestamp: i + 1, expiresAtMs: null }
    return { dot, value: new Uint8Array(sizeBytes), ...fields }
  })
  return encodeRecord(KEY, { seen: seenUpTo(actor, count), values })
}

/** Why it was not stored; null: it was. */
async function merge(world: World, store: Store, record: Bytes): Promise<KvError | null> {
  return world.result(
    new Promise((resolve) => {
      store.merge(KEYSPACE, PARTITION, KEY, record, null, (error) => resolve(error))
    }),
  )
}

async function put(world: World, store: Store, context: DotSet, value: Bytes): Promise<KvError | null> {
  const fields = { value, contentType: null, writeId: 'w', expiresAtMs: null }
  return world.result(
    new Promise((resolve) => {
      store.put(KEYSPACE, PARTITION, KEY, context, fields, resolve)
    }),
  )
}

test('a merge that would come to too many values is refused, and what is held stays as it is', async () => {
  const world = new World('values')
  const store = await world.open()
  const held = siblings(A, 600)
  assert.is(await merge(world, store, held), null)
  const error = await merge(world, store, siblings(B, 600))
  assert.instance(error, RecordOverflow)
  assert.is(error?.code, 'CONFLICT')
  assert.equal(store.read(KEYSPACE.id, PARTITION, KEY), held)
  assert.is(store.overfull.count, 1)
  assert.ok(world.logged.includes('key.overfull'))
  assert.is(await merge(world, store, siblings(B, 400)), null, 'as many as there is room for')
})

test('so is one that would come to too many bytes', async () => {
  const world = new World('bytes')
  const store = await world.open()
  const held = siblings(A, 6, MAX_RECORD_BYTES / 10)
  assert.is(await merge(world, store, held), null)
  assert.instance(await merge(world, store, siblings(B, 5, MAX_RECORD_BYTES / 10)), RecordOverflow)
  assert.equal(store.read(KEYSPACE.id, PARTITION, KEY), held)
})

test('what replaces the values is taken, and the key is not overfull any more', async () => {
  for (const how of ['merge', 'put']) {
    const world = new World(how)
    const store = await world.open()
    await merge(world, store, siblings(A, 600))
    await merge(world, store, siblings(B, 600))
    const { vector } = seenUpTo(A, 600)
    const replaced = encodeRecord(KEY, { seen: { vector, loose: [] }, values: [] })
    const done =
      how === 'put' ? put(world, store, seenUpTo(A, 600), utf8('v')) : merge(world, store, replaced)
    assert.is(await done, null)
    assert.is(store.overfull.count, 0, how)
    assert.is(await merge(world, store, siblings(B, 600)), null)
  }
})

test('a put that leaves no more than was there is taken, one that leaves more is not', async () => {
  const world = new World('shrinking')
  const store = await world.open()
  const large = MAX_PUT_RECORD_BYTES / 4
  await merge(world, store, siblings(A, 8, large))
  const value = new Uint8Array(large - 1000)
  assert.throws(
    () =>
      store.put(
        KEYSPACE,
        PARTITION,
        KEY,
        seenUpTo(B, 1),
        { value, contentType: null, writeId: 'w', expiresAtMs: null },
        () => {},
      ),
    (error: KvError) => error.code === 'TOO_LARGE',
  )
  assert.is(await put(world, store, seenUpTo(A, 1), value), null)
  assert.is(store.readRecord(KEYSPACE.id, PARTITION, KEY)?.values.length, 8)
})

test('what is kept for others has the same limit', async () => {
  const world = new World('stand-ins')
  const store = await world.open()
  const keep = (record: Bytes): void =>
    store.standIns.merge(KEYSPACE, PARTITION, KEY, ['n1' as NodeId], record, null, () => {})
  keep(siblings(A, 600))
  assert.throws(
    () => keep(siblings(B, 600)),
    (error: unknown) => error instanceof RecordOverflow,
  )
  assert.ok(store.overfull.has(PLACE))
  await world.settle()
  assert.is(store.standIns.read(KEYSPACE.id, PARTITION, KEY)?.length, siblings(A, 600).length)
})

test('copies that did not go together are known until the key was written, or half an hour', async () => {
  const world = new World('vain')
  const { overfull } = await world.open()
  assert.not(overfull.isVain(PLACE, 5n))
  overfull.note(PLACE, 5n)
  overfull.note(PLACE)
  assert.ok(overfull.isVain(PLACE, 5n))
  assert.not(overfull.isVain(PLACE, 6n), 'one of them changed')
  assert.is(world.logged.filter((event) => event === 'key.overfull').length, 1)
  overfull.settled(PLACE)
  assert.not(overfull.has(PLACE))
  overfull.note(PLACE, 5n)
  await world.pass(29 * 60_000)
  assert.ok(overfull.has(PLACE))
  await world.pass(2 * 60_000)
  assert.is(overfull.count, 0)
})

test.run()
