import fc from 'fast-check'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { KvError } from '../../src/base/error.ts'
import {
  type KeyspaceId,
  type NodeId,
  parseClusterId,
  parseNodeId,
  parseStoreId,
} from '../../src/base/ids.ts'
import {
  type Acceptor,
  type Configuration,
  type Layout,
  MAX_ACCEPTORS,
  MAX_KEYSPACES,
  type Member,
  readLayout,
  targetLayout,
} from '../../src/protocol/configuration.ts'
import {
  type Alteration,
  begin,
  createKeyspace,
  dropKeyspace,
  electAcceptors,
  exclude,
  finish,
  firstConfiguration,
  readmit,
  renewAcceptor,
  retarget,
  switchOver,
} from '../../src/protocol/configuration-change.ts'
import { findFlaw } from '../../src/protocol/configuration-check.ts'
import { preferenceList } from '../../src/protocol/layout.ts'
import { DEFAULT_KEYSPACE, DEFAULT_KEYSPACE_OPTIONS as OPTIONS } from '../../src/wire/requests.ts'

const member = (name: string, zone = '', weight = 1): Member => ({ nodeId: parseNodeId(name), zone, weight })
const acceptor = ({ nodeId }: { nodeId: NodeId }): Acceptor => ({ nodeId, acceptorId: `votes of ${nodeId}` })
const DEFAULT_ID = 1 as KeyspaceId
const first = (): Configuration => {
  const [clusterId, founder] = [parseClusterId('cluster'), member('a')]
  return firstConfiguration({
    clusterId,
    member: founder,
    acceptorId: 'votes of a',
    partitionCount: 16,
    nowMs: 5,
  })
}
const join = (configuration: Configuration, members: Member[]): Configuration => {
  const switched = switchOver(begin(configuration, { joining: members }, 6), 7)
  return finish(switched, switched.members.map(acceptor), 8)
}

function throws(code: string, run: () => unknown): void {
  assert.throws(run, (error: unknown) => error instanceof KvError && error.code === code)
}

test('a new cluster has one member, who votes, and the default keyspace that clients know', () => {
  const configuration = first()
  assert.is(configuration.number, 1)
  assert.equal(configuration.acceptors, [acceptor(member('a'))])
  assert.equal(configuration.keyspaces, [{ id: 1 as KeyspaceId, name: DEFAULT_KEYSPACE, ...OPTIONS }])
  assert.is(findFlaw(configuration), null)
})

// Raft (2014), section 6: "the joint consensus combines both the old and new configurations".
test('a join writes to both layouts before reads move, and reads move before the old layout goes', () => {
  const stable = first()
  const begun = begin(stable, { joining: [member('c'), member('b')] }, 6)
  assert.is(begun.phase, 'begun')
  assert.equal(
    begun.members.map(({ nodeId }) => nodeId),
    ['a', 'b', 'c'],
  )
  assert.is(begun.layouts.length, 2)
  assert.is(readLayout(begun), stable.layouts[0])
  assert.equal(begun.acceptors, stable.acceptors, 'acceptors change only at the end')

  const switched = switchOver(begun, 7)
  assert.equal(switched.layouts, begun.layouts)
  assert.is(readLayout(switched), begun.layouts[1])

  const finished = finish(switched, switched.members.map(acceptor), 8)
  assert.is(finished.phase, 'stable')
  assert.equal(finished.layouts, [targetLayout(begun)])
  assert.is(finished.acceptors.length, 3)
  assert.equal(
    [begun, switched, finished].map(({ number }) => number),
    [2, 3, 4],
  )
})

test('each step follows only from the one before it', () => {
  const stable = first()
  const begun = begin(stable, { joining: [member('b')] }, 6)
  throws('CONFLICT', () => switchOver(stable, 7))
  throws('CONFLICT', () => finish(stable, [], 7))
  throws('CONFLICT', () => finish(begun, [], 7))
  throws('CONFLICT', () => begin(begun, { joining: [member('c')] }, 7))
  throws('CONFLICT', () => switchOver(switchOver(begun, 7), 8))
})

test('a join is refused to members, to those removed, twice in one, and with nonsense', () => {
  const stable = { ...first(), removed: [parseNodeId('gone')] }
  throws('CONFLICT', () => begin(stable, { joining: [member('a')] }, 6))
  throws('CONFLICT', () => begin(stable, { joining: [member('gone')] }, 6))
  throws('INVALID_ARGUMENT', () => begin(stable, { joining: [] }, 6))
  throws('INVALID_ARGUMENT', () => begin(stable, { joining: [member('b'), member('b')] }, 6))
  throws('INVALID_ARGUMENT', () => begin(stable, { joining: [member('b', '', 0)] }, 6))
  throws('INVALID_ARGUMENT', () => begin(stable, { joining: [member('b', '', 1.5)] }, 6))
  throws('INVALID_ARGUMENT', () => begin(stable, { joining: [member('b', 'a\nzone')] }, 6))
})

