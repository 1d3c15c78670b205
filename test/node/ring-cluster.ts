/** Some peers that make one cluster, for tests of what the ring does. */
import * as assert from 'uvu/assert'
import { KvError } from '../../src/base/error.ts'
import type { Client } from '../../src/client/client.ts'
import { NodeWorld, type TestPeer } from './node-world.ts'

export interface RingCluster {
  readonly world: NodeWorld
  readonly peers: TestPeer[]
  readonly first: TestPeer
  /** Asks any of them. A new one each time. */
  readonly client: Client
}

export async function cluster(count: number, seed: string): Promise<RingCluster> {
  const world = new NodeWorld(seed)
  const peers: TestPeer[] = []
  for (let place = 1; place <= count; place++) {
    const join = peers.map(({ address }) => address)
    peers.push(await world.peer(place, { join }).start())
  }
  assert.ok(await world.until(() => isStable(peers, count)))
  const [first] = peers as [TestPeer]
  return {
    ...{ world, peers, first },
    get client() {
      return world.client(...peers)
    },
  }
}

/** No change is open, and all of these peers know it. */
export function isStable(peers: readonly TestPeer[], members: number): boolean {
  const [first] = peers
  return peers.every(({ node: { configuration } }) => {
    if (configuration?.phase !== 'stable' || configuration.members.length !== members) return false
    return configuration.number === first?.node.configuration?.number
  })
}

export async function oneCopy(
  world: NodeWorld,
  { node }: TestPeer,
  peers: readonly TestPeer[],
): Promise<void> {
  await world.settle(node.service.alterKeyspace('default', { replicas: 1 }))
  await world.pass(4000)
  assert.ok(isStable(peers, peers.length))
}

/** Fulfils when one that lives has noticed. */
export async function die(world: NodeWorld, witness: TestPeer, ...dying: TestPeer[]): Promise<void> {
  for (const peer of dying) peer.crash()
  const isAlive = ({ node }: TestPeer): boolean => witness.node.membership.isAlive(node.nodeId)
  assert.ok(await world.until(() => !dying.some(isAlive)))
}

export async function rejection(promise: Promise<unknown>): Promise<KvError> {
  try {
    await promise
  } catch (error) {
    if (error instanceof KvError) return error
    throw error
  }
  throw new Error('it was done')
}
