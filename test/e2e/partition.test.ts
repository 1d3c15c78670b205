import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { runExperiment } from '../partition/experiment.ts'
import { FaultNetwork } from '../partition/fault-network.ts'

const test = suite('partition')

test('a cluster that was split and healed holds all that was acknowledged, everywhere', async () => {
  const lines: string[] = []
  const outcome = await runExperiment(
    {
      title: 'split in two',
      peers: 4,
      async cut(network) {
        await network.partition([
          [0, 1],
          [2, 3],
        ])
        return ['0 1 | 2 3']
      },
      up: [2, 2, 2, 2],
      writers: [0, 2],
    },
    new FaultNetwork(),
    { keys: 20, print: (line) => lines.push(line) },
  )
  assert.equal(outcome.unequal, [], lines.join('\n'))
  assert.equal(outcome.faults, [], lines.join('\n'))
  assert.ok(outcome.concurrent > 5, lines.join('\n'))
  assert.ok(outcome.acknowledged >= 30, 'both sides took writes, one half of them by stand-ins')
})

test.run()