test('keyspaces come and go in any phase; their ids never come back', () => {
  const begun = begin(first(), { joining: [member('b')] }, 6)
  const created = createKeyspace(begun, 'cities', OPTIONS, 9)
  assert.is(created.phase, 'begun')
  assert.equal(created.keyspaces[1], { id: 2 as KeyspaceId, name: 'cities', ...OPTIONS })
  const dropped = dropKeyspace(created, 2 as KeyspaceId, 10)
  assert.equal(dropped.keyspaces, begun.keyspaces)
  const again = createKeyspace(dropped, 'cities', OPTIONS, 11)
  assert.is(again.keyspaces[1]?.id, 3)
})

test('a drop that is repeated spares the keyspace that was made under the same name since', () => {
  const created = createKeyspace(first(), 'logs', OPTIONS, 9)
  const dropped = dropKeyspace(created, 2 as KeyspaceId, 10)
  assert.is(dropKeyspace(dropped, 2 as KeyspaceId, 11), dropped)
  const anew = createKeyspace(dropped, 'logs', OPTIONS, 12)
  assert.is(dropKeyspace(anew, 2 as KeyspaceId, 13), anew)
})

test('making a keyspace that is there already changes nothing; with other options it is a conflict', () => {
  const created = createKeyspace(first(), 'cities', OPTIONS, 9)
  assert.is(createKeyspace(created, 'cities', { ...OPTIONS }, 10), created)
  throws('CONFLICT', () => createKeyspace(created, 'cities', { ...OPTIONS, replicas: 2 }, 10))
  throws('CONFLICT', () => createKeyspace(created, DEFAULT_KEYSPACE, { ...OPTIONS, conflicts: 'lww' }, 10))
})

test('a keyspace that cannot be is refused with a reason', () => {
  const stable = first()
  for (const name of ['', 'a b', 'ä', 'x'.repeat(65), 'a/b']) {
    throws('INVALID_ARGUMENT', () => createKeyspace(stable, name, OPTIONS, 9))
  }
  for (const replicas of [0, 8, 2.5, Number.NaN]) {
    throws('INVALID_ARGUMENT', () => createKeyspace(stable, 'x', { ...OPTIONS, replicas }, 9))
  }
  throws('INVALID_ARGUMENT', () => createKeyspace(stable, 'x', { ...OPTIONS, w: 4 }, 9))
  throws('INVALID_ARGUMENT', () => createKeyspace(stable, 'x', { ...OPTIONS, r: 0 }, 9))
  assert.is(createKeyspace(stable, 'x', { ...OPTIONS, strategy: 'full', w: 4 }, 9).number, 2)
})

test('the default keyspace stays, and there is a limit', () => {
  let configuration = first()
  throws('INVALID_ARGUMENT', () => dropKeyspace(configuration, DEFAULT_ID, 9))
  for (let i = 1; i < MAX_KEYSPACES; i++)
    configuration = createKeyspace(configuration, `space${i}`, OPTIONS, 9)
  throws('CONFLICT', () => createKeyspace(configuration, 'one-more', OPTIONS, 9))
})

test('as many acceptors as can be, an odd number up to seven', () => {
  for (const [members, count] of [
    [1, 1],
    [2, 1],
    [3, 3],
    [4, 3],
    [6, 5],
    [7, 7],
    [40, MAX_ACCEPTORS],
  ] as const) {
    const list = Array.from({ length: members }, (_, i) => member(`m${String(i).padStart(2, '0')}`))
    assert.is(electAcceptors(list, list.map(acceptor), []).length, count, `${members} members`)
  }
})

test('acceptors fill the zones evenly, and who votes already goes on', () => {
  const zones = ['east', 'east', 'east', 'east', 'north', 'west', 'west']
  const members = zones.map((zone, i) => member(`m${i}`, zone))
  const elected = (electable: Member[], incumbents: Member[] = []): string[] =>
    electAcceptors(members, electable.map(acceptor), incumbents.map(acceptor)).map(({ nodeId }) => nodeId)
  const [, , , m3] = members as [Member, Member, Member, Member]
  assert.equal(elected(members.filter((_, i) => i !== 6).slice(2)), ['m2', 'm4', 'm5'])
  assert.equal(elected(members.filter((_, i) => i !== 6).slice(2), [m3]), ['m3', 'm4', 'm5'])
  assert.equal(elected(members.slice(0, 6)), ['m0', 'm1', 'm2', 'm4', 'm5'])
})

