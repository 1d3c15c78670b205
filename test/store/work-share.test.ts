import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import type { Clock } from '../../src/effects/clock.ts'
import { WorkShare } from '../../src/store/work-share.ts'
import { lateClock } from './late-clock.ts'

const test = suite('the share of bulk work')

interface Setting {
  readonly clock: Clock
  readonly late: { ms: number }
  /** Records that were asked for. */
  readonly asked: { count: number }
  readonly share: WorkShare
}

function begin(): Setting {
  const late = { ms: 0 }
  const asked = { count: 0 }
  const clock = lateClock(late)
  return { clock, late, asked, share: new WorkShare(clock, () => asked.count) }
}

/** How long the rest after a piece of 2 ms is meant to be, without what it ends late by. */
async function restMs({ clock, late, asked, share }: Setting, requests: number): Promise<number> {
  const startMs = clock.monotonic()
  asked.count += requests + 100
  await share.rest(2, 100)
  const elapsedMs = clock.monotonic() - startMs
  return elapsedMs === 0 ? 0 : elapsedMs - late.ms
}

test('without requests the next piece follows at once: what the work itself asks for is none', async () => {
  const setting = begin()
  for (let i = 0; i < 5; i++) assert.is(await restMs(setting, 0), 0)
})

test('beside requests work begins slowly, and comes to rest twice as long as a piece takes', async () => {
  const setting = begin()
  assert.is(await restMs(setting, 1), 60)
  for (let i = 0; i < 100; i++) await restMs(setting, 1)
  assert.is(await restMs(setting, 1), 4)
})

test('after a while without work it begins slowly again', async () => {
  const setting = begin()
  for (let i = 0; i < 100; i++) await restMs(setting, 1)
  const { clock } = setting
  await new Promise<void>((resolve) => clock.setTimer(900, resolve))
  assert.is(await restMs(setting, 1), 4)
  await new Promise<void>((resolve) => clock.setTimer(1100, resolve))
  assert.is(await restMs(setting, 1), 60)
})

test('a rest that ends late makes the next one twice as long, and it takes many to forget it', async () => {
  const setting = begin()
  for (let i = 0; i < 100; i++) await restMs(setting, 1)
  setting.late.ms = 10
  for (const expectedMs of [4, 8, 16, 32, 60, 60]) assert.is(await restMs(setting, 1), expectedMs)
  setting.late.ms = 0
  for (let i = 0; i < 20; i++) await restMs(setting, 1)
  const afterMs = await restMs(setting, 1)
  assert.ok(afterMs > 30 && afterMs < 40, `${afterMs} ms`)
})

test('a while after the last request nobody is given way to any more', async () => {
  const setting = begin()
  for (let i = 0; i < 100; i++) await restMs(setting, 1)
  let rests = 0
  while ((await restMs(setting, 0)) > 0) rests++
  assert.ok(rests > 10 && rests < 100, `${rests} rests`)
})

test('a stop ends the rest at once, and there are no more', async () => {
  const clock = { ...lateClock({ ms: 0 }), setTimer: () => ({ cancel: () => undefined }) }
  let count = 0
  const share = new WorkShare(clock, () => count++)
  const resting = share.rest(2, 0)
  share.stop()
  await resting
  await share.rest(2, 0)
})

test.run()
