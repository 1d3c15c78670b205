import * as fc from 'fast-check'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { SlotTable } from '../../src/base/slot-table.ts'

const test = suite('slot table')

test('holds what a map would, under numbers that rise', () => {
  fc.assert(
    fc.property(fc.array(fc.oneof(fc.constant(null), fc.nat(200)), { maxLength: 500 }), (steps) => {
      const table = new SlotTable<string>()
      const model = new Map<number, string>()
      let last = 0
      for (const step of steps) {
        if (step === null) {
          const value = `value ${model.size} of ${last}`
          const id = table.add(value)
          assert.ok(id > last)
          last = id
          model.set(id, value)
        } else {
          assert.is(table.get(step), model.get(step) ?? null)
          assert.is(table.take(step), model.get(step) ?? null)
          model.delete(step)
        }
        assert.is(table.size, model.size)
      }
      assert.equal(table.entries(), [...model])
      assert.equal(table.values(), [...model.values()])
    }),
  )
})

test('goes round one that stays', () => {
  const table = new SlotTable<string>()
  const stays = table.add('stays')
  for (let i = 0; i < 10_000; i++) assert.is(table.take(table.add('goes')), 'goes')
  assert.is(table.get(stays), 'stays')
  assert.is(table.size, 1)
})

test('has nothing under 0, under numbers to come, or after clear', () => {
  const table = new SlotTable<string>()
  assert.is(table.get(0), null)
  assert.is(table.take(0), null)
  assert.is(table.get(1), null)
  const id = table.add('one')
  table.clear()
  assert.is(table.get(id), null)
  assert.is(table.size, 0)
  assert.ok(table.add('two') > id)
})

test.run()
