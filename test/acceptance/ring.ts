/**
 * The ring changes while it serves: real peers, a steady load of reads and writes, and one change after the
 * other. Two peers join together, one of the first leaves, one is killed and replaced by a new one, keys get
 * fewer copies and more, and every peer holds everything for a while. Nothing acknowledged may be lost, no
 * read may go back, no request may fail because of a change, and none may take much longer than before.
 *
 * Usage: npm run accept:ring -- [--keys 300000] [--rate 1000] [--window 20] [--json]
 */
import { randomUUID } from 'node:crypto'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { formatBytes, formatCount, renderTable } from '../../src/cli/terminal.ts'
import { type Client, connect } from '../../src/index.ts'
import { DEFAULT_KEYSPACE_OPTIONS, type KeyspaceShape } from '../../src/wire/requests.ts'
import { endAll, isFormed, PeerProcess, scratchDirectory, startCluster, until } from '../processes/peers.ts'
import { roundEnded } from '../processes/tasks.ts'
import { type Phase, RegisterLoad } from './register-load.ts'
import { Verdict } from './verdict.ts'

const KEYSPACE = 'registers'
/** The one stretch in which requests may fail. */
const KILLED = 'killed'
const FIRST_PEERS = 3
const PATIENCE_MS = 600_000
const POLL_MS = 50
/** Peers that are started at the same moment join in one change. */
const ARGS = ['--log-level', 'warn']
const MOST_SLOWDOWN = 3
/** Between two changes, for both to be told apart. */
const REST_S = 5
/** Between the end of the load and the comparison: what lingers comes to its end. */
const SETTLE_MS = 6000

interface Change {
  readonly phase: Phase
  readonly records: number
  readonly bytes: number
}

const { values: words } = parseArgs({
  options: {
    keys: { type: 'string', default: '300000' },
    rate: { type: 'string', default: '1000' },
    window: { type: 'string', default: '20' },
    json: { type: 'boolean', default: false },
  },
})
const keyCount = Number(words.keys)
const verdict = new Verdict(`the ring changes under load, ${keyCount} keys`)
const directory = scratchDirectory()
let peers: readonly PeerProcess[] = await startCluster(FIRST_PEERS, { args: ARGS })
const first = peers
const client = await connect(peers.map(({ address }) => address))
const options = { ...DEFAULT_KEYSPACE_OPTIONS, replicas: 3, quorum: 'strict' } as const
await client.service.createKeyspace(KEYSPACE, options)
const load = new RegisterLoad(client, KEYSPACE, keyCount, Number(words.rate))
await load.fill()
verdict.progress('every key is written')
const changes: Change[] = []
load.start('before')
await sleep(Number(words.window) * 1000)
await run()
load.next('after')
await sleep(Number(words.window) * 1000)
await load.stop()
await load.readAll()
verdict.progress('every key was read once more')
const differing = await compareTwice(client)
client.close()
await endAll(peers)
await report()

async function run(): Promise<void> {
  await change('two join', () => Promise.all([begin(3), begin(4)]))
  await change('one leaves', () => leave(first[1] as PeerProcess))
  const victim = first[2] as PeerProcess
  const rest = peers.filter((peer) => peer !== victim)
  load.next(KILLED)
  // What is under way when it dies may fail with it: that has to be of this stretch alone.
  await load.caughtUp()
  await victim.end('SIGKILL')
  await until(rest, (status) => !isFormed(status, peers.length), PATIENCE_MS)
  await sleep(REST_S * 1000)
  peers = rest
  await change('replaced', () => begin(5, ['--replace', victim.address]))
  await change('N 3 to 2', () => alter({ replicas: 2 }))
  await change('N 2 to 3', () => alter({ replicas: 3 }))
  await change('ring to full', () => alter({ strategy: 'full' }))
  await change('full to ring', () => alter({ strategy: 'ring', replicas: 3 }))
}

/** Until nobody waits for anything of it any more. */
async function change(name: string, action: () => Promise<unknown>): Promise<void> {
  const phase = load.next(name)
  await action()
  await until(peers, (status) => isFormed(status, peers.length), PATIENCE_MS)
  const { tasks } = await client.service.tasks()
  const isOfIt = (ageMs: number, endedAgoMs: number | null): boolean =>
    ageMs + (endedAgoMs ?? 0) <= phase.durationMs
  const parts = tasks.filter(
    ({ kind, ageMs, endedAgoMs }) => kind === 'takeover' && isOfIt(ageMs, endedAgoMs),
  )
  const [records, bytes] = (['repaired', 'bytes'] as const).map((figure) =>
    parts.reduce((sum, part) => sum + part[figure], 0),
  )
  changes.push({ phase, records: records ?? 0, bytes: bytes ?? 0 })
  load.next(`after ${name}`)
  const { requests, failed, latencies, durationMs } = phase
  const p99 = milliseconds(latencies.percentileUs(99))
  verdict.progress(
    `${name}: ${(durationMs / 1000).toFixed(1)} s, ${requests} requests, ${failed} failed, p99 ${p99}`,
  )
  await sleep(REST_S * 1000)
}

