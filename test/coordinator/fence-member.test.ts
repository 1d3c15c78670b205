import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { utf8 } from '../../src/base/bytes.ts'
import { type KeyspaceId, parseNodeId } from '../../src/base/ids.ts'
import type { Coordination } from '../../src/coordinator/coordination.ts'
import { FenceMember } from '../../src/coordinator/fence-member.ts'
import { EMPTY_DOTS } from '../../src/protocol/dvv.ts'
import { Eras } from '../../src/protocol/eras.ts'
import type { FenceAnswer } from '../../src/protocol/fence-round.ts'
import type { Store } from '../../src/store/store.ts'
import { World } from '../store/world.ts'

const KEYSPACE = { id: 1 as KeyspaceId, durability: 'disk' } as const
const OWNER = parseNodeId('a')
const VALUE = { value: utf8('v'), contentType: null, writeId: 'w', expiresAtMs: null }

function memberOf(store: Store): FenceMember {
  const coordination = { store, eras: new Eras() } as unknown as Coordination
  return new FenceMember(coordination, { nonce: 'n', generation: 1 }, () => false)
}

const SURVEY = { step: 'survey', era: 0, round: 'r', lives: [] } as const

test('a stand-in record is said to be gone when no crash brings it back any more', async () => {
  let midway = 0
  for (let seed = 1; seed <= 4; seed++) {
    for (let steps = 0; steps < 5; steps++) {
      const world = new World(seed)
      const store = await world.open()
      store.standIns.put(KEYSPACE, 7, utf8('key'), [OWNER], EMPTY_DOTS, VALUE, () => undefined)
      await world.settle()
      const { standIns } = await world.result(store.standIns.slice(null, 10, 1e6))
      // Somebody's write is under way, so the survey has something to wait for.
      store.put(KEYSPACE, 3, utf8('other'), EMPTY_DOTS, { ...VALUE, writeId: 'w2' }, () => undefined)
      let said: FenceAnswer | null = null
      const answer = memberOf(store)
        .answer(SURVEY)
        .then((given) => {
          said = given
        })
      for (let i = 0; i < steps && said === null; i++) await world.step()
      if (said !== null) continue
      midway += 1
      for (const standIn of standIns) store.standIns.delivered(standIn, [OWNER], new Set([OWNER]))
      await world.result(answer)
      world.crash('power')
      const again = await world.open()
      const { kept } = said as unknown as FenceAnswer
      assert.ok(kept >= again.standIns.total.records, `seed ${seed}, after ${steps} steps`)
    }
  }
  assert.ok(midway > 4)
})

test('a stand-in record that came during the survey shows when the era is closed', async () => {
  const world = new World('came')
  const store = await world.open()
  store.put(KEYSPACE, 3, utf8('other'), EMPTY_DOTS, VALUE, () => undefined)
  const member = memberOf(store)
  const survey = member.answer(SURVEY)
  store.standIns.put(KEYSPACE, 7, utf8('key'), [OWNER], EMPTY_DOTS, VALUE, () => undefined)
  const { kept, taken } = await world.result(survey)
  assert.equal([kept, taken], [1, 0])
  const closing = await world.result(member.answer({ ...SURVEY, step: 'close' }))
  assert.is(closing.taken, 1)
})

test.run()
