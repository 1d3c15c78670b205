import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { leftMs } from '../../src/node/cluster-tasks.ts'

const test = suite('tasks of the cluster')

const RUNNING = { state: 'running', done: 25, total: 100, ageMs: 1000 } as const

test('what is left takes as long, for as much, as what is done took', () => {
  assert.is(leftMs(RUNNING), 3000)
  assert.is(leftMs({ ...RUNNING, done: 100 }), 0)
})

test('nothing is estimated of a task that does not run, or has hardly begun, or has no known end', () => {
  assert.is(leftMs({ ...RUNNING, state: 'waiting' }), null)
  assert.is(leftMs({ ...RUNNING, state: 'done' }), null)
  assert.is(leftMs({ ...RUNNING, done: 0 }), null)
  assert.is(leftMs({ ...RUNNING, total: null }), null)
  assert.is(leftMs({ ...RUNNING, done: 0, total: 0 }), null)
})

test.run()
