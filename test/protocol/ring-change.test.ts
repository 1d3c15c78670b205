import fc from 'fast-check'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { type KeyspaceId, type NodeId, parseClusterId, parseNodeId } from '../../src/base/ids.ts'
import type { Configuration, Member } from '../../src/protocol/configuration.ts'
import {
  begin,
  createKeyspace,
  exclude,
  finish,
  firstConfiguration,
  retarget,
  switchOver,
} from '../../src/protocol/configuration-change.ts'
import { bitsOf, isLacking, LACKS_NOTHING, type Lacks } from '../../src/protocol/lacks.ts'
import { layoutMoves } from '../../src/protocol/layout-plan.ts'
import { createRing, type Ring } from '../../src/protocol/ring.ts'
import {
  dutiesOf,
  findLoss,
  findShortage,
  isRetargetDue,
  membersWaitedFor,
  sourcesNeeded,
} from '../../src/protocol/ring-change.ts'
import { DEFAULT_KEYSPACE_OPTIONS } from '../../src/wire/requests.ts'

const node = (index: number): NodeId => parseNodeId(`n${String(index).padStart(3, '0')}`)
const member = (index: number): Member => ({ nodeId: node(index), zone: `zone${index % 3}`, weight: 1 })
/** By keyspace, then partition. */
const dutiesIn = (ring: Ring, nodeId: NodeId) =>
  dutiesOf(ring, nodeId).flatMap(({ keyspaces, duties }) => {
    return keyspaces.flatMap((keyspace) => duties.map((duty) => ({ keyspace, ...duty })))
  })
const acceptors = (configuration: Configuration) =>
  configuration.members.map(({ nodeId }) => ({ nodeId, acceptorId: 'votes' }))

/** A cluster of the peers 0 to `count` - 1 with three keyspaces. */
function clusterOf(count: number): Configuration {
  const first = firstConfiguration({
    clusterId: parseClusterId('c'),
    member: member(0),
    acceptorId: 'votes',
    partitionCount: 16,
    nowMs: 0,
  })
  const full = { ...DEFAULT_KEYSPACE_OPTIONS, strategy: 'full' } as const
  const one = { ...DEFAULT_KEYSPACE_OPTIONS, replicas: 1 }
  const base = createKeyspace(createKeyspace(first, 'full', full, 0), 'one', one, 0)
  if (count === 1) return base
  const joining = Array.from({ length: count - 1 }, (_, i) => member(i + 1))
  const switched = switchOver(begin(base, { joining }, 0), 0)
  return finish(switched, acceptors(switched), 0)
}

function openChange(seed: { peers: number; joins: number; leaves: number; replicas: number }): Ring {
  const { peers, joins, leaves, replicas } = seed
  const before = clusterOf(peers)
  const leaving = Array.from({ length: Math.min(leaves, peers + joins - 1) }, (_, i) => node(i)).slice(
    0,
    peers,
  )
  const joining = Array.from({ length: joins }, (_, i) => member(peers + i))
  const keyspaces = [{ id: 1 as KeyspaceId, strategy: 'ring', replicas } as const]
  return createRing(begin(before, { joining, leaving, keyspaces }, 0))
}

const changes = fc.record({
  peers: fc.integer({ min: 1, max: 7 }),
  joins: fc.integer({ min: 0, max: 3 }),
  leaves: fc.integer({ min: 0, max: 3 }),
  replicas: fc.integer({ min: 1, max: 5 }),
})

