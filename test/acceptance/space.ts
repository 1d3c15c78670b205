/**
 * Deleted data gives its disk space back: three peers take 100,000 keys of 1 kB, all of these are deleted,
 * the tombstones are purged, and what lies in the peers' data directories is weighed each time.
 *
 * Nothing but `--purge-after` is set otherwise than by default: an hour of waiting would show nothing more.
 * Values are noise, as LevelDB would compress anything else. What does not come back is what a peer needs
 * anyway: a log that LevelDB begins anew only when it is full, and its books.
 *
 * Usage: npm run accept:space -- [--keys 100000] [--value-bytes 1000] [--purge-after 30]
 */
import { randomBytes } from 'node:crypto'
import { readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { formatBytes, renderTable } from '../../src/cli/terminal.ts'
import { connect } from '../../src/index.ts'
import { endAll, startCluster } from '../processes/peers.ts'
import { percent, Verdict } from './verdict.ts'

const PEERS = 3
const LANES = 64
const TIMEOUT_MS = 30_000
const POLL_MS = 1000
/** The unit that allocated space is counted in. */
const BLOCK_BYTES = 512
/** What has to come back, at each peer. */
const SHARE = 0.8
/** From the last delete, beside `--purge-after`. */
const WITHIN_MS = 180_000

const { values: words } = parseArgs({
  options: {
    keys: { type: 'string', default: '100000' },
    'value-bytes': { type: 'string', default: '1000' },
    'purge-after': { type: 'string', default: '30' },
  },
})
const [keys, valueBytes] = [Number(words.keys), Number(words['value-bytes'])]
const purgeAfterMs = 1000 * Number(words['purge-after'])

/** Bytes in each peer's data directory. */
type Sizes = readonly number[]

const verdict = new Verdict(`disk space of ${keys} deleted keys with ${valueBytes} bytes each`)
const peers = await startCluster(PEERS, { args: ['--purge-after', words['purge-after']] })
const client = await connect(
  peers.map(({ address }) => address),
  { timeoutMs: TIMEOUT_MS },
)
const before = weigh('before')
await each((key) => client.put(key, randomBytes(valueBytes), { w: 'all' }))
const afterPuts = weigh('after the puts')
await each((key) => client.delete(key, { w: 'all' }))
const deletedAtMs = performance.now()
const afterDeletes = weigh('after the deletes')
const purgedMs = await waited(async () => (await purgedCount()) >= keys)
const afterPurge = weigh('when all are purged')
const backMs = await waited(async () => shares(weigh()).every((share) => share >= SHARE))
const atLast = weigh('when it is back, or no longer waited for')
client.close()
await endAll(peers)
await judge()
await verdict.print()

async function judge(): Promise<void> {
  const moments: readonly (readonly [string, Sizes])[] = [
    ['before', before],
    ['after the puts', afterPuts],
    ['after the deletes', afterDeletes],
    ['after purging', afterPurge],
    ['after compaction', atLast],
  ]
  const rows = moments.map(([moment, sizes]) => [moment, ...sizes.map(formatBytes)])
  const columns = ['data directories', ...peers.map((_, i) => `peer ${i + 1}`)].map((title) => ({ title }))
  process.stdout.write(`${await renderTable(columns, rows)}\n`)
  const limit = `within ${seconds(purgeAfterMs + WITHIN_MS)} of the last delete`
  const isIn = (ms: number | null): boolean => ms !== null
  verdict.check('all keys purged after', seconds(purgedMs), limit, isIn(purgedMs))
  verdict.check(`${percent(SHARE)} of the space is back after`, seconds(backMs), limit, isIn(backMs))
  for (const [i, share] of shares(atLast).entries()) {
    const bound = `>= ${percent(SHARE)}`
    verdict.check(`came back at peer ${i + 1} by then`, percent(share), bound, share >= SHARE)
  }
}

/** Of what puts or deletes took, how much each peer gave back: LevelDB may begin with it by itself. */
function shares(sizes: Sizes): readonly number[] {
  return sizes.map((size, i) => {
    const [first, full] = [before[i] ?? 0, Math.max(afterPuts[i] ?? 0, afterDeletes[i] ?? 0)]
    return (full - size) / (full - first)
  })
}

/** @param moment it is said at */
function weigh(moment: string | null = null): Sizes {
  const sizes = peers.map(({ dataDir }) => allocatedBytes(dataDir))
  if (moment !== null) verdict.progress(`${moment}: ${sizes.map(formatBytes).join(', ')}`)
  return sizes
}

function allocatedBytes(directory: string): number {
  let bytes = 0
  for (const name of readdirSync(directory, { encoding: 'utf8', recursive: true })) {
    // LevelDB may have deleted it meanwhile.
    const status = statSync(join(directory, name), { throwIfNoEntry: false })
    bytes += BLOCK_BYTES * (status?.blocks ?? 0)
  }
  return bytes
}

/** Keys that are gone from all of their owners; each peer counts those that it leads. */
async function purgedCount(): Promise<number> {
  const counts = await Promise.all(
    peers.map(async ({ address }) => {
      const metrics = await (await fetch(`http://${address}/metrics`)).text()
      return Number(/^kv_purge_erased_keys\w* (\d+)$/m.exec(metrics)?.[1] ?? 0)
    }),
  )
  return counts.reduce((sum, count) => sum + count, 0)
}

/** How many ms after the last delete this held; null: not in time. */
async function waited(holds: () => Promise<boolean>): Promise<number | null> {
  for (;;) {
    const isSo = await holds()
    const ms = performance.now() - deletedAtMs
    if (isSo || ms > purgeAfterMs + WITHIN_MS) return isSo ? ms : null
    await sleep(POLL_MS)
  }
}

async function each(act: (key: string) => Promise<unknown>): Promise<void> {
  let next = 0
  const lane = async (): Promise<void> => {
    while (next < keys) await act(`key-${next++}`)
  }
  await Promise.all(Array.from({ length: LANES }, lane))
}

function seconds(ms: number | null): string {
  return ms === null ? 'never' : `${(ms / 1000).toFixed(0)} s`
}
