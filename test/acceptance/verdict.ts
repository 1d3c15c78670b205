/**
 * What an acceptance check measured, beside what was promised: a table for people, an exit code for scripts.
 */
import { loadavg } from 'node:os'
import { printJson, renderTable } from '../../src/cli/terminal.ts'

export class Verdict {
  readonly #title: string
  readonly #rows: string[][] = []
  readonly #checks: object[] = []
  readonly #notes: string[] = []
  readonly #startMs = performance.now()
  readonly #loadBefore = loadavg()[0] ?? 0
  #failed = 0

  constructor(title: string) {
    this.#title = title
    this.progress(`${title}: load average ${this.#loadBefore.toFixed(1)}`)
  }

  /** One promise: what was measured, what it had to be, whether it is. */
  check(what: string, measured: string | number, bound: string, holds: boolean): void {
    if (!holds) this.#failed++
    this.#checks.push({ what, measured, required: bound, holds })
    this.#rows.push([what, String(measured), bound, holds ? 'holds' : 'FAILS'])
    this.progress(`${what}: ${measured} (${bound}) ${holds ? 'holds' : 'FAILS'}`)
  }

  /** A figure that nothing was promised about. */
  note(what: string, measured: string | number): void {
    this.#rows.push([what, String(measured), '', ''])
  }

  /** A line below the table. */
  remark(line: string): void {
    this.#notes.push(line)
  }

  /** While it runs, on standard error. */
  progress(line: string): void {
    const seconds = ((performance.now() - this.#startMs) / 1000).toFixed(0)
    process.stderr.write(`[${seconds.padStart(4)} s] ${line}\n`)
  }

  /**
   * Prints the table; the exit code is 1 when something does not hold.
   * @param details what a script is to have with the checks, as one JSON object in the table's place
   */
  async print(details: object | null = null): Promise<void> {
    if (this.#failed > 0) process.exitCode = 1
    if (details !== null) return printJson({ title: this.#title, checks: this.#checks, ...details })
    const columns = [{ title: 'what' }, { title: 'measured' }, { title: 'required' }, { title: '' }]
    const table = await renderTable(columns, this.#rows)
    const load = `load average ${this.#loadBefore.toFixed(1)} before, ${(loadavg()[0] ?? 0).toFixed(1)} after`
    const seconds = ((performance.now() - this.#startMs) / 1000).toFixed(0)
    const result = this.#failed === 0 ? 'everything holds' : `${this.#failed} of these do not hold`
    process.stdout.write(
      [`${this.#title} (${seconds} s, ${load})`, table, ...this.#notes, result, ''].join('\n'),
    )
  }
}

/** Ends with a message and exit code 2 when something keeps the check itself from running. */
export function cannotRun(why: string): never {
  process.stderr.write(`${why}\n`)
  process.exit(2)
}

export function milliseconds(ms: number): string {
  return `${ms.toFixed(0)} ms`
}

export function percent(share: number): string {
  return `${(100 * share).toFixed(2)} %`
}
