/**
 * Plants one bug at a time in a copy of the source and runs the ordinary campaign on it, on each of five
 * ranges of seeds:
 *
 *     npm run mutants -- [--only NAME] [--ranges 5] [--jobs 2]
 *
 * A range catches a bug when one of its seeds ends in a violation within the time limit, and the same seed on
 * the source as it is does not. A bug is caught when every range catches it. One that can no longer be
 * planted, or that leaves the program as it is, is missed. Exit code 0: all were caught, in the median faster
 * than is promised.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { type Column, renderTable } from '../../src/cli/terminal.ts'
import { bundleWorker } from '../simulation/bundle.ts'
import { exitWith } from '../simulation/exit-code.ts'
import { createPool, type Pool } from '../simulation/pool.ts'
import { hunt, MINUTES, PEERS, type Range } from './hunt.ts'
import { MUTANTS, type Mutant } from './mutants.ts'
import { copyProject, plant, programOf } from './planting.ts'

const ROOT = fileURLToPath(new URL('../../', import.meta.url))
/** Chosen before any bug met them, and the same for all bugs. */
const RANGES: readonly Range[] = [1000, 2000, 3000, 4000, 5000].map((base) => {
  return { from: base + 1, to: base + 60 }
})
/** Of one campaign. */
const LIMIT_MS = 180_000
/** Of all campaigns that caught something. */
const PROMISED_MEDIAN_MS = 60_000

interface Settings {
  readonly mutants: readonly Mutant[]
  readonly ranges: readonly Range[]
  readonly jobs: number
}

interface Verdict {
  readonly name: string
  /** Of the ranges that caught it, in ms. */
  readonly times: readonly number[]
  readonly rangeCount: number
}

/** What is the same for all bugs. */
interface Bench {
  /** The program without a bug, as `programOf` gives it, and a pool that runs it. */
  readonly program: Buffer
  readonly sound: Pool
  readonly settings: Settings
  /** For copies. */
  readonly directory: string
  readonly signal: AbortSignal
}

function parse(): Settings {
  const { values } = parseArgs({
    options: {
      only: { type: 'string', multiple: true, default: [] },
      ranges: { type: 'string', default: String(RANGES.length) },
      jobs: { type: 'string', default: '2' },
    },
  })
  const wanted = values.only
  const mutants = MUTANTS.filter(
    ({ name }) => wanted.length === 0 || wanted.some((each) => name.includes(each)),
  )
  const [rangeCount, jobs] = [Number(values.ranges), Number(values.jobs)]
  if (mutants.length === 0) throw new Error(`--only wants a part of one of these:\n${listNames()}`)
  if (!(rangeCount >= 1 && rangeCount <= RANGES.length))
    throw new Error(`--ranges wants 1 to ${RANGES.length}`)
  if (!Number.isInteger(jobs) || jobs < 1) throw new Error('--jobs wants a number of processes')
  return { mutants, ranges: RANGES.slice(0, rangeCount), jobs }
}

function listNames(): string {
  return MUTANTS.map(({ name }) => `  ${name}`).join('\n')
}

async function judge(mutant: Mutant, bench: Bench): Promise<Verdict> {
  const { ranges } = bench.settings
  const missed = (why: string): Verdict => {
    tell(`MISSED ${mutant.name}: ${why}`)
    return { name: mutant.name, times: [], rangeCount: ranges.length }
  }
  const copy = join(bench.directory, 'mutant')
  try {
    copyProject(ROOT, copy)
    const obstacle = plant(mutant, copy)
    if (obstacle !== null) return missed(obstacle)
    if ((await programOf(copy)).equals(bench.program)) return missed('it changes nothing')
    const times: number[] = []
    for (const range of ranges) {
      const ms = await judgeRange(mutant, range, copy, bench)
      if (ms !== null) times.push(ms)
    }
    return { name: mutant.name, times, rangeCount: ranges.length }
  } finally {
    rmSync(copy, { recursive: true, force: true })
  }
}

