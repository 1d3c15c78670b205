import { suite } from 'uvu'
import { utf8 } from '../../src/base/bytes.ts'
import type { KeyspaceId, NodeId } from '../../src/base/ids.ts'
import { parseClusterId, parseNodeId } from '../../src/base/ids.ts'
import type { Configuration } from '../../src/protocol/configuration.ts'
import {
  begin,
  createKeyspace,
  finish,
  firstConfiguration,
  switchOver,
} from '../../src/protocol/configuration-change.ts'
import { createRing, type Ring } from '../../src/protocol/ring.ts'
import { createNumberChecker } from '../../src/simulator/checker/numbers.ts'
import { createQuorumChecker } from '../../src/simulator/checker/quorums.ts'
import { packFrame } from '../../src/wire/frame.ts'
import { type PeerMessage, peerCodec } from '../../src/wire/peer-messages.ts'
import { dot, SIBLINGS, Story, upTo, violates } from './checker-story.ts'

const test = suite('checks of configuration numbers')

const READ = { type: 'read', keyspaceId: 1 as KeyspaceId, key: utf8('k'), seenOnly: false } as const
const HOW = { asStandIn: false, isDoubted: false, isLost: false } as const

/** Two peers that talk. */
class Talk {
  readonly numbers = new Map([
    ['a', 3],
    ['b', 4],
  ])
  readonly checker = createNumberChecker({
    isUniform: () => new Set(this.numbers.values()).size === 1,
    numberOn: (host) => this.numbers.get(host) ?? null,
    lifeOn: (host) => host,
  })

  say(from: string, to: string, message: PeerMessage): void {
    this.checker.sent(from, to, packFrame([peerCodec.encode(message)]))
  }

  ask(from: string, to: string, number: number): void {
    this.say(from, to, { ...READ, ...HOW, id: 7, number })
  }

  answer(from: string, to: string): void {
    this.say(from, to, { type: 'record', id: 7, record: null })
  }
}

test('6: an answer to what was asked under a number that the peer had left is found', () => {
  const talk = new Talk()
  talk.ask('a', 'b', 3)
  violates(() => talk.answer('b', 'a'), 6, /went by 4 .* configuration 3/)
})

test('6: also when all go by the same number until the answer comes', () => {
  const talk = new Talk()
  talk.ask('a', 'b', 3)
  talk.numbers.set('a', 4)
  violates(() => talk.answer('b', 'a'), 6, /went by 4/)
})

test('6: a refusal is no answer, and what was asked before may be answered after', () => {
  const talk = new Talk()
  talk.ask('a', 'b', 3)
  talk.say('b', 'a', { type: 'refused', id: 7, reason: 'stale', number: 4 })
  talk.ask('b', 'a', 3)
  talk.numbers.set('a', 5)
  talk.answer('a', 'b')
})

test('6: an answer for a number that the peer has not reached is found', () => {
  const talk = new Talk()
  talk.ask('b', 'a', 4)
  violates(() => talk.answer('a', 'b'), 6, /goes by 3, answered for 4/)
})

test('6: an acknowledgement of a number that is not in force is found', () => {
  const talk = new Talk()
  const ack = { type: 'adopted', id: 1, waitsFor: null, acceptorId: 'x' } as const
  talk.say('a', 'b', { ...ack, number: 3 })
  violates(() => talk.say('a', 'b', { ...ack, number: 4 }), 6, /goes by 3, acknowledged 4/)
})

const [OLD, NEW, STRANGER] = [parseNodeId('old'), parseNodeId('new'), parseNodeId('stranger')]

/** Nothing but the old peer, then both, then the new one alone. */
function handOver(newcomer = NEW): readonly Ring[] {
  const founder = { nodeId: OLD, zone: '', weight: 1 }
  const first = firstConfiguration({
    clusterId: parseClusterId('cluster'),
    member: founder,
    acceptorId: 'acceptor',
    partitionCount: 8,
    nowMs: 0,
  })
  const { id: _, name: __, ...options } = first.keyspaces[0] as Configuration['keyspaces'][number]
  const made = createKeyspace(first, SIBLINGS.name, { ...options, quorum: 'strict' }, 0)
  const joining = [{ ...founder, nodeId: newcomer }]
  const begun = begin(made, { joining, leaving: [OLD] }, 0)
  const switched = switchOver(begun, 0)
  const stable = finish(switched, [{ nodeId: newcomer, acceptorId: 'other' }], 0)
  return [made, begun, switched, stable].map(createRing)
}

interface Acknowledged {
  readonly isSloppy?: boolean
  readonly standInsTold?: number
  /** When it began; default: the first of the rings for all. */
  readonly numbers?: ReadonlyMap<string, number>
}

/** A write that these disks have, acknowledged while these numbers are in force. */
function acknowledge(holders: readonly string[], rings: readonly Ring[], how: Acknowledged = {}): void {
  const first = Math.min(...rings.map(({ number }) => number))
  const checker = createQuorumChecker({
    numbers: () => how.numbers ?? new Map([OLD, NEW].map((host) => [host, first])),
    rings: () => rings,
    holders: () => new Set(holders),
    hostOf: (nodeId: NodeId) => (nodeId === STRANGER ? null : nodeId),
  })
  const story = new Story({ ...SIBLINGS, isSloppy: how.isSloppy === true })
  const write = story.begin('x', [dot(1)], null, 1)
  checker.writeStarted?.(write)
  write.outcome = 'ok'
  write.reply = upTo(1)
  write.standInsTold = how.standInsTold ?? 0
  checker.writeEnded?.(write)
}

test('2: while the ring changes, a write that one layout alone has a quorum of is found', () => {
  const [before, begun, switched, after] = handOver() as [Ring, Ring, Ring, Ring]
  for (const ring of [begun, switched]) {
    violates(() => acknowledge([OLD], [ring]), 2, /only old had it for good/)
    violates(() => acknowledge([NEW], [ring]), 2, /only new had it for good/)
    acknowledge([OLD, NEW], [ring])
  }
  acknowledge([OLD], [before, begun])
  acknowledge([NEW], [switched, after])
})

test('2: who hangs and goes by the number before speaks for nobody but itself there', () => {
  const [before, begun] = handOver() as [Ring, Ring]
  const hangs = (host: string) => {
    return new Map([OLD, NEW].map((each) => [each, (each === host ? before : begun).number]))
  }
  acknowledge([OLD], [before, begun], { numbers: hangs(OLD) })
  violates(() => acknowledge([OLD], [before, begun], { numbers: hangs(NEW) }), 2, /only old had it/)
})

test('2: in a sloppy keyspace owners are counted, too, unless somebody stood in for one', () => {
  const [, begun] = handOver() as [Ring, Ring]
  violates(() => acknowledge([OLD], [begun], { isSloppy: true }), 2, /only old had it for good/)
  acknowledge([OLD], [begun], { isSloppy: true, standInsTold: 1 })
})

test('2: a peer that no disk says is a member has nothing', () => {
  const [, begun] = handOver(STRANGER) as [Ring, Ring]
  violates(() => acknowledge([OLD], [begun]), 2, /only old had it for good/)
})

test.run()