test('nobody who is not a member votes, and somebody has to', () => {
  const members = [member('a'), member('b'), member('c')]
  const stranger = acceptor(member('stranger'))
  assert.equal(
    electAcceptors(members, [stranger, ...members.map(acceptor)], [stranger]),
    members.map(acceptor),
  )
  throws('UNAVAILABLE', () => electAcceptors(members, [stranger], []))
})

test('an acceptor that lost its votes is elected under its new id', () => {
  const stable = join(first(), [member('b'), member('c')])
  const switched = switchOver(begin(stable, { joining: [member('d')] }, 9), 10)
  const electable = switched.members.map((one) =>
    one.nodeId === 'b' ? { ...one, acceptorId: 'new' } : acceptor(one),
  )
  const { acceptors } = finish(switched, electable, 11)
  assert.equal(
    acceptors.map(({ acceptorId }) => acceptorId),
    ['votes of a', 'new', 'votes of c'],
  )
})

test('a member that lost data is let in again by a number of its own, and nothing else changes', () => {
  const before = join(first(), [member('b'), member('c')])
  const [nodeId, storeId] = [parseNodeId('b'), parseStoreId('another')]
  const after = readmit(before, nodeId, storeId, 9)
  assert.is(after.number, before.number + 1)
  assert.match(after.reason, storeId)
  assert.equal(
    { ...after, number: 0, reason: '', decidedAtMs: 0, history: [] },
    { ...before, number: 0, reason: '', decidedAtMs: 0, history: [] },
  )
  throws('CONFLICT', () => readmit(before, parseNodeId('stranger'), storeId, 9))
})

test('an acceptor that lost its votes is named anew between two changes of the ring', () => {
  const before = join(first(), [member('b'), member('c')])
  const renewed = { nodeId: parseNodeId('b'), acceptorId: 'other votes' }
  const after = renewAcceptor(before, renewed, 9)
  assert.equal(
    after.acceptors.map(({ acceptorId }) => acceptorId),
    ['votes of a', 'other votes', 'votes of c'],
  )
  assert.is(renewAcceptor(after, renewed, 9), after, 'once')
  assert.is(renewAcceptor(before, { ...renewed, nodeId: parseNodeId('stranger') }, 9), before)
})

function alterationOf(kind: string, before: Configuration, newcomers: readonly Member[]): Alteration {
  const leaving = before.members.slice(0, 1).map(({ nodeId }) => nodeId)
  const isLast = before.members.length === 1
  if (kind === 'replace') return { joining: newcomers.slice(0, 1), leaving, dead: leaving }
  if (kind === 'leave' && !isLast) return { leaving }
  if (kind !== 'alter') return { joining: newcomers }
  const strategy = newcomers.length > 2 ? 'full' : 'ring'
  return { keyspaces: before.keyspaces.map(({ id }) => ({ id, strategy, replicas: newcomers.length })) }
}

test('who leaves is a member until the end, then never again; nobody waits for one that is dead', () => {
  const stable = join(first(), [member('b'), member('c'), member('d')])
  const [b, c] = [parseNodeId('b'), parseNodeId('c')]
  const begun = begin(stable, { leaving: [b, c], dead: [c] }, 6)
  assert.is(begun.reason, 'begin leave of b, removal of c')
  assert.equal(begun.layouts[1]?.members, [parseNodeId('a'), parseNodeId('d')])
  assert.equal(begun.excluded, [c])
  const finished = finish(
    switchOver(begun, 7),
    [acceptor({ nodeId: b }), acceptor({ nodeId: c })].concat(acceptor({ nodeId: parseNodeId('d') })),
    8,
  )
  assert.equal(
    finished.members.map(({ nodeId }) => nodeId),
    [parseNodeId('a'), parseNodeId('d')],
  )
  assert.equal(finished.acceptors, [acceptor({ nodeId: parseNodeId('d') })], 'who has gone does not vote')
  assert.equal([finished.excluded, finished.removed], [[], [b, c]])
  throws('CONFLICT', () => begin(finished, { joining: [member('b')] }, 9))
  throws('CONFLICT', () => begin(finished, { leaving: [b] }, 9))
  throws('INVALID_ARGUMENT', () =>
    begin(finished, { leaving: finished.members.map(({ nodeId }) => nodeId) }, 9),
  )
})

