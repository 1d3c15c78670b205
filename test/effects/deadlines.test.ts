import fc from 'fast-check'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { Deadlines } from '../../src/effects/deadlines.ts'
import { ManualClock } from './manual-clock.ts'

const test = suite('deadlines')

const SLOT_MS = 25
const LONG_SLOT_MS = 100

function watched() {
  const clock = new ManualClock()
  const told: string[] = []
  const deadlines = new Deadlines<string>(clock, (item) => told.push(item))
  return { clock, told, deadlines }
}

test('an item is told after its time, and at most one slot late', () => {
  fc.assert(
    fc.property(
      fc.array(fc.nat({ max: 2000 }), { minLength: 1, maxLength: 20 }),
      fc.nat(1000),
      (timeouts, start) => {
        const clock = new ManualClock(start + 0.37)
        const toldMs = new Map<number, number>()
        const deadlines = new Deadlines<number>(clock, (place) => toldMs.set(place, clock.nowMs))
        const startMs = clock.nowMs
        timeouts.forEach((timeoutMs, place) => {
          deadlines.add(place, timeoutMs)
        })
        clock.advance(3000)
        timeouts.forEach((timeoutMs, place) => {
          const lateMs = (toldMs.get(place) ?? Number.POSITIVE_INFINITY) - startMs - timeoutMs
          const slotMs = timeoutMs < 1000 ? SLOT_MS : LONG_SLOT_MS
          assert.ok(lateMs >= 0 && lateMs <= slotMs + 1e-6, `${timeoutMs} ms: ${lateMs} ms late`)
        })
      },
    ),
  )
})

test('there is one timer, however many items', () => {
  const { clock, deadlines } = watched()
  for (let i = 0; i < 100; i++) deadlines.add(`${i}`, 10 * i)
  assert.is(clock.timerCount, 1)
})

test('without items there is no timer', () => {
  const { clock, told, deadlines } = watched()
  deadlines.add('a', 10)
  clock.advance(100)
  assert.equal(told, ['a'])
  assert.is(clock.timerCount, 0)
})

test('an item that is due sooner than all others is told first', () => {
  const { clock, told, deadlines } = watched()
  deadlines.add('late', 500)
  deadlines.add('soon', 50)
  clock.advance(100)
  assert.equal(told, ['soon'])
  clock.advance(500)
  assert.equal(told, ['soon', 'late'])
})

test('an item whose time is over already is told within a slot, not at once', () => {
  const { clock, told, deadlines } = watched()
  deadlines.add('over', -5)
  assert.equal(told, [])
  clock.advance(SLOT_MS + 1)
  assert.equal(told, ['over'])
})

test('a clock that stood still tells everything that is over, once', () => {
  const { clock, told, deadlines } = watched()
  for (const ms of [10, 200, 3000]) deadlines.add(`${ms}`, ms)
  clock.jump(1000)
  assert.equal(told, ['10', '200'])
  clock.advance(2500)
  assert.equal(told, ['10', '200', '3000'])
})

test('one who is told may add another', () => {
  const clock = new ManualClock()
  const told: number[] = []
  const deadlines: Deadlines<number> = new Deadlines<number>(clock, (n) => {
    told.push(n)
    if (n < 3) deadlines.add(n + 1, 10)
  })
  deadlines.add(1, 10)
  clock.advance(200)
  assert.equal(told, [1, 2, 3])
})

test('after a stop nobody is told, and nothing is left', () => {
  const { clock, told, deadlines } = watched()
  deadlines.add('a', 10)
  deadlines.stop()
  assert.is(clock.timerCount, 0)
  clock.advance(100)
  assert.equal(told, [])
})

test.run()
