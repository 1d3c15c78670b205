import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { KvError } from '../../src/base/error.ts'
import { type KeyspaceId, type NodeId, parseClusterId, parseNodeId } from '../../src/base/ids.ts'
import {
  type Configuration,
  MAX_HISTORY,
  type Member,
  type StagedChange,
} from '../../src/protocol/configuration.ts'
import {
  begin,
  dropKeyspace,
  exclude,
  finish,
  firstConfiguration,
  switchOver,
} from '../../src/protocol/configuration-change.ts'
import { findFlaw } from '../../src/protocol/configuration-check.ts'
import { isLossAccepted } from '../../src/protocol/ring-change.ts'
import { acceptLoss, applyStaged, setManual, stage, unstage } from '../../src/protocol/staged-changes.ts'
import { decodeConfiguration, encodeConfiguration } from '../../src/wire/configuration-codec.ts'

const node = (index: number): NodeId => parseNodeId(`n${index}`)
const member = (index: number): Member => ({ nodeId: node(index), zone: '', weight: 100 })
const change = (
  index: number,
  kind: StagedChange['kind'],
  rest: Partial<StagedChange> = {},
): StagedChange => {
  return { nodeId: node(index), kind, zone: null, weight: null, replaces: null, ...rest }
}
const join = (index: number, replaces: NodeId | null = null): StagedChange =>
  change(index, 'join', { zone: '', weight: 100, replaces })

function codeOf(work: () => unknown): string {
  try {
    work()
  } catch (error) {
    if (error instanceof KvError) return error.code
    throw error
  }
  return 'done'
}

function completed(begun: Configuration): Configuration {
  const switched = switchOver(begun, 0)
  const acceptors = switched.members.map(({ nodeId }) => ({ nodeId, acceptorId: 'votes' }))
  return finish(switched, acceptors, 0)
}

/** Peers 0 to `count` - 1. */
function clusterOf(count: number): Configuration {
  const founder = {
    clusterId: parseClusterId('c'),
    member: member(0),
    acceptorId: 'votes',
    partitionCount: 16,
  }
  const one = firstConfiguration({ ...founder, isManual: true, nowMs: 0 })
  if (count === 1) return one
  return completed(begin(one, { joining: Array.from({ length: count - 1 }, (_, i) => member(i + 1)) }, 0))
}

test('what is staged moves nothing, and is one entry for each peer', () => {
  const before = clusterOf(3)
  let staged = stage(before, join(3), 5)
  staged = stage(staged, change(1, 'leave'), 6)
  staged = stage(staged, change(2, 'alter', { weight: 200 }), 7)
  staged = stage(staged, change(2, 'alter', { zone: 'b' }), 8)
  staged = stage(staged, change(3, 'alter', { weight: 50 }), 9)
  assert.equal(staged.layouts, before.layouts)
  assert.is(staged.phase, 'stable')
  assert.is(staged.phaseNumber, before.phaseNumber)
  assert.equal(staged.staged, [
    change(1, 'leave'),
    change(2, 'alter', { zone: 'b', weight: 200 }),
    { ...join(3), weight: 50 },
  ])
  assert.is(stage(staged, change(1, 'leave'), 10), staged, 'it is staged already')
  assert.equal(stage(staged, change(1, 'remove'), 10).staged[0], change(1, 'remove'), 'the last word counts')
  assert.equal(
    encodeConfiguration(decodeConfiguration(encodeConfiguration(staged))),
    encodeConfiguration(staged),
  )
})

test('what cannot become of a peer is refused', () => {
  const base = stage(clusterOf(2), change(1, 'leave'), 0)
  assert.is(
    codeOf(() => stage(base, join(1), 0)),
    'CONFLICT',
    'a member joins',
  )
  assert.is(
    codeOf(() => stage(base, change(7, 'leave'), 0)),
    'CONFLICT',
    'a stranger leaves',
  )
  assert.is(
    codeOf(() => stage(base, join(7, node(8)), 0)),
    'CONFLICT',
    'a stranger is replaced',
  )
  assert.is(
    codeOf(() => stage(base, change(1, 'alter', { weight: 5 }), 0)),
    'CONFLICT',
    'it leaves',
  )
  assert.is(
    codeOf(() => stage(base, change(0, 'alter', { weight: 0 }), 0)),
    'INVALID_ARGUMENT',
  )
  const gone = completed(applyStaged(base, base.number, 0))
  assert.is(
    codeOf(() => stage(gone, join(1), 0)),
    'CONFLICT',
    'a removed peer joins',
  )
})

