import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import type { Bytes } from '../../src/base/bytes.ts'
import type { Conflicts } from '../../src/protocol/configuration.ts'
import { EMPTY_DOTS, unionDotSets } from '../../src/protocol/dvv.ts'
import { recordDigest } from '../../src/protocol/hash-tree.ts'
import type { DotSet } from '../../src/protocol/record.ts'
import { createDepartureChecker } from '../../src/simulator/checker/departures.ts'
import { createDotLedger } from '../../src/simulator/checker/dot-ledger.ts'
import { createPurgeChecker } from '../../src/simulator/checker/purges.ts'
import type { StoredRecord } from '../../src/simulator/checker/stored-record.ts'
import { isOrdered, stripOrdersIn } from '../../src/simulator/checker/strip-orders.ts'
import type { ReadOperation, WriteOperation } from '../../src/simulator/history.ts'
import { encodeRecord } from '../../src/store/record-codec.ts'
import { packFrame } from '../../src/wire/frame.ts'
import { peerCodec } from '../../src/wire/peer-messages.ts'
import { ACTOR, bare, dot, OTHER, only, Story, stored, upTo, violates } from './checker-story.ts'

const test = suite('what leaves records')

const K = 'siblings/k'
const RECORD = { isStandIn: false, isPutAside: false }

/** Disks a and b hold a tombstone, and had a value before. */
function purging(conflicts: Conflicts = 'siblings') {
  const dots = createDotLedger()
  const clocks = { now: () => 1_000_000, greatestWallMs: () => 1_000_000 }
  const checker = createPurgeChecker(dots, clocks, () => conflicts)
  const write = (host: string, what: StoredRecord): void => {
    dots.record(host, what)
    checker.written(host, K, what)
    checker.durable(host, K, what)
  }
  const forget = (host: string, more: Partial<typeof RECORD> = {}): void => {
    for (const isDurable of [false, true]) checker.forgotten(host, K, { ...RECORD, ...more }, isDurable)
  }
  for (const host of ['a', 'b']) {
    write(host, stored(dot(1), 'x'))
    write(host, stored(dot(2), null))
  }
  return { checker, write, forget }
}

/** What an owner tells of its first put of a key: all that its actor minted for it. */
const Y: DotSet = { vector: new Map([[OTHER, 1]]), loose: [] }

/** A disk that had x under the first dot of `k`, and then holds y in its place, under another actor's. */
function departing(context: DotSet | null, outcome: WriteOperation['outcome'], isPurged = false) {
  const place = 'siblings/k'
  const story = new Story()
  const checker = createDepartureChecker(
    story.ledger,
    () => isPurged,
    () => 1000,
  )
  const write = story.begin('y', [], context)
  checker.writeStarted?.(write)
  write.outcome = outcome
  write.reply = outcome === 'ok' ? unionDotSets(context ?? EMPTY_DOTS, Y) : null
  const y = stored(dot(1, OTHER), 'y')
  const after = { ...y, record: { ...y.record, seen: unionDotSets(upTo(1), Y) } }
  story.ledger.record('a', after)
  checker.durable('a', place, stored(dot(1), 'x', { expiresAtMs: 1 }))
  checker.durable('a', place, after)
  return { checker, write }
}

test('2: a value that leaves a record though nothing replaced it is found, expired or not', () => {
  const judged = (...of: Parameters<typeof departing>) => departing(...of).checker.judge()
  violates(() => judged(EMPTY_DOTS, 'ok'), 2, /a value that was to expire .* and no write replaced it/)
  violates(() => judged(null, 'nothing'), 2, /no write replaced it/)
  violates(() => judged(null, 'ok'), 2, /no write replaced it/)
  judged(upTo(1), 'ok')
  judged(null, 'unknown')
  judged(EMPTY_DOTS, 'ok', true)
})

