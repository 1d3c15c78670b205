import * as fc from 'fast-check'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { compareBytes } from '../../src/base/bytes.ts'
import { applyOperations, EMPTY_TREE, SimDatabase, type SimTree } from '../../src/simulator/sim-database.ts'
import { SimDisk } from '../../src/simulator/sim-disk.ts'
import { assertGivesBuffers, runLevelSuite } from './level-suite.ts'

const soon = (_work: string, run: () => void): void => queueMicrotask(run)

test("passes abstract-level's own suite", async () => {
  const { assertions, failures } = await runLevelSuite(
    (options) => new SimDatabase(new SimDisk().open(soon), () => undefined, options ?? {}),
  )
  assert.equal(failures, [])
  assert.ok(assertions > 4000, `the suite ran: ${assertions} assertions`)
})

test('gives bytes of which `slice` is no copy, as a real disk does', async () => {
  const database = new SimDatabase(new SimDisk().open(soon), () => undefined)
  await assertGivesBuffers(database)
})

test('a state stays what it was while later ones are made from it', () => {
  const key = fc.uint8Array({ minLength: 1, maxLength: 2 })
  const operation = fc.oneof(
    fc.record({ type: fc.constant('put' as const), key, value: fc.uint8Array({ maxLength: 2 }) }),
    fc.record({ type: fc.constant('del' as const), key }),
  )
  fc.assert(
    fc.property(fc.array(fc.array(operation, { maxLength: 8 }), { maxLength: 30 }), (batches) => {
      const model = new Map<string, readonly [Uint8Array, Uint8Array]>()
      const states: (readonly [SimTree, string])[] = []
      let tree = EMPTY_TREE
      for (const batch of batches) {
        tree = applyOperations(tree, batch)
        for (const change of batch) {
          if (change.type === 'put') model.set(String(change.key), [change.key, change.value])
          else model.delete(String(change.key))
        }
        const entries = [...model.values()].sort((a, b) => compareBytes(a[0], b[0]))
        states.push([tree, entries.map(String).join(' ')])
      }
      for (const [state, expected] of states) assert.is(contents(state), expected)
    }),
  )
})

function contents(tree: SimTree): string {
  const entries: string[] = []
  for (const place = tree.begin; place.valid; place.next()) entries.push(String([place.key, place.value]))
  return entries.join(' ')
}

test.run()
