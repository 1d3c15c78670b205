import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { present } from '../../src/base/assert.ts'
import { type Bytes, text, utf8 } from '../../src/base/bytes.ts'
import { KvError } from '../../src/base/error.ts'
import { hash32 } from '../../src/base/hash.ts'
import type { KeyspaceId } from '../../src/base/ids.ts'
import { HashTrees } from '../../src/store/hash-trees.ts'
import { KIND, keyspaceOf, recordKey, userKey } from '../../src/store/keys.ts'
import { decodeRecord } from '../../src/store/record-codec.ts'
import type { Store } from '../../src/store/store.ts'
import { World } from './world.ts'

const test = suite('hash trees made anew on a schedule')

const KEYSPACE = { id: 1 as KeyspaceId, durability: 'disk' } as const
const LAX = { id: 2 as KeyspaceId, durability: 'os' } as const
const PARTITIONS = 3
const INTERVAL_MS = 40
const OFTEN = { rebuildIntervalMs: INTERVAL_MS }

let writes = 0

function write(world: World, store: Store, name = `key ${world.prng.int(40)}`): void {
  const keyspace = world.prng.int(3) === 0 ? LAX : KEYSPACE
  const value = world.prng.int(5) === 0 ? null : utf8(`value ${++writes}`)
  const fields = { value, contentType: null, writeId: `write ${writes}`, expiresAtMs: null }
  const none = { vector: new Map(), loose: [] }
  store.put(keyspace, partitionOf(utf8(name)), utf8(name), none, fields, () => undefined)
}

function partitionOf(key: Bytes): number {
  return hash32(key) % PARTITIONS
}

/** What the trees must say: all that lies on the disk. */
function ofDisk(world: World): HashTrees {
  const trees = new HashTrees()
  for (const [key, record] of records(world)) trees.wrote(hash32(userKey(key)), key, null, record)
  return trees
}

function records(world: World): [Bytes, Bytes][] {
  const found: [Bytes, Bytes][] = []
  for (const place = world.disk.newest.begin; place.valid; place.next()) {
    const key = place.key as Bytes
    if (key[0] === KIND.record) found.push([key, place.value as Bytes])
  }
  return found
}

function assertTrees(world: World, store: Store): void {
  const kept = present(store.hashTrees, 'they are exact')
  const disk = ofDisk(world)
  for (const { keyspaceId, partition } of [...kept.places(), ...disk.places()]) {
    assert.is(kept.root(keyspaceId, partition), disk.root(keyspaceId, partition))
    assert.equal(kept.counts.at(keyspaceId, partition), disk.counts.at(keyspaceId, partition))
  }
}

async function filled(seed: string, keys = 60): Promise<{ world: World; store: Store }> {
  const world = new World(seed)
  const store = await world.open(OFTEN)
  for (let i = 0; i < keys; i++) write(world, store, `key ${i}`)
  await world.pass(10)
  return { world, store }
}

function codeOf(action: () => unknown): string {
  try {
    action()
    return 'done'
  } catch (error) {
    if (error instanceof KvError) return error.code
    throw error
  }
}

test('a sound disk never looks like a loss, whatever is written or dropped meanwhile', async () => {
  let passes = 0
  for (let seed = 0; seed < 40; seed++) {
    const { world, store } = await filled(`sound ${seed}`)
    for (let turn = 0; turn < 120; turn++) {
      for (let count = world.prng.int(4); count > 0; count--) write(world, store)
      await world.step()
      if (turn === 100 && seed % 4 === 0) await world.result(store.removal.dropKeyspace(LAX.id))
      if (turn >= 100 && seed % 4 === 0) break
    }
    await world.pass(3 * INTERVAL_MS)
    assert.is(store.damage.lostLeaves, 0)
    assert.is(store.damage.count, 0)
    assertTrees(world, store)
    passes += world.logged.filter((event) => event === 'trees.rebuilt').length
    await world.result(store.close())
  }
  assert.ok(passes > 80, `${passes} passes`)
})

test('a record that is gone, or of an older time, is a loss, and trees follow the disk', async () => {
  for (const isGone of [true, false]) {
    const { world, store } = await filled(`loss ${isGone}`)
    const [key, before] = present(records(world)[7], 'there are more')
    for (let i = 0; i < 9; i++) write(world, store, text(userKey(key)))
    await world.pass(5)
    assert.is.not(present(records(world)[7], 'it is there still')[1].length, 0)
    world.disk.rot(key, isGone ? null : before)
    const { actor } = store
    await world.pass(3 * INTERVAL_MS)
    assert.ok(store.damage.lostLeaves >= 1, `${store.damage.lostLeaves} leaves`)
    assert.ok(world.logged.includes('trees.records-lost'))
    assert.is.not(store.actor, actor, 'what it minted may be lost: it speaks under another name')
    assertTrees(world, store)
    const found = store.damage.lostLeaves
    await world.pass(5 * INTERVAL_MS)
    assert.is(store.damage.lostLeaves, found, 'it is said once')
  }
})

