import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { present } from '../../src/base/assert.ts'
import { type Bytes, utf8 } from '../../src/base/bytes.ts'
import { KvError } from '../../src/base/error.ts'
import type { KeyspaceId } from '../../src/base/ids.ts'
import type { Database } from '../../src/effects/storage.ts'
import { recordKey } from '../../src/store/keys.ts'
import { Quarantine } from '../../src/store/quarantine.ts'

const test = suite('quarantine')

const KEY = recordKey(1 as KeyspaceId, 7, utf8('key'))
const RECORD = utf8('what is left of it')

function opened(held?: Bytes): Quarantine {
  return new Quarantine(() => ({ getSync: () => held }) as unknown as Database)
}

test('what goes into quarantine counts when it is on disk, not before, and not when that failed', () => {
  const quarantine = opened()
  for (const admission of [quarantine.add(KEY, RECORD), quarantine.unite(KEY, RECORD)]) {
    const before = quarantine.size
    const { entry, written } = present(admission, 'nothing is there yet')
    assert.equal(entry.value, RECORD)
    assert.is(quarantine.size, before)
    written(new KvError('UNAVAILABLE', 'the disk is away'), 0)
    assert.is(quarantine.size, before)
    written(null, 0)
    assert.is(quarantine.size, before + 1)
  }
})

test('what joins another one is not counted again, and does not take the place of one', () => {
  const quarantine = opened(RECORD)
  quarantine.unite(KEY, utf8('newer')).written(null, 0)
  assert.is(quarantine.add(KEY, RECORD), null)
  assert.is(quarantine.size, 0)
})

test('of what nothing is left nothing is kept', () => {
  assert.is(opened().add(KEY, utf8('')), null)
})

test.run()
