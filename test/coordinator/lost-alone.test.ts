/** A peer that owns partitions alone loses its disk while the ring changes: the new owners have them, too. */
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { present } from '../../src/base/assert.ts'
import { text, utf8 } from '../../src/base/bytes.ts'
import type { NodeId } from '../../src/base/ids.ts'
import type { Client } from '../../src/client/client.ts'
import { ownedAlone } from '../../src/coordinator/shared-partitions.ts'
import { createRing, type Ring } from '../../src/protocol/ring.ts'
import type { SimDiskImage } from '../../src/simulator/sim-disk.ts'
import { createSimulation, type SimPeer, type Simulation } from '../../src/simulator/simulation.ts'
import { DEFAULT_KEYSPACE_OPTIONS } from '../../src/wire/requests.ts'
import { storeOf } from './three-peers.ts'

const test = suite('data lost where it was alone')

const KEYSPACE = 'single'
const KEYS = 120
const PARTITIONS = 64
const TAKEOVER_MS = 10_000
const CAUGHT_UP_MS = 30_000

interface Cluster {
  readonly simulation: Simulation
  readonly client: Client
  /** Owned much alone, lost it, and runs again. */
  readonly lost: SimPeer
  /** Went when the change began. */
  readonly away: SimPeer
  readonly awayId: NodeId
  /** The disk of `lost` before anything was written. */
  readonly image: SimDiskImage
}

function ringOf({ node }: SimPeer): Ring {
  return createRing(present(node?.configuration, 'it is a member'))
}

function idOf({ node }: SimPeer): NodeId {
  return present(node, 'it runs').nodeId
}

/** Keys that the peer owned alone before the change, by whether one who is away is to own them, too. */
function keysOf({ lost, awayId }: Cluster, areAwayToo: boolean): string[] {
  const ring = ringOf(lost)
  const keyspace = present(ring.keyspace(KEYSPACE), 'it was made')
  const nodeId = idOf(lost)
  const names = Array.from({ length: KEYS }, (_, i) => `key-${i}`)
  return names.filter((name) => {
    const partition = ring.partitionOf(utf8(name))
    const isAwayToo = ring.allOwners(keyspace, partition).includes(awayId)
    return ownedAlone(ring, keyspace, partition, nodeId) && isAwayToo === areAwayToo
  })
}

/** From one copy to three: one peer is away before it hears of that, so the change stays open. */
async function changing(seed: string): Promise<Cluster> {
  let onBegin: (() => void) | null = null
  const simulation = createSimulation({
    ...{ seed, peers: 5, partitionCount: PARTITIONS, formed: true },
    observer: { onFile: (_, name) => void (name === 'configuration' && onBegin?.()) },
  })
  await simulation.start()
  const [first, second, , , fifth] = simulation.peers as [SimPeer, SimPeer, SimPeer, SimPeer, SimPeer]
  const client = simulation.client({ peers: [first.address] })
  const { service } = client
  const shape = { ...DEFAULT_KEYSPACE_OPTIONS, quorum: 'strict', replicas: 1 } as const
  await simulation.settle(service.createKeyspace(KEYSPACE, shape))
  await simulation.settle(second.stop())
  const image = simulation.world.host(second.host).disk.image()
  second.start()
  await simulation.run(5000)
  await write(simulation, client, 'before')
  await simulation.run(1000)
  const awayId = idOf(fifth)
  onBegin = () => {
    onBegin = null
    simulation.world.scheduler.after(0, () => fifth.crash())
  }
  await simulation.settle(service.alterKeyspace(KEYSPACE, { replicas: 3 }))
  await simulation.run(TAKEOVER_MS)
  assert.is(first.node?.configuration?.phase, 'begun')
  return { simulation, client, lost: second, away: fifth, awayId, image }
}

async function write(simulation: Simulation, client: Client, value: string): Promise<void> {
  const names = Array.from({ length: KEYS }, (_, i) => `key-${i}`)
  await simulation.settle(
    Promise.all(names.map((name) => client.put(name, value, { keyspace: KEYSPACE }).catch(() => undefined))),
  )
}

/** A copy from the past takes the place of its disk: it knows who it was, and has lost its data. */
async function lose({ simulation, lost, image }: Cluster): Promise<void> {
  lost.crash()
  simulation.world.host(lost.host).disk.restore(image)
  lost.start()
  await simulation.run(CAUGHT_UP_MS)
  assert.is(lost.state, 'ready')
  assert.is(lost.node?.configuration?.phase, 'begun')
}

/** What is shown of some of these: values, nothing, the code of a refusal; each once. */
async function shown({ simulation, client }: Cluster, names: readonly string[]): Promise<readonly string[]> {
  const ask = async (name: string): Promise<string> => {
    try {
      const { values } = await client.get(name, { keyspace: KEYSPACE, r: 'quorum' })
      return values.map(({ value }) => text(value)).join() || 'nothing'
    } catch (error) {
      return (error as { readonly code: string }).code
    }
  }
  return [...new Set(await simulation.settle(Promise.all(names.map(ask))))]
}

test('who alone is read, and lost its disk, has back what new owners hold, and waits for them', async () => {
  const cluster = await changing('alone')
  const [here, away] = [keysOf(cluster, false), keysOf(cluster, true)]
  assert.ok(here.length > 0 && away.length > 0)
  await lose(cluster)
  assert.equal(await shown(cluster, here), ['before'])
  assert.equal(await shown(cluster, away), ['UNAVAILABLE'])
  const { simulation, lost } = cluster
  const { service } = present(lost.node, 'it runs')
  const { warnings } = await simulation.settle(service.status())
  assert.ok(warnings.some((warning) => warning.includes(`needs ${cluster.away.address}, which is down`)))
  cluster.away.start()
  const isOver = () =>
    storeOf(lost).completeness.cause === null && ringOf(lost).configuration.phase === 'stable'
  assert.ok(await simulation.until(isOver, 2 * CAUGHT_UP_MS))
  assert.equal(await shown(cluster, here), ['before'])
  await simulation.stop()
})

test('what was written since the change began is had back, too', async () => {
  const cluster = await changing('written since')
  await write(cluster.simulation, cluster.client, 'since')
  const here = keysOf(cluster, false)
  await lose(cluster)
  assert.equal(await shown(cluster, here), ['since'])
  await cluster.simulation.stop()
})

test.run()
