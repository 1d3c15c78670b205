/**
 * How long a person waits: `kvctl get` beside bare Node.js, interleaved; a peer with a data directory and a
 * whole local cluster until they serve, counted from the start of the process.
 *
 * Usage: npm run bench:startup -- [--runs 20] [--starts 5]
 */
import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { PeerProcess } from '../processes/peers.ts'
import { lineOf, median, Processes } from '../processes/processes.ts'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))
const KVCTL = join(ROOT, 'bin/kvctl')
const READY_TIMEOUT_MS = 60_000

const { values: words } = parseArgs({
  options: { runs: { type: 'string', default: '20' }, starts: { type: 'string', default: '5' } },
})
const directory = mkdtempSync(join(tmpdir(), 'kvnode-startup-'))
const processes = new Processes()
process.once('exit', () => rmSync(directory, { recursive: true, force: true }))

const { getMs, bareMs } = await measureGet(Number(words.runs))
const peerMs = await measurePeer(Number(words.starts))
const clusterMs = await measureCluster(Number(words.starts))
const row = (what: string, ms: readonly number[], limit: string): string =>
  `${what.padEnd(42)}${median(ms).toFixed(0).padStart(7)} ms   ${Math.max(...ms)
    .toFixed(0)
    .padStart(5)} ms   ${limit}`
process.stdout.write(
  [
    `${'medians and maxima'.padEnd(42)}${'median'.padStart(10)}   ${'max'.padStart(8)}   required`,
    row('node -e 0', bareMs, ''),
    row('kvctl get', getMs, `4 x node -e 0; here ${(median(getMs) / median(bareMs)).toFixed(2)} x`),
    row('kvnode start with data, until ready', peerMs, '700 ms'),
    row('npm start with data, until three are ready', clusterMs, '1500 ms'),
    '',
  ].join('\n'),
)

async function measureGet(runs: number): Promise<{ getMs: number[]; bareMs: number[] }> {
  const peer = new PeerProcess(join(directory, 'get'))
  await peer.start()
  const { address } = peer
  run([KVCTL, 'put', 'greeting', 'hello', '--peer', address])
  const getMs: number[] = []
  const bareMs: number[] = []
  for (let i = 0; i < runs; i++) {
    bareMs.push(run(['-e', '0']))
    getMs.push(run([KVCTL, 'get', 'greeting', '--peer', address]))
  }
  await peer.end('SIGTERM')
  return { getMs, bareMs }
}

/** Milliseconds that a Node.js program takes, which must end well. */
function run(args: readonly string[]): number {
  const startMs = performance.now()
  const { status, stderr } = spawnSync(process.execPath, args, { encoding: 'utf8' })
  const elapsedMs = performance.now() - startMs
  if (status !== 0) throw new Error(`${args.join(' ')} ended with ${status}: ${stderr}`)
  return elapsedMs
}

async function measurePeer(starts: number): Promise<number[]> {
  const readyMs: number[] = []
  // The first start, which makes the directory, does not count.
  const peer = new PeerProcess(join(directory, 'peer'))
  for (let i = 0; i <= starts; i++) {
    const startMs = performance.now()
    await peer.start()
    if (i > 0) readyMs.push(performance.now() - startMs)
    await peer.end('SIGTERM')
  }
  return readyMs
}

async function measureCluster(starts: number): Promise<number[]> {
  const readyMs: number[] = []
  const args = ['start', '--silent', '--', '--port', '17001', '--data', join(directory, 'cluster')]
  for (let i = 0; i <= starts; i++) {
    const startMs = performance.now()
    const npm = processes.start('npm', args, { cwd: ROOT, stdio: ['ignore', 'pipe', 'inherit'] })
    await lineOf(npm, /^HTTP: /, READY_TIMEOUT_MS)
    if (i > 0) readyMs.push(performance.now() - startMs)
    await processes.stop(npm)
  }
  return readyMs
}
