import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import type { NodeId } from '../../src/base/ids.ts'
import { parseClusterId, parseNodeId } from '../../src/base/ids.ts'
import { firstConfiguration } from '../../src/protocol/configuration-change.ts'
import { EMPTY_DOTS, unionDotSets } from '../../src/protocol/dvv.ts'
import type { Dot, DotSet, DottedValue } from '../../src/protocol/record.ts'
import { createConfigurationChecker } from '../../src/simulator/checker/configurations.ts'
import { createDotLedger } from '../../src/simulator/checker/dot-ledger.ts'
import { createDurabilityChecker } from '../../src/simulator/checker/durability.ts'
import { createHandOverChecker } from '../../src/simulator/checker/hand-overs.ts'
import { createSessionChecker } from '../../src/simulator/checker/sessions.ts'
import { checkEqualRoots } from '../../src/simulator/checker/trees.ts'
import { placeOf } from '../../src/simulator/history.ts'
import {
  ACTOR,
  bare,
  dot,
  LWW,
  OTHER,
  only,
  SIBLINGS,
  Story,
  stored,
  upTo,
  violates,
} from './checker-story.ts'

const test = suite('checkers')

test('1: a dot that names two values is found, on any disk and also across keys', () => {
  const ledger = createDotLedger()
  ledger.record('a', stored(dot(1), 'x'))
  ledger.record('b', stored(dot(1), 'x'))
  violates(() => ledger.record('b', stored(dot(1), 'y')), 1, /names two values/)
  violates(() => ledger.record('b', stored(dot(1), 'x', {}, 'other')), 1, /names two values/)
})

test('2: a read that has an acknowledged write is fine', () => {
  const story = new Story()
  story.put('x', dot(1), upTo(1))
  story.read(['x'], upTo(1))
})

test('2: an acknowledged write that a later quorum read has not seen is found', () => {
  const story = new Story()
  story.put('x', dot(1), upTo(1))
  violates(() => story.read([], EMPTY_DOTS), 2, /has not seen/)
})

test('2: a read that began before the acknowledgement need not have it', () => {
  const story = new Story()
  const write = story.begin('x', [dot(1)])
  const read = story.beginRead()
  story.end(write, upTo(1))
  story.endRead(read, [], EMPTY_DOTS)
})

test('2: a read of one owner need not have a write to a quorum, one of all must have a write to one', () => {
  const story = new Story()
  story.put('x', dot(1), upTo(1), null, 1)
  story.read([], EMPTY_DOTS, 1)
  story.read([], EMPTY_DOTS, 2)
  violates(() => story.read([], EMPTY_DOTS, 3), 2, /has not seen/)
})

test('2: a value that vanished though nobody replaced it is found', () => {
  const story = new Story()
  story.put('x', dot(1), upTo(1))
  violates(() => story.read([], upTo(1)), 2, /lacks put of x .* which nothing replaced/)
})

test('2: a value may vanish when a write covers it, or one without a context may have met it', () => {
  const explicit = new Story()
  explicit.put('x', dot(1), upTo(1))
  explicit.put('y', dot(2), upTo(2), upTo(1))
  explicit.read(['y'], upTo(2))
  const unknown = new Story()
  unknown.put('x', dot(1), upTo(1))
  unknown.begin('y', [dot(2)])
  unknown.read(['y'], upTo(2))
})

test('2: a write whose context does not cover it excuses nothing', () => {
  const story = new Story()
  story.put('x', dot(1), upTo(1))
  story.put('y', dot(1, OTHER), only(dot(1, OTHER)), EMPTY_DOTS)
  violates(
    () =>
      story.read(['y'], {
        vector: new Map([
          [ACTOR, 1],
          [OTHER, 1],
        ]),
        loose: [],
      }),
    2,
    /lacks put of x/,
  )
})

// Campaign seed 11, 7 peers: a put without a context was duplicated, and its second copy was answered first.
test('2: a write answered with nothing but its own dot replaced what its first record had seen', () => {
  const tell = (values: readonly Dot[]): void => {
    const story = new Story()
    story.put('x', dot(1), upTo(1))
    const seen = unionDotSets(upTo(1), only(dot(1, OTHER)))
    const { record, ...place } = stored(dot(1, OTHER), 'y')
    const siblings = values.map((at) => ({ ...stored(at, 'x').record.values[0] }) as DottedValue)
    story.ledger.record('host', { ...place, record: { seen, values: [...siblings, ...record.values] } })
    story.put('y', dot(1, OTHER), only(dot(1, OTHER)))
    story.read(['y'], seen)
  }
  tell([])
  violates(() => tell([dot(1)]), 2, /lacks put of x/)
})

