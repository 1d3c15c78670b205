import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { isUp, type PeerView } from '../../src/protocol/membership/peer.ts'
import { formCluster } from '../../src/simulator/formed-cluster.ts'
import { createSimulation, type SimPeer } from '../../src/simulator/simulation.ts'

const test = suite('large cluster')
const PARTITIONS = 512

test('in a cluster of 100 a join is known everywhere in 5 seconds', async () => {
  const simulation = createSimulation({ seed: 1, peers: 101, partitionCount: PARTITIONS })
  const members = simulation.peers.slice(0, 100)
  const newcomer = simulation.peers[100]
  assert.ok(newcomer !== undefined)
  const formed = members.map(({ host, address }) => ({ host, address, zone: '', weight: 1 }))
  await formCluster(simulation.world, formed, PARTITIONS)
  for (const peer of members) peer.start()
  const knowEachOther = (): boolean => members.every((peer) => upPeersOf(peer).length === 99)
  assert.ok(await simulation.until(knowEachOther, 30_000), 'the members know each other')
  await simulation.run(30_000)

  newcomer.start()
  const isKnown = (): boolean =>
    members.every((peer) => upPeersOf(peer).some(({ address }) => address === newcomer.address))
  const knowsAll = (): boolean => upPeersOf(newcomer).length === 100
  assert.ok(await simulation.until(() => isKnown() && knowsAll(), 5000))
  for (const peer of simulation.peers) peer.crash()
})

function upPeersOf({ state, node }: SimPeer): readonly PeerView[] {
  return state === 'ready' ? (node?.membership.peers().filter((peer) => isUp(peer.state)) ?? []) : []
}

test.run()
