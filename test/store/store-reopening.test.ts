import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { utf8 } from '../../src/base/bytes.ts'
import { KvError } from '../../src/base/error.ts'
import { type KeyspaceId, parseNodeId } from '../../src/base/ids.ts'
import type { LogFields } from '../../src/effects/log.ts'
import { EMPTY_DOTS } from '../../src/protocol/dvv.ts'
import { quarantineKey, recordKey, STORE_ID_KEY } from '../../src/store/keys.ts'
import { Store } from '../../src/store/store.ts'
import { World } from './world.ts'

const test = suite('a store that opens its database anew')

const KEYSPACE = { id: 1 as KeyspaceId, durability: 'disk' } as const
const PARTITION = 7
const TARGETS = [parseNodeId('target')]
const VALUE = { value: utf8('v'), contentType: null, writeId: 'w', expiresAtMs: null }
const ignore = (): void => undefined

function put(store: Store, name: string, done: (error: KvError | null) => void = ignore): void {
  store.put(KEYSPACE, PARTITION, utf8(name), EMPTY_DOTS, VALUE, done)
}

function keep(store: Store, name: string): void {
  store.standIns.put(KEYSPACE, PARTITION, utf8(name), TARGETS, EMPTY_DOTS, VALUE, ignore)
}

test('what is kept for others stays counted while the database is away', async () => {
  for (const holds of ['nothing', 'records', 'stand-in records']) {
    let isBroken = false
    const world = new World(`holds ${holds}`, {
      fail: (work) => (isBroken && work === 'sync' ? { message: 'gone', kept: false } : null),
    })
    const store = await world.open()
    for (let i = 0; i < 300; i++) {
      if (holds === 'records') put(store, `key ${i}`)
      if (holds === 'stand-in records') keep(store, `key ${i}`)
    }
    await world.settle()
    isBroken = true
    put(store, 'fails')
    while (!world.logged.includes('store.write-failed')) await world.step()
    isBroken = false
    while (!world.logged.includes('store.reopened')) {
      assert.is(store.standIns.total.records, holds === 'stand-in records' ? 300 : 0)
      await world.step()
    }
    await world.settle()
    assert.is(store.inventory.counts.total.records, holds === 'records' ? 300 : 0)
    assert.is(store.standIns.total.records, holds === 'stand-in records' ? 300 : 0)
  }
})

test('what was written to a disk that is not there any more was not written', async () => {
  let isGone = false
  const world = new World('gone', {
    fail: (work) => (isGone && /^(look|open)$/.test(work) ? { message: 'gone', kept: false } : null),
  })
  const store = await world.open()
  put(store, 'before')
  await world.settle()
  await store.checkPlace()
  const { actor } = store
  isGone = true
  const told: (string | undefined)[] = []
  const tell = (error: KvError | null): void => {
    told.push(error?.code)
  }
  put(store, 'in flight', tell)
  await world.step()
  await store.checkPlace()
  put(store, 'queued', tell)
  while (told.length < 2) await world.step()
  assert.equal(told, ['TIMEOUT_UNKNOWN', 'TIMEOUT_UNKNOWN'])
  assert.is(store.outage, 'its disk fails: gone')
  assert.throws(
    () => put(store, 'meanwhile'),
    (error: KvError) => error.code === 'UNAVAILABLE',
  )
  isGone = false
  await world.settle()
  assert.is(store.outage, null)
  assert.is.not(store.actor, actor)
  isGone = true
  await store.checkPlace()
  assert.is(store.outage, 'its disk fails: gone', 'also when nothing is being written')
  await world.result(store.close())
})

test('each attempt to open it again is one plain line, in the words of the storage', async () => {
  let isBroken = false
  const world = new World('lines', {
    fail: (work) => (isBroken && work !== 'look' ? { message: 'gone', kept: false } : null),
  })
  const lines: LogFields[] = []
  const storage = world.openStorage()
  const explained = new KvError('INTERNAL', 'it is damaged: restore it', { cause: new Error('gone') })
  storage.explain = () => explained
  const effects = world.effects(storage)
  const error = (event: string, fields: LogFields = {}): void => {
    if (event === 'store.reopen-failed') lines.push(fields)
  }
  const store = await world.result(Store.open({ ...effects, log: { ...effects.log, error } }))
  isBroken = true
  put(store, 'lost')
  for (let i = 0; i < 40; i++) await world.step()
  assert.is(store.outage, 'its disk fails: it is damaged: restore it')
  const why = 'its disk fails: it is damaged: restore it'
  assert.equal(lines.slice(0, 2), [
    { why, cause: 'gone', retryMs: 100 },
    { why, cause: 'gone', retryMs: 200 },
  ])
  await world.result(store.close())
})

test('another database in the place of the one that was open is not taken for it', async () => {
  let isBroken = false
  const world = new World('exchanged', {
    fail: (work) => (isBroken && work === 'sync' ? { message: 'gone', kept: false } : null),
  })
  const store = await world.open()
  put(store, 'before')
  await world.settle()
  const { storeId } = store
  isBroken = true
  let isTold = false
  put(store, 'fails', () => {
    isTold = true
  })
  while (!isTold) await world.step()
  isBroken = false
  world.disk.rot(STORE_ID_KEY, null)
  world.disk.rot(recordKey(KEYSPACE.id, PARTITION, utf8('before')), null)
  await world.pass(20_000)
  assert.match(store.outage ?? '', /another one than this peer had open: stop this peer and start it again/)
  assert.is(store.storeId, storeId)
  assert.throws(
    () => store.read(KEYSPACE.id, PARTITION, utf8('before')),
    (error: KvError) => error.code === 'UNAVAILABLE',
  )
  await world.result(store.close())
  world.crash()
  assert.is.not((await world.open()).storeId, storeId, 'which the next start takes for a loss')
})

test('what is in quarantine is counted again', async () => {
  let isBroken = false
  const world = new World('quarantine', {
    fail: (work) => (isBroken && work === 'sync' ? { message: 'gone', kept: false } : null),
  })
  const store = await world.open()
  isBroken = true
  put(store, 'fails')
  world.disk.rot(quarantineKey(KEYSPACE.id, PARTITION, utf8('aside')), utf8('it got there all the same'))
  while (!world.logged.includes('store.write-failed')) await world.step()
  isBroken = false
  await world.settle()
  assert.is(store.outage, null)
  assert.is(store.quarantine.size, 1)
})

test.run()
