import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { leave, showStatus } from '../../src/cli/kvctl/cluster-actions.ts'
import { alterKeyspace } from '../../src/cli/kvctl/keyspace-actions.ts'
import { applyLayout, showPlan } from '../../src/cli/kvctl/layout-actions.ts'
import type { LayoutInfo, LayoutMember, PlannedPeer } from '../../src/wire/layout.ts'
import type { KvService } from '../../src/wire/requests.ts'
import { createFakeService } from '../api/fake-service.ts'
import { printed } from './printed.ts'

function member(index: number, rest: Partial<LayoutMember> = {}): LayoutMember {
  return { peer: `n${index}`, peerAddress: `a:${index}`, zone: '', weight: 1, partitions: 16, ...rest }
}

function planned(index: number, rest: Partial<PlannedPeer> = {}): PlannedPeer {
  return { ...member(index), before: 16, given: 0, received: 0, bytes: 0, fair: 16, most: 16, ...rest }
}

/** Of so many peers that own data. */
function cluster(count: number, rest: Partial<LayoutInfo> = {}): KvService {
  const service = createFakeService()
  const members = Array.from({ length: count }, (_, i) => member(i + 1))
  const shown = async (): Promise<LayoutInfo> => {
    return { ...(await createFakeService().layout()), manual: false, members, ...rest }
  }
  return { ...service, layout: shown, changeLayout: shown, leave: async () => ({ staged: false }) }
}

test('whoever leaves fewer peers than a keyspace wants replicas is told', async () => {
  const few = /in keyspace default 3 replicas are wanted and the cluster has 2 peers for them/
  assert.match((await printed(() => leave(cluster(3), 'a:3', false))).err, few)
  assert.is((await printed(() => leave(cluster(4), 'a:3', false))).err, '')
  assert.match((await printed(() => applyLayout(cluster(2), 7, false, false))).err, few)
  assert.is((await printed(() => applyLayout(cluster(3), 7, false, false))).err, '')
})

test('a plan says which keyspaces get fewer copies, and when some peers have no zone', async () => {
  const plan = await createFakeService().planLayout()
  const showing = async (peers: readonly PlannedPeer[], kind: 'leave' | 'alter'): Promise<string> => {
    const change = { peer: 'n3', peerAddress: 'a:3', zone: null, weight: 1, replaces: null }
    const staged = [{ ...change, kind, replacesAddress: null }]
    const service = { ...cluster(3), planLayout: async () => ({ ...plan, staged, peers }) }
    return (await printed(() => showPlan(service, false))).err
  }
  const gone = planned(3, { partitions: 0 })
  assert.match(await showing([planned(1), planned(2), gone], 'leave'), /3 replicas are wanted .* 2 peers/)
  assert.is(await showing([planned(1), planned(2), planned(3)], 'alter'), '')
  const mixed = [planned(1), planned(2, { zone: 'b' }), planned(3, { zone: 'c' })]
  assert.match(await showing(mixed, 'alter'), /a:1 has no zone while others have one: those without count as/)
})

test('an alteration says when too few peers are there for it, and when it changes nothing', async () => {
  const more = await printed(() => alterKeyspace(cluster(3), 'default', { replicas: 4 }, false))
  assert.match(more.err, /in keyspace default 4 replicas are wanted and the cluster has 3 peers for them/)
  const same = await printed(() => alterKeyspace(cluster(3), 'default', { replicas: 3 }, false))
  assert.equal([same.out, same.err], ['keyspace default is so already: nothing was changed\n', ''])
})

test('the status says what is staged, and that nothing moves by itself', async () => {
  const change = { peer: 'n3', peerAddress: 'a:3', kind: 'leave', zone: null, weight: null } as const
  const staged = [{ ...change, replaces: null, replacesAddress: null }]
  const shown = async (rest: Partial<LayoutInfo>): Promise<string> => {
    return (await printed(() => showStatus(cluster(3, rest), false))).out
  }
  assert.not.match(await shown({}), /staged|manual/)
  assert.match(await shown({ staged }), /^1 change staged \('kvctl layout plan'\)$/m)
  const both = await shown({ staged, manual: true })
  assert.match(both, /^1 change staged .*; the layout is manual: nothing moves until 'kvctl layout apply'$/m)
})

test.run()
