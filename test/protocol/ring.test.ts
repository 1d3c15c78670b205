import fc from 'fast-check'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { utf8 } from '../../src/base/bytes.ts'
import { KvError } from '../../src/base/error.ts'
import { hash32 } from '../../src/base/hash.ts'
import { type KeyspaceId, type NodeId, parseClusterId, parseNodeId } from '../../src/base/ids.ts'
import type { Configuration, Keyspace, Layout, Phase, Strategy } from '../../src/protocol/configuration.ts'
import { makeLayout } from '../../src/protocol/layout.ts'
import { planLayout } from '../../src/protocol/layout-plan.ts'
import { createRing, partitionOf } from '../../src/protocol/ring.ts'

const PARTITIONS = 8
const node = (name: string | number): NodeId => parseNodeId(`n${name}`)
const nodes = (...names: number[]): NodeId[] => names.map(node)

function keyspace(id: number, name: string, strategy: Strategy, replicas: number): Keyspace {
  return {
    id: id as KeyspaceId,
    name,
    strategy,
    replicas,
    conflicts: 'siblings',
    quorum: 'strict',
    r: 'quorum',
    w: 'quorum',
    durability: 'disk',
  }
}

const DEFAULT = keyspace(1, 'default', 'ring', 3)
const PAIRS = keyspace(2, 'pairs', 'ring', 2)
const EVERYWHERE = keyspace(4, 'everywhere', 'full', 3)

/** Every partition has the members in this order. */
function sameEverywhere(members: readonly NodeId[], depth = members.length): Layout {
  const positions = Uint16Array.from({ length: PARTITIONS * depth }, (_, i) => i % depth)
  return makeLayout(members, depth, positions)
}

function configuration(
  phase: Phase,
  layouts: Configuration['layouts'],
  partitionCount = PARTITIONS,
): Configuration {
  const members = [...new Set(layouts.flatMap((layout) => layout.members))].sort()
  return {
    clusterId: parseClusterId('c'),
    number: 7,
    partitionCount,
    phase,
    members: members.map((nodeId) => ({ nodeId, zone: '', weight: 1 })),
    excluded: [],
    removed: [],
    acceptors: [],
    keyspaces: [DEFAULT, PAIRS, EVERYWHERE],
    nextKeyspaceId: 5 as KeyspaceId,
    layouts,
    reason: 'test',
    phaseNumber: 1,
    changeNumber: 1,
    isManual: false,
    staged: [],
    lossAccepted: [],
    history: [],
    decidedBy: 'n0' as NodeId,
    altered: [],
    decidedAtMs: 0,
  }
}

test('a key belongs to the partition that the top bits of its hash name', () => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 1, maxLength: 64 }), fc.nat(16), (key, bits) => {
      assert.is(partitionOf(key, 2 ** bits), Math.floor(hash32(key) / 2 ** (32 - bits)))
    }),
  )
})

test('keys never move between partitions: these stay where they are in every version', () => {
  const places = ['a', 'greeting', 'AD,Escaldes-Engordany,42.50729,1.53414'].map((key) =>
    partitionOf(utf8(key), 512),
  )
  assert.equal(places, [170, 14, 231])
})

test('a keyspace uses the first N of a partition’s list', () => {
  const ring = createRing(configuration('stable', [sameEverywhere(nodes(1, 2, 3, 4, 5))]))
  assert.equal(ring.readOwners(DEFAULT, 0), nodes(1, 2, 3))
  assert.equal(ring.writeOwners(DEFAULT, 0), [nodes(1, 2, 3)])
  assert.equal(ring.readOwners(PAIRS, 7), nodes(1, 2))
  assert.is(ring.isOwner(node(3), DEFAULT, 0), true)
  assert.is(ring.isOwner(node(3), PAIRS, 0), false)
})

test('with fewer peers than N every peer is an owner', () => {
  const ring = createRing(configuration('stable', [sameEverywhere(nodes(1, 2))]))
  assert.equal(ring.readOwners(DEFAULT, 3), nodes(1, 2))
})

test('strategy full: the partition’s list, then the others, beginning elsewhere in each', () => {
  const ring = createRing(configuration('stable', [sameEverywhere(nodes(1, 2, 3, 4, 5, 6), 3)]))
  assert.equal(ring.readOwners(EVERYWHERE, 0), nodes(1, 2, 3, 4, 5, 6))
  assert.equal(ring.readOwners(EVERYWHERE, 1), nodes(1, 2, 3, 5, 6, 4))
  assert.equal(ring.readOwners(EVERYWHERE, 2), nodes(1, 2, 3, 6, 4, 5))
  assert.is(ring.share(node(6), EVERYWHERE), 1 / 6)
})

