import fc from 'fast-check'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { parseNodeId } from '../../src/base/ids.ts'
import { Eras } from '../../src/protocol/eras.ts'

const NODE = parseNodeId('n1')

test('work goes on in the era in which it began, and an era is closed when all older work has ended', () => {
  const eras = new Eras()
  const old = eras.begin()
  assert.ok(eras.enter(1, 'round'))
  const rest = eras.continue(old)
  assert.is(eras.begin(), 1)
  assert.is(eras.unfinishedBelow(1), 2)
  assert.not(eras.close(1, 'round', []))
  eras.end(old)
  assert.not(eras.close(1, 'round', []))
  eras.end(rest)
  assert.ok(eras.close(1, 'round', []))
  assert.equal(eras.facts, { era: 1, closedBelow: 1 })
})

test('one fence enters and closes an era, however often it asks; another one does not', () => {
  const eras = new Eras()
  assert.ok(eras.enter(3, 'one'))
  assert.ok(eras.enter(3, 'one'))
  assert.not(eras.enter(3, 'two'))
  assert.not(eras.enter(2, 'two'))
  assert.not(eras.close(3, 'two', []))
  assert.ok(eras.close(3, 'one', []))
  assert.ok(eras.close(3, 'one', []))
})

test('an era that others have entered is not for a fence of ours to close', () => {
  const eras = new Eras()
  eras.learned({ era: 5, closedBelow: 4 })
  assert.equal(eras.facts, { era: 5, closedBelow: 4 })
  assert.not(eras.enter(5, 'round'))
  assert.not(eras.close(5, 'round', []))
})

test('messages of closed eras, and of lives before those surveyed, are refused', () => {
  const eras = new Eras()
  eras.enter(2, 'round')
  assert.ok(eras.admits(NODE, 1, 0))
  eras.close(2, 'round', [{ nodeId: NODE, generation: 7 }])
  assert.not(eras.admits(NODE, 7, 1))
  assert.ok(eras.admits(NODE, 7, 2))
  assert.not(eras.admits(NODE, 6, 2))
  assert.ok(eras.admits(NODE, 8, 3))
})

test('who tells of eras that cannot be is not believed', () => {
  const fresh = new Eras()
  fresh.learned({ era: 1, closedBelow: 2 })
  assert.equal(fresh.facts, { era: 0, closedBelow: 0 })
  fresh.learned({ era: 2 ** 40, closedBelow: 2 ** 40 })
  assert.is(fresh.facts.era, 2 ** 40, 'a peer that has just started cannot know better')
  const running = new Eras()
  running.learned({ era: 10, closedBelow: 10 })
  running.learned({ era: 2 ** 40, closedBelow: 2 ** 40 })
  assert.not(running.enter(2 ** 40, 'round'))
  assert.equal(running.facts, { era: 10, closedBelow: 10 })
})

type Step =
  | { readonly type: 'begin' | 'end' | 'continue'; readonly which: number }
  | { readonly type: 'enter' | 'close'; readonly era: number; readonly round: string }
  | { readonly type: 'learned'; readonly era: number; readonly closedBelow: number }

const era = fc.nat(6)
const stepsOfOne: fc.Arbitrary<Step[]> = fc.array(
  fc.oneof(
    fc.record({ type: fc.constantFrom('begin', 'end', 'continue'), which: fc.nat(9) }),
    fc.record({ type: fc.constantFrom('enter', 'close'), era, round: fc.constantFrom('one', 'two') }),
    fc.record({ type: fc.constant('learned' as const), era, closedBelow: era }),
  ) as fc.Arbitrary<Step>,
  { maxLength: 60 },
)

test('eras only rise, all work is counted, and none begins in a closed era', () => {
  fc.assert(
    fc.property(stepsOfOne, (history) => {
      const eras = new Eras()
      const work: number[] = []
      for (const step of history) {
        const before = eras.facts
        const place = 'which' in step ? step.which % Math.max(1, work.length) : 0
        if (step.type === 'begin') work.push(eras.begin())
        else if (step.type === 'learned') eras.learned(step)
        else if (step.type === 'enter') eras.enter(step.era, step.round)
        else if (step.type === 'close') {
          const isClosed = eras.close(step.era, step.round, [])
          if (isClosed) assert.ok(work.every((begun) => begun >= step.era))
        } else if (work.length > 0 && step.type === 'continue')
          work.push(eras.continue(work[place] as number))
        else if (work.length > 0) eras.end(work.splice(place, 1)[0] as number)
        const { era: now, closedBelow } = eras.facts
        assert.ok(now >= before.era && closedBelow >= before.closedBelow && closedBelow <= now)
        for (let bound = 0; bound <= 7; bound++) {
          assert.is(eras.unfinishedBelow(bound), work.filter((begun) => begun < bound).length)
        }
      }
    }),
    { numRuns: 500 },
  )
})

test.run()
