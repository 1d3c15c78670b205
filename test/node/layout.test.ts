import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { parseLayoutChange } from '../../src/wire/layout.ts'
import { NodeWorld, type TestPeer } from './node-world.ts'
import { die, isStable, rejection, cluster as ringCluster } from './ring-cluster.ts'

const test = suite('staged changes of the ring')

type Service = TestPeer['node']['service']

async function cluster(count: number, seed: string) {
  const { world, peers, first } = await ringCluster(count, seed)
  const change = (given: object) => world.settle(first.node.service.changeLayout(parseLayoutChange(given)))
  return { world, peers, first, change, service: first.node.service }
}

async function stagedOf(world: NodeWorld, service: Service): Promise<readonly string[]> {
  const { staged } = await world.settle(service.layout())
  return staged.map(({ kind, peerAddress }) => `${kind} ${peerAddress}`)
}

test('with a manual layout who joins is staged, until what was looked at is applied', async () => {
  const world = new NodeWorld('manual')
  const first = await world.peer(1, { manualLayout: true }).start()
  const { service } = first.node
  const join = [first.address]
  const others = [2, 3].map((place) => world.peer(place, { join, zone: `z${place}` }))
  const starts = others.map((peer) => peer.begin())
  const [second, third] = others as [TestPeer, TestPeer]
  assert.ok(await world.until(() => first.node.configuration?.staged.length === 2))
  await world.pass(5000)
  assert.is(first.node.configuration?.members.length, 1, 'they wait')
  assert.equal(await stagedOf(world, service), [`join ${second.address}`, `join ${third.address}`])

  const plan = await world.settle(service.planLayout())
  assert.equal(
    plan.peers.map(({ peerAddress, before, partitions, received }) => [
      peerAddress,
      before,
      partitions,
      received,
    ]),
    [
      [first.address, 16, 16, 0],
      [second.address, 0, 16, 16],
      [third.address, 0, 16, 16],
    ],
  )
  const early = { action: 'apply', number: plan.number - 1 }
  const refused = await rejection(world.settle(service.changeLayout(parseLayoutChange(early))))
  assert.is(refused.code, 'CONFLICT')
  assert.match(refused.message, /look at 'kvctl layout plan' again/)
  await world.settle(service.changeLayout(parseLayoutChange({ ...early, number: plan.number })))
  await world.settle(Promise.all(starts))
  assert.ok(await world.until(() => isStable([first, ...others], 3)))

  const { history } = await world.settle(service.layout())
  const reasons = history.slice(0, 3).map(({ reason }) => reason)
  assert.equal(reasons.slice(0, 2), ['finish', 'switch'])
  assert.match(reasons[2] ?? '', /^begin join of 10\.0\.0\.\d:7000, 10\.0\.0\.\d:7000$/)
  assert.ok(history.every(({ decidedBy }) => /^10\.0\.0\.\d:7000$/.test(decidedBy)))
})

test('leaves and removals are staged there too, and go with one change', async () => {
  const { world, peers, first, change, service } = await cluster(5, 'manual leave')
  await change({ action: 'manual' })
  const [, second, third, fourth, fifth] = peers as TestPeer[]
  assert.equal(await world.settle(service.leave(second?.address ?? '')), { staged: true })
  fifth?.crash()
  assert.ok(await world.until(() => !first.node.membership.isAlive(fifth?.node.nodeId as never)))
  assert.equal(await world.settle(service.remove(fifth?.address ?? '')), { staged: true })
  await world.pass(3000)
  assert.ok(isStable([first], 5), 'nothing has begun')
  const { number } = await world.settle(service.planLayout())
  await change({ action: 'apply', number })
  assert.ok(await world.until(() => isStable([first, third as TestPeer, fourth as TestPeer], 3)))
  assert.ok(await world.until(() => second?.hasLeft === true))
  assert.is(first.node.configuration?.changeNumber, number + 1)
})

