/**
 * How fast a peer that joins gets what it is to own, beside the fastest way there is: one process iterates a
 * database and writes what it finds into another one, in batches. The two take turns within one run, because
 * what a machine can do drifts; what counts is the median of the ratios.
 *
 * Usage: npm run bench:streaming -- [--keys 300000] [--rounds 3] [--at-least 0.4] [--json]
 */
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { formatBytes } from '../../src/cli/terminal.ts'
import { connect } from '../../src/index.ts'
import { createDatabase } from '../../src/platform/level-storage.ts'
import { refill } from '../acceptance/filled-disk.ts'
import { percent, Verdict } from '../acceptance/verdict.ts'
import { endAll, isFormed, PeerProcess, scratchDirectory, startCluster, until } from '../processes/peers.ts'
import { median } from '../processes/processes.ts'
import { rebuilt, tasksOf } from '../processes/tasks.ts'

const PATIENCE_MS = 300_000
const POLL_MS = 20
const PIECE = 1000
const PIECE_BYTES = 1024 * 1024

interface Streamed {
  /** Records a second, from the moment the joining peer began until it had all of them. */
  readonly rate: number
  readonly bytes: number
  /** From its start until it owns everything. */
  readonly joinedMs: number
}

const { values: words } = parseArgs({
  options: {
    keys: { type: 'string', default: '300000' },
    rounds: { type: 'string', default: '3' },
    'at-least': { type: 'string', default: '0.4' },
    json: { type: 'boolean', default: false },
  },
})
const keys = Number(words.keys)
const verdict = new Verdict(`streaming of ${keys} keys to a peer that joins`)
const shares: number[] = []
for (let round = 1; round <= Number(words.rounds); round++) {
  const peers = await startCluster(1)
  const [source] = peers as [PeerProcess]
  const recordBytes = await refill(peers, 'default', keys, [() => false])
  const isFirst = round % 2 === 1
  const before = isFirst ? await copy(source) : null
  const { rate, bytes, joinedMs } = await stream(source)
  const bare = before ?? (await copy(source))
  shares.push(rate / bare)
  const figures = `${rate.toFixed(0)} of ${bare.toFixed(0)} records/s, ${percent(rate / bare)}`
  verdict.progress(`round ${round}: ${figures}`)
  verdict.note(`round ${round}: streamed, of a bare copy`, figures)
  verdict.note(`… all of it, until it owns it`, `${formatBytes(bytes)}, ${(joinedMs / 1000).toFixed(1)} s`)
  verdict.progress(`${formatBytes(recordBytes * keys)} on the disk`)
}
const least = Number(words['at-least'])
const share = median(shares)
verdict.check('share of a bare copy', percent(share), `>= ${percent(least)}`, share >= least)
await verdict.print(words.json ? { keys, shares } : null)

/** @returns records a second of a bare copy of the peer's disk; ends the peer */
async function copy(peer: PeerProcess): Promise<number> {
  await peer.end('SIGTERM')
  const from = createDatabase(join(peer.dataDir, 'database'))
  const to = createDatabase(join(scratchDirectory(), 'copy'))
  await Promise.all([from.open(), to.open()])
  // An option of classic-level that abstract-level does not name.
  const options = { reverse: false, highWaterMarkBytes: PIECE_BYTES }
  const iterator = from.iterator(options)
  const startMs = performance.now()
  let count = 0
  for (;;) {
    const entries = await iterator.nextv(PIECE)
    if (entries.length === 0) break
    const batch = to.batch()
    for (const [key, value] of entries) batch.put(key, value)
    await batch.write()
    count += entries.length
  }
  const elapsedS = (performance.now() - startMs) / 1000
  await iterator.close()
  await Promise.all([from.close(), to.close()])
  return count / elapsedS
}

async function stream(source: PeerProcess): Promise<Streamed> {
  if (!source.isRunning) await source.start()
  const client = await connect(source.address, { pinned: true })
  await rebuilt(client, 1)
  const joiner = new PeerProcess(join(scratchDirectory(), 'joiner'), { args: ['--join', source.address] })
  const startMs = performance.now()
  await joiner.start()
  const [task] = await tasksOf(
    client,
    (tasks) => {
      const found = tasks.filter(({ kind, repaired }) => kind === 'takeover' && repaired >= keys)
      return found.length === 0 ? null : found
    },
    POLL_MS,
  )
  await until([source, joiner], (status) => isFormed(status, 2), PATIENCE_MS)
  const joinedMs = performance.now() - startMs
  client.close()
  await endAll([source, joiner])
  const { ageMs = 0, bytes = 0 } = task ?? {}
  return { rate: keys / (ageMs / 1000), bytes, joinedMs }
}
