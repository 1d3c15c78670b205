import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { type KeyspaceId, parseClusterId, parseNodeId } from '../../src/base/ids.ts'
import { changeStatus, leftMs } from '../../src/node/change-progress.ts'
import type { Member } from '../../src/protocol/configuration.ts'
import { begin, firstConfiguration } from '../../src/protocol/configuration-change.ts'

const test = suite('how far a change is')

const RUNNING = {
  state: 'running',
  done: 25,
  total: 100,
  ageMs: 1000,
  bytes: 0,
  expectedBytes: null,
} as const

test('what is left takes as long, for as much, as what is done took', () => {
  assert.is(leftMs(RUNNING), 3000)
  assert.is(leftMs({ ...RUNNING, done: 100 }), 0)
})

test('nothing is estimated of a task that does not run, or has hardly begun, or has no known end', () => {
  assert.is(leftMs({ ...RUNNING, state: 'waiting' }), null)
  assert.is(leftMs({ ...RUNNING, state: 'done' }), null)
  assert.is(leftMs({ ...RUNNING, done: 0 }), null)
  assert.is(leftMs({ ...RUNNING, total: null }), null)
  assert.is(leftMs({ ...RUNNING, done: 0, total: 0 }), null)
})

test('where it is known how many bytes there are they count: partitions may be large', () => {
  assert.is(leftMs({ ...RUNNING, done: 0, bytes: 100, expectedBytes: 500 }), 4000)
  assert.is(leftMs({ ...RUNNING, bytes: 0, expectedBytes: 500 }), 3000, 'nothing came yet')
  const large = { ...RUNNING, done: 0, expectedBytes: 2 ** 33 }
  assert.is(leftMs({ ...large, bytes: 2 ** 17 }), null, 'one page says little')
  assert.is(leftMs({ ...large, bytes: 2 ** 24 }), 511_000, 'a second of a long way says enough')
  assert.is(leftMs({ ...RUNNING, bytes: 600, expectedBytes: 500 }), 3000, 'they were more than that')
})

const member = (name: string): Member => ({ nodeId: parseNodeId(name), zone: '', weight: 1 })
const founder = { clusterId: parseClusterId('c'), member: member('a'), acceptorId: 'v', partitionCount: 4 }
const one = firstConfiguration({ ...founder, nowMs: 0 })
const report = (done: number, total: number | null, bytes: number, ageMs = 1000) => {
  return { takeover: { done, total, bytes, expectedBytes: total === null ? null : 1000, ageMs } }
}

test('all peers together are as far as the slowest', () => {
  const open = begin(one, { joining: [member('b'), member('c')] }, 0)
  assert.equal(changeStatus(open, [report(2, 10, 200), report(5, 10, 500), null, { takeover: null }]), {
    number: 2,
    what: '2 peers join',
    done: 7,
    total: 20,
    bytes: 700,
    expectedBytes: 2000,
    leftMs: 4000,
  })
  assert.is(changeStatus(one, [report(2, 10, 200)]), null, 'none is open')
})

test('before anybody knows how much there is, nobody says so', () => {
  const open = begin(one, { joining: [member('b')] }, 0)
  const nothing = report(0, 0, 0)
  for (const reports of [
    [report(0, null, 0), nothing],
    [nothing, null],
  ]) {
    const status = changeStatus(open, reports)
    assert.equal([status?.total, status?.expectedBytes, status?.leftMs], [null, null, null])
  }
  assert.is(changeStatus(open, [nothing, { takeover: null }])?.total, 0, 'all have said so')
})

test('it is said who comes, who goes, and what a keyspace gets', () => {
  const open = begin(one, { joining: [member('b'), member('c')] }, 0)
  const stable = { ...open, phase: 'stable', layouts: [open.layouts[1] ?? open.layouts[0]] } as const
  const says = (alteration: Parameters<typeof begin>[1]) =>
    changeStatus(begin(stable, alteration, 0), [])?.what
  const [b, c] = [parseNodeId('b'), parseNodeId('c')]
  assert.is(says({ leaving: [b] }), '1 peer leaves')
  assert.is(
    says({ joining: [member('d')], leaving: [b, c], dead: [c] }),
    '1 peer joins, 1 leaves, 1 is removed',
  )
  const keyspaces = [{ id: 1 as KeyspaceId, strategy: 'full', replicas: 3 } as const]
  assert.is(says({ keyspaces }), 'keyspace default gets a copy on every peer')
  assert.is(says({ altering: [{ ...member('b'), weight: 9 }] }), 'shares of the ring change')
})

test.run()
