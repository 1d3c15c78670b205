import * as fc from 'fast-check'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { type Bytes, text, utf8 } from '../../src/base/bytes.ts'
import { KvError } from '../../src/base/error.ts'
import { hash32 } from '../../src/base/hash.ts'
import { type ActorId, type KeyspaceId, type NodeId, parseNodeId } from '../../src/base/ids.ts'
import { EMPTY_DOTS, includesDotSet } from '../../src/protocol/dvv.ts'
import type { DotSet, KeyRecord } from '../../src/protocol/record.ts'
import { decodeRecord, encodeRecord, MalformedRecord } from '../../src/store/record-codec.ts'
import type { KeyspacePlace } from '../../src/store/slot.ts'
import { decodeStandIn, encodeStandIn } from '../../src/store/stand-in-codec.ts'
import type { StandInRecord, StandInSlice } from '../../src/store/stand-ins.ts'
import { Store } from '../../src/store/store.ts'
import { World } from './world.ts'

const test = suite('stand-in records')

const KEYSPACE: KeyspacePlace = { id: 1 as KeyspaceId, durability: 'disk' }
const OTHER: KeyspacePlace = { id: 2 as KeyspaceId, durability: 'disk' }
const KEY = utf8('key')
const PARTITION = 7
const [A, B, C] = ['a', 'b', 'c'].map(parseNodeId) as [NodeId, NodeId, NodeId]
const mustWork = (error: KvError | null): void => assert.is(error, null)

let writes = 0
interface Kept {
  readonly targets: readonly NodeId[]
  readonly key?: Bytes
  readonly keyspace?: KeyspacePlace
  readonly context?: DotSet
}

function put(store: Store, content: string, { targets, key = KEY, ...rest }: Kept) {
  const { keyspace = KEYSPACE, context = EMPTY_DOTS } = rest
  const value = { value: utf8(content), contentType: null, writeId: `w${++writes}`, expiresAtMs: null }
  return store.standIns.put(keyspace, PARTITION, key, targets, context, value, mustWork)
}

function merge(store: Store, record: KeyRecord, { targets, key = KEY }: Kept): void {
  store.standIns.merge(KEYSPACE, PARTITION, key, targets, encodeRecord(key, record), null, mustWork)
}

function recordOf(actor: string, n: number): KeyRecord {
  const dot = { actor: actor.repeat(16) as ActorId, n }
  const value = { contentType: null, writeId: `${actor}${n}`, timestamp: n, expiresAtMs: null }
  return {
    seen: { vector: new Map([[dot.actor, n]]), loose: [] },
    values: [{ dot, value: utf8(`${actor}${n}`), ...value }],
  }
}

const contents = (record: KeyRecord | null): string[] => {
  return (record?.values ?? []).map(({ value }) => text(value ?? utf8('deleted'))).sort()
}
const newest = (store: Store, key = KEY) => store.standIns.newest(KEYSPACE.id, PARTITION, key)
const countsOf = (store: Store): Record<string, number> => {
  return Object.fromEntries([...store.standIns.counts()].map(([target, { records }]) => [target, records]))
}

async function all(world: World, store: Store): Promise<readonly StandInRecord[]> {
  return (await world.result(store.standIns.slice(null, 1000, 1e6))).standIns
}

async function only(world: World, store: Store): Promise<StandInRecord> {
  const [first] = await all(world, store)
  if (first === undefined) throw new Error('there is a stand-in record')
  return first
}

test('what is kept for an owner is no record of this peer', async () => {
  const world = new World(1)
  const store = await world.open()
  put(store, 'v', { targets: [A] })
  await world.settle()
  assert.is(store.read(KEYSPACE.id, PARTITION, KEY), null)
  assert.is(store.inventory.counts.total.records, 0)
  const bytes = store.standIns.read(KEYSPACE.id, PARTITION, KEY)
  assert.equal(contents(bytes === null ? null : decodeRecord(KEY, bytes)), ['v'])
})