test('every new owner of a partition is compared with every old one, and nobody else with anybody', () => {
  fc.assert(
    fc.property(changes, (seed) => {
      const ring = openChange(seed)
      const { keyspaces, members } = ring.configuration
      const found = new Map(members.map(({ nodeId }) => [nodeId, dutiesIn(ring, nodeId)]))
      for (const keyspace of keyspaces) {
        for (let partition = 0; partition < ring.partitionCount; partition++) {
          const [before, after] = ring.writeOwners(keyspace, partition)
          for (const { nodeId } of members) {
            const duty = found
              .get(nodeId)
              ?.find((one) => one.keyspace === keyspace && one.partition === partition)
            const isDue = after?.includes(nodeId) === true
            assert.is(duty !== undefined, isDue)
            if (duty === undefined || before === undefined) continue
            assert.equal(
              duty.sources,
              before.filter((owner) => owner !== nodeId),
            )
            assert.is(duty.isGained, !before.includes(nodeId))
          }
        }
      }
    }),
    { numRuns: 60 },
  )
})

test('what is gained is what the plan moves', () => {
  const before = clusterOf(4)
  const begun = begin(before, { joining: [member(4)] }, 0)
  const [from, to] = begun.layouts
  const gained = dutiesIn(createRing(begun), node(4)).filter(({ isGained, keyspace }) => {
    return isGained && keyspace.name === 'default'
  })
  const moves = layoutMoves(from, to ?? from, 3).moves.filter(({ nodeId }) => nodeId === node(4))
  assert.equal(
    gained.map(({ partition }) => partition),
    moves.map(({ partition }) => partition),
  )
})

test('nothing is due while no change is open, and the same before and after the switch', () => {
  const before = clusterOf(4)
  assert.equal(dutiesOf(createRing(before), node(0)), [])
  const begun = begin(before, { joining: [member(4)] }, 0)
  const switched = switchOver(begun, 0)
  for (let i = 0; i < 5; i++) {
    assert.equal(dutiesOf(createRing(switched), node(i)), dutiesOf(createRing(begun), node(i)))
  }
  const finished = finish(switched, acceptors(switched), 0)
  assert.equal(dutiesOf(createRing(finished), node(4)), [])
})

test('nobody waits for who is excluded, and nobody takes over from him', () => {
  const begun = exclude(begin(clusterOf(4), { joining: [member(4)] }, 0), node(1), 0)
  assert.equal(membersWaitedFor(begun), [node(0), node(2), node(3), node(4)])
  const sources = dutiesIn(createRing(begun), node(4)).flatMap((duty) => duty.sources)
  assert.not.ok(sources.includes(node(1)))
})

test('a change stops where too few old owners are left to have every acknowledged write', () => {
  assert.equal([1, 2, 3, 4, 5, 7].map(sourcesNeeded), [1, 1, 2, 2, 3, 4])
  const fc3 = {
    ...clusterOf(4),
    keyspaces: [{ ...DEFAULT_KEYSPACE_OPTIONS, id: 1 as KeyspaceId, name: 'default' }],
  }
  const begun = begin(fc3, { joining: [member(4)] }, 0)
  assert.is(findShortage(createRing(fc3)), null)
  assert.is(findShortage(createRing(begun)), null)
  const one = exclude(begun, node(1), 0)
  assert.is(findShortage(createRing(one)), null)
  const shortage = findShortage(createRing(exclude(one, node(2), 0)))
  assert.is(shortage?.owners.length, 3)
  assert.is(shortage?.left.length, 1)
})

test('a change is retargeted before the switch when a target is given up, then when too few are left', () => {
  const fc3 = {
    ...clusterOf(1),
    keyspaces: [{ ...DEFAULT_KEYSPACE_OPTIONS, id: 1 as KeyspaceId, name: 'default' }],
  }
  const begun = begin(fc3, { joining: [member(1), member(2), member(3)] }, 0)
  const switched = switchOver(begun, 0)
  const isDue = (configuration: Configuration): boolean => isRetargetDue(createRing(configuration))
  assert.not(isDue(begun))
  assert.ok(isDue(exclude(begun, node(3), 0)))
  const oneIsDead = exclude(switched, node(3), 0)
  assert.not(isDue(oneIsDead), 'two of three new owners have what is acknowledged')
  const twoAreDead = exclude(oneIsDead, node(2), 0)
  assert.ok(isDue(twoAreDead))
  const back = retarget(twoAreDead, 0)
  assert.equal([back.phase, back.excluded, back.removed], ['begun', [], [node(2), node(3)]])
  assert.not(isDue(back))
  const leaving = begin(clusterOf(4), { leaving: [node(3)] }, 0)
  assert.not(isDue(exclude(leaving, node(3), 0)), 'who leaves takes over nothing')
})