test('a newcomer takes exactly the places of the one that it replaces', () => {
  const stable = join(first(), [member('b'), member('c'), member('d')])
  const [b, e] = [parseNodeId('b'), parseNodeId('e')]
  const { layouts } = begin(stable, { joining: [member('e')], leaving: [b] }, 6)
  const [before, after] = layouts as [Layout, Layout]
  for (let partition = 0; partition < stable.partitionCount; partition++) {
    const owners = preferenceList(before, partition, 3).map((nodeId) => (nodeId === b ? e : nodeId))
    assert.equal(preferenceList(after, partition, 3).sort(), owners.sort())
  }
})

test('a keyspace is altered when the change is finished', () => {
  const stable = join(first(), [member('b'), member('c')])
  const altered = { id: DEFAULT_ID, strategy: 'full', replicas: 2 } as const
  const begun = begin(stable, { keyspaces: [altered] }, 6)
  assert.equal(begun.keyspaces, stable.keyspaces)
  const finished = finish(switchOver(begun, 7), begun.members.map(acceptor), 8)
  assert.equal(finished.keyspaces, [{ ...stable.keyspaces[0], strategy: 'full', replicas: 2 }])
  throws('INVALID_ARGUMENT', () => begin(stable, { keyspaces: [{ ...altered, replicas: 9 }] }, 6))
  throws('NOT_FOUND', () => begin(stable, { keyspaces: [{ ...altered, id: 77 as KeyspaceId }] }, 6))
  const other = createKeyspace(stable, 'other', OPTIONS, 6)
  const id = other.keyspaces[1]?.id as KeyspaceId
  const both = begin(other, { keyspaces: [{ ...altered, id }] }, 7)
  assert.equal(dropKeyspace(both, id, 8).altered, [], 'it may be dropped meanwhile')
})

test('an open change goes on without excluded peers, begun again, or with nothing to move', () => {
  const stable = join(first(), [member('b'), member('c')])
  const d = parseNodeId('d')
  const begun = begin(stable, { joining: [member('d'), member('e')] }, 6)
  const without = retarget(exclude(begun, d, 7), 8)
  assert.equal([without.phase, without.phaseNumber], ['begun', begun.number + 2])
  assert.not.ok(without.members.some(({ nodeId }) => nodeId === d))
  assert.equal([without.removed, without.excluded], [[d], []])
  assert.not.ok(without.layouts[1]?.members.includes(d))
  const onlyDead = retarget(exclude(begin(stable, { joining: [member('d')] }, 6), d, 7), 8)
  assert.equal(onlyDead.layouts[1], stable.layouts[0], 'back to where it was')
  const old = parseNodeId('b')
  const withoutOld = retarget(exclude(begun, old, 7), 8)
  assert.equal([withoutOld.excluded, withoutOld.layouts[1]?.members.includes(old)], [[old], false])
  const switched = retarget(exclude(switchOver(begun, 7), d, 8), 9)
  assert.equal([switched.phase, switched.layouts], ['begun', without.layouts], 'after the switch, too')
  throws('CONFLICT', () => retarget(stable, 8))
})

test('a change whose targets are all dead goes back to who was to leave', () => {
  const stable = first()
  const leaving = stable.members.map(({ nodeId }) => nodeId)
  const begun = begin(stable, { joining: [member('d')], leaving }, 6)
  const back = retarget(exclude(begun, parseNodeId('d'), 7), 8)
  assert.equal(back.layouts[1], stable.layouts[0])
  const [only] = leaving as [NodeId]
  throws('CONFLICT', () => exclude(back, only, 9))
})

test('who is excluded goes with the next change, whatever that is', () => {
  const stable = join(first(), [member('b'), member('c')])
  const b = parseNodeId('b')
  const excluded = exclude(stable, b, 6)
  assert.is(excluded.phase, 'stable')
  const begun = begin(excluded, { joining: [member('d')] }, 7)
  assert.equal([begun.excluded, begun.layouts[1]?.members.includes(b)], [[b], false])
})

test('an excluded member stays one', () => {
  const begun = begin(join(first(), [member('b'), member('c')]), { joining: [member('d')] }, 6)
  const b = parseNodeId('b')
  const without = exclude(begun, b, 7)
  assert.equal(without.excluded, [b])
  assert.equal([without.layouts, without.phaseNumber], [begun.layouts, begun.phaseNumber])
  assert.is(exclude(without, b, 8), without)
  throws('CONFLICT', () => exclude(without, parseNodeId('stranger'), 8))
})