test('it is there, and counted, after a restart and after a power failure', async () => {
  const world = new World(2)
  const before = await world.open()
  put(before, 'v', { targets: [A, B] })
  put(before, 'w', { targets: [B], key: utf8('other') })
  await world.settle()
  const { total } = before.standIns
  world.crash('power')
  const store = await world.open()
  assert.equal(countsOf(store), { a: 1, b: 2 })
  assert.equal(store.standIns.total, total)
  assert.ok(total.bytes > 0)
  await world.result(store.close())
  world.crash('process')
  assert.equal(countsOf(await world.open()), { a: 1, b: 2 })
})

test('a key has one, with all values and all whom they are meant for', async () => {
  const world = new World(3)
  const store = await world.open()
  merge(store, recordOf('a', 1), { targets: [C] })
  await world.settle()
  merge(store, recordOf('b', 1), { targets: [A] })
  put(store, 'mine', { targets: [B] })
  await world.settle()
  assert.equal(contents(newest(store)), ['a1', 'b1', 'mine'])
  assert.equal((await only(world, store)).targets, [A, B, C])
  assert.is(store.standIns.total.records, 1)
})

test('who has it is taken off, and with the last one it goes', async () => {
  const world = new World(4)
  const store = await world.open()
  put(store, 'v', { targets: [A, B] })
  await world.settle()
  const both = await only(world, store)
  store.standIns.delivered(both, both.targets, new Set([A]))
  await world.settle()
  const one = await only(world, store)
  assert.equal(one.targets, [B])
  store.standIns.delivered(one, one.targets, new Set([B]))
  assert.is(newest(store), null)
  await world.settle()
  assert.equal(await all(world, store), [])
  assert.equal(store.standIns.total, { records: 0, bytes: 0 })
  world.crash('power')
  assert.equal(await all(world, await world.open()), [])
})

test('a record that changed while it was delivered stays', async () => {
  const world = new World(5)
  const store = await world.open()
  put(store, 'v', { targets: [A] })
  await world.settle()
  const sent = await only(world, store)
  merge(store, recordOf('a', 1), { targets: [A] })
  store.standIns.delivered(sent, sent.targets, new Set([A]))
  await world.settle()
  assert.equal(contents(newest(store)), ['a1', 'v'])
  assert.equal(countsOf(store), { a: 1 })
})

test('it is meant for others when its owners are other ones', async () => {
  const world = new World(6)
  const store = await world.open()
  put(store, 'v', { targets: [A] })
  await world.settle()
  store.standIns.delivered(await only(world, store), [B, C], new Set([C]))
  await world.settle()
  assert.equal(countsOf(store), { b: 1 })
})

test('a name under which a dot was minted goes with the record that has it', async () => {
  const world = new World(7)
  const store = await world.open()
  const first = put(store, 'v', { targets: [A] })
  assert.is(first.dot.actor, store.standIns.actor)
  assert.is.not(first.dot.actor, store.actor)
  await world.settle()
  merge(store, recordOf('b', 1), { targets: [A], key: utf8('not mine') })
  await world.settle()
  const [mine, others] = (await all(world, store)) as [StandInRecord, StandInRecord]
  store.standIns.delivered(others, others.targets, new Set([A]))
  assert.is(store.standIns.actor, first.dot.actor)
  store.standIns.delivered(mine, mine.targets, new Set([A]))
  await world.settle()
  const second = put(store, 'w', { targets: [A] })
  assert.is.not(second.dot.actor, first.dot.actor)
  assert.not(includesDotSet(second.whole.seen, first.whole.seen), 'it says nothing of a dot it does not know')
})

test('a full one refuses, and drops nothing', async () => {
  const world = new World(8)
  const effects = world.effects(world.openStorage())
  const store = await world.result(Store.open(effects, { limits: { maxStandInBytes: 200 } }))
  put(store, 'x'.repeat(60), { targets: [A] })
  await world.settle()
  const refused = (run: () => void): void => {
    assert.throws(run, (error: unknown) => error instanceof KvError && error.code === 'OVERLOADED')
  }
  refused(() => put(store, 'y'.repeat(100), { targets: [A], key: utf8('other') }))
  refused(() => merge(store, recordOf('a', 1), { targets: [B], key: utf8('z'.repeat(60)) }))
  assert.equal(contents(newest(store)), ['x'.repeat(60)])
  assert.equal(countsOf(store), { a: 1 })
  const kept = await only(world, store)
  store.standIns.delivered(kept, kept.targets, new Set([A]))
  put(store, 'y'.repeat(60), { targets: [A], key: utf8('other') })
})

