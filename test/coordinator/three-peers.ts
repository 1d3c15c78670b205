/** Three simulated peers, each of which owns everything, and what lies on their disks. */
import { present } from '../../src/base/assert.ts'
import { type Bytes, text } from '../../src/base/bytes.ts'
import type { NodeOptions } from '../../src/node/node-options.ts'
import { findUnequal } from '../../src/simulator/checker/trees.ts'
import type { LogEntry } from '../../src/simulator/sim-world.ts'
import { createSimulation, type SimPeer, type Simulation } from '../../src/simulator/simulation.ts'
import { KIND, userKey } from '../../src/store/keys.ts'
import type { Store } from '../../src/store/store.ts'

export const PARTITIONS = 16

export type Peers = [SimPeer, SimPeer, SimPeer]
export type Entry = [key: Bytes, value: Bytes]

export async function threePeers(
  seed: string,
  node: Partial<NodeOptions>,
  log: (entry: LogEntry) => void = () => undefined,
): Promise<[Simulation, Peers]> {
  const simulation = createSimulation({ seed, peers: 3, partitionCount: PARTITIONS, formed: true, node, log })
  await simulation.start()
  return [simulation, simulation.peers as unknown as Peers]
}

export function storeOf(peer: SimPeer): Store {
  return present(peer.node, 'it runs').store
}

/** Of the database; null: this disk has no record of that key. */
export function findEntry(simulation: Simulation, peer: SimPeer, name: string): Entry | null {
  return entries(simulation, peer).find(([key]) => text(userKey(key)) === name) ?? null
}

/** All records of a disk. */
export function entries(simulation: Simulation, peer: SimPeer): Entry[] {
  const found: Entry[] = []
  const { disk } = simulation.world.host(peer.host)
  for (const place = disk.newest.begin; place.valid; place.next()) {
    const key = place.key as Bytes
    if (key[0] === KIND.record) found.push([key, place.value as Bytes])
  }
  return found
}

/** With one bit that is another one. */
export function damaged(record: Bytes): Bytes {
  const changed = Uint8Array.from(record)
  changed[changed.length - 2] = (changed.at(-2) as number) ^ 4
  return changed
}

export function areEqual(simulation: Simulation): boolean {
  return findUnequal(simulation.peers, ({ host }) => simulation.world.host(host).disk.newest) === null
}