test('2: a value that an acknowledged context replaced and that comes back is found', () => {
  const story = new Story()
  story.put('x', dot(1), upTo(1))
  story.put('y', dot(2), upTo(2), upTo(1))
  violates(() => story.read(['y', 'x'], upTo(2)), 2, /found x, which put of y .* had replaced/)
})

test('2: a twin of a repeated write that its replacement never saw may stay', () => {
  const story = new Story()
  story.end(story.begin('x', [dot(1), dot(1, OTHER)], EMPTY_DOTS), upTo(1))
  story.put('y', dot(2), upTo(2), upTo(1))
  story.read(['y', 'x'], {
    vector: new Map([
      [ACTOR, 2],
      [OTHER, 1],
    ]),
    loose: [],
  })
})

test('2: quorum reads that go backwards are found', () => {
  const story = new Story()
  story.end(story.begin('x', [dot(1)]), null)
  story.read(['x'], upTo(1))
  violates(() => story.read([], EMPTY_DOTS), 2, /has not seen/)
})

test('2: a value that nobody wrote is found', () => {
  violates(() => new Story().read(['x'], upTo(1)), 2, /nobody wrote/)
})

test('2: lww may show a newer value instead, not an older one', () => {
  const story = new Story(LWW)
  story.put('old', dot(1), only(dot(1)), EMPTY_DOTS)
  story.put('new', dot(2), only(dot(2)), EMPTY_DOTS)
  story.read(['new'], upTo(2))
  violates(() => story.read(['old'], upTo(2)), 2, /lacks put of new/)
})

test('2: lww may show nothing beneath a delete that is newer, and only then', () => {
  const story = new Story(LWW)
  story.put(null, dot(1), only(dot(1)), EMPTY_DOTS)
  story.put('new', dot(2), only(dot(2)), EMPTY_DOTS)
  violates(() => story.read([], upTo(2)), 2, /lacks put of new/)
  story.put(null, dot(3), only(dot(3)), EMPTY_DOTS)
  story.read([], upTo(3))
})

// Campaign seeds 7, 10 and 14: the clocks of the delete, and of the put that it hid, were far ahead.
test('2: lww may show an older value once a purge took the newer one and what hid it', () => {
  const story = new Story(LWW)
  story.put('hidden', dot(8), only(dot(8)), EMPTY_DOTS)
  story.put(null, dot(9), only(dot(9)), EMPTY_DOTS)
  story.put('later', dot(1, OTHER), only(dot(1, OTHER)), EMPTY_DOTS)
  const seen = unionDotSets(upTo(9), only(dot(1, OTHER)))
  violates(() => story.read(['later'], seen), 2, /lacks put of hidden/)
  story.purged = upTo(9)
  story.read(['later'], only(dot(1, OTHER)))
})

// Campaign seed 8: a write sent twice had been given a later time under the other name, which was replaced.
test('2: lww goes by the time a write has under the name that was acknowledged', () => {
  const story = new Story(LWW)
  const twice = story.begin('twice', [dot(9, OTHER), dot(1)], EMPTY_DOTS)
  story.put('new', dot(2), only(dot(2)), only(dot(9, OTHER)))
  story.end(twice, only(dot(1)))
  const seen = {
    vector: new Map([
      [ACTOR, 2],
      [OTHER, 9],
    ]),
    loose: [],
  }
  story.read(['new'], seen)
})

test('2: a write acknowledged by more owners than have it on disk is found', () => {
  const checker = createDurabilityChecker(() => EMPTY_DOTS)
  const write = new Story().begin('x', [dot(1)])
  write.outcome = 'ok'
  write.reply = upTo(1)
  checker.durable('a', 'siblings/k', stored(dot(1), 'x'))
  violates(() => checker.writeEnded?.(write), 2, /acknowledged by 2 disks but is durable on 1/)
  checker.durable('b', 'siblings/k', stored(dot(1), 'x'))
  checker.writeEnded?.(write)
  assert.is(checker.holdersOfAll('siblings/k', new Set(['a', 'b'])), 2)
  assert.is(checker.holdersOfAll('siblings/k', new Set(['b', 'c'])), 1)
})

