/**
 * One peer hears the others, and nothing it says arrives. TCP needs both ways, so in the end nobody has a
 * connection with it; what is hard is to notice, because its sockets stay open.
 */
import { runScript } from './script.ts'

await runScript({
  title: 'one-way cut',
  peers: 5,
  async cut(network) {
    for (const other of [1, 2, 3, 4]) await network.cutOneWay(0, other)
    return ['what 0 sends to 1 2 3 4 is lost']
  },
  up: [1, 4, 4, 4, 4],
  writers: [0, 1],
})
