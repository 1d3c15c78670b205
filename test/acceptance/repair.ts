/**
 * Repair at the size it is promised for, with real peers: two replicas of 1,000,000 keys that differ in 1,000
 * are brought together, compared once more, and their hash trees are made anew after an unclean stop; and a
 * loaded cluster goes on while one peer rebuilds its trees and gets what it missed.
 *
 * Usage: npm run accept:repair -- [--keys 1000000] [--differing 1000] [--pairs 3] [--window 60]
 *   [--loaded-keys 200000] [--only big|foreground]
 */
import { spawnSync } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { formatBytes } from '../../src/cli/terminal.ts'
import { type Client, connect } from '../../src/index.ts'
import { DEFAULT_KEYSPACE_OPTIONS } from '../../src/wire/requests.ts'
import type { TaskInfo } from '../../src/wire/tasks.ts'
import { endAll, isFormed, type PeerProcess, startCluster, until } from '../processes/peers.ts'
import { median, Processes } from '../processes/processes.ts'
import { rebuilt, roundEnded, tasksOf } from '../processes/tasks.ts'
import { refill } from './filled-disk.ts'
import { bytesBetween } from './peer-traffic.ts'
import { cannotRun, percent, Verdict } from './verdict.ts'

const MEBIBYTE = 1024 * 1024
const PATIENCE_MS = 300_000
const LOADER = fileURLToPath(new URL('../benchmark/put-load.ts', import.meta.url))
const WARM_UP_S = 5

const { values: words } = parseArgs({
  options: {
    keys: { type: 'string', default: '1000000' },
    differing: { type: 'string', default: '1000' },
    pairs: { type: 'string', default: '3' },
    window: { type: 'string', default: '60' },
    'loaded-keys': { type: 'string', default: '200000' },
    only: { type: 'string', default: '' },
  },
})
const differing = Number(words.differing)
if (spawnSync('ss', ['-V']).error !== undefined) cannotRun('ss is not installed; on Debian: iproute2')
const processes = new Processes()
const verdict = new Verdict(`repair, ${differing} differences`)
if (words.only !== 'foreground') await big(Number(words.keys))
if (words.only !== 'big') await foreground(Number(words['loaded-keys']), Number(words.window))
await verdict.print()

/** Two replicas on disks that differ, and nobody else. */
async function big(keys: number): Promise<void> {
  const peers = await startCluster(2)
  const [a, b] = peers as [PeerProcess, PeerProcess]
  const stride = Math.floor(keys / differing)
  // Of those that differ each is the older one here or there.
  const behind = [(i: number) => i % (2 * stride) === 0, (i: number) => i % (2 * stride) === stride]
  const recordBytes = await refill(peers, 'default', keys, behind)
  verdict.progress(`two disks of ${keys} keys are filled`)
  const client = await restart(peers)
  const rebuildMs = (await rebuilt(client, 2)).map(({ ageMs }) => ageMs)
  verdict.progress(`trees are there after ${rebuildMs.join(' and ')} ms`)
  const first = await round(client, a, b)
  const beyond = first.bytes - first.repaired * recordBytes
  const equal = await round(client, a, b)
  client.close()
  await endAll(peers)
  for (const ms of rebuildMs) {
    verdict.check('trees after an unclean stop, both peers at once', seconds(ms), '< 30 s', ms < 30_000)
  }
  verdict.check('differences repaired', first.repaired, String(differing), first.repaired === differing)
  verdict.check('from both trees on', seconds(first.tookMs), '< 20 s', first.tookMs < 20_000)
  const allowed = `<= 3 MiB beyond ${formatBytes(first.repaired * recordBytes)} of records`
  verdict.check('bytes between the peers', formatBytes(first.bytes), allowed, beyond <= 3 * MEBIBYTE)
  verdict.check('equal ones, compared', seconds(equal.tookMs), '< 3 s', equal.tookMs < 3000)
  verdict.check('bytes for that', formatBytes(equal.bytes), '< 1 MiB', equal.bytes < MEBIBYTE)
}