test('slices follow each other in the order of keys', async () => {
  const world = new World(9)
  const store = await world.open()
  const names = Array.from({ length: 40 }, (_, i) => `key-${String(i).padStart(2, '0')}`)
  for (const name of [...names].reverse()) put(store, name, { targets: [A], key: utf8(name) })
  await world.settle()
  const found: string[] = []
  let after: Bytes | null = null
  do {
    const slice: StandInSlice = await world.result(store.standIns.slice(after, 7, 1e6))
    assert.ok(slice.standIns.length <= 7)
    found.push(...slice.standIns.map(({ key }) => text(key)))
    after = slice.next
  } while (after !== null)
  assert.equal(found, names)
})

test('a dropped keyspace takes what was kept for its keys with it', async () => {
  const world = new World(10)
  const store = await world.open()
  put(store, 'v', { targets: [A] })
  put(store, 'w', { targets: [B], keyspace: OTHER })
  await world.settle()
  assert.equal(await world.result(store.keyspaceIds()), [KEYSPACE.id, OTHER.id])
  await world.result(store.removal.dropKeyspace(KEYSPACE.id))
  assert.equal(countsOf(store), { b: 1 })
  assert.equal((await only(world, store)).keyspaceId, OTHER.id)
})

test('one that cannot be read goes into quarantine, and counts until it is there', async () => {
  const world = new World('damaged')
  const store = await world.open()
  for (const name of ['a', 'b', 'c']) put(store, name, { targets: [A, B], key: utf8(name) })
  await world.settle()
  const { standIns } = await world.result(store.standIns.slice(null, 10, 1e6))
  const { databaseKey } = standIns[1] as StandInRecord
  const rotten = Uint8Array.of(1, 2, 3, 4, 5, 6, 7)
  world.disk.rot(databaseKey, rotten)
  assert.is((await world.result(store.standIns.slice(null, 10, 1e6))).standIns.length, 2)
  assert.is(store.standIns.total.records, 3, 'it is not known to be in quarantine on disk')
  assert.ok(store.standIns.isInexact)
  await world.settle()
  await world.result(store.standIns.slice(null, 10, 1e6))
  const { total, quarantined, isInexact } = store.standIns
  assert.equal([total.records, quarantined, isInexact], [2, 1, false])
  assert.equal(countsOf(store), { a: 2, b: 2 })
  put(store, 'new', { targets: [A], key: utf8('b') })
  await world.settle()
  assert.equal(countsOf(store), { a: 3, b: 2 })
  world.crash()
  const again = await world.open()
  assert.equal([again.standIns.total.records, again.standIns.quarantined], [3, 1])
})

test('what else goes wrong while one is read damages it not', async () => {
  const world = new World('no memory')
  const store = await world.open()
  put(store, 'a', { targets: [A] })
  await world.settle()
  const { databaseKey, targets, record } = await only(world, store)
  const sound = encodeStandIn(hash32(KEY), { targets, record })
  const subarray = (): never => {
    throw new RangeError('Array buffer allocation failed')
  }
  world.disk.rot(databaseKey, Object.defineProperty(sound.slice(), 'subarray', { value: subarray }))
  const error = await world.result(store.standIns.slice(null, 10, 1e6).catch((thrown: KvError) => thrown))
  assert.is((error as KvError).code, 'UNAVAILABLE')
  await world.settle()
  assert.equal([store.standIns.quarantined, store.standIns.isInexact], [0, false])
  world.disk.rot(databaseKey, sound)
  assert.equal((await only(world, store)).targets, [A])
})

test('one that names nobody is as good as damaged', () => {
  const bytes = encodeStandIn(hash32(KEY), { targets: ['no name!' as NodeId], record: utf8('r') })
  assert.throws(
    () => decodeStandIn(hash32(KEY), bytes),
    (error: unknown) => error instanceof MalformedRecord,
  )
})