test('all that is staged begins as one change, and nothing is staged then', () => {
  let base = stage(clusterOf(4), join(5), 0)
  base = stage(base, join(6, node(3)), 0)
  base = stage(base, change(0, 'leave'), 0)
  base = stage(base, change(1, 'alter', { zone: 'b', weight: 300 }), 0)
  const begun = applyStaged(base, base.number, 0)
  assert.is(begun.phase, 'begun')
  assert.is(begun.changeNumber, base.number + 1)
  assert.equal(begun.staged, [])
  assert.equal(begun.excluded, [node(3)], 'nobody waits for who is replaced')
  assert.equal(begun.layouts[1]?.members, [node(1), node(2), node(5), node(6)])
  assert.equal(begun.members[1], { nodeId: node(1), zone: 'b', weight: 300 })
  assert.is(findFlaw(begun), null)
  const after = completed(begun)
  assert.equal(after.removed, [node(0), node(3)])
  assert.is(after.changeNumber, begun.number)
})

test('who was left out of the change before goes with what is applied', () => {
  const base = stage(exclude(clusterOf(4), node(3), 0), join(5), 0)
  const begun = applyStaged(base, base.number, 0)
  assert.equal(begun.layouts[1]?.members, [node(0), node(1), node(2), node(5)])
})

test('what was decided since somebody looked is in the way, whatever it was', () => {
  const looked = stage(clusterOf(3), change(2, 'leave'), 0)
  const others = [
    stage(looked, change(1, 'alter', { weight: 7 }), 0),
    unstage(looked, node(2), 0),
    setManual(looked, false, 0),
    applyStaged(looked, looked.number, 0),
  ]
  for (const now of others)
    assert.is(
      codeOf(() => applyStaged(now, looked.number, 0)),
      'CONFLICT',
    )
  const emptied = unstage(looked, null, 0)
  assert.is(
    codeOf(() => applyStaged(emptied, emptied.number, 0)),
    'INVALID_ARGUMENT',
  )
  const open = stage(applyStaged(looked, looked.number, 0), join(9), 0)
  assert.is(
    codeOf(() => applyStaged(open, open.number, 0)),
    'CONFLICT',
    'one change at a time',
  )
})

test('what is staged is forgotten one by one or in all, and by what makes it moot', () => {
  let base = stage(clusterOf(3), change(1, 'leave'), 0)
  base = stage(base, change(2, 'remove'), 0)
  base = stage(base, join(4, node(1)), 0)
  assert.equal(
    unstage(base, node(1), 0).staged.map(({ nodeId }) => nodeId),
    [node(2), node(4)],
  )
  assert.equal(unstage(base, null, 0).staged, [])
  assert.is(unstage(base, node(9), 0), base)
  const gone = completed(begin(base, { leaving: [node(1)] }, 0))
  assert.equal(gone.staged, [change(2, 'remove')], 'who has left does not leave, and is not replaced')
})

test('what is cleared is named, and nobody where all of it is', () => {
  const staged = stage(stage(clusterOf(3), change(1, 'leave'), 0), change(2, 'leave'), 0)
  assert.is(unstage(staged, node(1), 0).reason, 'clear what was staged of n1')
  assert.is(unstage(staged, null, 0).reason, 'clear what was staged')
})

test('a change is refused in the name of the one that is open, whatever was decided since it began', () => {
  const begun = begin(clusterOf(3), { leaving: [node(1)] }, 0)
  const later = stage(begun, change(2, 'alter', { weight: 7 }), 0)
  for (const open of [begun, later, switchOver(later, 0)]) {
    assert.throws(() => begin(open, { leaving: [node(2)] }, 0), /is open \(leave of n1\); it has to finish/)
  }
})

test('a loss is accepted of those who are left out now, and of no one more', () => {
  const base = clusterOf(5)
  assert.is(
    codeOf(() => acceptLoss(base, 0)),
    'CONFLICT',
  )
  const begun = begin(base, { leaving: [node(4)], dead: [node(4)] }, 0)
  const accepted = acceptLoss(begun, 0)
  assert.ok(isLossAccepted(accepted))
  assert.is(acceptLoss(accepted, 0), accepted)
  assert.not(isLossAccepted(begun))
  assert.not(isLossAccepted(exclude(accepted, node(3), 0)))
  assert.equal(completed(accepted).lossAccepted, [])
})

test('the last numbers are remembered, each with what changed', () => {
  let base = clusterOf(2)
  assert.equal(
    [...base.history, base].map(({ number, reason }) => [number, reason]),
    [
      [1, 'create'],
      [2, 'begin join of n1'],
      [3, 'switch'],
      [4, 'finish'],
    ],
  )
  for (let i = 0; i < 2 * MAX_HISTORY; i++) base = setManual(base, i % 2 === 1, i)
  assert.is(base.history.length, MAX_HISTORY)
  assert.is(base.history.at(-1)?.number, base.number - 1)
  assert.is(findFlaw(base), null)
  assert.is(dropKeyspace(base, 9 as KeyspaceId, 0), base)
  const gap = { ...base, history: base.history.filter((_, i) => i !== 3) }
  assert.match(findFlaw(gap) ?? '', /gap/)
})

test.run()