test('2: what owners were told to purge may leave with the next write: that record, no other', () => {
  const { checker } = purging()
  const held = stored(dot(2), null)
  const { keyspaceId, key, record } = held
  const frameOf = (step: 'hold' | 'strip', of: StoredRecord): Bytes => {
    const digests = [recordDigest(keyspaceId, key, encodeRecord(key, of.record))]
    const purge = {
      type: 'purge',
      id: 300,
      number: 70_000,
      keyspaceId,
      step,
      era: 5,
      keys: [key],
      digests,
    } as const
    const read = { type: 'read', keyspaceId, key, seenOnly: false, asStandIn: null } as const
    const more = { ...read, id: 1, number: 2, isDoubted: null, isLost: null }
    return packFrame([peerCodec.encode(more), peerCodec.encode(purge)])
  }
  const told = (frame: Bytes): void => {
    for (const order of stripOrdersIn(frame)) checker.ordered(K, (each) => isOrdered(order, each))
  }
  const isStripped = (): boolean => record.values.every((value) => checker.isStripped(K, value.dot))
  told(frameOf('hold', held))
  assert.not(isStripped())
  told(frameOf('strip', stored(dot(2), null, { timestamp: 9 })))
  assert.not(isStripped())
  told(frameOf('strip', held))
  assert.ok(isStripped())
})

test('3: a record whose values were lost on the way to a disk is not taken for a purged one', () => {
  const { checker, write } = purging()
  write('c', bare(2))
  assert.equal(checker.purged(K), EMPTY_DOTS)
  write('a', bare(2))
  write('b', bare(2))
  assert.equal(checker.purged(K), upTo(2))
  write('d', bare(3))
  assert.equal(checker.purged(K), upTo(2))
})

test('3: what was to be purged is, also where a new owner is the first to be handed it bare', () => {
  const { checker, write } = purging()
  checker.ordered(K, () => true)
  assert.equal(checker.purged(K), EMPTY_DOTS)
  write('c', bare(2))
  assert.equal(checker.purged(K), upTo(2))
})

test('2: a write may be stored once more under another name, in place of itself', () => {
  const checker = createDepartureChecker(
    createDotLedger(),
    () => false,
    () => 1000,
  )
  const again = stored(dot(1, OTHER), 'x')
  const seen = unionDotSets(again.record.seen, upTo(1))
  checker.durable('a', 'siblings/k', stored(dot(1), 'x'))
  checker.durable('a', 'siblings/k', { ...again, record: { ...again.record, seen } })
  checker.judge()
})

test('2: while a write is under way that may have replaced what left a record, the verdict waits', () => {
  const { checker, write } = departing(null, 'pending')
  checker.judge()
  write.outcome = 'ok'
  write.reply = Y
  violates(() => checker.judge(), 2, /no write replaced it/)
})

test('2: a write without a context that was sent again does not know what its first try replaced', () => {
  const { checker, write } = departing(null, 'pending')
  checker.judge()
  write.outcome = 'ok'
  write.reply = only(dot(1, OTHER))
  checker.judge()
})

test('3: a purge in both steps is fine, and what is new may be written over what is left of one', () => {
  const { checker, write, forget } = purging()
  for (const host of ['a', 'b']) write(host, bare(2))
  forget('a')
  write('b', stored(dot(3), 'y'))
  write('a', stored(dot(3), 'y'))
  assert.equal(checker.counts, { stripped: 2, erased: 1, expired: 0, hidden: 0 })
  assert.ok(checker.purged(K).vector.get(ACTOR) === 2)
})

test('3: a value that is purged alive, or is forgotten with its record, is found', () => {
  const { write, forget } = purging()
  write('a', stored(dot(3), 'y'))
  violates(() => write('a', bare(3)), 3, /purged a value .* which is alive/)
  violates(() => forget('b'), 3, /forgets siblings\/k, which has values/)
})

