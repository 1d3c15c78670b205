import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { BackgroundJob } from '../../src/coordinator/background-job.ts'
import { createWorld, type SimWorld } from '../../src/simulator/sim-world.ts'

const test = suite('what goes on in the background')

interface Bench {
  readonly world: SimWorld
  readonly job: BackgroundJob
  /** When each step began, to 10 ms: timers are a little late. */
  readonly beganMs: number[]
  pass(ms: number): Promise<void>
}

function bench(restMs: number, work: (job: BackgroundJob) => Promise<void> = async () => {}): Bench {
  const world = createWorld({ seed: 'background' })
  const { clock } = world.host('10.0.0.1').boot().effects
  const beganMs: number[] = []
  const job: BackgroundJob = new BackgroundJob(clock, async () => {
    beganMs.push(10 * Math.floor(world.scheduler.nowMs / 10))
    await work(job)
    return restMs
  })
  const pass = (ms: number) => world.scheduler.run(world.scheduler.nowMs + ms)
  return { world, job, beganMs, pass: async (ms) => void (await pass(ms)) }
}

test('steps follow each other with a rest in between, from the start on or later', async () => {
  for (const firstMs of [0, 40]) {
    const { job, beganMs, pass } = bench(100)
    job.start(firstMs)
    await pass(250)
    assert.equal(beganMs, [firstMs, firstMs + 100, firstMs + 200])
    await job.stop()
  }
})

test('news ends the rest', async () => {
  const { job, beganMs, pass } = bench(1000)
  job.start()
  await pass(10)
  job.wake()
  await pass(10)
  assert.equal(beganMs, [0, 10])
  await job.stop()
})

test('a stop ends pauses, waits for the step that goes on, and lets no other begin', async () => {
  let isDone = false
  const { job, beganMs, pass } = bench(0, async ({ pauses }) => {
    await pauses.pause(60_000)
    isDone = true
  })
  job.start()
  await pass(10)
  assert.not(job.isStopped)
  const stopped = job.stop()
  assert.ok(job.isStopped)
  await stopped
  assert.ok(isDone)
  await job.stop()
  await pass(100_000)
  assert.is(beganMs.length, 1)
})

test('one that was never started stops', async () => {
  await bench(1).job.stop()
})

test.run()
