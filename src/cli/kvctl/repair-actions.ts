/**
 * What `repair` does: it begins a round, looks at its tasks until all have ended, and says what came of them.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import type { KvService } from '../../wire/requests.ts'
import type { RepairPart, TaskInfo } from '../../wire/tasks.ts'
import { EXIT_UNAVAILABLE } from '../exit-code.ts'
import { colors, formatBytes, formatCount, formatDuration, printJson } from '../terminal.ts'
import type { KvClient } from './session.ts'

const POLL_MS = 250
/** A peer that says nothing of its part for so long is not waited for. */
const SILENCE_MS = 15_000

interface RepairWords {
  readonly keyspace: string | null
  readonly acceptLoss: boolean
  readonly wait: boolean
  readonly json: boolean
}

export async function repair(client: KvClient, words: RepairWords): Promise<void> {
  const { keyspace, acceptLoss, wait, json } = words
  const startMs = performance.now()
  const { service } = client
  const { round, parts } = await service.repair({ keyspace, round: client.newId(), acceptLoss })
  if (!wait) return sayBegun(round, parts, json)
  const bar = await progressBar()
  const watch = new RoundWatch(round, parts)
  try {
    while (await watch.look(service)) {
      bar.show(watch)
      await sleep(POLL_MS)
    }
    bar.show(watch)
  } finally {
    bar.stop()
  }
  const tookMs = Math.round(performance.now() - startMs)
  if (watch.failures.length > 0) process.exitCode = EXIT_UNAVAILABLE
  if (json) printJson({ round, tookMs, ...watch.totals, failures: watch.failures, tasks: watch.tasks, parts })
  else say(watch, tookMs)
}

interface Totals {
  readonly pairs: number
  readonly partitions: number
  readonly compared: number
  readonly differing: number
  readonly repaired: number
  readonly failed: number
  readonly bytes: number
}

/** What is known of a round. */
class RoundWatch {
  readonly #round: string
  readonly #parts: readonly RepairPart[]
  /** By peer and partner: what was heard last, also of a peer that says nothing any more. */
  readonly #tasks = new Map<string, TaskInfo>()
  /** By peer: when it last told of its part, or why it will not any more. */
  readonly #heardMs = new Map<string, number>()
  readonly #lost = new Map<string, string>()

  constructor(round: string, parts: readonly RepairPart[]) {
    this.#round = round
    this.#parts = parts
    for (const { peer } of parts) this.#heardMs.set(peer, performance.now())
  }

  get tasks(): readonly TaskInfo[] {
    return [...this.#tasks.values()]
  }

  get totals(): Totals {
    const sum = (figure: (task: TaskInfo) => number): number =>
      this.tasks.reduce((total, task) => total + figure(task), 0)
    return {
      pairs: this.tasks.length,
      partitions: sum(({ total }) => total ?? 0),
      compared: sum(({ done }) => done),
      differing: sum(({ differing }) => differing),
      repaired: sum(({ repaired }) => repaired),
      failed: sum(({ failed }) => failed),
      bytes: sum(({ bytes }) => bytes),
    }
  }

  /** A sentence for each part that was not done. */
  get failures(): readonly string[] {
    const refused = this.#parts.flatMap(({ peerAddress, refusal }) =>
      refusal === null ? [] : [`${peerAddress} takes no part: ${refusal}`],
    )
    const failed = this.tasks.flatMap(({ state, peerAddress, withAddress, failure }) =>
      state === 'failed' ? [`${peerAddress} with ${withAddress}: ${failure ?? 'not completed'}`] : [],
    )
    return [...refused, ...failed, ...this.#lost.values()]
  }

  /** @returns true while there is more to come */
  async look(service: KvService): Promise<boolean> {
    const { tasks } = await service.tasks()
    for (const task of tasks.filter(({ round }) => round === this.#round)) {
      this.#tasks.set(`${task.peer} ${task.with}`, task)
      this.#heardMs.set(task.peer, performance.now())
    }
    return this.#parts.some((part) => this.#isOpen(part))
  }

  #isOpen({ peer, peerAddress, exchanges, refusal }: RepairPart): boolean {
    if (refusal !== null || this.#lost.has(peer)) return false
    const ended = this.tasks.filter((task) => task.peer === peer && task.endedAgoMs !== null).length
    if (ended >= exchanges) return false
    if (performance.now() - (this.#heardMs.get(peer) as number) < SILENCE_MS) return true
    this.#lost.set(peer, `${peerAddress} tells nothing of its part any more: it is down, or was restarted`)
    return false
  }
}

function sayBegun(round: string, parts: readonly RepairPart[], json: boolean): void {
  if (json) return printJson({ round, parts })
  const exchanges = parts.reduce((sum, part) => sum + part.exchanges, 0)
  process.stdout.write(
    `begun: ${formatCount(exchanges)} pairs of peers compare; 'kvctl tasks' shows how far\n`,
  )
  warn(parts.flatMap(({ peerAddress, refusal }) => (refusal === null ? [] : [`${peerAddress}: ${refusal}`])))
}

function say(watch: RoundWatch, tookMs: number): void {
  const { pairs, partitions, compared, differing, repaired, failed, bytes } = watch.totals
  const unfinished = watch.tasks.filter(({ state }) => state === 'failed').length
  const by = `by ${pairs} pairs of peers${unfinished > 0 ? `, of which ${unfinished} did not finish` : ''}`
  const lines = [
    `compared  ${formatCount(compared)} of ${formatCount(partitions)} partitions, ${by}`,
    `differed  ${formatCount(differing)} keys`,
    `repaired  ${formatCount(repaired)} keys${failed > 0 ? `, ${formatCount(failed)} could not be` : ''}`,
    `moved     ${formatBytes(bytes)}`,
    `took      ${formatDuration(tookMs)}`,
  ]
  process.stdout.write(`${lines.join('\n')}\n`)
  warn(watch.failures)
}

function warn(sentences: readonly string[]): void {
  const { yellow } = colors(process.stderr)
  for (const sentence of sentences) process.stderr.write(yellow(`warning: ${sentence}\n`))
}

interface Bar {
  show(watch: RoundWatch): void
  stop(): void
}

/** On standard error, where that is a terminal. */
async function progressBar(): Promise<Bar> {
  if (process.stderr.isTTY !== true) return { show: () => {}, stop: () => {} }
  const { default: progress } = await import('cli-progress')
  const format =
    '{bar} {percentage}%  {differing} differ, {repaired} repaired, {moved} moved  {eta_formatted} left'
  const bar = new progress.SingleBar(
    { format, stream: process.stderr, hideCursor: true },
    progress.Presets.shades_classic,
  )
  bar.start(1, 0, { differing: 0, repaired: 0, moved: '0 B' })
  return {
    show(watch) {
      const { partitions, compared, differing, repaired, bytes } = watch.totals
      bar.setTotal(Math.max(1, partitions))
      bar.update(compared, { differing, repaired, moved: formatBytes(bytes) })
    },
    stop: () => bar.stop(),
  }
}
