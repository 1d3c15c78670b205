/**
 * Golden transcripts: every message of a story, in order. `UPDATE_TRANSCRIPTS=1` writes them anew; read the
 * difference before committing.
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import type { MembershipMessage } from '../../src/protocol/membership/messages.ts'
import type { PeerRecord } from '../../src/protocol/membership/peer.ts'
import { TestNetwork } from './membership-network.ts'

const transcript = suite('membership: transcripts')

function wordsOf(record: PeerRecord): string {
  const accusers = record.accusers.length > 0 ? ` by ${record.accusers.join('+')}` : ''
  return `${record.nodeId} ${record.state}(${record.generation}.${record.incarnation})${accusers}`
}

function describe(message: MembershipMessage): string {
  const { type, ...fields } = message
  const words = Object.entries(fields).map(([name, value]) => {
    if (!Array.isArray(value)) return `${name}=${value}`
    return `${name}=[${(value as PeerRecord[]).map(wordsOf).join(', ')}]`
  })
  return `${type} ${words.join(' ')}`
}

/** Messages and changes from now on, with the ms since the story began. */
function tell(network: TestNetwork, story: () => void): string {
  const beganMs = network.nowMs
  const lines: { atMs: number; line: string }[] = []
  network.onSend = ({ atMs, from, to, message }) => {
    lines.push({ atMs, line: `${from} -> ${to}  ${describe(message)}` })
  }
  for (const peer of network.peers) peer.outputs.length = 0
  story()
  for (const peer of network.peers) {
    for (const { atMs, output } of peer.outputs) {
      if (output.type !== 'changed' || output.after === null) continue
      lines.push({ atMs, line: `${peer.name} holds ${wordsOf(output.after)}` })
    }
  }
  lines.sort((a, b) => a.atMs - b.atMs)
  return lines.map(({ atMs, line }) => `${(atMs - beganMs).toFixed(1).padStart(8)} ms  ${line}\n`).join('')
}

function compareWithGolden(name: string, actual: string): void {
  const file = new URL(`testdata/${name}.txt`, import.meta.url)
  if (process.env.UPDATE_TRANSCRIPTS === '1') writeFileSync(file, actual)
  assert.fixture(actual, readFileSync(file, 'utf8'))
}

/** Four peers, nothing left to pass on, n1 about to probe n3. */
function quiet(): TestNetwork {
  const network = TestNetwork.formed(4, 'transcript', { minLatencyMs: 1, maxLatencyMs: 1 })
  let isNext = false
  network.onSend = ({ from, to, message }) => {
    isNext = from === 'n1' && to !== 'n3' && message.type === 'ping'
  }
  network.runUntil(() => isNext && network.peers.every(({ machine }) => machine.healthScore === 0), 10_000)
  return network
}

transcript('a probe fails over to helpers, of whom one gets through', () => {
  const network = quiet()
  network.cut(['n1'], ['n3'])
  const text = tell(network, () => network.run(1000))
  assert.equal(network.peer('n1').changesTo('suspect'), [])
  const lines = text.split('\n')
  compareWithGolden(
    'membership-indirect-probe',
    lines.slice(lines.findIndex((line) => line.includes('n1 -> n3  ping'))).join('\n'),
  )
})

transcript('a killed process: closed, refused, refused by all helpers, dead', () => {
  const network = quiet()
  compareWithGolden(
    'membership-killed',
    tell(network, () => {
      network.kill('n4')
      network.run(100)
    }),
  )
})

transcript('a suspicion is refuted', () => {
  const network = quiet()
  compareWithGolden(
    'membership-refutation',
    tell(network, () => {
      network.stop('n3')
      network.runUntil(() => network.peers.some((peer) => peer.changesTo('suspect').length > 0), 3000)
      network.run(50)
      network.resume('n3')
      network.run(300)
    }),
  )
})

transcript.run()