/** Pairs of windows under full load, without and with repair in the background. */
async function foreground(keys: number, windowS: number): Promise<void> {
  const peers = await startCluster(3, { args: ['--log-level', 'error'] })
  const maker = await connect(peers.map(({ address }) => address))
  const options = { ...DEFAULT_KEYSPACE_OPTIONS, replicas: 3, conflicts: 'lww', w: 2 } as const
  await maker.service.createKeyspace('benchmark', options)
  maker.close()
  await refill(peers, 'benchmark', keys, [() => false, () => false, () => false])
  const client = await restart(peers)
  await rebuilt(client, 3)
  const ratios: number[] = []
  for (let pair = 0; pair < Number(words.pairs); pair++) {
    const isFirst = pair % 2 === 0
    const before = isFirst ? await load(peers, windowS) : null
    const during = await loadWithRepair(peers, client, windowS, pair)
    const without = before ?? (await load(peers, windowS))
    ratios.push(during / without)
    verdict.note(
      `pair ${pair + 1}: puts/s without, with repair`,
      `${without.toFixed(0)}, ${during.toFixed(0)}`,
    )
  }
  client.close()
  await endAll(peers)
  const ratio = median(ratios)
  const each = ratios.map((value) => percent(value)).join(', ')
  verdict.check(`throughput with repair (${each})`, percent(ratio), '>= 90 %', ratio >= 0.9)
}

/** @returns a client that asks the first of them */
async function restart(peers: readonly PeerProcess[]): Promise<Client> {
  await Promise.all(peers.map((peer) => peer.start()))
  await until(peers, (status) => isFormed(status, peers.length), PATIENCE_MS)
  return connect((peers[0] as PeerProcess).address, { pinned: true })
}

interface Round {
  readonly tookMs: number
  readonly repaired: number
  readonly bytes: number
}

/** As `kvctl repair`. What the schedule found at the same time is part of it. */
async function round(client: Client, a: PeerProcess, b: PeerProcess): Promise<Round> {
  const name = randomUUID()
  const bytesBefore = bytesBetween(a, b)
  const startMs = performance.now()
  const repairedBefore = sum(await repairs(client), 'repaired')
  await client.service.repair({ keyspace: null, round: name })
  await roundEnded(client, name, 1)
  const tookMs = performance.now() - startMs
  const repaired = sum(await repairs(client), 'repaired') - repairedBefore
  const bytes = bytesBetween(a, b) - bytesBefore
  verdict.progress(`a round: ${repaired} repaired, ${formatBytes(bytes)} moved, ${seconds(tookMs)}`)
  return { tookMs, repaired, bytes }
}

async function repairs(client: Client): Promise<readonly TaskInfo[]> {
  return (await client.service.tasks()).tasks.filter(({ kind }) => kind === 'repair')
}

function sum(tasks: readonly TaskInfo[], figure: 'repaired' | 'bytes'): number {
  return tasks.reduce((total, task) => total + task[figure], 0)
}

/** @returns puts a second */
async function load(peers: readonly PeerProcess[], windowS: number): Promise<number> {
  const addresses = peers.map(({ address }) => address)
  const setting = {
    addresses,
    keyspace: 'benchmark',
    valueBytes: 100,
    seconds: windowS,
    warmUpSeconds: WARM_UP_S,
  }
  const args = ['--import', 'tsx', LOADER, JSON.stringify(setting)]
  const { putsPerSecond } = JSON.parse(await processes.output(process.execPath, args)) as {
    putsPerSecond: number
  }
  verdict.progress(`${putsPerSecond.toFixed(0)} puts/s`)
  return putsPerSecond
}

/** One peer was killed and missed some keys; it is back, without trees, when the load begins. */
async function loadWithRepair(
  peers: readonly PeerProcess[],
  client: Client,
  windowS: number,
  pair: number,
): Promise<number> {
  const absent = peers[2] as PeerProcess
  await absent.end('SIGKILL')
  await until(peers.slice(0, 2), (status) => !isFormed(status, 3), PATIENCE_MS)
  const missed = Array.from({ length: differing }, (_, i) => `missed ${pair} ${i}`)
  await Promise.all(missed.map((key) => client.put(key, 'x'.repeat(100), { keyspace: 'benchmark' })))
  await absent.start()
  const startMs = performance.now()
  let isOver = false
  const loading = load(peers, windowS).finally(() => {
    isOver = true
  })
  const [rebuild] = await tasksOf(client, (tasks) => {
    const of = tasks.filter(({ kind, peerAddress }) => kind === 'rebuild' && peerAddress === absent.address)
    return of.some(({ state }) => state === 'done') ? of : null
  })
  verdict.progress(`trees of ${absent.address} rebuilt in ${seconds(rebuild?.ageMs ?? 0)}`)
  const name = randomUUID()
  const before = sum(await repairs(client), 'repaired')
  await client.service.repair({ keyspace: null, round: name })
  await roundEnded(client, name, 3)
  const repaired = sum(await repairs(client), 'repaired') - before
  const tookMs = performance.now() - startMs
  const when = `${repaired} repaired, ended ${seconds(tookMs)} after the load began`
  verdict.check(`pair ${pair + 1}: trees and repair inside the window`, when, 'inside', !isOver)
  return loading
}

function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(1)} s`
}