test('2: a stand-in that handed over counts beyond W for what it had, and not within W', () => {
  const checker = createDurabilityChecker(() => EMPTY_DOTS)
  const write = new Story({ ...SIBLINGS, isSloppy: true }).begin('x', [dot(1)])
  const place = placeOf(write.keyspace.name, write.key)
  Object.assign(write, { outcome: 'ok', reply: upTo(1), disksTold: 3 })
  const keep = (): void => checker.durable('c', place, { ...stored(dot(1), 'x'), isStandIn: true })
  checker.durable('a', place, stored(dot(1), 'x'))
  keep()
  checker.letGo('c', place, { isStandIn: true, isPutAside: false })
  violates(() => checker.writeEnded?.(write), 2, /acknowledged by 2 disks but is durable on 1/)
  checker.durable('b', place, stored(dot(1), 'x'))
  checker.writeEnded?.(write)
  violates(() => checker.writeEnded?.({ ...write, disksTold: 4 }), 2, /by 4 disks but is durable on 3/)
})

test('2: a disk that knows less than before is found', () => {
  const checker = createDurabilityChecker(() => EMPTY_DOTS)
  checker.durable('a', 'siblings/k', stored(dot(2), 'y'))
  violates(() => checker.durable('a', 'siblings/k', stored(dot(1), 'x')), 2, /went backwards/)
})

test('2: a disk may know less of a key that was purged and is written again', () => {
  const checker = createDurabilityChecker(() => upTo(1))
  checker.durable('a', 'siblings/k', bare(1))
  checker.durable('a', 'siblings/k', stored(dot(1, OTHER), 'y'))
})

test('2: a disk may be lost while each list of owners has all of it without that', () => {
  const checker = createDurabilityChecker(() => EMPTY_DOTS)
  for (const host of ['a', 'b']) checker.durable(host, 'siblings/k', stored(dot(1), 'x'))
  const [old, both, gaining] = [new Set(['a', 'b']), new Set(['a', 'b', 'c']), new Set(['a', 'c'])]
  assert.ok(checker.isElsewhere('a', () => [old]))
  assert.ok(checker.isElsewhere('a', () => [old, both]))
  assert.not(checker.isElsewhere('a', () => [old, gaining]))
  checker.durable('c', 'siblings/k', stored(dot(1), 'x'))
  assert.ok(checker.isElsewhere('a', () => [old, gaining]))
})

test('2: a disk that was lost counts for what it had been told before, and for nothing later', () => {
  const checker = createDurabilityChecker(() => EMPTY_DOTS)
  const place = 'siblings/k'
  checker.durable('a', place, stored(dot(1), 'x'))
  assert.not(checker.isElsewhere('a'))
  checker.durable('b', place, stored(dot(1), 'x'))
  assert.ok(checker.isElsewhere('a'))
  const before = new Story().begin('x', [dot(1)])
  checker.replaced('a', before.startMs + 1)
  assert.is(checker.holdersOfAll(place, new Set(['b'])), Number.POSITIVE_INFINITY)
  Object.assign(before, { outcome: 'ok', reply: upTo(1) })
  checker.writeEnded?.(before)
  const after = { ...before, startMs: before.startMs + 2 }
  violates(() => checker.writeEnded?.(after), 2, /durable on 1/)
})

test('2: a record that went into quarantine may know less when it comes back', () => {
  const checker = createDurabilityChecker(() => EMPTY_DOTS)
  checker.durable('a', 'siblings/k', stored(dot(2), 'y'))
  checker.letGo('a', 'siblings/k', { isStandIn: false, isPutAside: false })
  checker.durable('a', 'siblings/k', stored(dot(1), 'x'))
})

test('7: a client that is told less than before is found, another one is not', () => {
  const checker = createSessionChecker()
  const tell = (client: number, seen: DotSet, r = 2): void => {
    const read = { ...new Story().beginRead(r), client, values: [], seen }
    checker.readStarted?.(read)
    checker.readEnded?.(read)
  }
  tell(0, upTo(2))
  tell(1, upTo(1))
  tell(0, upTo(2))
  tell(0, upTo(1), 1)
  violates(() => tell(0, upTo(1)), 7, /goes back: client 0 had been told/)
  const write = { ...new Story().begin('x', [dot(3)]), client: 1, outcome: 'ok' as const, reply: upTo(3) }
  checker.writeEnded?.(write)
  violates(() => tell(1, upTo(2)), 7, /client 1/)
})