test('whatever the order of joins and keyspaces, every configuration is sound and keeps its promises', () => {
  const step = fc.record({
    kind: fc.constantFrom('advance', 'leave', 'alter', 'replace', 'retarget', 'create', 'drop'),
    count: fc.integer({ min: 1, max: 4 }),
  })
  fc.assert(
    fc.property(fc.array(step, { maxLength: 25 }), (steps) => {
      let configuration = first()
      let names = 0
      const idOfName = new Map<number, string>()
      const gone = new Set<NodeId>()
      for (const { kind, count } of steps) {
        const before = configuration
        if (kind === 'create') configuration = createKeyspace(before, `space${names++}`, OPTIONS, names)
        else if (kind === 'drop') {
          const last = before.keyspaces.at(-1)?.id ?? DEFAULT_ID
          if (last !== DEFAULT_ID) configuration = dropKeyspace(before, last, names)
        } else if (before.phase === 'begun' && kind === 'retarget') configuration = retarget(before, names)
        else if (before.phase === 'begun') configuration = switchOver(before, names)
        else if (before.phase === 'switched')
          configuration = finish(before, before.members.map(acceptor), names)
        else {
          const newcomers = Array.from({ length: count }, () => member(`peer${names++}`, `zone${names % 3}`))
          configuration = begin(before, alterationOf(kind, before, newcomers), names)
        }
        assert.is(findFlaw(configuration), null)
        if (configuration === before) continue
        assert.is(configuration.number, before.number + 1)
        const writtenBefore: readonly Layout[] = before.layouts
        const writtenNow: readonly Layout[] = configuration.layouts
        const stillWritten = before.layouts.some((layout) => writtenNow.includes(layout))
        assert.ok(stillWritten, 'a layout of the number before still takes writes')
        assert.ok(
          writtenBefore.includes(readLayout(configuration)),
          'reads look only where writes have gone since the number before',
        )
        for (const { nodeId } of configuration.members) gone.delete(nodeId) && assert.unreachable(nodeId)
        for (const nodeId of configuration.removed) gone.add(nodeId)
        for (const { id, name } of configuration.keyspaces) {
          assert.is(idOfName.get(id) ?? name, name, 'an id never names two keyspaces')
          idOfName.set(id, name)
        }
      }
    }),
    { numRuns: 60 },
  )
})

test('a flaw is found wherever it is', () => {
  const sound = join(first(), [member('b'), member('c', 'z')])
  const [layout] = sound.layouts
  const rows = (change: (bytes: Uint8Array) => void): Configuration => {
    const copy = layout.rows.slice()
    change(copy)
    return { ...sound, layouts: [{ ...layout, rows: copy }] }
  }
  const stranger = parseNodeId('stranger')
  const [one, two, three] = sound.members as [Member, Member, Member]
  const [seat] = sound.acceptors as [Acceptor]
  const flawed: Record<string, Configuration> = {
    number: { ...sound, number: 0 },
    'partition count': { ...sound, partitionCount: 17 },
    phase: { ...sound, phase: 'begun' },
    'no members': { ...sound, members: [] },
    'order of members': { ...sound, members: [two, one, three] },
    'a member twice': { ...sound, members: [one, one, two, three] },
    'a member without a layout': { ...sound, members: [one, two, three, member('d')] },
    'a weight': { ...sound, members: [{ ...one, weight: 1001 }, two, three] },
    'a removed member': { ...sound, removed: [two.nodeId] },
    'an excluded stranger': { ...sound, excluded: [stranger] },
    'no acceptor': { ...sound, acceptors: [] },
    'two acceptors': { ...sound, acceptors: sound.acceptors.slice(0, 2) },
    'an acceptor that is a stranger': { ...sound, acceptors: [{ ...seat, nodeId: stranger }] },
    'a keyspace id in use': { ...sound, nextKeyspaceId: 1 as KeyspaceId },
    'a keyspace twice': { ...sound, keyspaces: [...sound.keyspaces, ...sound.keyspaces] },
    'a layout of a stranger': {
      ...sound,
      layouts: [{ ...layout, members: [one.nodeId, two.nodeId, stranger] }],
    },
    'a layout depth': { ...sound, layouts: [{ ...layout, depth: 2 }] },
    'too few rows': { ...sound, layouts: [{ ...layout, rows: layout.rows.subarray(2) }] },
    'a row beyond the members': rows((bytes) => bytes.fill(9, 0, 2)),
    'an owner twice': rows((bytes) => bytes.copyWithin(2, 0, 2)),
  }
  assert.is(findFlaw(sound), null)
  for (const [what, configuration] of Object.entries(flawed))
    assert.type(findFlaw(configuration), 'string', what)
})

test.run()