test('a partition that keeps its owners has one list, in whatever order they are', () => {
  const layouts = [sameEverywhere(nodes(1, 2, 3, 4)), sameEverywhere(nodes(3, 1, 2, 5))] as const
  for (const phase of ['begun', 'switched'] as const) {
    const ring = createRing(configuration(phase, layouts))
    assert.equal(ring.writeOwners(DEFAULT, 0), [nodes(3, 1, 2)])
    assert.equal(ring.readLists(DEFAULT, 0), [nodes(3, 1, 2)])
    assert.equal(ring.allOwners(DEFAULT, 0), nodes(3, 1, 2))
  }
})

test('begun: writes go to both layouts, reads use the old', () => {
  const layouts = [sameEverywhere(nodes(1, 2, 3)), sameEverywhere(nodes(4, 1, 3, 2))] as const
  const ring = createRing(configuration('begun', layouts))
  assert.equal(ring.writeOwners(DEFAULT, 0), [nodes(1, 2, 3), nodes(4, 1, 3)])
  assert.equal(ring.readOwners(DEFAULT, 0), nodes(1, 2, 3))
  assert.equal(ring.readLists(DEFAULT, 0), [nodes(1, 2, 3)])
  assert.equal(ring.allOwners(DEFAULT, 0), nodes(1, 2, 3, 4))
})

test('switched: writes and reads need both layouts, and the new one is asked first', () => {
  const layouts = [sameEverywhere(nodes(1, 2, 3)), sameEverywhere(nodes(4, 1, 3, 2))] as const
  const ring = createRing(configuration('switched', layouts))
  assert.equal(ring.writeOwners(DEFAULT, 0), [nodes(1, 2, 3), nodes(4, 1, 3)])
  assert.equal(ring.readOwners(DEFAULT, 0), nodes(4, 1, 3))
  assert.equal(ring.readLists(DEFAULT, 0), [nodes(1, 2, 3), nodes(4, 1, 3)])
  assert.equal(ring.allOwners(DEFAULT, 0), nodes(4, 1, 3, 2))
  assert.is(ring.isOwner(node(2), DEFAULT, 0), true)
})

test('strategy full while the ring changes: a list of everybody in each layout', () => {
  const layouts = [sameEverywhere(nodes(1, 2)), sameEverywhere(nodes(2, 3, 1))] as const
  const ring = createRing(configuration('begun', layouts))
  assert.equal(ring.writeOwners(EVERYWHERE, 0), [nodes(1, 2), nodes(2, 3, 1)])
})

test('asking again gives the same lists: a request allocates nothing', () => {
  const layouts = [sameEverywhere(nodes(1, 2, 3)), sameEverywhere(nodes(4, 1, 3, 2))] as const
  const ring = createRing(configuration('begun', layouts))
  assert.is(ring.writeOwners(DEFAULT, 5), ring.writeOwners(DEFAULT, 5))
  assert.is(ring.readOwners(DEFAULT, 5), ring.readOwners(DEFAULT, 5))
  assert.is(ring.allOwners(DEFAULT, 5), ring.allOwners(DEFAULT, 5))
})

test('keyspaces are found by name and by id', () => {
  const ring = createRing(configuration('stable', [sameEverywhere(nodes(1))]))
  assert.is(ring.keyspace('pairs'), PAIRS)
  assert.is(ring.keyspaceById(4 as KeyspaceId), EVERYWHERE)
  assert.is(ring.keyspace('nothing'), null)
  assert.is(ring.keyspaceById(3 as KeyspaceId), null)
})

test('a request that began before its keyspace changed or went is routed by the ring as it is now', () => {
  const ring = createRing(configuration('stable', [sameEverywhere(nodes(1, 2, 3, 4))]))
  assert.equal(ring.readOwners({ ...PAIRS, replicas: 4 }, 0), nodes(1, 2))
  assert.equal(ring.readOwners(keyspace(3, 'dropped', 'ring', 4), 0), nodes(1, 2, 3, 4))
})

