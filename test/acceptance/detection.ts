/**
 * How soon five real peers notice that one of them died, froze or came back, and that they do not blame a
 * peer that is only slow.
 *
 * Usage: npm run accept:detection -- [--rounds 5] [--load-minutes 5]
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { endAll, isFormed, type PeerProcess, run, startCluster, until } from '../processes/peers.ts'
import { agreedAtMs, nodeIdsOf, type Opinion, opinionsOf } from './membership-log.ts'
import { milliseconds, Verdict } from './verdict.ts'

const PEERS = 5
const KILLED_BOUND_MS = 500
const STOPPED_BOUND_MS = 4_000
const SHORT_PAUSE_MS = 1_000
const LONG_PAUSE_MS = 10_000
const BACK_BOUND_MS = 2_000
/** How long a false verdict may take to show. */
const AFTERMATH_MS = 6_000
const PATIENCE_MS = 20_000
const BENCH_CLIENTS = 4
const BENCH_IN_FLIGHT = 64

const { values: words } = parseArgs({
  options: { rounds: { type: 'string', default: '5' }, 'load-minutes': { type: 'string', default: '0' } },
})
const rounds = Number(words.rounds)
const verdict = new Verdict('failure detection, five peers')
const peers = await startCluster(PEERS)
const nodeIds = await nodeIdsOf(peers)
if (rounds > 0) {
  await measureKills()
  await measureShortPauses()
  await measureLongPauses()
}
if (Number(words['load-minutes']) > 0) await measureUnderLoad(Number(words['load-minutes']))
await verdict.print()
await endAll(peers)

async function measureKills(): Promise<void> {
  const noticedMs: number[] = []
  const sinceMs = Date.now()
  const blamed: Opinion[] = []
  for (let round = 0; round < rounds; round++) {
    const { victim, nodeId, others } = choose(round)
    const killedAtMs = Date.now()
    victim.signal('SIGKILL')
    noticedMs.push(await elapsed(others, nodeId, 'dead', killedAtMs))
    verdict.progress(`killed ${victim.address}: ${milliseconds(noticedMs.at(-1) ?? 0)}`)
    blamed.push(...deathsSince(others, killedAtMs).filter((opinion) => opinion.nodeId !== nodeId))
    await victim.end('SIGKILL')
    await victim.start()
    await until(peers, (status) => isFormed(status, PEERS))
  }
  checkWorst('killed: down at all others', noticedMs, KILLED_BOUND_MS)
  verdict.check('… and nobody else called dead', blamed.length, 'none', blamed.length === 0)
  verdict.note('… suspected meanwhile', suspicionsSince(sinceMs))
}

async function measureShortPauses(): Promise<void> {
  const sinceMs = Date.now()
  for (let round = 0; round < 2 * rounds; round++) {
    const { victim } = choose(round)
    victim.signal('SIGSTOP')
    await sleep(SHORT_PAUSE_MS)
    victim.signal('SIGCONT')
    await sleep(AFTERMATH_MS)
  }
  const deaths = deathsSince(peers, sinceMs)
  verdict.check(
    `stopped for 1 s, ${2 * rounds} times: called dead`,
    deaths.length,
    'never',
    deaths.length === 0,
  )
  verdict.note('… suspected', suspicionsSince(sinceMs))
}

async function measureLongPauses(): Promise<void> {
  const noticedMs: number[] = []
  const backMs: number[] = []
  const blamed: Opinion[] = []
  for (let round = 0; round < rounds; round++) {
    const { victim, nodeId, others } = choose(round)
    const stoppedAtMs = Date.now()
    victim.signal('SIGSTOP')
    noticedMs.push(await elapsed(others, nodeId, 'dead', stoppedAtMs))
    await sleep(Math.max(0, stoppedAtMs + LONG_PAUSE_MS - Date.now()))
    const continuedAtMs = Date.now()
    victim.signal('SIGCONT')
    const upMs = await elapsed(others, nodeId, 'alive', continuedAtMs)
    await until(peers, (status) => isFormed(status, PEERS), PATIENCE_MS)
    // What the peer that was stopped sees counts too; asking everybody takes some of the time itself.
    backMs.push(Math.max(upMs, Date.now() - continuedAtMs))
    const [down, up] = [noticedMs, backMs].map((all) => milliseconds(all.at(-1) ?? 0))
    verdict.progress(`stopped ${victim.address}: down after ${down}, up after ${up}`)
    blamed.push(...deathsSince(peers, stoppedAtMs).filter((opinion) => opinion.nodeId !== nodeId))
  }
  checkWorst('stopped: down at all others', noticedMs, STOPPED_BOUND_MS)
  checkWorst('continued after 10 s: up again everywhere', backMs, BACK_BOUND_MS)
  verdict.check('… and nobody else called dead', blamed.length, 'none', blamed.length === 0)
}

async function measureUnderLoad(minutes: number): Promise<void> {
  const sinceMs = Date.now()
  const asked = peers.flatMap(({ address }) => ['--peer', address])
  const load = ['--clients', String(BENCH_CLIENTS), '--in-flight', String(BENCH_IN_FLIGHT)]
  const { code, stdout, stderr } = await run('kvctl', [
    ...['bench', '--workload', 'a', '--seconds', String(60 * minutes), '--json'],
    ...load,
    ...asked,
  ])
  if (code !== 0) throw new Error(`kvctl bench ended with ${code}: ${stderr}`)
  const result = JSON.parse(stdout) as { requests: number; requestsPerSecond: number; errors: object }
  const deaths = deathsSince(peers, sinceMs)
  verdict.check(`${minutes} min of full load: called dead`, deaths.length, 'never', deaths.length === 0)
  verdict.note('… suspected', suspicionsSince(sinceMs))
  verdict.note('… requests per second', result.requestsPerSecond.toFixed(0))
  verdict.note('… failed requests', JSON.stringify(result.errors))
  for (const { atMs, observer, nodeId } of deaths)
    verdict.remark(`${new Date(atMs).toISOString()} ${observer.address} called ${nodeId} dead`)
}

function choose(round: number): { victim: PeerProcess; nodeId: string; others: readonly PeerProcess[] } {
  const place = round % PEERS
  const victim = peers[place] as PeerProcess
  return { victim, nodeId: nodeIds[place] as string, others: peers.filter((peer) => peer !== victim) }
}

async function elapsed(
  observers: readonly PeerProcess[],
  nodeId: string,
  state: string,
  sinceMs: number,
): Promise<number> {
  const atMs = await agreedAtMs(observers, nodeId, state, sinceMs, PATIENCE_MS)
  return atMs === null ? Number.POSITIVE_INFINITY : atMs - sinceMs
}

function deathsSince(observers: readonly PeerProcess[], sinceMs: number): readonly Opinion[] {
  return observers.flatMap((peer) => opinionsOf(peer, sinceMs)).filter(({ state }) => state === 'dead')
}

function suspicionsSince(sinceMs: number): number {
  return peers.flatMap((peer) => opinionsOf(peer, sinceMs)).filter(({ state }) => state === 'suspect').length
}

function checkWorst(what: string, ms: readonly number[], boundMs: number): void {
  const worst = Math.max(...ms)
  const each = [...ms].sort((a, b) => a - b).map((one) => one.toFixed(0))
  verdict.check(what, `worst ${milliseconds(worst)}`, `< ${milliseconds(boundMs)}`, worst < boundMs)
  verdict.note('… all of them, ms', each.join(' '))
}