test('what the disk lost while the peer was away is found soon after a clean start', async () => {
  const { world, store } = await filled('away')
  await world.result(store.close())
  world.disk.crash(world.prng)
  world.disk.rot(present(records(world)[7], 'there are more')[0], null)
  const again = await world.open()
  assert.ok(again.hashTrees !== null, 'they were kept')
  await world.pass(4000)
  assert.is(again.damage.lostLeaves, 1)
  assertTrees(world, again)
})

test('counts follow what the disk lost, and are right after the next start', async () => {
  const { world, store } = await filled('counts')
  const all = records(world)
  for (const [key] of [all[3], all[11], all[12]].map((entry) => present(entry, 'there are more'))) {
    world.disk.rot(key, null)
  }
  const before = store.inventory.counts.total.records
  await world.pass(3 * INTERVAL_MS)
  assert.is(store.inventory.counts.total.records, before - 3)
  await world.result(store.close())
  world.crash('process')
  const again = await world.open()
  assertTrees(world, again)
  assert.is(again.inventory.counts.total.records, before - 3)
  assert.is(again.inventory.counts.total.bytes, ofDisk(world).counts.total.bytes)
})

test('counts that a damaged record pushed below nothing are no obstacle to a clean stop', async () => {
  const world = new World('below')
  let store = await world.open()
  const none = { vector: new Map(), loose: [] }
  store.put(KEYSPACE, 0, utf8('k'), none, { ...VALUE, value: null }, () => undefined)
  await world.settle()
  await world.result(store.close())
  world.crash('process')
  const [key, tombstone] = present(records(world)[0], 'it was written')
  const damaged = Uint8Array.from(tombstone)
  damaged[1] = 1 // It says now that it holds a value.
  world.disk.rot(key, damaged)
  store = await world.open()
  store.restore(KEYSPACE, 0, utf8('k'), tombstone, () => undefined)
  await world.pass(1)
  assert.is(store.inventory.counts.total.keys, -1)
  await world.result(store.close())
  assert.not(world.logged.includes('store.no-marker'))
  world.crash('process')
  assertTrees(world, await world.open())
})

test('a damaged record is found though nobody reads it, and is no loss', async () => {
  const { world, store } = await filled('damaged')
  const [key, record] = present(records(world)[9], 'there are more')
  const damaged = Uint8Array.from(record)
  damaged[damaged.length - 1] = (damaged.at(-1) as number) ^ 1
  world.disk.rot(key, damaged)
  await world.pass(3 * INTERVAL_MS)
  assert.is(store.damage.count, 1)
  assert.equal(
    store.damage.list(9).map(({ databaseKey }) => databaseKey),
    [key],
  )
  assert.is(store.damage.lostLeaves, 0)
  const read = () => store.read(keyspaceOf(key), partitionOf(userKey(key)), userKey(key))
  assert.is(codeOf(read), 'UNAVAILABLE', 'also where it was in memory')
  assertTrees(world, store)
})

test('a damaged record is replaced by another copy of it, under a new name for what comes next', async () => {
  for (const isFoundByReading of [true, false]) {
    const { world, store } = await filled(`restored ${isFoundByReading}`)
    const all = records(world).filter(([each]) => keyspaceOf(each) === KEYSPACE.id)
    const [key, record] = present(all[9], 'there are more')
    world.disk.rot(key, record.subarray(0, record.length - 3))
    const user = userKey(key)
    if (isFoundByReading) {
      await world.result(store.close())
      world.crash('process')
    }
    const again = isFoundByReading ? await world.open(OFTEN) : store
    if (isFoundByReading) {
      assert.is(
        codeOf(() => again.read(KEYSPACE.id, partitionOf(user), user)),
        'UNAVAILABLE',
      )
    } else await world.pass(2 * INTERVAL_MS)
    assert.is(again.damage.count, 1)
    const { actor } = again
    again.put(KEYSPACE, 0, utf8('other'), { vector: new Map(), loose: [] }, VALUE, () => undefined)
    let failure: KvError | null | undefined
    again.restore(KEYSPACE, partitionOf(user), user, record, (error) => {
      failure = error
    })
    await world.pass(3 * INTERVAL_MS)
    assert.is(failure, null)
    assert.equal(again.read(KEYSPACE.id, partitionOf(user), user), record)
    assert.is.not(again.actor, actor)
    assert.is(again.damage.lostLeaves, 0)
    assertTrees(world, again)
  }
})

test('a record that is sound is not replaced but merged', async () => {
  const { world, store } = await filled('merged')
  const [key, record] = present(records(world)[9], 'there are more')
  const user = userKey(key)
  const { actor } = store
  const [, elsewhere] = present(records((await filled('elsewhere')).world)[9], 'there are more')
  const keyspace = keyspaceOf(key) === KEYSPACE.id ? KEYSPACE : LAX
  let isDone = false
  store.restore(keyspace, partitionOf(user), user, record, (error) => {
    isDone = error === null
  })
  await world.pass(INTERVAL_MS)
  assert.ok(isDone)
  assert.is(store.actor, actor)
  assert.equal(store.read(keyspace.id, partitionOf(user), user), record)
  assert.is.not(elsewhere.length, 0)
  assert.ok(decodeRecord(user, record).seen.vector.size > 0)
  assert.equal(recordKey(keyspace.id, partitionOf(user), user), key)
})

const VALUE = { value: utf8('value'), contentType: null, writeId: 'write', expiresAtMs: null }

test.run()
