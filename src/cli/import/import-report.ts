/** What became of the rows: counts, the first failures as text, all of them in a file when one is named. */

import { once } from 'node:events'
import { createWriteStream, type WriteStream } from 'node:fs'
import { plainText } from '../plain-text.ts'
import { formatCount, formatDuration, printJson } from '../terminal.ts'
import type { Outcome } from './importer.ts'

/** Different ones: what is the same of many rows is said once. */
const SHOWN_FAILURES = 5
const SHOWN_ROWS = 3
const SHOWN_DUPLICATES = 3
const MAX_SHOWN_LENGTH = 160

export interface ImportCounts {
  imported: number
  /** Of those imported: rows that replaced an earlier one of the same file. */
  duplicates: number
  bad: number
  unacknowledged: number
  /** Not acknowledged either, but a later row with the same key was: there is nothing left to do. */
  superseded: number
}

interface SharedFailure {
  /** The first of them. */
  readonly rows: number[]
  count: number
}

export class ImportReport {
  readonly counts: ImportCounts = { imported: 0, duplicates: 0, bad: 0, unacknowledged: 0, superseded: 0 }
  readonly #file: WriteStream | null
  readonly #path: string | null
  /** By what is said of them. */
  readonly #failures = new Map<string, SharedFailure>()
  readonly #duplicates: string[] = []
  readonly #startedMs = performance.now()

  /** @param isResumed adds to the report of the run before */
  constructor(path: string | null, isResumed: boolean) {
    this.#path = path
    this.#file = path === null ? null : createWriteStream(path, { flags: isResumed ? 'a' : 'w' })
    this.#file?.on('error', (error) => {
      process.stderr.write(`kvctl: cannot write the report: ${error.message}\n`)
    })
  }

  add(outcome: Outcome): void {
    switch (outcome.kind) {
      case 'imported':
        this.counts.imported++
        return
      case 'duplicate': {
        this.counts.imported++
        this.counts.duplicates++
        const message = `replaced row ${outcome.earlierRow}, which has the same key`
        if (this.#duplicates.length < SHOWN_DUPLICATES) this.#duplicates.push(`row ${outcome.row} ${message}`)
        this.#write({ row: outcome.row, key: outcome.key, code: 'DUPLICATE', message })
        return
      }
      case 'superseded': {
        this.counts.unacknowledged--
        this.counts.superseded++
        const message = `row ${outcome.laterRow}, which has the same key, was written after it`
        this.#write({ row: outcome.row, key: outcome.key, code: 'SUPERSEDED', message })
        return
      }
      default: {
        this.counts[outcome.kind]++
        const { row, key, code, message } = outcome
        this.#count(row, message)
        this.#write({ row, key, code, message })
      }
    }
  }

  async finish(end: { json: boolean; interrupted: boolean; statePath: string | null }): Promise<void> {
    if (this.#file !== null && !this.#file.destroyed) {
      this.#file.end()
      await once(this.#file, 'close')
    }
    const elapsedMs = performance.now() - this.#startedMs
    const seconds = elapsedMs / 1000
    if (end.json) printJson({ ...this.counts, interrupted: end.interrupted, seconds, state: end.statePath })
    else process.stdout.write(this.#summary(elapsedMs, end.interrupted))
    if (!end.json && end.statePath !== null) {
      process.stderr.write(
        'run the same command again to go on from here, or with --restart from the beginning\n',
      )
    }
  }

  #summary(elapsedMs: number, interrupted: boolean): string {
    const { imported, duplicates, bad, unacknowledged, superseded } = this.counts
    const rate = imported / Math.max(0.001, elapsedMs / 1000)
    const ending = interrupted ? ', interrupted' : ''
    const duration = `${formatDuration(elapsedMs)} (${formatCount(rate)} rows/s)${ending}`
    const counts = [`${formatCount(imported)} imported`, `${formatCount(bad)} bad`]
    const lines = [`${counts.join(', ')}, ${formatCount(unacknowledged)} not acknowledged in ${duration}`]
    if (duplicates > 0)
      lines.push(
        duplicates === 1
          ? '1 row has the key of an earlier one: the last row stays'
          : `${formatCount(duplicates)} rows have keys of earlier ones: the last row stays`,
      )
    if (superseded > 0)
      lines.push(
        superseded === 1
          ? '1 row was not acknowledged, but a later one with its key was'
          : `${formatCount(superseded)} rows were not acknowledged, but later ones with their keys were`,
      )
    let unsaid = bad + unacknowledged + superseded
    for (const { count } of this.#failures.values()) unsaid -= count
    const shown = [
      ...listed(this.#duplicates, duplicates - this.#duplicates.length),
      ...listed([...this.#failures].map(describe), unsaid),
    ]
    if (shown.length > 0 && this.#path === null) shown.push('--report FILE lists every one of them')
    return `${[...lines, ...shown.map((line) => `  ${line}`)].join('\n')}\n`
  }

  #count(row: number, message: string): void {
    // A message may quote the row.
    const text = plainText(message, MAX_SHOWN_LENGTH)
    const same = this.#failures.get(text)
    if (same !== undefined) {
      same.count++
      if (same.rows.length < SHOWN_ROWS) same.rows.push(row)
    } else if (this.#failures.size < SHOWN_FAILURES) this.#failures.set(text, { rows: [row], count: 1 })
  }

  #write(line: Readonly<Record<string, unknown>>): void {
    this.#file?.write(`${JSON.stringify({ ...line, time: new Date().toISOString() })}\n`)
  }
}

function describe([message, { rows, count }]: readonly [string, SharedFailure]): string {
  const more = count > rows.length ? ` and ${formatCount(count - rows.length)} more` : ''
  return `row${count === 1 ? '' : 's'} ${rows.join(', ')}${more}: ${message}`
}

function listed(shown: readonly string[], unsaid: number): string[] {
  return unsaid > 0 ? [...shown, `… and ${formatCount(unsaid)} more`] : [...shown]
}
