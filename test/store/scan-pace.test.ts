import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { LONGEST_REST_MS, ScanPace, SHORTEST_REST_MS } from '../../src/store/scan-pace.ts'
import { lateClock } from './late-clock.ts'

const test = suite('pace of a scan')

test('rests that end late while there are requests become longer, others shorter', async () => {
  const late = { ms: 20 }
  let requests = 0
  const pace = new ScanPace(lateClock(late), () => (requests += 10))
  assert.is(pace.restMs, SHORTEST_REST_MS)
  await pace.rest()
  assert.is(pace.restMs, 2 * SHORTEST_REST_MS)
  for (let i = 0; i < 20; i++) await pace.rest()
  assert.is(pace.restMs, LONGEST_REST_MS)
  late.ms = 1
  await pace.rest()
  assert.ok(pace.restMs < LONGEST_REST_MS)
  for (let i = 0; i < 40; i++) await pace.rest()
  assert.is(pace.restMs, SHORTEST_REST_MS)
})

test('nobody is given way to when there are no requests, however late a rest ends', async () => {
  const pace = new ScanPace(lateClock({ ms: 50 }), () => 7)
  for (let i = 0; i < 20; i++) await pace.rest()
  assert.is(pace.restMs, SHORTEST_REST_MS)
})

test('a stop ends the rest at once, and there are no more', async () => {
  const pace = new ScanPace(
    { ...lateClock({ ms: 0 }), setTimer: () => ({ cancel: () => undefined }) },
    () => 0,
  )
  const resting = pace.rest()
  pace.stop()
  await resting
  await pace.rest()
})

test.run()
