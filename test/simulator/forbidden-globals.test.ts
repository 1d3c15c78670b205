import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { forbidGlobals } from '../../src/simulator/forbidden-globals.ts'
import { createScheduler } from '../../src/simulator/scheduler.ts'
import { createTrace } from '../../src/simulator/trace.ts'

const test = suite('forbidden globals')

const USES: readonly (readonly [name: string, use: () => unknown])[] = [
  ['Date.now', () => Date.now()],
  ['new Date', () => new Date()],
  ['Math.random', () => Math.random()],
  ['setTimeout', () => setTimeout(() => undefined, 0)],
  ['setInterval', () => setInterval(() => undefined, 1000)],
  ['setImmediate', () => setImmediate(() => undefined)],
  ['performance.now', () => performance.now()],
  ['crypto.randomUUID', () => crypto.randomUUID()],
  ['crypto.getRandomValues', () => crypto.getRandomValues(new Uint8Array(1))],
]

for (const [name, use] of USES) {
  test(`${name} throws while forbidden and works again afterwards`, () => {
    const allow = forbidGlobals()
    try {
      assert.throws(use, /inside a simulation/)
    } finally {
      allow()
    }
    if (!name.startsWith('set')) assert.not.throws(use)
  })
}

test('everything is as it was afterwards, also when it was forbidden twice', () => {
  const before = [Date, Math.random, setTimeout, performance.now, crypto.randomUUID]
  const [first, second] = [forbidGlobals(), forbidGlobals()]
  first()
  assert.throws(() => Date.now())
  second()
  second()
  assert.equal(before, [Date, Math.random, setTimeout, performance.now, crypto.randomUUID])
})

test('a run forbids them, and gives them back when it ends by an error', async () => {
  const scheduler = createScheduler({
    trace: createTrace(),
    failed(error) {
      throw error
    },
  })
  scheduler.after(1, () => Math.random())
  let message = ''
  await scheduler.run(2).catch((error: Error) => {
    message = error.message
  })
  assert.match(message, /Math.random was used inside a simulation/)
  assert.type(Math.random(), 'number')
})

test.run()
