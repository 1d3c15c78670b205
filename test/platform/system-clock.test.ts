import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { createSystemClock } from '../../src/platform/system-clock.ts'

const clock = createSystemClock()
const after = (delayMs: number): Promise<void> => new Promise((resolve) => clock.setTimer(delayMs, resolve))

test('a timer never fires before its delay has passed', async () => {
  const delaysMs = Array.from({ length: 50 }, (_, i) => i / 3)
  const earlyMs = await Promise.all(
    delaysMs.map(async (delayMs) => {
      const start = clock.monotonic()
      await after(delayMs)
      return delayMs - (clock.monotonic() - start)
    }),
  )
  assert.ok(Math.max(...earlyMs) <= 0)
})

test('a cancelled timer does not fire, and cancelling again does nothing', async () => {
  let fired = false
  const timer = clock.setTimer(1, () => {
    fired = true
  })
  timer.cancel()
  timer.cancel()
  await after(5)
  assert.not(fired)
})

test('a delay longer than Node can count does not fire at once', async () => {
  let fired = false
  const timer = clock.setTimer(2 ** 40, () => {
    fired = true
  })
  await after(5)
  timer.cancel()
  assert.not(fired)
})

test('what is deferred runs in order after the present turn, even when one of them throws', async () => {
  const ran: string[] = []
  const uncaught = new Promise<unknown>((resolve) => process.once('uncaughtException', resolve))
  clock.defer(() => ran.push('a'))
  clock.defer(() => {
    throw new Error('planted')
  })
  clock.defer(() => ran.push('c'))
  queueMicrotask(() => ran.push('microtask'))
  assert.equal(ran, [])
  assert.match(String(await uncaught), 'planted')
  await after(1)
  assert.equal(ran, ['microtask', 'a', 'c'])
})

test('the monotonic clock never goes back, and the wall clock is near Date', () => {
  const first = clock.monotonic()
  assert.ok(clock.monotonic() >= first)
  assert.ok(Math.abs(clock.now() - Date.now()) < 1000)
})

test.run()