test('one that was damaged while its peer was away counts until it is in quarantine', async () => {
  for (let steps = 0; steps < 12; steps++) {
    const world = new World(`away ${steps}`)
    const store = await world.open()
    put(store, 'a', { targets: [A] })
    await world.settle()
    const { standIns } = await world.result(store.standIns.slice(null, 10, 1e6))
    world.crash()
    world.disk.rot((standIns[0] as StandInRecord).databaseKey, Uint8Array.of(1, 2, 3, 4, 5, 6, 7))
    const damaged = await world.open()
    assert.ok(damaged.standIns.isInexact)
    void damaged.standIns.slice(null, 10, 1e6).catch(() => undefined)
    for (let i = 0; i < steps; i++) await world.step()
    world.crash()
    const { total, quarantined } = (await world.open()).standIns
    assert.is(total.records + quarantined, 1)
  }
})

test('its bytes come back as they were, and damage shows', () => {
  const targets = fc.uniqueArray(fc.stringMatching(/^[A-Za-z0-9_-]{1,21}$/), { minLength: 1, maxLength: 7 })
  fc.assert(
    fc.property(targets, fc.uint8Array({ maxLength: 50 }), fc.nat(), (names, record, at) => {
      const standIn = { targets: names.map(parseNodeId).sort(), record }
      const bytes = encodeStandIn(hash32(KEY), standIn)
      assert.equal(decodeStandIn(hash32(KEY), bytes), standIn)
      const damaged = bytes.slice()
      damaged[at % bytes.length] = (damaged[at % bytes.length] as number) ^ 4
      assert.throws(() => decodeStandIn(hash32(KEY), damaged))
    }),
  )
})

const TARGETS = [A, B, C]
const steps = fc.array(
  fc.record({
    what: fc.constantFrom('keep', 'keep', 'deliver', 'crash'),
    key: fc.constantFrom('k1', 'k2'),
    target: fc.constantFrom(...TARGETS),
  }),
  { maxLength: 25 },
)

test('through crashes, whatever was acknowledged stays for everyone who has not had it', async () => {
  await fc.assert(
    fc.asyncProperty(steps, fc.integer(), async (story, seed) => {
      const world = new World(seed)
      let store = await world.open()
      /** What each target still needs of a key. */
      const owed = new Map<string, DotSet[]>()
      for (const [n, { what, key, target }] of story.entries()) {
        const place = `${key} ${target}`
        if (what === 'keep') {
          const record = recordOf('d', n + 1)
          merge(store, record, { targets: [target], key: utf8(key) })
          await world.settle()
          owed.set(place, [...(owed.get(place) ?? []), record.seen])
        } else if (what === 'crash') {
          world.crash('power')
          store = await world.open()
        } else {
          const standIn = (await all(world, store)).find((each) => text(each.key) === key)
          if (standIn === undefined) continue
          store.standIns.delivered(standIn, standIn.targets, new Set([target]))
          owed.delete(place)
          if (seed % 2 === 0) await world.settle()
        }
      }
      await world.settle()
      const kept = await all(world, store)
      for (const [place, sets] of owed) {
        const found = kept.find(({ key, targets }) => targets.some((t) => `${text(key)} ${t}` === place))
        if (found === undefined) throw new Error(`nothing is kept for ${place}`)
        const { seen } = decodeRecord(found.key, found.record)
        for (const set of sets) assert.ok(includesDotSet(seen, set), place)
      }
    }),
    { numRuns: 100 },
  )
})

test('a disk that cannot be walked along now says so with an error of ours', async () => {
  const world = new World('unreadable')
  const storage = world.openStorage()
  const open = storage.openDatabase.bind(storage)
  let isFailing = false
  storage.openDatabase = async () => {
    const database = await open()
    const iterator = database.iterator.bind(database)
    const failing = () => Promise.reject(new Error('IO error: read'))
    const wrapped = (options: object) => Object.assign(iterator(options), isFailing ? { nextv: failing } : {})
    return Object.assign(database, { iterator: wrapped })
  }
  const store = await world.result(Store.open(world.effects(storage)))
  put(store, 'v', { targets: [A] })
  await world.settle()
  isFailing = true
  const error = await world.result(store.standIns.slice(null, 10, 1e6).catch((reason: unknown) => reason))
  assert.ok(error instanceof KvError, String(error))
  assert.is(error.code, 'UNAVAILABLE')
  isFailing = false
  assert.is((await world.result(store.standIns.slice(null, 10, 1e6))).standIns.length, 1)
})

test.run()
