/** Three peers on one side, two on the other, and writes on both. */
import { runScript } from './script.ts'

await runScript({
  title: 'split in two',
  peers: 5,
  async cut(network) {
    await network.partition([
      [0, 1, 2],
      [3, 4],
    ])
    return ['0 1 2 | 3 4']
  },
  up: [3, 3, 3, 2, 2],
  writers: [0, 3],
})
