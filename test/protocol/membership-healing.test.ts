/** Whatever was cut, and however long: when it heals, all peers see each other alive again. */
import fc from 'fast-check'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import type { NodeId } from '../../src/base/ids.ts'
import { addressOf, TestNetwork } from './membership-network.ts'

const healing = suite('membership: healing')

type Cut = (network: TestNetwork, names: readonly string[]) => void

const shapes: Readonly<Record<string, Cut>> = {
  'everyone from everyone': (network, names) => network.cut(names, names),
  'in two halves': (network, names) => {
    const middle = names.length >> 1
    network.cut(names.slice(0, middle), names.slice(middle))
    network.cut(names.slice(middle), names.slice(0, middle))
  },
  'one from all others': (network, names) => {
    network.cut(names.slice(0, 1), names)
    network.cut(names, names.slice(0, 1))
  },
  'one that hears nothing': (network, names) => network.cut(names, names.slice(0, 1)),
  'one that is not heard': (network, names) => network.cut(names.slice(0, 1), names),
  'two halves with a bridge': (network, names) => {
    const middle = (names.length + 1) >> 1
    network.cut(names.slice(1, middle), names.slice(middle))
    network.cut(names.slice(middle), names.slice(1, middle))
  },
  'one way between two halves': (network, names) => {
    const middle = names.length >> 1
    network.cut(names.slice(0, middle), names.slice(middle))
  },
  'a ring of neighbours': (network, names) => {
    for (const [i, name] of names.entries()) {
      const far = names.filter(
        (_, j) => Math.min((i - j + names.length) % names.length, (j - i + names.length) % names.length) > 1,
      )
      network.cut([name], far)
    }
  },
}

const cases = fc.record({
  seed: fc.nat(),
  count: fc.integer({ min: 2, max: 9 }),
  cutMs: fc.integer({ min: 100, max: 40_000 }),
})

for (const [shape, cut] of Object.entries(shapes)) {
  healing(`cut ${shape}: all are alive to all within 8 s of healing`, () => {
    fc.assert(
      fc.property(cases, ({ seed, count, cutMs }) => {
        const network = TestNetwork.formed(count, seed)
        cut(
          network,
          network.peers.map(({ name }) => name),
        )
        network.run(cutMs)
        network.heal()
        assert.is.not(
          network.runUntil(() => network.allAlive(), 8000),
          null,
        )
      }),
      { numRuns: 12 },
    )
  })

  healing(`cut ${shape}, with slow links that lose a third: all are up to all within 30 s of healing`, () => {
    fc.assert(
      fc.property(cases, ({ seed, count, cutMs }) => {
        const network = TestNetwork.formed(count, seed, { minLatencyMs: 30, maxLatencyMs: 100, loss: 0.33 })
        cut(
          network,
          network.peers.map(({ name }) => name),
        )
        network.run(cutMs)
        network.heal()
        assert.is.not(
          network.runUntil(() => network.allUp(), 30_000),
          null,
        )
      }),
      { numRuns: 4 },
    )
  })
}

healing('everyone holds everyone for dead, and still all come back', () => {
  const network = TestNetwork.formed(5, 'doom')
  const names = network.peers.map(({ name }) => name)
  network.cut(names, names)
  network.run(60_000)
  for (const one of network.peers)
    for (const name of names) if (name !== one.name) assert.is(one.state(name), 'dead')
  network.heal()
  assert.is.not(
    network.runUntil(() => network.allAlive(), 8000),
    null,
  )
})

healing('the side that was cut off learns of those who joined meanwhile', () => {
  const network = TestNetwork.formed(5, 'meanwhile')
  network.cut(['n4', 'n5'], ['n1', 'n2', 'n3', 'n6'])
  network.cut(['n1', 'n2', 'n3', 'n6'], ['n4', 'n5'])
  network.run(10_000)
  network.start('n6', { seeds: [addressOf('n2')] })
  network.run(10_000)
  assert.is(network.peer('n4').state('n6'), 'unknown')
  network.heal()
  assert.is.not(
    network.runUntil(() => network.allAlive(), 8000),
    null,
  )
})

healing('peers that all start again find each other from the addresses on their disks', () => {
  fc.assert(
    fc.property(fc.nat(), (seed) => {
      const network = TestNetwork.formed(5, seed)
      const names = network.peers.map(({ name }) => name)
      for (const name of names) network.kill(name)
      network.run(2000)
      const known = names.map((name) => ({ nodeId: name as NodeId, address: addressOf(name) }))
      for (const name of names) network.step(network.start(name), { type: 'learn', peers: known })
      assert.is.not(
        network.runUntil(() => network.allAlive(), 3000),
        null,
      )
    }),
    { numRuns: 20 },
  )
})

healing('a removed peer that goes on talking stays away, also after a partition', () => {
  const network = TestNetwork.formed(5, 'removed')
  const names = ['n1', 'n2', 'n3', 'n4']
  network.cut(['n4', 'n5'], names)
  network.cut(names, ['n4', 'n5'])
  for (const name of names.slice(0, 3)) {
    network.step(network.peer(name), { type: 'forget', nodeIds: ['n5' as NodeId] })
  }
  network.run(10_000)
  network.heal()
  network.run(10_000)
  for (const name of names.slice(0, 3)) {
    assert.is(network.peer(name).state('n5'), 'unknown')
    assert.is(network.peer(name).state('n4'), 'alive')
  }
})

healing('who left is down everywhere at once, and up again after its next start', () => {
  const network = TestNetwork.formed(5, 'left')
  network.step(network.peer('n3'), { type: 'leave' })
  network.run(10)
  network.kill('n3')
  network.run(490)
  for (const peer of network.peers) assert.is(peer.state('n3'), 'left')
  network.start('n3', { seeds: [addressOf('n1')] })
  assert.is.not(
    network.runUntil(() => network.allAlive(), 1000),
    null,
  )
})

healing('a cluster whose seed comes last forms when it comes', () => {
  const network = new TestNetwork('late seed')
  for (const name of ['n2', 'n3', 'n4']) network.start(name, { seeds: [addressOf('n1')] })
  network.run(5000)
  network.start('n1')
  assert.is.not(
    network.runUntil(() => network.peers.length === 4 && network.allAlive(), 3000),
    null,
  )
})

healing.run()
