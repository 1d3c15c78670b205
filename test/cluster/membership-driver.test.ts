/**
 * The driver on a clock and links that obey the test. What the machine decides is tested in `test/protocol`.
 */
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import type { Address, NodeId } from '../../src/base/ids.ts'
import { type ControlLinks, MembershipDriver } from '../../src/cluster/membership-driver.ts'
import type { Clock } from '../../src/effects/clock.ts'
import type { Log } from '../../src/effects/log.ts'
import type { Random } from '../../src/effects/random.ts'
import type { MembershipMessage } from '../../src/protocol/membership/messages.ts'
import type { PeerIdentity } from '../../src/protocol/membership/peer.ts'
import type { MembershipOptions } from '../../src/protocol/membership/timing.ts'

const driver = suite('cluster: membership driver')

const addressOf = (name: string): Address => `${name}.example:7000` as Address

function facts(name: string): PeerIdentity {
  const meta = { zone: '', weight: 1, version: '0.1.0' }
  return { nodeId: name as NodeId, generation: 1, bootNonce: `boot-${name}`, address: addressOf(name), meta }
}

/** A driver, and all of the world that it sees. */
class Bench {
  nowMs = 1000
  readonly timers = new Set<{ readonly atMs: number; readonly run: () => void }>()
  readonly sent: { to: NodeId; message: MembershipMessage }[] = []
  readonly dialled: Address[] = []
  readonly logged: string[] = []
  readonly seen: number[] = []
  readonly outranked: number[] = []
  onSend: (to: NodeId, message: MembershipMessage) => void = () => {}
  readonly driver: MembershipDriver

  constructor(options: Partial<MembershipOptions> = {}) {
    const clock: Clock = {
      now: () => this.nowMs,
      monotonic: () => this.nowMs,
      setTimer: (delayMs, run) => {
        const timer = { atMs: this.nowMs + delayMs, run }
        this.timers.add(timer)
        return { cancel: () => this.timers.delete(timer) }
      },
      defer: () => assert.unreachable('the driver defers nothing'),
    }
    const note = (event: string): void => void this.logged.push(event)
    const log: Log = { debug: note, info: note, warn: note, error: note }
    const random: Random = { float: () => 0.5, bytes: (count) => new Uint8Array(count), id: () => 'seed' }
    const links: ControlLinks = {
      send: (to, _address, message) => {
        this.sent.push({ to, message })
        this.onSend(to, message)
      },
      dial: (address) => void this.dialled.push(address),
    }
    const handler = {
      configurationSeen: (_from: NodeId, number: number) => void this.seen.push(number),
      outranked: (generation: number) => void this.outranked.push(generation),
    }
    this.driver = new MembershipDriver(facts('me'), links, handler, { clock, log, random }, options)
  }

  run(forMs: number): void {
    const endMs = this.nowMs + forMs
    for (;;) {
      const [next] = [...this.timers].sort((a, b) => a.atMs - b.atMs)
      if (next === undefined || next.atMs > endMs) break
      this.timers.delete(next)
      this.nowMs = Math.max(this.nowMs, next.atMs)
      next.run()
    }
    this.nowMs = endMs
  }

  /** Every ping is answered while it is being sent, as links do that fail at once. */
  answerAtOnce(): void {
    this.onSend = (to, message) => {
      if (message.type !== 'ping') return
      this.driver.received(to, {
        type: 'ack',
        seq: message.seq,
        generation: 1,
        configuration: 0,
        updates: [],
      })
    }
  }
}

driver('does nothing before start, dials the seeds at start', () => {
  const bench = new Bench({ seeds: [addressOf('a'), addressOf('b')] })
  assert.is(bench.timers.size, 0)
  bench.driver.start()
  assert.equal([...bench.dialled].sort(), [addressOf('a'), addressOf('b')])
  assert.is(bench.timers.size, 1)
})

