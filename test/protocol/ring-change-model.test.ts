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
import { createRing, type Ring } from '../../src/protocol/ring.ts'
import { dutiesOf, isRetargetDue } from '../../src/protocol/ring-change.ts'
import { type Change, type Mistake, runChange } from './ring-change-model.ts'

const SCHEDULES = 300
const KEYSPACE = { id: 1 as KeyspaceId, name: 'default', ...DEFAULT_KEYSPACE_OPTIONS }
const nodes = (names: string): NodeId[] => [...names].map((name) => parseNodeId(name))

/** One configuration of a change: its phase, the owners of it, and who is excluded. */
type Step = readonly [phase: Phase, owners: string, newOwners?: string | undefined, excluded?: string]

function changeOf(steps: readonly Step[], dead = '', livingOn = '', lossNumber = 0): Change {
  const layoutOf = (names: string): Layout => {
    const row = Uint16Array.from(names, (_, i) => i)
    return makeLayout(nodes(names), names.length, row)
  }
  let phaseNumber = 0
  const configurations = steps.map(([phase, owners, newOwners, excluded = ''], i): Configuration => {
    const [before] = i === 0 ? [] : [steps[i - 1] as Step]
    const isSame = before?.[0] === phase && before[1] === owners && before[2] === newOwners
    if (!isSame) phaseNumber = i + 1
    const layouts = newOwners === undefined ? [layoutOf(owners)] : [layoutOf(owners), layoutOf(newOwners)]
    const members = [...new Set(layouts.flatMap((layout) => layout.members))].sort()
    return {
      clusterId: parseClusterId('c'),
      number: i + 1,
      partitionCount: 1,
      phase,
      members: members.map((nodeId) => ({ nodeId, zone: '', weight: 1 })),
      ...{ excluded: nodes(excluded), removed: [], acceptors: [], keyspaces: [KEYSPACE] },
      ...{ layouts: layouts as unknown as Configuration['layouts'], nextKeyspaceId: 2 as KeyspaceId },
      ...{ phaseNumber, altered: [], changeNumber: 1, isManual: false, staged: [], lossAccepted: [] },
      ...{ reason: 'test', decidedBy: parseNodeId('a'), decidedAtMs: 0, history: [] },
    }
  })
  const rings = configurations.map(createRing)
  const everybody = nodes([...new Set(steps.flatMap(([, ...names]) => [...names.join('')]))].join(''))
  const peers = everybody.filter((nodeId) => !dead.includes(nodeId))
  const sources = rings.map((ring) => {
    const { excluded } = ring.configuration
    const targets = peers.filter((nodeId) => !excluded.includes(nodeId))
    const duties = targets.flatMap((target) => {
      const found = dutiesOf(ring, target).flatMap(({ duties }) => duties)
      return found.map((duty) => [target, duty.sources] as const)
    })
    const living = duties.map(([target, from]) => [target, from.filter((id) => peers.includes(id))] as const)
    return new Map(living.filter(([, from]) => from.length > 0))
  })
  const coordinators = peers.slice(0, 3)
  return { rings, sources, peers, coordinators, livingOn: nodes(livingOn), lossNumber }
}

/** @param dead old owners that nobody waits for any more */
function simple(oldOwners: string, newOwners: string, dead = ''): Change {
  return changeOf(
    [
      ['stable', oldOwners],
      ['begun', oldOwners, newOwners],
      ['switched', oldOwners, newOwners],
      ['stable', newOwners],
    ],
    dead,
  )
}

const TWO_NEW_OWNERS_DIE: readonly Step[] = [
  ['stable', 'abc'],
  ['begun', 'abc', 'ade'],
  ['switched', 'abc', 'ade'],
  ['switched', 'abc', 'ade', 'de'],
]

const CHANGES: Readonly<Record<string, Change>> = {
  'one owner moves': simple('abc', 'bcd'),
  'two owners move': simple('abc', 'cde'),
  'all owners move': simple('abc', 'def'),
  'a dead owner is replaced': simple('abc', 'bcd', 'a'),
  'N grows': simple('ab', 'abc'),
  'N shrinks': simple('abc', 'a'),
  'from one owner to three': simple('a', 'bcd'),
  'a new owner dies before the switch': changeOf([
    ['stable', 'abc'],
    ['begun', 'abc', 'abd'],
    ['begun', 'abc', 'abd', 'd'],
    ['begun', 'abc', 'abe'],
    ['switched', 'abc', 'abe'],
    ['stable', 'abe'],
  ]),
  'one of three new owners dies after the switch': changeOf([
    ['stable', 'abc'],
    ['begun', 'abc', 'ade'],
    ['switched', 'abc', 'ade'],
    ['switched', 'abc', 'ade', 'd'],
    ['stable', 'ade', undefined, 'd'],
    ['begun', 'ade', 'abe', 'd'],
    ['switched', 'ade', 'abe', 'd'],
    ['stable', 'abe'],
  ]),
  'two of three new owners die after the switch': changeOf([
    ...TWO_NEW_OWNERS_DIE,
    ['begun', 'abc', 'abf'],
    ['switched', 'abc', 'abf'],
    ['stable', 'abf'],
  ]),
  'one that lives is left out with the dead, after the switch': changeOf([
    ['stable', 'abc'],
    ['begun', 'abc', 'def'],
    ['switched', 'abc', 'def'],
    ['switched', 'abc', 'def', 'de'],
    ['begun', 'abc', 'abg'],
    ['switched', 'abc', 'abg'],
    ['stable', 'abg'],
  ]),
  'old owners die in the middle': changeOf([
    ['stable', 'abc'],
    ['begun', 'abc', 'bcd'],
    ['begun', 'abc', 'bcd', 'b'],
    ['begun', 'abc', 'acd', 'b'],
    ['switched', 'abc', 'acd', 'b'],
    ['stable', 'acd'],
  ]),
}

