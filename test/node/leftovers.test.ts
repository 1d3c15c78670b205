import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { utf8 } from '../../src/base/bytes.ts'
import type { KeyspaceId } from '../../src/base/ids.ts'
import { Leftovers } from '../../src/node/leftovers.ts'
import type { Phase } from '../../src/protocol/configuration.ts'
import { EMPTY_DOTS } from '../../src/protocol/dvv.ts'
import type { Ring } from '../../src/protocol/ring.ts'
import { Store } from '../../src/store/store.ts'
import { DEFAULT, makeRing, nodes } from '../coordinator/coordinator-world.ts'
import { World } from '../store/world.ts'

const test = suite('leftovers')

const RECORDS = 1000
const [before, after] = [nodes(0, 1, 2), nodes(1, 2, 3)]

interface Peer {
  readonly world: World
  readonly store: Store
  readonly leftovers: Leftovers
  isAcknowledged: boolean
  adopt(number: number, layouts: Parameters<typeof makeRing>[1], phase?: Phase): void
  records(): number
  /** Long enough for all that it is about to do. */
  pass(): Promise<void>
}

/** It holds records of a partition that it is about to lose. */
async function losing(seed: string): Promise<Peer> {
  const world = new World(seed)
  const effects = world.effects(world.openStorage())
  const store = await world.result(Store.open(effects))
  for (let i = 0; i < RECORDS; i++) {
    const value = { value: utf8('v'), contentType: null, writeId: `${i}`, expiresAtMs: null }
    store.put(DEFAULT, 1, utf8(`key ${i}`), EMPTY_DOTS, value, () => undefined)
  }
  await world.pass(1000)
  let ring: Ring = makeRing(1, [before])
  const isLeftOver = (now: Ring, place: { keyspaceId: KeyspaceId; partition: number }): boolean =>
    now.isLeftOver(nodes(0)[0] as (typeof before)[number], place.keyspaceId, place.partition)
  const leftovers = new Leftovers(store, effects, {
    ring: () => ring,
    isLeftOver,
    isAcknowledged: async () => peer.isAcknowledged,
    damageAdvice: () => 'advice',
  })
  const peer = {
    ...{ world, store, leftovers, isAcknowledged: true },
    adopt(number: number, layouts: Parameters<typeof makeRing>[1], phase: Phase = 'stable') {
      ring = makeRing(number, layouts, phase)
      leftovers.configurationChanged()
    },
    records: () => store.inventory.counts.total.records,
    async pass() {
      for (let i = 0; i < 500; i++) await world.step()
    },
  }
  leftovers.start()
  await peer.pass()
  assert.is(leftovers.waitsFor, null)
  assert.is(peer.records(), RECORDS)
  return peer
}

test('what is owned no more goes once every member has acknowledged that', async () => {
  const peer = await losing('acknowledged')
  peer.isAcknowledged = false
  peer.adopt(2, [after])
  await peer.pass()
  assert.is(peer.records(), RECORDS)
  assert.is.not(peer.leftovers.waitsFor, null)
  peer.isAcknowledged = true
  await peer.pass()
  assert.is(peer.records(), 0)
  assert.is(peer.leftovers.waitsFor, null)
})

test('while the ring changes nothing is dropped', async () => {
  for (const phase of ['begun', 'switched'] as const) {
    const peer = await losing(phase)
    // It had gained the partition in a change that has another target now.
    peer.adopt(2, [after, nodes(1, 2, 4)], phase)
    await peer.pass()
    assert.is(peer.records(), RECORDS)
    peer.adopt(3, [nodes(1, 2, 4)])
    await peer.pass()
    assert.is(peer.records(), 0)
  }
})

test('a drop ends where it is when the ring is another one, and what is owned again stays', async () => {
  const peer = await losing('owned again')
  peer.adopt(2, [after])
  while (peer.records() === RECORDS) await peer.world.step()
  const left = peer.records()
  assert.ok(left > 0)
  peer.adopt(3, [after, before], 'begun')
  await peer.pass()
  assert.is(peer.records(), left)
  peer.adopt(4, [after])
  await peer.pass()
  assert.is(peer.records(), 0)
})

test.run()
