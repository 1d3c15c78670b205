/**
 * Every peer reaches its two neighbours on a ring of five, which makes a majority with itself, and no two
 * reach the same one. Everyone still hears of everyone by way of others, so nobody is called dead: indirect
 * probes answer.
 */
import { runScript } from './script.ts'

await runScript({
  title: 'ring of majorities',
  peers: 5,
  async cut(network) {
    const pairs = [0, 1, 2, 3, 4].map((index) => [index, (index + 2) % 5] as const)
    for (const [one, other] of pairs) await network.partition([[one], [other]])
    return pairs.map(([one, other]) => `${one} | ${other}`)
  },
  up: [5, 5, 5, 5, 5],
  writers: [0, 2],
  sidesMeet: true,
})
