/**
 * Everyone cut off from everyone: all believe that all others are dead, and have to find each other again.
 */
import { runScript } from './script.ts'

await runScript({
  title: 'everyone alone, then heal',
  peers: 5,
  async cut(network) {
    await network.partition([[0], [1], [2], [3], [4]])
    return ['0 | 1 | 2 | 3 | 4']
  },
  up: [1, 1, 1, 1, 1],
  writers: [0, 4],
})
