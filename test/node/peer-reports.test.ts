import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { utf8 } from '../../src/base/bytes.ts'
import type { KeyspaceId } from '../../src/base/ids.ts'
import { dataWarnings, reportOf } from '../../src/node/peer-reports.ts'
import { EMPTY_DOTS } from '../../src/protocol/dvv.ts'
import { World } from '../store/world.ts'

const test = suite('what a peer says of its store')

test('after an unclean stop it says that it is counting, until it has counted', async () => {
  const world = new World(7)
  const first = await world.open()
  const keyspace = { id: 1 as KeyspaceId, durability: 'disk' } as const
  for (let i = 0; i < 500; i++) {
    const value = { value: utf8('v'), contentType: null, writeId: `write-${i}`, expiresAtMs: null }
    first.put(keyspace, 7, utf8(`key ${i}`), EMPTY_DOTS, value, (error) => assert.is(error, null))
  }
  await world.settle()
  assert.equal([reportOf(first).keys, reportOf(first).isCounting], [500, false])
  world.crash()
  const second = await world.open()
  assert.ok(reportOf(second).isCounting)
  await world.settle()
  assert.equal([reportOf(second).keys, reportOf(second).isCounting], [500, false])
})

test('a disk that is away is told, and is a warning that names the peer', async () => {
  const failure = { message: 'no space left on device', kept: false }
  let isFull = false
  const world = new World(8, { fail: () => (isFull ? failure : null) })
  const store = await world.open()
  assert.equal(dataWarnings('10.0.0.1:7001', reportOf(store)), [])
  isFull = true
  const keyspace = { id: 1 as KeyspaceId, durability: 'disk' } as const
  const value = { value: utf8('v'), contentType: null, writeId: 'w', expiresAtMs: null }
  store.put(keyspace, 7, utf8('key'), EMPTY_DOTS, value, () => undefined)
  for (let i = 0; i < 10; i++) await world.step()
  const [warning] = dataWarnings('10.0.0.1:7001', reportOf(store))
  assert.match(warning ?? '', /^10\.0\.0\.1:7001 can neither read nor write: its disk is full/)
})

test.run()
