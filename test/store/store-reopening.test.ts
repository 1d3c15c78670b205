import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { utf8 } from '../../src/base/bytes.ts'
import type { KvError } from '../../src/base/error.ts'
import { type KeyspaceId, parseNodeId } from '../../src/base/ids.ts'
import { EMPTY_DOTS } from '../../src/protocol/dvv.ts'
import type { Store } from '../../src/store/store.ts'
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

test.run()
