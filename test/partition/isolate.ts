/** One peer alone, the others together. */
import { runScript } from './script.ts'

await runScript({
  title: 'isolate one',
  peers: 5,
  async cut(network) {
    await network.partition([[0], [1, 2, 3, 4]])
    return ['0 | 1 2 3 4']
  },
  up: [1, 4, 4, 4, 4],
  writers: [0, 1],
})
