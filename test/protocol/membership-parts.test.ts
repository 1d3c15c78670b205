import fc from 'fast-check'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import type { Address, NodeId } from '../../src/base/ids.ts'
import { createPrng } from '../../src/base/prng.ts'
import { BroadcastQueue } from '../../src/protocol/membership/broadcast-queue.ts'
import { LocalHealth } from '../../src/protocol/membership/local-health.ts'
import { compareBeliefs, LIFE_STATES, type PeerRecord } from '../../src/protocol/membership/peer.ts'
import { PeerTable } from '../../src/protocol/membership/peer-table.ts'
import { startSuspicion, suspicionDeadlineMs } from '../../src/protocol/membership/suspicion.ts'
import {
  DEFAULT_MEMBERSHIP_OPTIONS,
  minSuspicionMs,
  pushPullIntervalMs,
  retransmitLimit,
} from '../../src/protocol/membership/timing.ts'

const parts = suite('membership: parts')
const options = DEFAULT_MEMBERSHIP_OPTIONS
const id = (name: string): NodeId => name as NodeId

function record(name: string, change: Partial<PeerRecord> = {}): PeerRecord {
  const meta = { zone: '', weight: 1, version: '0.1.0' }
  const address = `${name}:1` as Address
  const life = { nodeId: id(name), generation: 1, bootNonce: 'n', address, meta }
  return { ...life, incarnation: 0, state: 'alive', accusers: [], ...change }
}

const beliefs = fc.record({
  generation: fc.nat(2),
  incarnation: fc.nat(2),
  state: fc.constantFrom(...LIFE_STATES),
})

parts('beliefs are totally ordered by generation, incarnation, state', () => {
  fc.assert(
    fc.property(beliefs, beliefs, beliefs, (a, b, c) => {
      const compare = (x: typeof a, y: typeof a): number =>
        Math.sign(compareBeliefs(record('p', x), record('p', y)))
      const position = (x: typeof a): number =>
        x.generation * 100 + x.incarnation * 10 + LIFE_STATES.indexOf(x.state)
      assert.is(compare(a, b), -compare(b, a) + 0)
      assert.is(compare(a, b), Math.sign(position(a) - position(b)))
      if (compare(a, b) >= 0 && compare(b, c) >= 0) assert.ok(compare(a, c) >= 0)
    }),
  )
})

parts('Lifeguard IV-B: the suspicion falls from max to min as confirmations come, and never below', () => {
  const suspicion = startSuspicion(options, 5, 1000)
  assert.is(suspicionDeadlineMs(suspicion, 1), 1000 + 8400)
  assert.is(suspicionDeadlineMs(suspicion, 3), 1000 + 1400)
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 2000 }), fc.nat(10), (count, accusers) => {
      const any = startSuspicion(options, count, 0)
      const deadlineMs = suspicionDeadlineMs(any, accusers)
      assert.ok(deadlineMs >= any.minMs && deadlineMs <= any.maxMs)
      assert.ok(suspicionDeadlineMs(any, accusers + 1) <= deadlineMs)
    }),
  )
})

parts('with fewer than two others to confirm, none is waited for', () => {
  assert.is(suspicionDeadlineMs(startSuspicion(options, 3, 0), 1), 1400)
  assert.is(suspicionDeadlineMs(startSuspicion(options, 4, 0), 1), 8400)
})

parts('timeouts and retransmissions grow with the logarithm of the cluster', () => {
  assert.is(minSuspicionMs(options, 5), 1400)
  assert.is(minSuspicionMs(options, 1000), 4200)
  assert.is(retransmitLimit(options, 5), 4)
  assert.is(retransmitLimit(options, 99), 8)
  assert.is(retransmitLimit(options, 100), 12)
})