test("3: a value may be purged when it has expired by its host's clock", () => {
  const { checker, write } = purging()
  for (const host of ['a', 'b']) write(host, stored(dot(3), 'y', { expiresAtMs: 1_000_000 }))
  for (const host of ['a', 'b']) write(host, bare(3))
  assert.is(checker.counts.expired, 2)
  write('b', stored(dot(4), 'z', { expiresAtMs: 1_000_001 }))
  violates(() => write('b', bare(4)), 3, /which is alive/)
})

/** Disks a and b hold a tombstone (3, at 9) and a value beside it (1 of OTHER, at so much). */
function concurrent(conflicts: Conflicts, timestamp: number) {
  const seen = { vector: new Map([...upTo(3).vector, [OTHER, 1]]), loose: [] }
  const beside = stored(dot(1, OTHER), 'x', { timestamp })
  const tombstone = stored(dot(3), null, { timestamp: 9 })
  const values = [tombstone, beside].flatMap(({ record }) => record.values)
  const world = purging(conflicts)
  for (const host of ['a', 'b']) world.write(host, { ...tombstone, record: { seen, values } })
  const nothing = { ...tombstone, record: { seen, values: [] } }
  return { ...world, tombstone, beside, nothing }
}

test('3: in lww a value may be purged beneath a newer tombstone, and nowhere else', () => {
  const hidden = concurrent('lww', 5)
  for (const host of ['a', 'b']) hidden.write(host, hidden.nothing)
  assert.equal(hidden.checker.counts, { stripped: 2, erased: 0, expired: 0, hidden: 2 })
  const newer = concurrent('lww', 10)
  violates(() => newer.write('a', newer.nothing), 3, /which is alive/)
  const sibling = concurrent('siblings', 5)
  violates(() => sibling.write('a', sibling.nothing), 3, /which is alive/)
})

test('3: a value that was hidden must be on no disk, nor be kept for others, without what hides it', () => {
  for (const isStandIn of [false, true]) {
    const { write, beside, nothing } = concurrent('lww', 5)
    write('c', { ...beside, isStandIn })
    violates(() => write('a', nothing), 3, /while c .* a value .* which has not met what hides it/)
  }
  const { write, beside, nothing } = concurrent('lww', 5)
  const { values } = stored(dot(4), 'y', { timestamp: 12 }).record
  const seen = { vector: new Map([...upTo(4).vector, [OTHER, 1]]), loose: [] }
  write('b', {
    ...nothing,
    record: { seen, values: [...values, ...beside.record.values] },
  })
  write('a', nothing)
})

test('3: what a purged record had replaced must be on no disk, nor be kept for others', () => {
  const { write } = purging()
  write('c', stored(dot(1), 'x'))
  violates(() => write('a', bare(2)), 3, /while c holds .* which was replaced/)
  const other = purging()
  other.write('c', { ...stored(dot(1), 'x'), isStandIn: true })
  violates(() => other.write('a', bare(2)), 3, /while c keeps for others/)
})

test('3: what was purged must not be written anywhere, or brought back to a disk, or be read', () => {
  const { checker, write, forget } = purging()
  for (const host of ['a', 'b']) write(host, bare(2))
  forget('a')
  violates(() => write('c', stored(dot(1), 'x')), 3, /is to hold .* which was purged/)
  violates(() => write('a', bare(2)), 3, /is brought back/)
  const read: ReadOperation = { ...new Story().beginRead(2) }
  checker.readStarted?.(read)
  read.values = ['x']
  violates(() => checker.readEnded?.(read), 3, /found x, which was purged/)
})

test("3: what is put into quarantine is not purged, and a disk that was exchanged is in nobody's way", () => {
  const { checker, write, forget } = purging()
  forget('b', { isPutAside: true })
  assert.equal(checker.counts, { stripped: 0, erased: 0, expired: 0, hidden: 0 })
  write('c', stored(dot(1), 'x'))
  checker.replaced('c')
  write('a', bare(2))
  forget('a')
  violates(() => write('c', stored(dot(1), 'x')), 3, /which was purged/)
})

test.run()