test('who is to leave must be up when that is applied, and who is removed must be down', async () => {
  const { world, peers, first, change } = await cluster(3, 'liveness')
  const [, second, third] = peers as [TestPeer, TestPeer, TestPeer]
  const { number } = await change({ action: 'remove', peer: second.address })
  const tooAlive = await rejection(change({ action: 'apply', number }))
  assert.equal([tooAlive.code, /which is to be removed, is up/.test(tooAlive.message)], ['CONFLICT', true])
  await change({ action: 'clear' })
  const staged = await change({ action: 'leave', peer: third.address })
  third.crash()
  assert.ok(await world.until(() => !first.node.membership.isAlive(third.node.nodeId)))
  const down = await rejection(change({ action: 'apply', number: staged.number }))
  assert.equal([down.code, /which is to leave, is down/.test(down.message)], ['CONFLICT', true])
})

test('weights and zones are staged of members, and of one that waits', async () => {
  const { world, peers, first, change, service } = await cluster(2, 'weights')
  const join = peers.map(({ address }) => address)
  const third = world.peer(3, { join, manualLayout: true })
  const start = third.begin()
  assert.ok(await world.until(() => first.node.configuration?.staged.length === 1), 'its join is staged')
  await change({ action: 'weight', peer: third.address, weight: 300 })
  await change({ action: 'zone', peer: first.address, zone: 'attic' })
  assert.is((await rejection(change({ action: 'clear', peer: third.address }))).code, 'CONFLICT')
  const { number, peers: planned } = await world.settle(service.planLayout())
  assert.equal(
    planned.map(({ zone, weight }) => [zone, weight]),
    [
      ['attic', 100],
      ['', 100],
      ['', 300],
    ],
  )
  await change({ action: 'apply', number })
  await world.settle(start)
  assert.ok(await world.until(() => isStable([...peers, third], 3)))
  const { members } = await world.settle(service.layout())
  assert.equal([members[0]?.zone, members[2]?.weight], ['attic', 300])
})

test('a peer that waits takes the place of a dead one when that is staged and applied', async () => {
  const { world, peers, first, change } = await cluster(3, 'staged replace')
  const [, second, dead] = peers as [TestPeer, TestPeer, TestPeer]
  const newcomer = world.peer(4, { join: [first.address], manualLayout: true })
  const start = newcomer.begin()
  assert.ok(await world.until(() => first.node.configuration?.staged.length === 1))
  await change({ action: 'replace', peer: newcomer.address, replaces: dead.address })
  dead.crash()
  assert.ok(await world.until(() => !first.node.membership.isAlive(dead.node.nodeId)))
  await change({ action: 'apply', number: first.node.configuration?.number ?? 0 })
  await world.settle(start)
  assert.ok(await world.until(() => isStable([first, second, newcomer], 3)))
  assert.equal(first.node.configuration?.removed, [dead.node.nodeId])
})

test('what stands in the way of a change is said with addresses, whoever staged what meanwhile', async () => {
  const { world, peers, change, service } = await cluster(4, 'open change')
  const [, second, third, fourth] = peers as [TestPeer, TestPeer, TestPeer, TestPeer]
  const pair = [second.host.name, fourth.host.name]
  const touches = (a: string, b: string): boolean => pair.includes(a) && pair.includes(b)
  world.sim.paths.add({ touches, cut: true }) // The change cannot finish.
  await world.settle(service.leave(second.address))
  await change({ action: 'weight', peer: third.address, weight: 7 })
  const which = `leave of ${second.address}`
  const opened = `a change of the ring is open (${which}); it has to finish first: see 'kvctl status'`
  const attempts: readonly (() => Promise<unknown>)[] = [
    () => service.leave(fourth.address),
    () => service.alterKeyspace('default', { replicas: 2 }),
    () => service.planLayout(),
  ]
  for (const attempt of attempts) {
    assert.is((await rejection(world.settle(attempt()))).message, opened)
  }
  const { peers: shown } = await world.settle(service.status())
  assert.is(shown.find(({ address }) => address === second.address)?.state, 'UL')
})

test('who leaves is shown as leaving to the last step', async () => {
  const { world, peers, first, service } = await cluster(4, 'leaves')
  const [, second] = peers as [TestPeer, TestPeer]
  await world.settle(service.leave(second.address))
  for (const phase of ['begun', 'switched']) {
    assert.ok(await world.until(() => first.node.configuration?.phase === phase))
    const { peers: shown } = await world.settle(service.status())
    assert.is(shown.find(({ address }) => address === second.address)?.state, 'UL', phase)
  }
})

