/**
 * How far an import got, in a small file beside the input (`FILE.import-state`), so that the same command
 * goes on where it was interrupted and tries again what was not acknowledged. Removed when everything is in.
 */
import { readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs'
import * as z from 'zod/mini'

/**
 * More rows without an acknowledgement are not remembered one by one: the import goes on from the first of
 * them.
 */
export const MAX_REMEMBERED_ROWS = 100_000

/** 2: no row is tried again when a later one with its key was acknowledged. */
const FORMAT_VERSION = 2

const stateSchema = z.object({
  formatVersion: z.literal(FORMAT_VERSION),
  /** What must be the same for the state to mean anything. */
  identity: z.record(z.string(), z.union([z.string(), z.number(), z.boolean()])),
  /** Every row before it is settled, except `again`. */
  nextRow: z.int(),
  again: z.array(z.int()),
})

export type ImportIdentity = z.output<typeof stateSchema>['identity']

export class ImportState {
  readonly path: string
  readonly #identity: ImportIdentity
  #nextRow = 1
  readonly #again = new Set<number>()
  #firstForgotten = Number.POSITIVE_INFINITY
  #isWritable = true

  /** @param identity the cluster, the keyspace and the flags that decide what a row becomes */
  constructor(inputPath: string, identity: ImportIdentity) {
    const { size, mtimeMs } = statSync(inputPath)
    this.path = `${inputPath}.import-state`
    this.#identity = { ...identity, sizeBytes: size, mtimeMs }
  }

  /** Takes up what an earlier run left; false when there is nothing that fits. */
  load(): boolean {
    const found = readState(this.path)
    if (found === null || JSON.stringify(found.identity) !== JSON.stringify(this.#identity)) return false
    this.#nextRow = found.nextRow
    for (const row of found.again) this.#again.add(row)
    return true
  }

  isSettled(row: number): boolean {
    return row < this.#nextRow && !this.#again.has(row)
  }

  /** The rows that are to be tried again, of those before `nextRow`. */
  get againCount(): number {
    return this.#again.size
  }

  acknowledged(row: number): void {
    this.#again.delete(row)
  }

  unacknowledged(row: number): void {
    if (this.#again.size < MAX_REMEMBERED_ROWS) this.#again.add(row)
    else this.#firstForgotten = Math.min(this.#firstForgotten, row)
  }

  /**
   * Written aside and renamed, so that a kill at any moment leaves a whole file. False when the directory
   * cannot be written.
   */
  save(nextRow: number): boolean {
    if (!this.#isWritable) return false
    const reached = Math.min(this.#firstForgotten, Math.max(this.#nextRow, nextRow))
    const again = [...this.#again].filter((row) => row < reached)
    const state = { formatVersion: FORMAT_VERSION, identity: this.#identity, nextRow: reached, again }
    try {
      writeFileSync(`${this.path}.new`, JSON.stringify(state))
      renameSync(`${this.path}.new`, this.path)
    } catch {
      // A read-only place: the import itself does not depend on it.
      this.#isWritable = false
    }
    return this.#isWritable
  }

  remove(): void {
    rmSync(this.path, { force: true })
  }
}

function readState(path: string): z.output<typeof stateSchema> | null {
  try {
    const parsed = stateSchema.safeParse(JSON.parse(readFileSync(path, 'utf8')))
    return parsed.success ? parsed.data : null
  } catch {
    // No state, or none that can be read: the import starts from the beginning, which is always right.
    return null
  }
}