driver('tells of changes, and answers who is up, where, and since when it was heard', () => {
  const bench = new Bench()
  bench.driver.start()
  const changes: string[] = []
  const unsubscribe = bench.driver.onChange((nodeId, before, after) => {
    changes.push(`${nodeId} ${before?.state ?? 'unknown'} ${after?.state ?? 'forgotten'}`)
  })
  const a = 'a' as NodeId
  bench.driver.met(facts('a'))
  assert.ok(bench.driver.isAlive(a))
  assert.ok(bench.driver.isAlive('me' as NodeId))
  assert.not.ok(bench.driver.isAlive('b' as NodeId))
  assert.is(bench.driver.addressOf(a), addressOf('a'))
  assert.is(bench.driver.addressOf('b' as NodeId), null)
  assert.equal(
    bench.driver.peers().map(({ nodeId }) => nodeId),
    ['a'],
  )
  bench.nowMs += 90
  assert.is(bench.driver.heartbeatAgeMs(a), 90)
  bench.driver.linkClosed(a, 'refused', addressOf('a'))
  assert.not.ok(bench.driver.isAlive(a))
  unsubscribe()
  bench.driver.forget([a])
  assert.is(bench.driver.view(a), null)
  assert.equal(changes, ['a unknown alive', 'a alive dead'])
  assert.ok(bench.logged.includes('membership.changed'))
})

driver('passes on that a newer configuration, and a newer life of ours, were seen', () => {
  const bench = new Bench()
  bench.driver.start()
  bench.driver.met(facts('a'))
  bench.driver.setConfiguration(3, [])
  for (const configuration of [3, 5]) {
    bench.driver.received('a' as NodeId, { type: 'gossip', configuration, updates: [] })
  }
  const ours = { ...facts('me'), generation: 7, incarnation: 0, state: 'alive', accusers: [] } as const
  bench.driver.received('a' as NodeId, { type: 'gossip', configuration: 0, updates: [ours] })
  assert.equal(bench.seen, [5])
  assert.equal(bench.outranked, [7])
})

driver('an answer that comes while outputs are performed waits its turn', () => {
  const bench = new Bench()
  bench.driver.start()
  bench.driver.met(facts('a'))
  bench.answerAtOnce()
  bench.run(5000)
  assert.ok(bench.sent.filter(({ message }) => message.type === 'ping').length > 10)
  assert.ok(bench.driver.isAlive('a' as NodeId))
  assert.is(bench.driver.healthScore, 0)
})

driver('has one timer at a time, and none once it is stopped', () => {
  const bench = new Bench()
  bench.driver.start()
  for (const name of ['a', 'b', 'c']) bench.driver.met(facts(name))
  bench.answerAtOnce()
  for (let i = 0; i < 50; i++) {
    bench.run(37)
    assert.is(bench.timers.size, 1)
  }
  bench.driver.stop()
  bench.driver.stop()
  assert.is(bench.timers.size, 0)
  bench.sent.length = 0
  bench.driver.met(facts('d'))
  bench.run(5000)
  assert.equal(bench.sent, [])
})

driver('a timer that fires late makes the peer doubt itself', () => {
  const bench = new Bench()
  bench.driver.start()
  bench.driver.met(facts('a'))
  bench.answerAtOnce()
  bench.run(1000)
  bench.onSend = () => {}
  bench.nowMs += 700
  bench.run(0)
  assert.is(bench.driver.healthScore, 1)
})

driver('leaving is said while there are links, and ends the probing', () => {
  const bench = new Bench()
  bench.driver.start()
  bench.driver.met(facts('a'))
  bench.sent.length = 0
  bench.driver.leave()
  const [farewell] = bench.sent
  assert.is(farewell?.to, 'a')
  assert.is(farewell?.message.type === 'gossip' && farewell.message.updates[0]?.state, 'left')
  assert.is(bench.timers.size, 0)
})

driver.run()
