import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { StallWatch } from '../../src/coordinator/stall-watch.ts'
import { ManualClock } from '../effects/manual-clock.ts'

const test = suite('stall watch')

test('a peer that runs has not stalled, whether anybody asks or not', () => {
  const clock = new ManualClock()
  const watch = new StallWatch(clock)
  watch.start()
  for (let i = 0; i < 100; i++) {
    clock.advance(i % 7 === 0 ? 250 : 60)
    if (i % 3 === 0) assert.not(watch.hasJustStalled)
  }
  clock.advance(10_000)
  assert.not(watch.hasJustStalled, 'the timer looked meanwhile')
  watch.stop()
})

test('whoever asks first after a stall is told, and so is everyone for a second', () => {
  let nowMs = 0
  const clock = new ManualClock()
  const frozen = { ...clock, monotonic: () => nowMs, setTimer: () => ({ cancel: () => undefined }) }
  const watch = new StallWatch(frozen as unknown as ManualClock)
  watch.start()
  nowMs = 1400
  assert.not(watch.hasJustStalled)
  nowMs = 3000
  assert.ok(watch.hasJustStalled)
  nowMs = 3900
  assert.ok(watch.hasJustStalled)
  nowMs = 4100
  assert.not(watch.hasJustStalled)
})

test.run()
