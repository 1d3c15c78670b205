/**
 * Writes rows, many at a time; `row-writer.ts` says how often one is tried. Rows with the same key are
 * written in the order of the file, and a row that was not acknowledged is given up when a later one with its
 * key is: the last one stays, also when the import is run again.
 */
import type { ErrorCode } from '../../base/error.ts'
import { KvError } from '../../base/error.ts'
import { MAX_REMEMBERED_ROWS } from './import-state.ts'
import { type Entry, type EntryRule, makeEntry } from './row-entry.ts'
import { mayPass, RowWriter, type WriteRule, type WriteTarget } from './row-writer.ts'
import type { Row } from './rows.ts'

/**
 * Duplicates are looked for among this many different keys: a file of any length must not fill the memory.
 */
export const MAX_REMEMBERED_KEYS = 1_000_000
/** However short rows are tried: a cluster that is silent this long is not there. */
const LEAST_PATIENCE_MS = 10_000

export interface ImportRule extends EntryRule, WriteRule {
  /** Rows that are being written at one time. */
  readonly inFlight: number
}

export type Outcome =
  | { readonly row: number; readonly kind: 'imported' }
  /** Imported, and so replaced what `earlierRow` had written. */
  | { readonly row: number; readonly kind: 'duplicate'; readonly key: string; readonly earlierRow: number }
  /** The row itself is wrong: it will be wrong again. */
  | {
      readonly row: number
      readonly kind: 'bad'
      readonly key: string | null
      readonly code: ErrorCode
      readonly message: string
    }
  /** No acknowledgement: it may succeed when it is tried again. */
  | {
      readonly row: number
      readonly kind: 'unacknowledged'
      readonly key: string
      readonly code: ErrorCode
      readonly message: string
    }
  /** It was not acknowledged, but `laterRow` was, which has the same key: it must not be tried again. */
  | { readonly row: number; readonly kind: 'superseded'; readonly key: string; readonly laterRow: number }

export interface ImportRun {
  /** Rows that an earlier run settled. */
  isSettled(row: number): boolean
  settled(outcome: Outcome): void
  /** Once it is aborted no row is begun or sent again. */
  readonly signal: AbortSignal
}

export class Importer {
  readonly #writer: RowWriter
  readonly #rule: ImportRule
  readonly #run: ImportRun
  /** By key: the row that wrote it last, and its write while it lasts. */
  readonly #rowOfKey = new Map<string, number>()
  readonly #writing = new Map<string, Promise<void>>()
  /** By key: the rows that were not acknowledged, as many as are tried again one by one. */
  readonly #failedRows = new Map<string, number[]>()
  #failedCount = 0
  /** Rows begun and not settled, in the order of the file. */
  readonly #open = new Set<number>()
  #inFlight = 0
  #freed: (() => void) | null = null
  #lastRow = 0
  /** What kept an outcome from being noted. */
  #failure: { readonly error: unknown } | null = null
  #lastSuccessMs = Date.now()

  constructor(target: WriteTarget, rule: ImportRule, run: ImportRun) {
    this.#writer = new RowWriter(target, rule)
    this.#rule = rule
    this.#run = run
  }

  /** Every row before this one is settled. */
  get nextRow(): number {
    const [first] = this.#open
    return first ?? this.#lastRow + 1
  }

  /**
   * @throws UNAVAILABLE when no row at all was acknowledged for a long time; the rows that are not settled
   * were not tried to the end; what `ImportRun.settled` throws, and that row counts as not settled
   */
  async run(rows: AsyncIterable<Row>): Promise<void> {
    try {
      for await (const row of rows) {
        if (this.#run.signal.aborted || this.#failure !== null) break
        await this.#take(row)
        this.#checkProgress()
      }
    } finally {
      while (this.#inFlight > 0) await this.#slot()
    }
    if (this.#failure !== null) throw this.#failure.error
  }

  async #take({ number, content }: Row): Promise<void> {
    this.#lastRow = Math.max(this.#lastRow, number)
    const entry = 'fault' in content ? content : makeEntry(content, this.#rule)
    if ('fault' in entry) {
      if (this.#run.isSettled(number)) return
      this.#run.settled({
        row: number,
        kind: 'bad',
        key: null,
        code: 'INVALID_ARGUMENT',
        message: entry.fault,
      })
      return
    }
    const earlierRow = this.#rowOfKey.get(entry.keyText) ?? null
    if (earlierRow !== null || this.#rowOfKey.size < MAX_REMEMBERED_KEYS)
      this.#rowOfKey.set(entry.keyText, number)
    if (this.#run.isSettled(number)) return
    this.#open.add(number)
    while (this.#inFlight >= this.#rule.inFlight) await this.#slot()
    this.#inFlight++
    const before = this.#writing.get(entry.keyText)
    const write = this.#write(number, entry, earlierRow, before)
      .then(() => {
        this.#open.delete(number)
      })
      .catch((error: unknown) => {
        this.#failure ??= { error }
      })
      .finally(() => {
        if (this.#writing.get(entry.keyText) === write) this.#writing.delete(entry.keyText)
        this.#inFlight--
        this.#freed?.()
      })
    this.#writing.set(entry.keyText, write)
  }

  async #write(
    row: number,
    entry: Entry,
    earlierRow: number | null,
    before: Promise<void> | undefined,
  ): Promise<void> {
    await before
    const failure = await this.#writer.write(entry, this.#run.signal)
    const key = entry.keyText
    if (failure === null) {
      this.#lastSuccessMs = Date.now()
      this.#run.settled(
        earlierRow === null ? { row, kind: 'imported' } : { row, kind: 'duplicate', key, earlierRow },
      )
      return this.#supersede(key, row)
    }
    const kind = mayPass(failure) ? 'unacknowledged' : 'bad'
    this.#run.settled({ row, kind, key, code: failure.code, message: failure.message })
    if (kind === 'unacknowledged') this.#remember(key, row)
  }

  #remember(key: string, row: number): void {
    if (this.#failedCount >= MAX_REMEMBERED_ROWS) return
    this.#failedCount++
    const rows = this.#failedRows.get(key)
    if (rows === undefined) this.#failedRows.set(key, [row])
    else rows.push(row)
  }

  #supersede(key: string, laterRow: number): void {
    const rows = this.#failedRows.get(key) ?? []
    this.#failedRows.delete(key)
    this.#failedCount -= rows.length
    for (const row of rows) this.#run.settled({ row, kind: 'superseded', key, laterRow })
  }

  #slot(): Promise<void> {
    return new Promise((resolve) => {
      this.#freed = resolve
    })
  }

  #checkProgress(): void {
    const silentMs = Date.now() - this.#lastSuccessMs
    if (
      this.#inFlight < this.#rule.inFlight ||
      silentMs < Math.max(LEAST_PATIENCE_MS, 2 * this.#rule.retryMs)
    )
      return
    throw new KvError('UNAVAILABLE', `no row was acknowledged for ${Math.round(silentMs / 1000)} s`)
  }
}