test('who is given up while no change is open is looked at, too', () => {
  const base = clusterOf(4)
  const named = (name: string) => base.keyspaces.filter((keyspace) => keyspace.name === name)
  const of = (name: string) => createRing(exclude({ ...base, keyspaces: named(name) }, node(1), 0))
  assert.is(findShortage(of('default')), null)
  assert.is(findShortage(of('full')), null)
  assert.equal(findShortage(of('one'))?.left, [], 'the only copy')
})

test('as many sources as are needed share an owner with every majority', () => {
  for (let count = 1; count <= 7; count++) {
    assert.ok(sourcesNeeded(count) + Math.floor(count / 2) + 1 > count)
    assert.ok(sourcesNeeded(count) - 1 + Math.floor(count / 2) + 1 <= count, 'and no more than needed')
  }
})

const peerCounts = fc.integer({ min: 1, max: 7 })

test('who is to go leaves as many that say that they have everything as must have it', () => {
  const named = fc.array(fc.constantFrom('whole', 'partly', 'silent'), { minLength: 7, maxLength: 7 })
  const lackedBy = fc.array(fc.integer({ min: 0, max: 15 }), { minLength: 7, maxLength: 7 })
  fc.assert(
    fc.property(peerCounts, named, lackedBy, fc.nat(), (count, kinds, lacked, pick) => {
      if (count < 2) return
      const base = clusterOf(count)
      const gone = node(pick % count)
      const said = new Map<NodeId, Lacks>()
      for (let i = 0; i < count; i++) {
        const bits = bitsOf(16, (partition) => partition === lacked[i])
        if (kinds[i] === 'whole') said.set(node(i), LACKS_NOTHING)
        if (kinds[i] === 'partly') said.set(node(i), new Map([[1 as KeyspaceId, bits]]))
      }
      const next = createRing(exclude(base, gone, 0))
      const has = (owner: NodeId, id: KeyspaceId, partition: number): boolean => {
        const lacks = said.get(owner)
        return owner !== gone && lacks !== undefined && !isLacking(lacks, id, partition)
      }
      const isShort = base.keyspaces.some((keyspace) => {
        return Array.from({ length: 16 }, (_, partition) => partition).some((partition) => {
          const owners = next.allOwners(keyspace, partition)
          const left = owners.filter((owner) => has(owner, keyspace.id, partition))
          return owners.includes(gone) && left.length < sourcesNeeded(owners.length)
        })
      })
      assert.is(findLoss(next, [], said) !== null, isShort)
      assert.is(findLoss(next, [gone], new Map()) !== null, findShortage(next) !== null, 'nobody goes now')
    }),
  )
})

test('it is said who lacks something, and who says nothing', () => {
  const base = { ...clusterOf(3), keyspaces: clusterOf(3).keyspaces.filter(({ name }) => name === 'full') }
  const next = createRing(exclude(base, node(2), 0))
  const bits = bitsOf(16, (partition) => partition === 9)
  const said = new Map<NodeId, Lacks>([[node(0), LACKS_NOTHING]])
  const loss = findLoss(next, [], said.set(node(1), new Map([[2 as KeyspaceId, bits]])))
  assert.equal([loss?.partition, loss?.left, loss?.lacking], [9, [node(0)], [node(1)]])
  said.delete(node(1))
  const more = findLoss(next, [], said)
  assert.equal([more?.partition, more?.left, more?.silent], [0, [node(0)], [node(1)]])
})

test.run()
