/**
 * No write is acknowledged before it is on disk: with every fsync of every peer delayed by 200 ms, no
 * acknowledgement comes sooner. The same writes without the delay show that it is the fsync that is waited
 * for.
 *
 * Usage: npm run accept:fsync -- [--writes 300]
 */
import { spawnSync } from 'node:child_process'
import { parseArgs } from 'node:util'
import { type Client, connect, type WriteOptions } from '../../src/index.ts'
import { DEFAULT_KEYSPACE_OPTIONS } from '../../src/wire/requests.ts'
import { endAll, startCluster } from '../processes/peers.ts'
import { milliseconds, Verdict } from './verdict.ts'

const PEERS = 3
const DELAY_MS = 200
const IN_FLIGHT = 16
const TIMEOUT_MS = 30_000
const STRACE = ['strace', '-f', '-qq', '-o', '/dev/null', '-e', 'trace=fdatasync,fsync']
const INJECTION = ['-e', `inject=fdatasync,fsync:delay_exit=${DELAY_MS * 1000}`]

const { values: words } = parseArgs({ options: { writes: { type: 'string', default: '300' } } })
const writes = Number(words.writes)
if (spawnSync('strace', ['-qq', '-o', '/dev/null', 'true']).status !== 0) {
  process.stdout.write('skipped: strace is not installed or may not trace here (apt-get install strace)\n')
  process.exit(0)
}
const verdict = new Verdict(`acknowledgements and fsync, three peers, ${DELAY_MS} ms more for each fsync`)
await measure('without the delay', [])
await measure('with the delay', [...STRACE, ...INJECTION])
await verdict.print()

async function measure(how: string, wrapper: readonly string[]): Promise<void> {
  const isDelayed = wrapper.length > 0
  const patience = isDelayed ? { readyTimeoutMs: 120_000, formedTimeoutMs: 120_000 } : {}
  const peers = await startCluster(PEERS, { wrapper, ...patience })
  const clients = await Promise.all(
    peers.map(({ address }) => connect(address, { pinned: true, timeoutMs: TIMEOUT_MS })),
  )
  await (clients[0] as Client).service.createKeyspace('newest', {
    ...DEFAULT_KEYSPACE_OPTIONS,
    conflicts: 'lww',
  })
  verdict.progress(`three peers run ${how}`)
  const kinds: readonly (readonly [string, WriteOptions, isDelete: boolean])[] = [
    ['put', {}, false],
    ['put, w = one', { w: 'one' }, false],
    ['put, w = all', { w: 'all' }, false],
    ['put, blind', { blind: true }, false],
    ['put, lww keyspace', { keyspace: 'newest' }, false],
    ['delete', {}, true],
  ]
  for (const [kind, options, isDelete] of kinds) {
    const elapsedMs = await timeWrites(clients, options, isDelete)
    const shortest = Math.min(...elapsedMs)
    const measured = `soonest ${shortest.toFixed(1)} ms of ${elapsedMs.length}`
    if (isDelayed) verdict.check(`${kind}, ${how}`, measured, `>= ${DELAY_MS} ms`, shortest >= DELAY_MS)
    else verdict.check(`${kind}, ${how}`, measured, `< ${milliseconds(DELAY_MS)}`, shortest < DELAY_MS)
  }
  for (const client of clients) client.close()
  await endAll(peers)
}

/** Many lanes, so that writes arrive at every moment of a batch that is being fsynced. */
async function timeWrites(
  clients: readonly Client[],
  options: WriteOptions,
  isDelete: boolean,
): Promise<readonly number[]> {
  const elapsedMs: number[] = []
  let begun = 0
  const lane = async (client: Client): Promise<void> => {
    while (begun < writes) {
      const key = `key ${begun++}`
      const startMs = performance.now()
      await (isDelete ? client.delete(key, options) : client.put(key, `value of ${key}`, options))
      elapsedMs.push(performance.now() - startMs)
    }
  }
  await Promise.all(Array.from({ length: IN_FLIGHT }, (_, i) => lane(clients[i % clients.length] as Client)))
  return elapsedMs
}
