import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { text } from '../../src/base/bytes.ts'
import { type Entry, makeEntry } from '../../src/cli/import/row-entry.ts'
import type { RowFault } from '../../src/cli/import/rows.ts'

const test = suite('from a row to a key and a value')

/** @param hasText the format keeps the row's own text */
function entry(row: string, valueField: string | null = null, hasText = true): Entry | RowFault {
  const content = { fields: JSON.parse(row), text: hasText ? row : null }
  return makeEntry(content, { keyFields: ['id'], separator: ',', valueField })
}

function keyOf(row: string): string {
  return (entry(row) as Entry).keyText
}

function faultOf(result: Entry | RowFault): string {
  return 'fault' in result ? result.fault : 'none'
}

test('whole numbers, texts and booleans are keys as they are written', () => {
  assert.is(keyOf('{"id":9007199254740991}'), '9007199254740991')
  assert.is(keyOf('{"id":-7}'), '-7')
  assert.is(keyOf('{"id":"9007199254740993"}'), '9007199254740993')
  assert.is(keyOf('{"id":true}'), 'true')
})

test('a number that parsing rounds, or that has several spellings, is no key', () => {
  for (const id of ['9007199254740993', '9007199254740992', '-9007199254740993', '1e300', '0.1', '1.50'])
    assert.match(faultOf(entry(`{"id":${id}}`)), 'write it as text', id)
})

test('a value that parsing would round is refused, unless the line is kept as it is', () => {
  const row = '{"id":1,"n":{"deep":[12345678901234567890]}}'
  assert.is(text((entry(row) as Entry).value), row)
  assert.match(faultOf(entry(row, null, false)), 'would be rounded')
  assert.match(faultOf(entry(row, 'n')), 'would be rounded')
  assert.is(
    text((entry('{"id":1,"n":[9007199254740991,1.5,6e23]}', 'n') as Entry).value),
    '[9007199254740991,1.5,6e+23]',
  )
})

test('a field that is not there: how to name another, and which there are', () => {
  const there = 'FIELD; the row has: name, age'
  assert.is(faultOf(entry('{"name":"a","age":7}')), `no field 'id', name another with --key ${there}`)
  const value = entry('{"id":1,"age":7}', 'v')
  assert.is(faultOf(value), "no field 'v', name another with --value FIELD; the row has: id, age")
})

test.run()