test('through every change of owners, reads show what was acknowledged and what was shown before', () => {
  for (const [name, change] of Object.entries(CHANGES)) {
    for (let i = 0; i < SCHEDULES; i++) assert.is(runChange(change, `${name}/${i}`, null), null)
  }
})

/** Those that are given up are up all the while, or again: nobody waits for them. */
const LIVING: Readonly<Record<string, Change>> = {
  'one of three old owners': changeOf(
    [
      ['stable', 'abc'],
      ['stable', 'abc', undefined, 'a'],
      ['begun', 'abc', 'bcd', 'a'],
      ['switched', 'abc', 'bcd', 'a'],
      ['stable', 'bcd'],
    ],
    '',
    'a',
  ),
  'an old owner, in the middle': changeOf(
    [
      ['stable', 'abc'],
      ['begun', 'abc', 'bcd'],
      ['begun', 'abc', 'bcd', 'b'],
      ['begun', 'abc', 'acd', 'b'],
      ['switched', 'abc', 'acd', 'b'],
      ['stable', 'acd'],
    ],
    '',
    'b',
  ),
  'one of three new owners, after the switch': changeOf(
    [
      ['stable', 'abc'],
      ['begun', 'abc', 'ade'],
      ['switched', 'abc', 'ade'],
      ['switched', 'abc', 'ade', 'd'],
      ['stable', 'ade', undefined, 'd'],
      ['begun', 'ade', 'abe', 'd'],
      ['switched', 'ade', 'abe', 'd'],
      ['stable', 'abe'],
    ],
    '',
    'd',
  ),
  'the only owner, whose loss is accepted': changeOf(
    [
      ['stable', 'a'],
      ['stable', 'a', undefined, 'a'],
      ['begun', 'a', 'b', 'a'],
      ['switched', 'a', 'b', 'a'],
      ['stable', 'b'],
    ],
    '',
    'a',
    1,
  ),
  'two of three, whose loss is accepted': changeOf(
    [
      ['stable', 'abc'],
      ['stable', 'abc', undefined, 'ab'],
      ['begun', 'abc', 'cde', 'ab'],
      ['switched', 'abc', 'cde', 'ab'],
      ['stable', 'cde'],
    ],
    '',
    'ab',
    1,
  ),
}

test('also when those that were given up are up, and take part in what they may', () => {
  for (const [name, change] of Object.entries(LIVING)) {
    for (let i = 0; i < SCHEDULES; i++) assert.is(runChange(change, `${name}/${i}`, null), null)
    for (let i = 0; i < SCHEDULES; i++) assert.is(runChange(change, `${name}/around/${i}`, null, true), null)
  }
})

test('if they took writes, what is acknowledged would go with them', () => {
  // Schedules in which it shows.
  for (const [name, schedule] of [
    ['the only owner, whose loss is accepted', 2],
    ['two of three, whose loss is accepted', 593],
  ] as const) {
    const change = LIVING[name] as Change
    assert.is(runChange(change, `${name}/${schedule}`, null), null)
    const flaw = runChange(change, `${name}/${schedule}`, 'excluded owners take writes')
    assert.match(flaw ?? '', /^a read under/, name)
  }
})

test('and where some old owners cannot be compared with, if the others are enough', () => {
  for (const [name, change] of Object.entries(CHANGES)) {
    for (let i = 0; i < SCHEDULES; i++) assert.is(runChange(change, `${name}/around/${i}`, null, true), null)
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

/** What `isRetargetDue` does not allow: *finish* with too few of the new owners left. */
const FINISHED_ALL_THE_SAME = {
  'one of three is left': changeOf([
    ...TWO_NEW_OWNERS_DIE,
    ['stable', 'ade', undefined, 'de'],
    ['begun', 'ade', 'abc', 'de'],
    ['switched', 'ade', 'abc', 'de'],
    ['stable', 'abc'],
  ]),
  'none is left': changeOf([
    ['stable', 'a'],
    ['begun', 'a', 'd'],
    ['switched', 'a', 'd'],
    ['switched', 'a', 'd', 'd'],
    ['stable', 'd', undefined, 'd'],
    ['begun', 'd', 'a', 'd'],
    ['switched', 'd', 'a', 'd'],
    ['stable', 'a'],
  ]),
} as const

test('a change that is finished with too few new owners left loses what was acknowledged', () => {
  // Schedules in which it shows, as above.
  for (const [name, schedule] of [
    ['one of three is left', 430],
    ['none is left', 2],
  ] as const) {
    const flaw = runChange(FINISHED_ALL_THE_SAME[name], `${name}/${schedule}`, null)
    assert.match(flaw ?? '', /^a read under/, name)
  }
})

test('of every configuration in these changes, those must be retargeted that are', () => {
  for (const [name, { rings }] of Object.entries({ ...CHANGES, ...FINISHED_ALL_THE_SAME })) {
    rings.slice(1).forEach(({ configuration: next }, i) => {
      const ring = rings[i] as Ring
      const { phase, excluded } = ring.configuration
      const isExclusion = next.excluded.length > excluded.length
      const isRight = phase !== 'stable' && next.phase === 'begun' && excluded.length > 0 && !isExclusion
      assert.is(isRetargetDue(ring), isRight || isWronglyFinished(name, i), `${name}, after ${i}`)
    })
  }
})

function isWronglyFinished(name: string, step: number): boolean {
  return Object.keys(FINISHED_ALL_THE_SAME).includes(name) && step === TWO_NEW_OWNERS_DIE.length - 1
}

test.run()
