import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { utf8 } from '../../src/base/bytes.ts'
import type { KeyspaceId } from '../../src/base/ids.ts'
import { DroppedKeyspaces } from '../../src/node/dropped-keyspaces.ts'
import type { Configuration } from '../../src/protocol/configuration.ts'
import { EMPTY_DOTS } from '../../src/protocol/dvv.ts'
import { Store } from '../../src/store/store.ts'
import { DEFAULT, LWW, makeRing, nodes } from '../coordinator/coordinator-world.ts'
import { World } from '../store/world.ts'

const test = suite('dropped keyspaces')

const VALUE = { value: utf8('v'), contentType: null, writeId: 'w', expiresAtMs: null }

interface Bench {
  readonly world: World
  readonly store: Store
  readonly dropped: DroppedKeyspaces
  readonly before: Configuration
  readonly after: Configuration
  breakDisk(isBroken: boolean): void
}

/** A store with records of the keyspace that is to be dropped, and of no other. */
async function bench(seed: string): Promise<Bench> {
  let isBroken = false
  const world = new World(seed, {
    fail: (work) => (isBroken && work !== 'file' ? { message: 'gone', kept: false } : null),
  })
  const effects = world.effects(world.openStorage())
  const store = await world.result(Store.open(effects))
  const dropped = new DroppedKeyspaces(store, effects)
  const { configuration } = makeRing(1, [nodes(0, 1, 2)])
  const before = { ...configuration, keyspaces: [DEFAULT, LWW] }
  const after = { ...configuration, number: 2, keyspaces: [DEFAULT] }
  put(store)
  await world.settle()
  const breakDisk = (broken: boolean): void => {
    isBroken = broken
  }
  return { world, store, dropped, before, after, breakDisk }
}

function put(
  store: Store,
  keyspace: { readonly id: KeyspaceId; readonly durability: 'disk' | 'os' } = LWW,
): void {
  store.put(keyspace, 7, utf8('key'), EMPTY_DOTS, VALUE, () => undefined)
  store.standIns.put(keyspace, 7, utf8('key'), nodes(1), EMPTY_DOTS, VALUE, () => undefined)
}

test('are gone after their configuration is, and take no writes from the same moment', async () => {
  const { world, store, dropped, before, after } = await bench('plain')
  dropped.configurationChanged(before, after)
  assert.throws(() => put(store), /the keyspace was dropped/)
  await world.settle()
  assert.equal(await world.result(store.keyspaceIds()), [])
  await world.result(dropped.stop())
})

test('that meet a failing disk are dropped once it works again', async () => {
  for (const failsFor of [0, 1, 5, 20, 200]) {
    for (const isLeftOver of [true, false]) {
      const { world, store, dropped, before, after, breakDisk } = await bench(`fails for ${failsFor}`)
      breakDisk(true)
      put(store, DEFAULT)
      for (let step = 0; step < failsFor; step++) await world.step()
      if (isLeftOver) dropped.start(after)
      else dropped.configurationChanged(before, after)
      await world.pass(2_000)
      breakDisk(false)
      await world.pass(60_000)
      assert.equal(await world.result(store.keyspaceIds()), [])
      assert.is(store.standIns.total.records, 0)
      assert.is(store.inventory.counts.total.records, 0)
      await world.result(dropped.stop())
    }
  }
})

test('that a disk never lets go of do not keep the peer from stopping', async () => {
  const { world, store, dropped, before, after, breakDisk } = await bench('never')
  breakDisk(true)
  put(store, DEFAULT)
  dropped.configurationChanged(before, after)
  await world.pass(10_000)
  const tries = world.logged.filter((event) => event === 'keyspace.not_dropped').length
  assert.ok(tries > 3 && tries < 20, `${tries} tries`)
  await world.result(dropped.stop())
  await world.result(store.close())
})

test.run()
