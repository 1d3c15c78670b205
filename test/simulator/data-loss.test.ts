import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { DataLoss } from '../../src/simulator/data-loss.ts'
import { createSimulation, type SimPeer } from '../../src/simulator/simulation.ts'

const LEDGER = { isElsewhere: () => true, replaced: () => undefined }

async function isWiped(peerCount: number): Promise<boolean> {
  const simulation = createSimulation({ seed: 570, peers: peerCount })
  await simulation.start()
  await simulation.until(() => simulation.peers.every(({ node }) => node?.isWhole === true), 10_000)
  let struck = false
  new DataLoss(simulation, LEDGER).wipe(simulation.peers[0] as SimPeer, 1000, () => {
    struck = true
  })
  await simulation.run(5000)
  await simulation.stop()
  return struck
}

test('a disk is lost while the others can vote without it', async () => {
  assert.ok(await isWiped(3))
})

test('the disk of a founder stays, as its vote is the only one', async () => {
  assert.not(await isWiped(1))
})

test.run()