test('where most of those that decide are down, commands say so at once, and status warns', async () => {
  const { world, peers, first, change, service } = await cluster(3, 'no majority')
  const gone = peers.slice(1)
  await die(world, first, ...gone)
  const names = gone.map(({ address }) => address).join(', ')
  const why = `of the 3 peers that vote about the ring ${names} cannot be reached from here`
  const startMs = world.sim.scheduler.nowMs
  for (const attempt of [
    () => change({ action: 'manual' }),
    () => world.settle(service.leave(first.address)),
    () => world.settle(service.alterKeyspace('default', { replicas: 2 })),
    () => world.settle(service.createKeyspace('more')),
  ]) {
    const refused = await rejection(attempt())
    assert.is(refused.code, 'UNAVAILABLE')
    assert.ok(refused.message.startsWith(`nothing was changed: ${why}`), refused.message)
  }
  assert.ok(world.sim.scheduler.nowMs - startMs < 100, 'nobody waits for what will not come')
  await world.settle(service.alterKeyspace('default', { replicas: 3 })) // It is so already.
  const { warnings } = await world.settle(service.status())
  assert.ok(
    warnings.some((warning) => warning.startsWith(why)),
    warnings.join(),
  )
  const [second] = gone as [TestPeer]
  await second.start()
  assert.ok(await world.until(() => first.node.membership.isAlive(second.node.nodeId)))
  await change({ action: 'manual' })
})

test('what would lose acknowledged writes is not applied, unless that is accepted', async () => {
  const { world, peers, first, change } = await cluster(5, 'loss')
  const gone = peers.slice(3)
  for (const peer of gone) peer.crash()
  const isAlive = ({ node }: TestPeer): boolean => first.node.membership.isAlive(node.nodeId)
  assert.ok(await world.until(() => !gone.some(isAlive)))
  for (const { address } of gone) await change({ action: 'remove', peer: address })
  const number = first.node.configuration?.number ?? 0
  const refused = await rejection(change({ action: 'apply', number }))
  assert.is(refused.code, 'CONFLICT')
  const names = gone.map(({ address }) => address).join(', ')
  assert.match(refused.message, /1 of 3 owners of partition \d+ of keyspace default would be left/)
  assert.ok(
    refused.message.includes(`start ${names} again, or give up what only they have with`),
    refused.message,
  )
  assert.ok(
    refused.message.endsWith(`'kvctl layout apply --number ${number} --accept-loss'`),
    refused.message,
  )
  assert.is(first.node.configuration?.number, number, 'nothing has begun')
  await change({ action: 'apply', number, acceptLoss: true })
  const { history } = await world.settle(first.node.service.layout())
  const [told] = history.filter((decided) => decided.number === number + 1)
  assert.match(told?.reason ?? '', /, loss accepted: too few owners are left of \d+ partitions, none of 0$/)
  assert.ok(world.logged.includes('ring.loss_accepted'))
  assert.ok(await world.until(() => isStable(peers.slice(0, 3), 3)))
})

test('a change stops when too few owners are left, and goes on when the loss is accepted', async () => {
  const { world, peers, first, change, service } = await cluster(5, 'loss in the middle')
  const [, second, , , last] = peers as [TestPeer, TestPeer, TestPeer, TestPeer, TestPeer]
  assert.is((await rejection(change({ action: 'acceptLoss' }))).code, 'CONFLICT')
  // Three of five are enough to have everything.
  await world.settle(service.alterKeyspace('default', { replicas: 5 }))
  await world.pass(5000)
  assert.ok(isStable(peers, 5))
  for (const peer of [second, last]) peer.crash()
  const isAlive = ({ node }: TestPeer): boolean => first.node.membership.isAlive(node.nodeId)
  assert.ok(await world.until(() => ![second, last].some(isAlive)))
  await world.settle(service.remove(last.address)) // It waits for the second.
  await world.settle(service.createKeyspace('single', { replicas: 1 }))
  void second.begin().catch(() => undefined)
  await world.pass(20_000)
  const { layout, warnings } = await world.settle(service.status())
  const few = /0 of 1 owners of partition \d+ of keyspace single are left/
  const told = warnings.filter((warning) => few.test(warning))
  assert.match(told[0] ?? '', /may be missing there; 'kvctl layout accept-loss'/, layout.pending ?? '')
  await change({ action: 'acceptLoss' })
  assert.ok(await world.until(() => isStable(peers.slice(0, 4), 4)))
})

test.run()
