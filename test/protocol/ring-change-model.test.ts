import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { type KeyspaceId, type NodeId, parseClusterId, parseNodeId } from '../../src/base/ids.ts'
import {
  type Configuration,
  DEFAULT_KEYSPACE_OPTIONS,
  type Layout,
  type Phase,
} from '../../src/protocol/configuration.ts'
import { makeLayout } from '../../src/protocol/layout.ts'
import { createRing } from '../../src/protocol/ring.ts'
import { type Change, type Mistake, runChange } from './ring-change-model.ts'

const SCHEDULES = 300
const KEYSPACE = { id: 1 as KeyspaceId, name: 'default', ...DEFAULT_KEYSPACE_OPTIONS }
const nodes = (names: string): NodeId[] => [...names].map((name) => parseNodeId(name))

function configuration(number: number, phase: Phase, layouts: Configuration['layouts']): Configuration {
  const members = [...new Set(layouts.flatMap((layout) => layout.members))].sort()
  return {
    clusterId: parseClusterId('c'),
    number,
    partitionCount: 1,
    phase,
    members: members.map((nodeId) => ({ nodeId, zone: '', weight: 1 })),
    ...{ excluded: [], removed: [], acceptors: [], keyspaces: [KEYSPACE], layouts },
    ...{ nextKeyspaceId: 2 as KeyspaceId, reason: 'test', decidedAtMs: 0 },
    ...{
      phaseNumber: number,
      changeNumber: 1,
      isManual: false,
      staged: [],
      lossAccepted: [],
      history: [],
      decidedBy: 'n0' as NodeId,
      altered: [],
    },
  }
}

/** @param dead old owners that nobody waits for any more */
function changeOf(oldOwners: string, newOwners: string, dead = ''): Change {
  const layoutOf = (names: string): Layout =>
    makeLayout(
      nodes(names),
      names.length,
      Uint16Array.from(names, (_, i) => i),
    )
  const [before, after] = [layoutOf(oldOwners), layoutOf(newOwners)]
  const phases: Configuration[] = [
    configuration(1, 'stable', [before]),
    configuration(2, 'begun', [before, after]),
    configuration(3, 'switched', [before, after]),
    configuration(4, 'stable', [after]),
  ]
  const living = [...new Set([...oldOwners, ...newOwners])].filter((name) => !dead.includes(name))
  const sources = [...oldOwners].filter((name) => !dead.includes(name))
  return {
    rings: phases.map(createRing) as unknown as Change['rings'],
    sources: new Map(
      nodes(newOwners)
        .map((target) => [target, nodes(sources.join('')).filter((source) => source !== target)] as const)
        .filter(([, others]) => others.length > 0),
    ),
    peers: nodes(living.join('')),
    coordinators: nodes(living.slice(0, 3).join('')),
  }
}

const CHANGES: Readonly<Record<string, Change>> = {
  'one owner moves': changeOf('abc', 'bcd'),
  'two owners move': changeOf('abc', 'cde'),
  'all owners move': changeOf('abc', 'def'),
  'a dead owner is replaced': changeOf('abc', 'bcd', 'a'),
  'N grows': changeOf('ab', 'abc'),
  'N shrinks': changeOf('abc', 'a'),
  'from one owner to three': changeOf('a', 'bcd'),
}

test('through every change of owners, reads show what was acknowledged and what was shown before', () => {
  for (const [name, change] of Object.entries(CHANGES)) {
    for (let i = 0; i < SCHEDULES; i++) assert.is(runChange(change, `${name}/${i}`, null), null)
  }
})

/** Schedules in which a mistake shows: most do not. */
const SHOWING: readonly (readonly [Mistake, name: string, schedule: number])[] = [
  ['reads leave the old owners at once', 'two owners move', 3960],
  ['reads leave the old owners at once', 'N shrinks', 2187],
  ['no second comparison', 'from one owner to three', 4016],
  ['no second comparison', 'N shrinks', 733],
  ['one source', 'all owners move', 747],
  ['writes to one table', 'one owner moves', 4772],
  ['writes to one table', 'N shrinks', 93],
]
test('the same schedules show what goes wrong when one of the rules is broken', () => {
  for (const [mistake, name, schedule] of SHOWING) {
    const change = CHANGES[name] as Change
    assert.is(runChange(change, `${name}/${schedule}`, null), null)
    assert.match(runChange(change, `${name}/${schedule}`, mistake) ?? '', /^a read under/, mistake)
  }
})

test.run()