/** How long it took to catch it; null: it was missed. */
async function judgeRange(mutant: Mutant, range: Range, copy: string, bench: Bench): Promise<number | null> {
  const { settings, signal, sound } = bench
  const hasRing = mutant.hasRing === true
  const seeds = `seeds ${range.from}..${range.to}`
  const stopShowing = showProgress(`${mutant.name}, ${seeds}`)
  const { seed, how, ms } = await hunt(copy, range, hasRing, settings.jobs, LIMIT_MS, signal)
  const isOurs = seed !== null && (await failsWithout(sound, seed, hasRing))
  stopShowing()
  signal.throwIfAborted()
  const isCaught = seed !== null && !isOurs
  tell(`${isCaught ? 'caught' : 'MISSED'} ${mutant.name}, ${seeds}, ${inSeconds(ms)} s`)
  tell(`  ${isOurs ? `seed ${seed} fails without it too` : how}`)
  return isCaught ? ms : null
}

/** Whether the source as it is fails this seed: then nothing was caught. */
async function failsWithout(sound: Pool, seed: number, ring: boolean): Promise<boolean> {
  const settings = { peers: PEERS, minutes: MINUTES, ring, keep: null }
  const result = await sound.perform({ type: 'run', seed, settings, log: false })
  return result.type !== 'ran' || result.report.failure !== null
}

/** One line that counts the seconds, on a terminal. */
function showProgress(what: string): () => void {
  if (!process.stderr.isTTY) return () => undefined
  const begunMs = performance.now()
  const show = (): void => {
    process.stderr.write(`\r${what}: ${inSeconds(performance.now() - begunMs)} s\u001b[K`)
  }
  show()
  const timer = setInterval(show, 1000)
  return () => {
    clearInterval(timer)
    process.stderr.write('\r\u001b[K')
  }
}

function tell(line: string): void {
  process.stdout.write(`${line}\n`)
}

function inSeconds(ms: number): string {
  return (ms / 1000).toFixed(1)
}

function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b)
  return sorted[Math.floor(sorted.length / 2)] ?? Number.POSITIVE_INFINITY
}

function isCaught({ times, rangeCount }: Verdict): boolean {
  return times.length === rangeCount
}

const COLUMNS: readonly Column[] = [
  { title: '' },
  { title: 'mutant' },
  { title: 'ranges', align: 'right' },
  { title: 'median s', align: 'right' },
  { title: 'worst s', align: 'right' },
]

/** @returns whether all is as promised */
async function showVerdicts(verdicts: readonly Verdict[]): Promise<boolean> {
  const rows = verdicts.map((verdict) => {
    const { name, times, rangeCount } = verdict
    const shown = times.length === 0 ? ['', ''] : [inSeconds(median(times)), inSeconds(Math.max(...times))]
    return [isCaught(verdict) ? 'caught' : 'MISSED', name, `${times.length} of ${rangeCount}`, ...shown]
  })
  const caught = verdicts.filter(isCaught).length
  const times = verdicts.flatMap((verdict) => verdict.times)
  tell(`\n${await renderTable(COLUMNS, rows)}\n`)
  const summary = `${caught} of ${verdicts.length} caught by every range`
  tell(`${summary}; median of all campaigns ${inSeconds(median(times))} s`)
  return caught === verdicts.length && median(times) < PROMISED_MEDIAN_MS
}

async function main(): Promise<number> {
  const settings = parse()
  const ending = new AbortController()
  process.once('SIGINT', () => ending.abort())
  process.once('SIGTERM', () => ending.abort())
  const directory = mkdtempSync(join(tmpdir(), 'kvnode-mutants-'))
  process.once('exit', () => rmSync(directory, { recursive: true, force: true }))
  const copy = join(directory, 'sound')
  copyProject(ROOT, copy)
  const file = join(copy, 'worker.mjs')
  await bundleWorker({ root: copy, file })
  const sound = createPool(file, 1)
  try {
    const { signal } = ending
    const bench = { program: await programOf(copy), sound, settings, directory, signal }
    const verdicts: Verdict[] = []
    for (const mutant of settings.mutants) verdicts.push(await judge(mutant, bench))
    return (await showVerdicts(verdicts)) ? 0 : 1
  } finally {
    sound.close()
  }
}

exitWith(main)
