import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { type KeyspaceId, type NodeId, parseClusterId, parseNodeId } from '../../src/base/ids.ts'
import type { Configuration, Member } from '../../src/protocol/configuration.ts'
import {
  begin,
  createKeyspace,
  finish,
  firstConfiguration,
  switchOver,
} from '../../src/protocol/configuration-change.ts'
import { previewChange } from '../../src/protocol/layout-preview.ts'
import { createRing } from '../../src/protocol/ring.ts'
import { dutiesOf } from '../../src/protocol/ring-change.ts'
import { DEFAULT_KEYSPACE_OPTIONS } from '../../src/wire/requests.ts'

const PARTITIONS = 64
const node = (index: number): NodeId => parseNodeId(`n${index}`)
const member = (index: number): Member => ({ nodeId: node(index), zone: '', weight: 100 })

function clusterOf(count: number): Configuration {
  const founder = { clusterId: parseClusterId('c'), member: member(0), acceptorId: 'votes' }
  const one = firstConfiguration({ ...founder, partitionCount: PARTITIONS, nowMs: 0 })
  const joining = Array.from({ length: count - 1 }, (_, i) => member(i + 1))
  const switched = switchOver(begin(one, { joining }, 0), 0)
  const acceptors = switched.members.map(({ nodeId }) => ({ nodeId, acceptorId: 'votes' }))
  return finish(switched, acceptors, 0)
}

const uniform = (bytes: number) => new Map(Array.from({ length: PARTITIONS }, (_, i) => [i, bytes] as const))

test('a fourth peer receives its part, the others give as much, and no more moves than has to', () => {
  const ring = createRing(begin(clusterOf(3), { joining: [member(3)] }, 0))
  const preview = previewChange(ring, new Map([[1 as KeyspaceId, uniform(10)]]))
  const [first, , , fourth] = preview.peers
  assert.is(first?.before, PARTITIONS)
  assert.is(fourth?.before, 0)
  assert.is(fourth?.fair, (3 * PARTITIONS) / 4)
  assert.is(fourth?.received, fourth?.after)
  assert.is(fourth?.bytes, 10 * (fourth?.received ?? 0))
  assert.is(preview.moves, preview.idealMoves)
  assert.is(preview.bytes, 10 * preview.moves)
  for (const { before, after, given, received, most } of preview.peers) {
    assert.is(after, before - given + received)
    assert.ok(after <= most)
  }
})

test('what is received is what each peer will have to copy', () => {
  const two = { ...DEFAULT_KEYSPACE_OPTIONS, replicas: 2 }
  const full = { ...DEFAULT_KEYSPACE_OPTIONS, strategy: 'full' } as const
  const base = createKeyspace(createKeyspace(clusterOf(5), 'two', two, 0), 'full', full, 0)
  const ring = createRing(begin(base, { joining: [member(5), member(6)], leaving: [node(1)] }, 0))
  for (const { nodeId, received } of previewChange(ring, new Map()).peers) {
    const gained = dutiesOf(ring, nodeId).flatMap(({ keyspaces, duties }) => {
      return keyspaces.flatMap(() => duties.filter(({ isGained }) => isGained))
    })
    assert.is(received, gained.length, nodeId)
  }
})

test('who leaves has no fair part of what is to be', () => {
  const ring = createRing(begin(clusterOf(4), { leaving: [node(2)] }, 0))
  const leaving = previewChange(ring, new Map()).peers[2]
  assert.equal([leaving?.after, leaving?.fair, leaving?.most, leaving?.received], [0, 0, 0, 0])
  assert.is(leaving?.given, leaving?.before)
})

test('more replicas of a keyspace are received by all', () => {
  const keyspaces = [{ id: 1 as KeyspaceId, strategy: 'full', replicas: 3 } as const]
  const { peers, moves } = previewChange(createRing(begin(clusterOf(4), { keyspaces }, 0)), new Map())
  assert.is(moves, PARTITIONS)
  for (const { after, fair } of peers) assert.equal([after, fair], [PARTITIONS, PARTITIONS])
})

test.run()
