import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { createPrng } from '../../src/base/prng.ts'
import { ChangeWatch } from '../../src/simulator/change-watch.ts'
import { createFaultInjector } from '../../src/simulator/fault-injector.ts'
import type { MidChange } from '../../src/simulator/mid-change.ts'
import { createSimulation } from '../../src/simulator/simulation.ts'

const test = suite('mid-change faults')

const LEDGER = { isElsewhere: () => true, replaced: () => undefined }
const WAITING: MidChange = {
  class: 'midChange',
  atMs: 0,
  forMs: 3000,
  step: 'begin',
  moment: 'decided',
  waitMs: 0,
  role: 'proposer',
  act: 'crash',
  alsoCuts: [],
}

/** Three peers, and a fourth that is there to join. */
function threePeers(fault: MidChange) {
  const steps: string[] = []
  const watch = new ChangeWatch((step, moment, next) => {
    if (next.members.length === 4) steps.push(`${step} ${moment}`)
    if (next.members.length === 4) injector.stepTaken(step, moment, next)
  })
  const simulation = createSimulation({
    seed: 'mid-change',
    peers: 3,
    spares: 1,
    observer: { onFile: (_, file, bytes) => watch.wrote(file, bytes) },
  })
  const injector = createFaultInjector(simulation, [fault], createPrng(1), LEDGER)
  return { simulation, injector, steps }
}

test('a join is told as six moments, in order', async () => {
  const { simulation, steps } = threePeers(WAITING)
  await simulation.start()
  simulation.admit()
  assert.ok(await simulation.until(simulation.isFormed, 30_000))
  const wanted = ['begin', 'switch', 'finish'].flatMap((step) => [`${step} voted`, `${step} decided`])
  assert.equal(steps, wanted)
  await simulation.stop()
})

test('whoever proposes a change is crashed once it has begun, and the change ends all the same', async () => {
  const { simulation, injector, steps } = threePeers(WAITING)
  await simulation.start()
  injector.begin()
  simulation.admit()
  assert.ok(await simulation.until(() => injector.struck.midChange === 1, 30_000))
  assert.ok(simulation.peers.some(({ state }) => state === 'down'))
  assert.not(steps.includes('switch decided'))
  assert.ok(await simulation.until(simulation.isFormed, 60_000))
  await simulation.stop()
})

test('who is cut off in the middle of a change is heard again after a while', async () => {
  const fault: MidChange = { ...WAITING, step: 'switch', moment: 'voted', role: 'target', act: 'isolate' }
  const { simulation, injector } = threePeers(fault)
  await simulation.start()
  injector.begin()
  simulation.admit()
  assert.ok(await simulation.until(() => injector.struck.midChange === 1, 30_000))
  assert.not(simulation.world.paths.isClear)
  assert.ok(await simulation.until(simulation.isFormed, 60_000))
  assert.ok(simulation.world.paths.isClear)
  await simulation.stop()
})

test.run()
