/** What `kvctl import` does: from the words of the command line to the last line of the summary. */
import { createReadStream, existsSync, type ReadStream, statSync } from 'node:fs'
import { basename, resolve } from 'node:path'
import type { Readable } from 'node:stream'
import { KvError } from '../../base/error.ts'
import { parseClusterId } from '../../base/ids.ts'
import type { KeyspaceInfo, KvService } from '../../wire/requests.ts'
import { EXIT_UNAVAILABLE, EXIT_USAGE } from '../exit-code.ts'
import { parseLevel } from '../kvctl/input.ts'
import type { KvClient } from '../kvctl/session.ts'
import { ImportReport } from './import-report.ts'
import { type ImportIdentity, ImportState } from './import-state.ts'
import { Importer, type ImportRule, type Outcome } from './importer.ts'
import { startProgress } from './progress.ts'
import { checkEncoding, detectFormat, type Format, readRows } from './rows.ts'

const SAVE_EVERY_MS = 1000

export interface ImportWords {
  readonly file: string
  readonly format: Format | undefined
  readonly keyspace: string
  readonly key: string
  readonly separator: string
  readonly value: string | undefined
  readonly blind: boolean
  readonly w: string | undefined
  readonly inFlight: number
  readonly retryMs: number
  readonly timeoutMs: number
  readonly report: string | undefined
  readonly restart: boolean
  readonly json: boolean
}

type WithClient = (action: (client: KvClient) => Promise<void>) => Promise<void>

export async function runImport(words: ImportWords, withClient: WithClient): Promise<void> {
  const rule = makeRule(words)
  const source = openSource(words.file)
  try {
    const format = words.format ?? (await detectFormat(basename(words.file), source))
    await checkEncoding(basename(words.file), source)
    await withClient((client) => importFile(client, words, rule, format, source))
  } finally {
    source.destroy()
  }
}

async function importFile(
  client: KvClient,
  words: ImportWords,
  rule: ImportRule,
  format: Format,
  source: Readable,
): Promise<void> {
  const keyspace = await findKeyspace(client.service, words.keyspace)
  const { clusterId } = await client.service.status()
  const state = openState(words, format, clusterId)
  const isResumed = state?.load() ?? false
  const report = new ImportReport(words.report ?? null, isResumed)
  const interruption = interruptible()
  const { service, newId } = client
  const target = { service, newId, keyspace, clusterId: parseClusterId(clusterId) }
  const importer = new Importer(target, rule, {
    isSettled: (row) => state?.isSettled(row) ?? false,
    settled: (outcome) => settle(outcome, report, state),
    signal: interruption.signal,
  })
  if (isResumed && !words.json) process.stderr.write(`going on with an earlier import (${state?.path})\n`)
  const sizeBytes = words.file === '-' ? null : statSync(words.file).size
  const progress = startProgress(sizeBytes, () => ({ ...report.counts, bytes: bytesRead(source) }))
  const saving = setInterval(() => state?.save(importer.nextRow), SAVE_EVERY_MS)
  let broken: unknown = null
  try {
    await importer.run(readRows(source, format))
  } catch (error) {
    broken = error
  } finally {
    clearInterval(saving)
    progress.stop()
    interruption.stop()
  }
  const isWhole = broken === null && !interruption.signal.aborted
  const canGoOn = keepState(state, isWhole, importer.nextRow)
  await report.finish({ json: words.json, interrupted: interruption.signal.aborted, statePath: canGoOn })
  process.exitCode = exitCode(report, isWhole)
  if (broken !== null) throw broken
}

function makeRule(words: ImportWords): ImportRule {
  const keyFields = words.key.split(',')
  if (keyFields.includes(''))
    throw new KvError('INVALID_ARGUMENT', `--key is '${words.key}'; allowed: FIELD[,FIELD…]`)
  return {
    keyFields,
    separator: words.separator,
    valueField: words.value ?? null,
    blind: words.blind,
    w: parseLevel(words.w, '-w'),
    inFlight: words.inFlight,
    timeoutMs: words.timeoutMs,
    retryMs: words.retryMs,
  }
}

function openSource(file: string): Readable {
  if (file === '-') return process.stdin
  if (!existsSync(file)) throw new KvError('INVALID_ARGUMENT', `there is no file ${file}`)
  if (!statSync(file).isFile()) throw new KvError('INVALID_ARGUMENT', `${file} is not a file`)
  return createReadStream(file, { highWaterMark: 256 * 1024 })
}

function bytesRead(source: Readable): number {
  return (source as Partial<ReadStream>).bytesRead ?? 0
}

async function findKeyspace(service: KvService, name: string): Promise<KeyspaceInfo> {
  const keyspaces = await service.keyspaces()
  const found = keyspaces.find((keyspace) => keyspace.name === name)
  if (found !== undefined) return found
  throw new KvError(
    'NOT_FOUND',
    `there is no keyspace '${name}'; make it with 'kvctl keyspace create ${name}'`,
  )
}

/** Null for standard input, which cannot be read again. */
function openState(words: ImportWords, format: Format, clusterId: string): ImportState | null {
  if (words.file === '-') return null
  const { keyspace, key, separator, value = '' } = words
  const identity: ImportIdentity = {
    clusterId,
    keyspace,
    format,
    key,
    separator,
    value,
    wholeRow: words.value === undefined,
  }
  const state = new ImportState(resolve(words.file), identity)
  if (words.restart) state.remove()
  return state
}

function settle(outcome: Outcome, report: ImportReport, state: ImportState | null): void {
  report.add(outcome)
  if (outcome.kind === 'unacknowledged') state?.unacknowledged(outcome.row)
  else state?.acknowledged(outcome.row)
}

/** The path of the state when running the command again goes on from it; null when nothing is left to do. */
function keepState(state: ImportState | null, isWhole: boolean, nextRow: number): string | null {
  if (state === null) return null
  if (isWhole && state.againCount === 0) {
    state.remove()
    return null
  }
  return state.save(nextRow) ? state.path : null
}

function exitCode(report: ImportReport, isWhole: boolean): number {
  if (report.counts.unacknowledged > 0 || !isWhole) return EXIT_UNAVAILABLE
  return report.counts.bad > 0 ? EXIT_USAGE : 0
}

/** The first Ctrl-C ends the import in order, the second one at once. */
function interruptible(): { readonly signal: AbortSignal; stop(): void } {
  const controller = new AbortController()
  const interrupt = (): void => {
    if (controller.signal.aborted) process.exit(EXIT_UNAVAILABLE)
    process.stderr.write('\nstopping: waiting for the rows that are being written\n')
    controller.abort()
  }
  process.on('SIGINT', interrupt).on('SIGTERM', interrupt)
  return {
    signal: controller.signal,
    stop: () => process.off('SIGINT', interrupt).off('SIGTERM', interrupt),
  }
}
