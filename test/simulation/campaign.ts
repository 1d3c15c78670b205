/**
 * Runs the simulator over many seeds, in several processes.
 *
 *     npm run sim -- --seeds 1..200 --peers 5 --minutes 10 --jobs 2 [--no-ring] [--resume] [--keep 3,9]
 *
 * The ring changes meanwhile: peers join, leave, are removed and replaced, and keyspaces get more copies or
 * fewer; with `--no-ring` it stays as it is. With several numbers of peers (`--peers 3,5,7`) seeds take them
 * in turn.
 *
 * `--resume` goes on where the same campaign on the same code was interrupted. `--keep` carries out only
 * these of the seed's faults, as a failure's replay command names them. Exit code 0: no violation, and every
 * class of faults struck (in campaigns of 20 seeds or more).
 */
import { createHash } from 'node:crypto'
import { appendFileSync, existsSync, mkdirSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import type { ScenarioReport } from '../../src/simulator/scenario.ts'
import { FAULT_CLASSES } from '../../src/simulator/swarm.ts'
import { bundleWorker } from './bundle.ts'
import { exitWith } from './exit-code.ts'
import type { RunSettings } from './messages.ts'
import { createPool } from './pool.ts'

/** Fewer seeds than this need not strike with every class. */
const MIN_SEEDS_FOR_EVERY_CLASS = 20
const ROOT = fileURLToPath(new URL('../../', import.meta.url))

interface Settings extends Omit<RunSettings, 'peers'> {
  /** Of each cluster: seeds take these in turn. */
  readonly peers: readonly number[]
  readonly from: number
  readonly to: number
  readonly jobs: number
  readonly resume: boolean
  readonly log: boolean
  readonly shrinkMs: number
  readonly stopAtFirst: boolean
}

interface Totals {
  seeds: number
  failures: number
  virtualMs: number
  /** Virtual ms that were run now, not before a resume, and what they cost. */
  ranMs: number
  cpuMs: number
  reports: Record<string, number>
  struck: Record<string, number>
}

const USAGE = `usage: npm run sim -- --seeds A..B [--peers 3,5,7] [--minutes 10] [--jobs 2] [--no-ring]
       [--resume] [--keep I,J] [--log] [--shrink-seconds 120] [--stop-at-first]`

function parse(): Settings {
  const { values } = parseArgs({
    options: {
      seeds: { type: 'string', default: '1..20' },
      peers: { type: 'string', default: '5' },
      minutes: { type: 'string', default: '10' },
      jobs: { type: 'string', default: '2' },
      ring: { type: 'boolean', default: true },
      resume: { type: 'boolean', default: false },
      keep: { type: 'string' },
      log: { type: 'boolean', default: false },
      'shrink-seconds': { type: 'string', default: '120' },
      'stop-at-first': { type: 'boolean', default: false },
    },
    allowNegative: true,
  })
  const [from, to] = values.seeds.split('..')
  return {
    from: count('--seeds', from),
    to: count('--seeds', to ?? from),
    peers: values.peers.split(',').map((one) => count('--peers', one)),
    minutes: count('--minutes', values.minutes),
    jobs: Math.max(1, count('--jobs', values.jobs)),
    ring: values.ring,
    resume: values.resume,
    keep: values.keep === undefined ? null : positions(values.keep),
    log: values.log,
    shrinkMs: count('--shrink-seconds', values['shrink-seconds']) * 1000,
    stopAtFirst: values['stop-at-first'],
  }
}

function count(flag: string, text: string | undefined): number {
  const value = Number(text)
  if (text === undefined || text === '' || !Number.isFinite(value) || value < 0) {
    throw new Error(`${flag} wants a number, not '${text}'\n${USAGE}`)
  }
  return value
}

function positions(text: string): number[] {
  return text === '' || text === 'none' ? [] : text.split(',').map((part) => count('--keep', part))
}

/** In a directory of this process. */
async function makeWorker(): Promise<{ readonly file: string; readonly hash: string; remove(): void }> {
  const directory = join(ROOT, 'node_modules', '.cache', 'kvnode-simulation', String(process.pid))
  mkdirSync(directory, { recursive: true })
  const file = join(directory, 'worker.mjs')
  const hash = createHash('sha256').update(await bundleWorker({ root: ROOT, file }))
  const remove = (): void => rmSync(directory, { recursive: true, force: true })
  return { file, hash: hash.digest('hex').slice(0, 16), remove }
}

/** Finished seeds of this very campaign on this very code, one JSON report a line. */
class Journal {
  readonly #file: string

  constructor(settings: Settings, hash: string) {
    const { from, to, peers, minutes, ring, keep } = settings
    const mix = ring ? 'ring' : 'steady'
    const name = [`${from}-${to}`, peers.join('_'), minutes, mix, keep?.join('_') ?? 'all', hash].join('-')
    this.#file = join(ROOT, 'node_modules', '.cache', 'kvnode-simulation', `${name}.jsonl`)
    if (!settings.resume) rmSync(this.#file, { force: true })
  }

  read(): ScenarioReport[] {
    if (!existsSync(this.#file)) return []
    const lines = readFileSync(this.#file, 'utf8')
      .split('\n')
      .filter((line) => line.endsWith('}'))
    return lines.map((line) => JSON.parse(line) as ScenarioReport)
  }

  add(report: ScenarioReport): void {
    appendFileSync(this.#file, `${JSON.stringify(report)}\n`)
  }
}

function addReport(totals: Totals, report: ScenarioReport): void {
  totals.seeds++
  if (report.failure !== null) totals.failures++
  totals.virtualMs += report.virtualMs
  const { load, network, struck, configurations, votes, purges, ring } = report
  const counts = { ...load, ...network, configurations, votes, ...ring, ...purges }
  for (const [name, value] of Object.entries(counts)) {
    totals.reports[name] = (totals.reports[name] ?? 0) + value
  }
  for (const name of FAULT_CLASSES) totals.struck[name] = (totals.struck[name] ?? 0) + struck[name]
}

function showProgress(totals: Totals, settings: Settings): void {
  const all = settings.to - settings.from + 1
  const speed = totals.cpuMs === 0 ? 0 : Math.round(totals.ranMs / totals.cpuMs)
  const { writesAcknowledged = 0, readsAnswered = 0 } = totals.reports
  const done = `${writesAcknowledged} writes and ${readsAnswered} reads answered`
  const failed = `${totals.failures} failed`
  const line = `${totals.seeds}/${all} seeds, ${failed}, ${speed} x real time per core, ${done}`
  if (process.stderr.isTTY) process.stderr.write(`\r${line}\u001b[K`)
  else if (totals.seeds % 10 === 0 || totals.seeds === all) process.stderr.write(`${line}\n`)
}

function showTotals(totals: Totals): void {
  const list = (counts: Record<string, number>): string =>
    Object.entries(counts)
      .map(([name, value]) => `${name} ${value}`)
      .join(', ')
  process.stdout.write(`\n${totals.seeds} seeds, ${(totals.virtualMs / 60_000).toFixed(0)} virtual minutes\n`)
  process.stdout.write(`done: ${list(totals.reports)}\nfaults: ${list(totals.struck)}\n`)
}

function replay(settings: Settings, seed: string, keep: readonly number[] | null): string {
  const kept = keep === null ? '' : ` --keep ${keep.length === 0 ? 'none' : keep.join(',')}`
  const { peers, minutes, ring } = settingsOf(settings, Number(seed))
  const rest = `${ring ? '' : ' --no-ring'}${kept}`
  return `npm run sim -- --seeds ${seed}..${seed} --peers ${peers} --minutes ${minutes}${rest}`
}

function showFailure(settings: Settings, report: ScenarioReport): void {
  const { seed, failure } = report
  process.stdout.write(
    `\nFAILED seed ${seed} at ${failure?.atMs.toFixed(1)} virtual ms: ${failure?.message}\n`,
  )
  process.stdout.write(`  replay: ${replay(settings, seed, settings.keep)}\n`)
}

function showShrunk(
  settings: Settings,
  report: ScenarioReport,
  keep: readonly number[],
  isMinimal: boolean,
): void {
  const faults = keep.map((position) => `    ${position}: ${JSON.stringify(report.schedule[position])}`)
  process.stdout.write(
    `  seed ${report.seed} fails with ${keep.length} faults${isMinimal ? '' : ' (perhaps fewer)'}:\n`,
  )
  process.stdout.write(`${faults.join('\n')}\n  replay: ${replay(settings, report.seed, keep)}\n`)
}

async function main(): Promise<number> {
  const settings = parse()
  const worker = await makeWorker()
  const totals: Totals = { seeds: 0, failures: 0, virtualMs: 0, ranMs: 0, cpuMs: 0, reports: {}, struck: {} }
  const pool = createPool(worker.file, settings.jobs)
  try {
    const journal = new Journal(settings, worker.hash)
    const finished = new Set<string>()
    for (const report of journal.read()) {
      if (report.failure !== null) continue
      finished.add(report.seed)
      addReport(totals, report)
    }
    const seeds: number[] = []
    for (let seed = settings.from; seed <= settings.to; seed++)
      if (!finished.has(String(seed))) seeds.push(seed)
    let stopped = false
    const runOne = async (seed: number): Promise<void> => {
      const result = await pool.perform({
        type: 'run',
        seed,
        settings: settingsOf(settings, seed),
        log: settings.log,
      })
      if (result.type !== 'ran') return
      const { report, cpuMs } = result
      totals.ranMs += report.virtualMs
      totals.cpuMs += cpuMs
      addReport(totals, report)
      journal.add(report)
      showProgress(totals, settings)
      if (report.failure === null) return
      showFailure(settings, report)
      stopped ||= settings.stopAtFirst
      if (settings.shrinkMs === 0) return
      const shrunk = await pool.perform({
        type: 'shrink',
        seed,
        settings: settingsOf(settings, seed),
        failedAtMs: report.failure.atMs,
        scheduleLength: report.schedule.length,
        limitMs: settings.shrinkMs,
      })
      if (shrunk.type === 'shrunk') showShrunk(settings, report, shrunk.keep, shrunk.isMinimal)
    }
    const runSome = async (): Promise<void> => {
      for (let seed = seeds.shift(); seed !== undefined && !stopped; seed = seeds.shift()) await runOne(seed)
    }
    await Promise.all(Array.from({ length: settings.jobs }, runSome))
  } finally {
    pool.close()
    worker.remove()
  }
  showTotals(totals)
  const absent = FAULT_CLASSES.filter((name) => (totals.struck[name] ?? 0) === 0)
  const mustStrike = settings.keep === null && totals.seeds >= MIN_SEEDS_FOR_EVERY_CLASS
  if (mustStrike && absent.length > 0) {
    process.stdout.write(`FAILED: these faults never struck: ${absent.join(', ')}\n`)
    return 1
  }
  if (mustStrike && (totals.reports.erased ?? 0) === 0) {
    process.stdout.write('FAILED: nothing was ever purged\n')
    return 1
  }
  process.stdout.write(totals.failures === 0 ? 'no violation\n' : `FAILED: ${totals.failures} seeds\n`)
  return totals.failures === 0 ? 0 : 1
}

function settingsOf({ peers, minutes, ring, keep }: Settings, seed: number): RunSettings {
  return { peers: peers[seed % peers.length] as number, minutes, ring, keep }
}

exitWith(main)
