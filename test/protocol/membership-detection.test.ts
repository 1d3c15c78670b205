/**
 * How fast failures are noticed, and that what did not fail is not called dead: bounds that hold for every
 * seed tried.
 */
import fc from 'fast-check'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { packFrame } from '../../src/wire/frame.ts'
import { membershipMessages } from '../../src/wire/membership-messages.ts'
import { createMessageCodec } from '../../src/wire/schema.ts'
import { addressOf, TestNetwork } from './membership-network.ts'

const detection = suite('membership: detection')
const RUNS = { numRuns: 40 }
const seeds = fc.nat()

function deadEverywhere(network: TestNetwork, name: string): boolean {
  return network.peers.every((peer) => peer.name === name || peer.state(name) === 'dead')
}

function deathsSeen(network: TestNetwork): number {
  return network.peers.reduce((sum, peer) => sum + peer.changesTo('dead').length, 0)
}

detection('a silent peer is dead at all others in less than 4 s', () => {
  fc.assert(
    fc.property(seeds, (seed) => {
      const network = TestNetwork.formed(5, seed)
      network.stop('n3')
      const tookMs = network.runUntil(() => deadEverywhere(network, 'n3'), 4000)
      assert.ok(tookMs !== null && tookMs > 1400)
    }),
    RUNS,
  )
})

detection('a killed process is dead at all others in less than 0.5 s, in clusters of two to nine', () => {
  fc.assert(
    fc.property(seeds, fc.integer({ min: 2, max: 9 }), (seed, count) => {
      const network = TestNetwork.formed(count, seed)
      network.kill('n2')
      assert.is.not(
        network.runUntil(() => deadEverywhere(network, 'n2'), 500),
        null,
      )
    }),
    RUNS,
  )
})

detection('two processes killed at the same moment are dead at all others in less than 0.5 s', () => {
  fc.assert(
    fc.property(seeds, (seed) => {
      const network = TestNetwork.formed(5, seed)
      network.kill('n2')
      network.kill('n4')
      const bothDead = (): boolean => deadEverywhere(network, 'n2') && deadEverywhere(network, 'n4')
      assert.is.not(network.runUntil(bothDead, 500), null)
    }),
    RUNS,
  )
})

detection('a peer stopped for 1 s is not declared dead by anybody, nor does it declare anybody dead', () => {
  fc.assert(
    fc.property(seeds, fc.boolean(), fc.integer({ min: 3, max: 5 }), (seed, timersFirst, count) => {
      const network = TestNetwork.formed(count, seed)
      network.stop('n3')
      network.run(1000)
      network.resume('n3', timersFirst)
      network.run(12_000)
      assert.is(deathsSeen(network), 0)
      assert.ok(network.allAlive())
    }),
    RUNS,
  )
})

detection('a peer stopped for 10 s declares nobody dead and is alive everywhere within 2 s, for good', () => {
  fc.assert(
    fc.property(seeds, fc.boolean(), (seed, timersFirst) => {
      const network = TestNetwork.formed(5, seed)
      network.stop('n3')
      network.run(10_000)
      assert.ok(deadEverywhere(network, 'n3'))
      network.resume('n3', timersFirst)
      assert.is.not(
        network.runUntil(() => network.allAlive(), 2000),
        null,
      )
      network.run(12_000)
      assert.ok(network.allAlive())
      assert.equal(network.peer('n3').changesTo('dead'), [])
      assert.is(deathsSeen(network), 4)
    }),
    RUNS,
  )
})

detection('nobody is called dead while messages take 30 to 100 ms each way, or one in twenty is lost', () => {
  for (const conditions of [{ minLatencyMs: 30, maxLatencyMs: 100 }, { loss: 0.05 }]) {
    const network = TestNetwork.formed(5, 'slow', conditions)
    network.run(300_000)
    assert.is(deathsSeen(network), 0)
  }
})

detection('a restarted peer is alive everywhere at once, whether its death was noticed or not', () => {
  fc.assert(
    fc.property(seeds, fc.integer({ min: 0, max: 3000 }), fc.boolean(), (seed, downMs, moves) => {
      const network = TestNetwork.formed(5, seed)
      network.kill('n3')
      network.run(downMs)
      network.start('n3', { seeds: [addressOf('n1')] }, addressOf(moves ? 'elsewhere' : 'n3'))
      assert.is.not(
        network.runUntil(() => network.allAlive(), 2000),
        null,
      )
      network.run(5000)
      assert.ok(network.allAlive())
      assert.ok(network.peers.every((peer) => peer.name === 'n3' || isSecondLife(network, peer.name)))
    }),
    RUNS,
  )
})

function isSecondLife(network: TestNetwork, observer: string): boolean {
  const { machine } = network.peer(observer)
  return machine.peers().some((peer) => peer.nodeId === 'n3' && peer.generation === 2)
}

detection(
  'somebody else at the address of a dead peer proves nothing: the peer stays dead, the newcomer is alive',
  () => {
    const network = TestNetwork.formed(5, 'squatter')
    network.kill('n3')
    network.run(100)
    network.start('other', { seeds: [addressOf('n1')] }, addressOf('n3'))
    network.run(20_000)
    for (const peer of network.peers) {
      assert.is(peer.state('other'), 'alive')
      assert.is(peer.state('n3'), 'dead')
    }
  },
)

detection('somebody else at the address of a silent peer does not keep it alive', () => {
  const network = TestNetwork.formed(5, 'usurper')
  network.stop('n3')
  network.start('other', { seeds: [addressOf('n1')] }, addressOf('n3'))
  assert.is.not(
    network.runUntil(() => deadEverywhere(network, 'n3'), 10_000),
    null,
  )
})

detection('100 peers that join at once are known everywhere in 5 s', () => {
  const network = new TestNetwork('crowd')
  network.onSend = () => {}
  for (let i = 1; i <= 100; i++) network.start(`n${i}`, { seeds: i === 1 ? [] : [addressOf('n1')] })
  network.run(5000)
  assert.ok(network.allAlive())
})

detection('one of 100 that joins, and one that is killed, are known everywhere in 5 s', () => {
  const network = TestNetwork.formed(100, 'one more')
  network.start('late', { seeds: [addressOf('n50')] })
  assert.is.not(
    network.runUntil(() => network.peers.every((peer) => peer.state('late') === 'alive'), 5000),
    null,
  )
  assert.is(network.peer('late').machine.peers().length, 100)
  network.kill('n7')
  assert.is.not(
    network.runUntil(() => deadEverywhere(network, 'n7'), 5000),
    null,
  )
})

detection('an idle peer sends less than 200 bytes a second, whatever the size of the cluster', () => {
  const codec = createMessageCodec(membershipMessages)
  for (const count of [10, 100]) {
    const network = TestNetwork.formed(count, 'idle')
    network.run(20_000)
    let bytes = 0
    // A frame of its own for each, with the header of a masked WebSocket frame.
    network.onSend = ({ message }) => (bytes += packFrame([codec.encode(message)]).length + 6)
    network.run(60_000)
    assert.ok(bytes / 60 / count < 200)
  }
})

detection.run()
