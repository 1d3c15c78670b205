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
      peers: 3,
      async cut(network) {
        await network.partition([[0, 1], [2]])
        return ['0 1 | 2']
      },
      up: [2, 2, 1],
      writers: [0, 2],
    },
    new FaultNetwork(),
    { keys: 20, print: (line) => lines.push(line) },
  )
  assert.equal(outcome.unequal, [], lines.join('\n'))
  assert.equal(outcome.faults, [], lines.join('\n'))
  assert.ok(outcome.concurrent > 5, lines.join('\n'))
  assert.ok(outcome.acknowledged >= 20, 'the majority side took all of its writes')
})

test.run()
