/**
 * Runs abstract-level's own test suite, which is written for tape, against a database and reports what
 * failed.
 */
import { createRequire } from 'node:module'
import type { AbstractLevel } from 'abstract-level'
import * as assert from 'uvu/assert'
import { utf8 } from '../../src/base/bytes.ts'
import type { Database } from '../../src/effects/storage.ts'

interface TapeRow {
  readonly type: 'test' | 'assert' | 'end'
  readonly ok?: boolean
  readonly name?: string
}

interface TapeHarness {
  createStream(options: { objectMode: true }): NodeJS.EventEmitter
}

export interface SuiteResult {
  readonly assertions: number
  readonly failures: readonly string[]
}

// biome-ignore lint/suspicious/noExplicitAny: the suite opens databases with every encoding there is.
export type AnyLevel = AbstractLevel<any, any, any>

/** @param factory makes a new, empty database each time */
export async function runLevelSuite(factory: (options?: object) => AnyLevel): Promise<SuiteResult> {
  const require = createRequire(import.meta.url)
  const harness = (require('tape') as { createHarness(): TapeHarness }).createHarness()
  const rows = harness.createStream({ objectMode: true })
  const suite = require('abstract-level/test') as (options: {
    test: TapeHarness
    factory: typeof factory
  }) => void
  suite({ test: harness, factory })
  const failures: string[] = []
  let assertions = 0
  let story = ''
  rows.on('data', (row: TapeRow) => {
    if (row.type === 'test') story = row.name ?? ''
    if (row.type !== 'assert') return
    assertions++
    if (row.ok !== true) failures.push(`${story}: ${row.name ?? ''}`)
  })
  await new Promise((resolve) => rows.on('end', resolve))
  return { assertions, failures }
}

/**
 * What classic-level gives are `Buffer`s, whose `slice` shares their bytes. Code that takes such a slice for
 * a copy is wrong on a real disk only, unless a simulated one gives the same.
 */
export async function assertGivesBuffers(database: Database): Promise<void> {
  await database.put(utf8('key'), utf8('value'))
  const [entry] = await database.iterator().all()
  const [key] = await database.keys().all()
  const values = [database.getSync(utf8('key')), await database.get(utf8('key'))]
  for (const given of [...(entry ?? []), key, ...values, ...(await database.getMany([utf8('key')]))]) {
    assert.ok(given)
    assert.is(given.slice(1).buffer, given.buffer)
  }
  await database.close()
}
