import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import type { TestPeer } from './node-world.ts'
import { cluster, die, isStable, oneCopy, rejection } from './ring-cluster.ts'

const test = suite('excluded peers')

const keys = (count: number): string[] => Array.from({ length: count }, (_, i) => `key-${i}`)

/** Those whose put was confirmed, and what the others were told. */
async function putAll(
  put: (key: string) => Promise<unknown>,
  count: number,
): Promise<{ readonly acknowledged: string[]; readonly refusals: string[] }> {
  const ends = await Promise.allSettled(keys(count).map((key) => put(key)))
  return {
    acknowledged: keys(count).filter((_, i) => ends[i]?.status === 'fulfilled'),
    refusals: ends.flatMap((end) => (end.status === 'rejected' ? [String(end.reason)] : [])),
  }
}

test('a peer that was given up, and is up again, takes nothing that would go with it', async () => {
  const { world, peers } = await cluster(5, 'excluded/one copy')
  const [a, b, c, d, x] = peers as [TestPeer, TestPeer, TestPeer, TestPeer, TestPeer]
  await oneCopy(world, a, peers)
  await die(world, a, d) // Only for a while: the removal waits for it.
  await die(world, a, x)
  await world.settle(a.node.service.remove(x.address, true))
  await world.settle(x.begin())
  assert.ok(await world.until(() => x.node.configuration?.excluded.includes(x.node.nodeId) === true))
  assert.is(x.node.obstacle, 'this peer is being removed from its cluster')
  const { warnings } = await world.settle(a.node.service.status())
  assert.ok(
    warnings.some((warning) => warning.startsWith(`${x.address} is being removed, and takes no more`)),
  )

  const alone = await rejection(world.settle(world.client(x).put('key', 'value')))
  assert.match(alone.message, /nothing was written: this peer is being removed from its cluster; ask another/)

  const client = world.client(a, b, c, x)
  const { acknowledged } = await world.settle(
    putAll((key) => client.put(key, `value of ${key}`, { w: 'quorum', blind: true }), 100),
  )
  assert.ok(acknowledged.length > 0, 'others own most keys, or stand in')
  assert.is(a.node.configuration?.phase, 'stable', 'the removal has not begun')

  await world.settle(d.begin())
  assert.ok(await world.until(() => isStable([a, b, c, d], 4)))
  assert.ok(await world.until(() => x.ends.length > 0), 'it is told, and ends')
  const after = world.client(a, b, c, d)
  const found = await world.settle(Promise.all(acknowledged.map((key) => after.get(key))))
  const lost = acknowledged.filter((_, i) => found[i]?.values.length === 0)
  assert.equal(lost, [])
})

test('where nobody stands in, what only an excluded peer owns waits for other owners', async () => {
  const { world, peers } = await cluster(5, 'excluded/strict')
  const [a, b, c, d, x] = peers as [TestPeer, TestPeer, TestPeer, TestPeer, TestPeer]
  await oneCopy(world, a, peers)
  await world.settle(a.node.service.alterKeyspace('default', { quorum: 'strict' }))
  await die(world, a, d)
  await die(world, a, x)
  await world.settle(a.node.service.remove(x.address, true))
  await world.settle(x.begin())
  assert.ok(await world.until(() => x.node.configuration?.excluded.includes(x.node.nodeId) === true))

  const client = world.client(a, b, c)
  const isOfX = async (key: string): Promise<boolean> => {
    const { owners } = await a.node.service.locate('default', new TextEncoder().encode(key))
    return owners.includes(x.address)
  }
  const own: string[] = []
  for (const key of keys(100)) if (await isOfX(key)) own.push(key)
  const [key = ''] = own
  const refusal = await rejection(world.settle(client.put(key, 'value', { blind: true })))
  assert.is(refusal.code, 'UNAVAILABLE')
  assert.match(refusal.message, /who is being removed does not count: others get its keys once all who stay/)

  await world.settle(d.begin())
  assert.ok(await world.until(() => isStable([a, b, c, d], 4)))
  await world.settle(world.client(a, b, c, d).put(key, 'value', { blind: true }))
})

test('when one more that votes dies before the removal is done, others still decide', async () => {
  const { world, peers } = await cluster(4, 'excluded/votes')
  const votes = ({ node: { nodeId } }: TestPeer, of: TestPeer): boolean =>
    of.node.configuration?.acceptors.some((acceptor) => acceptor.nodeId === nodeId) === true
  const [x, y, z] = peers.filter((peer) => votes(peer, peer)) as [TestPeer, TestPeer, TestPeer]
  const [a] = peers.filter((peer) => !votes(peer, peer)) as [TestPeer]
  await die(world, a, x)
  const removed = a.node.service.remove(x.address)
  assert.ok(await world.until(() => a.node.configuration?.excluded.includes(x.node.nodeId) === true))
  assert.equal(
    peers.filter((peer) => votes(peer, a)),
    peers.filter((peer) => peer !== x),
  )
  await die(world, a, y)
  await world.settle(removed)
  await world.settle(a.node.service.remove(y.address, true))
  assert.ok(await world.until(() => isStable([a, z], 2)))
})

test.run()
