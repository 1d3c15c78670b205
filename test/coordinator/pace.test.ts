import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { KvError } from '../../src/base/error.ts'
import { Pace } from '../../src/coordinator/pace.ts'
import { createWorld, type SimWorld } from '../../src/simulator/sim-world.ts'

function begin(limits = {}): { world: SimWorld; pace: Pace; work: (ms: number) => Promise<void> } {
  const world = createWorld({ seed: 'pace' })
  const { clock } = world.host('10.0.0.1').boot().effects
  const pace = new Pace(clock, { maxInFlight: 8, slowMs: 100, bytesPerSecond: 1000, ...limits })
  const work = (ms: number): Promise<void> => new Promise((resolve) => void clock.setTimer(ms, resolve))
  return { world, pace, work }
}

const pass = (world: SimWorld, ms: number): Promise<void> => world.scheduler.run(world.scheduler.nowMs + ms)
const nothing = (): number => 0

test('no more is under way than the limit, which grows while answers are quick', async () => {
  const { world, pace, work } = begin()
  let [active, most] = [0, 0]
  const one = async (): Promise<void> => {
    most = Math.max(most, ++active)
    assert.ok(active <= pace.limit)
    await work(10)
    active--
  }
  for (let i = 0; i < 200; i++) void pace.run(one, nothing)
  await pass(world, 1000)
  assert.is(active, 0)
  assert.is(most, 8)
  assert.is(pace.limit, 8)
})

test('a slow answer halves the limit, and one remains', async () => {
  const { world, pace, work } = begin()
  const before = pace.limit
  void pace.run(() => work(150), nothing)
  await pass(world, 200)
  assert.is(pace.limit, before / 2)
  for (let i = 0; i < 5; i++) pace.slowDown()
  assert.is(pace.limit, 1)
})

test('a failure counts as slow and reaches who asked', async () => {
  const { pace } = begin()
  const before = pace.limit
  const failure = new Error('no')
  const seen = await pace.run(() => Promise.reject(failure), nothing).catch((error) => error)
  assert.is(seen, failure)
  assert.is(pace.limit, before / 2)
})

test('bytes that were moved make the next one wait', async () => {
  const { world, pace } = begin()
  const startedMs: number[] = []
  const start = async (): Promise<void> => {
    startedMs.push(world.scheduler.nowMs)
  }
  for (let i = 0; i < 12; i++) {
    void pace.run(start, () => 500)
    await pass(world, 0)
  }
  await pass(world, 10_000)
  assert.is(startedMs.length, 12)
  const tookMs = (startedMs.at(-1) ?? 0) - (startedMs[0] ?? 0)
  assert.ok(tookMs >= 5000 && tookMs < 6000, `11 times 500 bytes at 1000 a second took ${tookMs} ms`)
})

test('whoever waits when it stops, and whoever comes later, is turned away', async () => {
  const { world, pace, work } = begin({ maxInFlight: 1 })
  const running = pace.run(() => work(50), nothing)
  const waiting = pace.run(() => work(50), nothing).catch((error) => error)
  await pass(world, 0)
  pace.stop()
  assert.instance(await waiting, KvError)
  assert.instance(await pace.run(() => work(50), nothing).catch((error) => error), KvError)
  await pass(world, 100)
  await running
})

test.run()