parts('memberlist: push-pull is rarer above 32 peers', () => {
  assert.is(pushPullIntervalMs(options, 32), 30_000)
  assert.is(pushPullIntervalMs(options, 33), 60_000)
  assert.is(pushPullIntervalMs(options, 64), 60_000)
  assert.is(pushPullIntervalMs(options, 65), 90_000)
  assert.is(pushPullIntervalMs(options, 1000), 180_000)
})

parts('local health stays within 0 and 7', () => {
  const health = new LocalHealth()
  health.improve()
  assert.is(health.score, 0)
  health.worsen(3)
  assert.is(health.stretch, 4)
  health.worsen(100)
  assert.is(health.score, 7)
  health.improve()
  assert.is(health.score, 6)
})

parts('SWIM 4.1: what was sent least goes first, and each update is sent as often as the limit says', () => {
  const queue = new BroadcastQueue()
  queue.add(id('a'))
  assert.equal(queue.take(10, 3), ['a'])
  queue.add(id('b'))
  assert.equal(queue.take(1, 3), ['b'])
  assert.equal(queue.take(10, 3), ['a', 'b'])
  assert.equal(queue.take(10, 3), ['a', 'b'])
  assert.is(queue.size, 0)
})

parts('newer news about a peer replaces the older and counts anew', () => {
  const queue = new BroadcastQueue()
  queue.add(id('a'))
  queue.take(1, 3)
  queue.take(1, 3)
  queue.add(id('a'))
  assert.is(queue.size, 1)
  for (let sends = 0; sends < 3; sends++) assert.equal(queue.take(5, 3), ['a'])
  assert.equal(queue.take(5, 3), [])
})

parts('the digest depends on the beliefs, not on the way to them', () => {
  const states = fc.array(fc.tuple(fc.constantFrom('a', 'b', 'c'), beliefs), { maxLength: 12 })
  fc.assert(
    fc.property(states, (changes) => {
      const self = record('self')
      const [walked, direct] = [new PeerTable(createPrng(1), self), new PeerTable(createPrng(2), self)]
      const final = new Map<string, PeerRecord>()
      for (const [name, change] of changes) {
        const next = record(name, change)
        const peer = walked.get(id(name))
        if (peer === undefined) walked.insert(next, 0)
        else walked.replace(peer, next, null)
        final.set(name, next)
      }
      for (const next of [...final.values()].reverse()) direct.insert(next, 0)
      assert.is(walked.digest, direct.digest)
      assert.is(walked.upCount, direct.upCount)
      direct.insert(record('one more'), 0)
      assert.is.not(walked.digest, direct.digest)
    }),
  )
})

parts('SWIM 4.3: each round visits everyone who is up once, newcomers and removals in between', () => {
  fc.assert(
    fc.property(fc.integer(), fc.integer({ min: 1, max: 12 }), fc.nat(11), (seed, count, removed) => {
      const table = new PeerTable(createPrng(seed), record('self'))
      const names = Array.from({ length: count }, (_, i) => `p${i}`)
      for (const name of names) table.insert(record(name), 0)
      const round = (): string[] => names.map(() => table.nextToProbe()?.record.nodeId ?? 'nobody')
      assert.equal(round().sort(), [...names].sort())
      table.delete(id(`p${removed}`))
      table.insert(record('new'), 0)
      const visited = new Set([...round(), ...round(), ...round()])
      assert.ok(visited.has(id('new')))
      assert.not.ok(visited.has(id(`p${removed}`)))
    }),
  )
})

parts('random choice gives distinct peers that were accepted', () => {
  const table = new PeerTable(createPrng(3), record('self'))
  for (let i = 0; i < 40; i++) table.insert(record(`p${i}`, { state: i % 2 === 0 ? 'alive' : 'dead' }), 0)
  for (let tries = 0; tries < 50; tries++) {
    const chosen = table.choose(3, (peer) => peer.record.state === 'alive')
    assert.is(new Set(chosen).size, 3)
    assert.ok(chosen.every((peer) => peer.record.state === 'alive'))
  }
  assert.is(table.chooseDown(100).length, 20)
})

parts.run()
