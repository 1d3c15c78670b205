import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { createScheduler } from '../../src/simulator/scheduler.ts'
import { createTrace } from '../../src/simulator/trace.ts'

const test = suite('scheduler')

function make(slow = false) {
  return createScheduler({
    trace: createTrace(),
    failed(error) {
      throw error
    },
    slow,
  })
}

test('events run in order of time, equal times in the order of scheduling', async () => {
  const scheduler = make()
  const order: string[] = []
  for (const [name, delayMs] of [
    ['c', 5],
    ['a', 1],
    ['d', 5],
    ['b', 1],
  ] as const) {
    scheduler.after(delayMs, () => order.push(`${name}@${scheduler.nowMs}`))
  }
  await scheduler.run(10)
  assert.equal(order, ['a@1', 'b@1', 'c@5', 'd@5'])
  assert.is(scheduler.nowMs, 10)
})

test('a thousand events at random times come out sorted', async () => {
  const scheduler = make()
  const times: number[] = []
  for (let i = 0; i < 1000; i++) scheduler.after((i * 7919) % 1000, () => times.push(scheduler.nowMs))
  await scheduler.run(1000)
  assert.equal(
    times,
    times.slice().sort((a, b) => a - b),
  )
})

for (const slow of [false, true]) {
  const way = slow ? 'by way of the event loop' : 'the fast way'

  test(`promise callbacks, however deep, run before the next event, ${way}`, async () => {
    const scheduler = make(slow)
    const order: string[] = []
    scheduler.after(1, async () => {
      for (let i = 0; i < 20; i++) await null
      order.push('deep')
    })
    scheduler.after(1, () => order.push('next'))
    await scheduler.run(2)
    assert.equal(order, ['deep', 'next'])
  })

  test(`the deferred runs after the promise callbacks, before the next event, ${way}`, async () => {
    const scheduler = make(slow)
    const order: string[] = []
    scheduler.after(1, () => {
      scheduler.defer(() => order.push('deferred'))
      Promise.resolve().then(() => order.push('promise'))
    })
    scheduler.after(1, () => order.push('next'))
    await scheduler.run(2)
    assert.equal(order, ['promise', 'deferred', 'next'])
  })
}

test('a cancelled event does not run', async () => {
  const scheduler = make()
  let ran = false
  scheduler
    .after(1, () => {
      ran = true
    })
    .cancel()
  await scheduler.run(2)
  assert.not(ran)
})

test('a run stops where its predicate holds and can go on from there', async () => {
  const scheduler = make()
  let count = 0
  for (let i = 1; i <= 5; i++) scheduler.after(i, () => count++)
  await scheduler.run(10, () => count === 3)
  assert.is(scheduler.nowMs, 3)
  await scheduler.run(10)
  assert.is(count, 5)
})

test('an event that throws ends the run with its error', async () => {
  const scheduler = make()
  scheduler.after(1, () => {
    throw new Error('boom')
  })
  await scheduler.run(2).then(
    () => assert.unreachable('it should have failed'),
    (error: Error) => assert.is(error.message, 'boom'),
  )
})

test('a rejected promise that nobody looks at ends the run with its reason', async () => {
  const scheduler = make()
  scheduler.after(1, () => {
    void Promise.reject(new Error('unseen'))
  })
  scheduler.after(2, () => undefined)
  await scheduler.run(3).then(
    () => assert.unreachable('it should have failed'),
    (error: Error) => assert.is(error.message, 'unseen'),
  )
})

test.run()