test('shares are of the layout the cluster moves to, and add up to one', () => {
  const members = Array.from({ length: 9 }, (_, i) => ({ nodeId: node(i), zone: '', weight: 1 + (i % 3) }))
  const old = planLayout({ members: members.slice(1), previous: null, partitionCount: 512 })
  const planned = planLayout({ members, previous: old, partitionCount: 512 })
  const ring = createRing(configuration('begun', [old, planned], 512))
  const shares = members.map((member) => ring.share(member.nodeId))
  assert.ok(Math.abs(shares.reduce((sum, share) => sum + share, 0) - 1) < 1e-9)
  shares.forEach((share, i) => {
    assert.ok(Math.abs(share - (1 + (i % 3)) / 18) < 0.004, `peer ${i} has ${share}`)
  })
  assert.is(ring.share(node('stranger')), 0)
})

test('levels: one, a majority of the owners in the table, all, or a number', () => {
  const ring = createRing(configuration('stable', [sameEverywhere(nodes(1))]))
  assert.equal(
    [1, 2, 3, 4, 5, 6, 7].map((count) => ring.required('quorum', count)),
    [1, 2, 2, 3, 3, 4, 4],
  )
  assert.is(ring.required('one', 3), 1)
  assert.is(ring.required('all', 3), 3)
  assert.is(ring.required(2, 3), 2)
})

test('in two lists a number asks for no more than each has', () => {
  const ring = createRing(configuration('stable', [sameEverywhere(nodes(1, 2, 3))]))
  assert.equal(ring.needed(2, [nodes(1), nodes(1, 2)]), [1, 2])
  assert.equal(ring.needed('quorum', [nodes(1), nodes(1, 2, 3)]), [1, 2])
  assert.equal(ring.needed(3, [nodes(1, 2)]), [3], 'not met: nobody was promised less')
})

test('a level above the number of owners is refused with what is allowed', () => {
  const ring = createRing(configuration('stable', [sameEverywhere(nodes(1))]))
  for (const level of [4, 0, -1, 1.5, Number.NaN]) {
    try {
      ring.required(level, 3)
      assert.unreachable()
    } catch (error) {
      assert.instance(error, KvError)
      assert.is((error as KvError).code, 'INVALID_ARGUMENT')
      assert.match((error as KvError).message, 'a number from 1 to 3')
    }
  }
})

test('any two quorums of one table share an owner, whoever is believed to be up', () => {
  const ring = createRing(configuration('stable', [sameEverywhere(nodes(1))]))
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 1000 }), (count) => {
      assert.ok(2 * ring.required('quorum', count) > count)
    }),
  )
})

test('stand-ins are the rest of the list, then the other members, and never an owner', () => {
  const ring = createRing(configuration('stable', [sameEverywhere(nodes(4, 2, 6, 1, 3, 5), 4)]))
  // The first three own it, the fourth is next on the list, two members are on no list.
  assert.equal(ring.standIns(DEFAULT, 0), nodes(1, 3, 5))
  assert.equal(ring.standIns(DEFAULT, 1), nodes(1, 5, 3))
  assert.equal(ring.standIns(PAIRS, 0), nodes(6, 1, 3, 5))
  assert.equal(ring.standIns(EVERYWHERE, 0), [])
})

test('while the ring changes an owner in either layout is no stand-in', () => {
  const layouts = [sameEverywhere(nodes(1, 2, 3, 4, 5)), sameEverywhere(nodes(5, 1, 2, 3, 4))] as const
  assert.equal(createRing(configuration('begun', layouts)).standIns(DEFAULT, 0), nodes(4))
  assert.equal(createRing(configuration('switched', layouts)).standIns(DEFAULT, 0), nodes(4))
})

test('keyspaces of one group have the same owners everywhere, and every keyspace is in one group', () => {
  const base = configuration('begun', [sameEverywhere(nodes(0, 1, 2)), sameEverywhere(nodes(0, 1, 2, 3))])
  const more = [keyspace(5, 'more', 'ring', 3), keyspace(6, 'other', 'ring', 3)]
  const altered = [{ id: 6 as KeyspaceId, strategy: 'ring', replicas: 2 } as const]
  const ring = createRing({ ...base, keyspaces: [...base.keyspaces, ...more], altered })
  assert.equal(
    ring.alike().map((group) => group.map(({ id }) => id)),
    [[1, 5], [2], [4], [6]],
  )
  for (const [first, ...others] of ring.alike()) {
    for (let partition = 0; partition < PARTITIONS; partition++) {
      for (const other of others) {
        assert.equal(ring.writeOwners(other, partition), ring.writeOwners(first, partition))
        assert.equal(ring.readLists(other, partition), ring.readLists(first, partition))
      }
    }
  }
})

test.run()
