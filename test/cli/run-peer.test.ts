import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { runPeer } from '../../src/cli/kvnode/run-peer.ts'
import { PEER_OPTIONS } from '../../src/config/option-table.ts'
import { resolveOptions } from '../../src/config/resolve.ts'
import { CLEAN_STOP_FILE } from '../../src/store/clean-stop.ts'

const test = suite('run peer')
const directory = mkdtempSync(join(tmpdir(), 'kvnode-run-'))
test.after(() => rmSync(directory, { recursive: true, force: true }))

/** A peer that joins somebody who is not there, and is asked to stop after so long. */
async function stoppedAfter(name: string, ms: number): Promise<string> {
  const data = join(directory, name)
  const exit = process.exit
  process.exit = () => {
    throw new Error('it ended the process')
  }
  try {
    const flags = { data, port: '0', join: ['127.0.0.1:1'], logLevel: 'error' }
    await runPeer(resolveOptions(PEER_OPTIONS, { flags, environment: {}, file: null }), {
      ready: () => assert.unreachable('nobody is there'),
      orphaned: (stop) => {
        if (ms === 0) stop()
        else setTimeout(stop, ms)
      },
    })
  } finally {
    process.exit = exit
  }
  return data
}

test('a peer that is stopped before it has found its cluster stops in order', async () => {
  const data = await stoppedAfter('searching', 700)
  assert.ok(existsSync(join(data, CLEAN_STOP_FILE)))
})

test('at whatever moment of a start a peer is stopped, the next one can have its directory', async () => {
  for (const ms of [0, 1, 3, 10, 30]) await stoppedAfter('early', ms)
})

test.run()