test('6: two contents of one configuration number are found, and one that goes back', () => {
  const checker = createConfigurationChecker()
  const make = (name: string, number = 1) => {
    const founder = {
      clusterId: parseClusterId('cluster'),
      member: { nodeId: parseNodeId(name) as NodeId, zone: '', weight: 1 },
      acceptorId: 'acceptor',
      partitionCount: 8,
      nowMs: 0,
    }
    return { ...firstConfiguration(founder), number }
  }
  checker.saw('a', make('one'))
  checker.saw('b', make('one'))
  violates(() => checker.saw('c', make('two')), 6, /one content on a and another on c/)
  checker.saw('a', make('one', 3))
  violates(() => checker.saw('a', make('one', 2)), 6, /went back/)
})

test('2: a stand-in record that goes before its owner has all of it is found', () => {
  const [owner, other] = [parseNodeId('owner'), parseNodeId('other')]
  const place = 'siblings/k'
  const checker = createHandOverChecker((nodeId) => `host of ${nodeId}`)
  const kept = { ...stored(dot(2), 'y'), isStandIn: true, standInFor: [owner] }
  checker.durable('a', place, kept)
  checker.durable('host of owner', place, stored(dot(1), 'x'))
  violates(() => checker.letGo('a', place, [owner, other]), 2, /host of owner lacks some/)
  checker.durable('a', place, kept)
  checker.durable('host of owner', place, stored(dot(2), 'y'))
  checker.letGo('a', place, [owner, other])
})

test('2: a stand-in record may go to the owners of now instead of those it was meant for', () => {
  const [owner, other] = [parseNodeId('owner'), parseNodeId('other')]
  const place = 'siblings/k'
  const checker = createHandOverChecker((nodeId) => `host of ${nodeId}`)
  checker.durable('a', place, { ...stored(dot(2), 'y'), isStandIn: true, standInFor: [owner] })
  checker.durable('host of other', place, stored(dot(2), 'y'))
  checker.letGo('a', place, [other])
})

// Campaign seed 9113: a change began between the hand-over and the fsync of what it removed.
test('2: a stand-in record that all owners had may go under the next number, which brings others', () => {
  const [owner, other] = [parseNodeId('owner'), parseNodeId('other')]
  const newcomer = parseNodeId('newcomer')
  const letGo = (told: readonly NodeId[], after: readonly NodeId[] = []): void => {
    const place = 'siblings/k'
    const checker = createHandOverChecker((nodeId) => `host of ${nodeId}`)
    checker.durable('a', place, { ...stored(dot(2), 'y'), isStandIn: true, standInFor: [owner] })
    for (const nodeId of told) checker.durable(`host of ${nodeId}`, place, stored(dot(2), 'y'))
    checker.goesOn('a', () => [other])
    for (const nodeId of after) checker.durable(`host of ${nodeId}`, place, stored(dot(2), 'y'))
    checker.letGo('a', place, [other, newcomer])
  }
  letGo([other])
  violates(() => letGo([]), 2, /lacks some/)
  violates(() => letGo([newcomer]), 2, /lacks some/)
  // The newcomer may have been compared with it before.
  violates(() => letGo([], [other]), 2, /lacks some/)
})

test('2: what a stand-in keeps alone, or has more of since, is not delivered under its number', () => {
  const [owner, newcomer] = [parseNodeId('owner'), parseNodeId('newcomer')]
  const place = 'siblings/k'
  const checker = createHandOverChecker((nodeId) => `host of ${nodeId}`)
  const keep = (n: number, value: string): void => {
    checker.durable('a', place, { ...stored(dot(n), value), isStandIn: true, standInFor: [owner] })
  }
  keep(1, 'x')
  checker.goesOn('a', () => [owner])
  violates(() => checker.letGo('a', place, [owner, newcomer]), 2, /host of owner lacks some/)
  keep(1, 'x')
  checker.durable('host of owner', place, stored(dot(1), 'x'))
  checker.goesOn('a', () => [owner])
  keep(2, 'y')
  violates(() => checker.letGo('a', place, [owner, newcomer]), 2, /host of owner lacks some/)
})

test('4: equal roots over different records are found', () => {
  const holding = (host: string, root: bigint, fingerprint: number) => {
    return { host, partitions: new Map([[7, { root, fingerprint }]]) }
  }
  checkEqualRoots([holding('a', 1n, 1), holding('b', 2n, 2), holding('c', 1n, 1)])
  violates(() => checkEqualRoots([holding('a', 1n, 1), holding('b', 1n, 2)]), 4, /between a and b/)
  violates(() => checkEqualRoots([holding('a', 0n, 1)]), 4, /whoever holds nothing and a/)
})

test.run()