async function begin(place: number, more: readonly string[] = []): Promise<void> {
  const args = [...ARGS, '--join', (first[0] as PeerProcess).address, ...more]
  // Ready is who owns its part.
  const peer = new PeerProcess(join(directory, `${place}`), { args, readyTimeoutMs: PATIENCE_MS })
  await peer.start()
  peers = [...peers, peer]
}

async function leave(peer: PeerProcess): Promise<void> {
  await client.service.leave(peer.address)
  peers = peers.filter((one) => one !== peer)
  const deadlineMs = performance.now() + PATIENCE_MS
  while (peer.isRunning && performance.now() < deadlineMs) await sleep(POLL_MS)
  const code = await peer.end('SIGKILL')
  verdict.check('exit code of the peer that left', String(code), '0', code === 0)
}

/** What the change before it left behind is dropped first: until then it is refused, with nothing changed. */
async function alter(shape: Partial<KeyspaceShape>): Promise<void> {
  await client.service.alterKeyspace(KEYSPACE, shape)
}

/** Keys that two owners did not hold alike: found by a first round of repair, and left by it. */
async function compareTwice(asked: Client): Promise<readonly number[]> {
  await sleep(SETTLE_MS)
  const found: number[] = []
  for (let i = 0; i < 2; i++) {
    const round = randomUUID()
    const { parts } = await asked.service.repair({ keyspace: KEYSPACE, round })
    const exchanges = parts.reduce((sum, part) => sum + part.exchanges, 0)
    const ended = await roundEnded(asked, round, exchanges)
    const failures = ended.flatMap(({ failure }) => failure ?? [])
    if (failures.length > 0) throw new Error(`owners could not be compared: ${failures.join('; ')}`)
    found.push(ended.reduce((sum, task) => sum + task.differing, 0))
  }
  return found
}

async function report(): Promise<void> {
  const before = load.phases[0] as Phase
  const baseUs = before.latencies.percentileUs(99)
  // What a change leaves behind is dropped after it.
  const ofChanges = load.phases.filter(({ name }) => name !== before.name && name !== KILLED)
  const failed = ofChanges.reduce((sum, phase) => sum + phase.failed, 0)
  const worst = Math.max(...ofChanges.map(({ latencies }) => latencies.percentileUs(99) / baseUs))
  for (const { name, failures } of load.phases) {
    for (const [what, count] of failures) verdict.remark(`${name}: ${count} × ${what}`)
  }
  verdict.check('requests that failed during changes', failed, 'none', failed === 0)
  verdict.check(
    'lost, older than acknowledged, or never written',
    load.faultCount,
    'none',
    load.faultCount === 0,
  )
  const most = `<= ${MOST_SLOWDOWN}`
  verdict.check('p99 during a change, of that before', worst.toFixed(2), most, worst <= MOST_SLOWDOWN)
  const [once = 0, twice = 0] = differing
  verdict.note('keys that owners did not hold alike in the end', once)
  verdict.check('… once these were repaired', twice, 'none', twice === 0)
  for (const fault of load.faults) verdict.remark(fault)
  if (words.json) return verdict.print({ phases: load.phases.map((phase) => figuresOf(phase, baseUs)) })
  verdict.remark(await table(baseUs))
  await verdict.print()
}

function figuresOf(phase: Phase, baseUs: number) {
  const { name, requests, failed, latencies, durationMs } = phase
  const found = changes.find((one) => one.phase === phase)
  const p99Us = latencies.percentileUs(99)
  return {
    name,
    durationMs: Math.round(durationMs),
    requests,
    failed,
    failures: Object.fromEntries(phase.failures),
    p50Us: latencies.percentileUs(50),
    p99Us,
    ratio: p99Us / baseUs,
    records: found?.records ?? null,
    bytes: found?.bytes ?? null,
  }
}

function table(baseUs: number): Promise<string> {
  const right = 'right' as const
  const columns = [
    { title: 'while' },
    ...['took', 'requests', 'failed', 'p50', 'p99', 'of before', 'records', 'moved'].map((title) => {
      return { title, align: right }
    }),
  ]
  const rows = load.phases.map((phase) => {
    const { name, durationMs, requests, failed, p50Us, p99Us, ratio, records, bytes } = figuresOf(
      phase,
      baseUs,
    )
    return [
      name,
      `${(durationMs / 1000).toFixed(1)} s`,
      formatCount(requests),
      formatCount(failed),
      milliseconds(p50Us),
      milliseconds(p99Us),
      ratio.toFixed(2),
      records === null ? '-' : formatCount(records),
      bytes === null ? '-' : formatBytes(bytes),
    ]
  })
  return renderTable(columns, rows)
}

function milliseconds(us: number): string {
  return `${(us / 1000).toFixed(1)} ms`
}
