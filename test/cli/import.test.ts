import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { text, utf8 } from '../../src/base/bytes.ts'
import { KvError } from '../../src/base/error.ts'
import { hashText32 } from '../../src/base/hash.ts'
import type { ClusterId, KeyspaceId } from '../../src/base/ids.ts'
import { Importer } from '../../src/cli/import/importer.ts'
import type { Row } from '../../src/cli/import/rows.ts'
import { type ImportWords, runImport } from '../../src/cli/import/run-import.ts'
import type { KvClient } from '../../src/cli/kvctl/session.ts'
import type { Level } from '../../src/protocol/configuration.ts'
import { contextSeed, decodeContext } from '../../src/protocol/context.ts'
import type {
  ClusterStatus,
  GetReply,
  GetRequest,
  KeyspaceInfo,
  PutReply,
  PutRequest,
} from '../../src/wire/requests.ts'

const test = suite('import with a cluster that fails')
const directory = mkdtempSync(join(tmpdir(), 'kvnode-import-'))
test.after(() => rmSync(directory, { recursive: true, force: true }))

/** Keeps what was put; `fails` says what becomes of a request, `losesAnswer` of one that was done. */
class FakeCluster {
  readonly values = new Map<string, string>()
  readonly requests: PutRequest[] = []
  clusterId = 'cluster-a'
  #underWay = new Set<string>()
  overlapped = false
  fails: (request: PutRequest) => KvError | null = () => null
  losesAnswer: (request: PutRequest) => boolean = () => false

  readonly client = {
    service: {
      put: (request: PutRequest) => this.#put(request),
      get: async ({ key, r }: GetRequest) => this.#get(text(key), r),
      keyspaces: async () => [{ id: 1, name: 'default', w: 'quorum' }] as unknown as KeyspaceInfo[],
      status: async () => ({ clusterId: this.clusterId }) as unknown as ClusterStatus,
    },
    newId: () => `write-${this.requests.length}`,
  } as unknown as KvClient

  async #put(request: PutRequest): Promise<PutReply> {
    const key = text(request.key)
    this.requests.push(request)
    if (this.#underWay.has(key)) this.overlapped = true
    this.#underWay.add(key)
    await new Promise((resolve) => setImmediate(resolve))
    this.#underWay.delete(key)
    const error = this.fails(request)
    if (error !== null) throw error
    this.values.set(key, text(request.value as Uint8Array))
    if (this.losesAnswer(request)) throw timeout
    return { context: '', owners: 2, standIns: 0 }
  }

  #get(key: string, r: Level | null): GetReply {
    assert.is(r, 'quorum', 'a read that shows the row has it on as many disks as the write asks for')
    const value = this.values.get(key)
    const contentType = 'application/json'
    const values = value === undefined ? [] : [{ value: utf8(value), contentType, timestampMs: 0 }]
    return { values, context: value === undefined ? null : 'context', owners: 2, standIns: 0 }
  }
}

interface Summary {
  readonly imported: number
  readonly duplicates: number
  readonly bad: number
  readonly unacknowledged: number
  readonly superseded: number
  readonly state: string | null
}

/** Runs it as `kvctl import --json` does; returns what it printed and the exit code. */
async function runJson(
  cluster: FakeCluster,
  words: Partial<ImportWords>,
): Promise<Summary & { readonly exitCode: number }> {
  const printed: string[] = []
  const write = process.stdout.write
  process.stdout.write = ((chunk: string) => printed.push(chunk) > 0) as typeof write
  const before = process.exitCode
  try {
    await runImport({ ...WORDS, ...words }, (action) => action(cluster.client))
    const exitCode = Number(process.exitCode ?? 0)
    return { ...(JSON.parse(printed.join('')) as Summary), exitCode }
  } finally {
    process.stdout.write = write
    process.exitCode = before
  }
}

const WORDS: ImportWords = {
  file: '',
  format: undefined,
  keyspace: 'default',
  key: 'key',
  separator: ',',
  value: undefined,
  blind: false,
  w: undefined,
  inFlight: 8,
  retryMs: 0,
  timeoutMs: 1000,
  report: undefined,
  restart: false,
  json: true,
}

function rowsFile(name: string, count: number, keyOf = (n: number): string => `k${n}`): string {
  const path = join(directory, name)
  writeFileSync(
    path,
    Array.from({ length: count }, (_, n) => JSON.stringify({ key: keyOf(n), n })).join('\n'),
  )
  return path
}

function rowNumber(value: Uint8Array | null): number {
  return (JSON.parse(text(value as Uint8Array)) as { readonly n: number }).n
}

const unavailable = new KvError('UNAVAILABLE', 'no quorum')
const timeout = new KvError('TIMEOUT_UNKNOWN', 'no answer in time')

test('rows that were not acknowledged are reported, and the same command tries only them again', async () => {
  const cluster = new FakeCluster()
  const file = rowsFile('again.ndjson', 50)
  const report = join(directory, 'again.report')
  cluster.fails = ({ key }) => (text(key).endsWith('7') ? unavailable : null)
  const first = await runJson(cluster, { file, report })
  assert.equal(
    { imported: first.imported, unacknowledged: first.unacknowledged, exitCode: first.exitCode },
    { imported: 45, unacknowledged: 5, exitCode: 3 },
  )
  assert.is(first.state, `${file}.import-state`)
  const rows = readFileSync(report, 'utf8')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line))
  assert.equal(rows.map(({ key }) => key).sort(), ['k17', 'k27', 'k37', 'k47', 'k7'])
  assert.is(rows[0].code, 'UNAVAILABLE')

  cluster.fails = () => null
  cluster.requests.length = 0
  const second = await runJson(cluster, { file, report })
  assert.equal({ imported: second.imported, exitCode: second.exitCode }, { imported: 5, exitCode: 0 })
  assert.is(cluster.requests.length, 5)
  assert.is(cluster.values.size, 50)
  assert.not(existsSync(`${file}.import-state`), 'nothing is left to do')
})

test('a row is sent again under the same write id while its failure may pass', async () => {
  const cluster = new FakeCluster()
  const failures = new Map([['k1', 2]])
  cluster.fails = ({ key }) => {
    const left = failures.get(text(key)) ?? 0
    failures.set(text(key), left - 1)
    return left > 0 ? new KvError(left === 2 ? 'OVERLOADED' : 'TIMEOUT_UNKNOWN', 'busy') : null
  }
  const { imported, exitCode } = await runJson(cluster, { file: rowsFile('retry.ndjson', 3), retryMs: 5000 })
  assert.equal({ imported, exitCode }, { imported: 3, exitCode: 0 })
  const ids = cluster.requests.filter(({ key }) => text(key) === 'k1').map(({ writeId }) => writeId)
  assert.is(ids.length, 3)
  assert.is(new Set(ids).size, 1)
})

test('a row whose answer was lost is looked for, not written again', async () => {
  const cluster = new FakeCluster()
  cluster.losesAnswer = () => true
  const file = rowsFile('lost-answers.ndjson', 3)
  const { imported, exitCode } = await runJson(cluster, { file, retryMs: 5000 })
  assert.equal({ imported, exitCode }, { imported: 3, exitCode: 0 })
  assert.is(cluster.requests.length, 3)
})

test('what others wrote over a row whose answer was lost stays', async () => {
  const cluster = new FakeCluster()
  cluster.losesAnswer = ({ key }) => {
    cluster.values.set(text(key), 'edited by a person')
    return true
  }
  const file = rowsFile('edited.ndjson', 1)
  const report = join(directory, 'edited.report')
  const { unacknowledged, exitCode } = await runJson(cluster, { file, retryMs: 5000, report })
  assert.equal({ unacknowledged, exitCode }, { unacknowledged: 1, exitCode: 3 })
  assert.is(cluster.values.get('k0'), 'edited by a person')
  assert.is(cluster.requests.length, 1)
  const line = JSON.parse(readFileSync(report, 'utf8'))
  assert.is(line.code, 'TIMEOUT_UNKNOWN')
  assert.match(line.message, 'the key holds something else')
})

test('a row is sent again into an empty key in a way that replaces nothing', async () => {
  const cluster = new FakeCluster()
  cluster.fails = () => (cluster.requests.length === 1 ? timeout : null)
  const file = rowsFile('empty-key.ndjson', 1)
  assert.is((await runJson(cluster, { file, retryMs: 5000, blind: true })).imported, 1)
  const [first, second] = cluster.requests
  assert.equal([first?.context, first?.blind, second?.blind], [null, true, false])
  assert.is(second?.writeId, first?.writeId)
  const seed = contextSeed(hashText32('cluster-a'), 1 as KeyspaceId, utf8('k0'))
  const replaced = decodeContext(second?.context as string, seed)
  assert.equal([replaced.vector.size, replaced.loose.length], [0, 0])
})

test('a row that was not acknowledged is given up when a later one with its key is', async () => {
  const cluster = new FakeCluster()
  const file = rowsFile('superseded.ndjson', 4, (n) => (n === 1 ? 'other' : 'same'))
  const report = join(directory, 'superseded.report')
  cluster.fails = ({ value, key }) => (text(key) === 'other' || rowNumber(value) < 3 ? timeout : null)
  const first = await runJson(cluster, { file, report })
  assert.equal(
    { imported: first.imported, unacknowledged: first.unacknowledged, superseded: first.superseded },
    { imported: 1, unacknowledged: 1, superseded: 2 },
  )
  const rows = readFileSync(report, 'utf8')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line))
  assert.equal(
    rows.filter(({ code }) => code === 'SUPERSEDED').map(({ row }) => row),
    [1, 3],
  )
  cluster.fails = () => null
  const second = await runJson(cluster, { file, report })
  assert.equal({ imported: second.imported, exitCode: second.exitCode }, { imported: 1, exitCode: 0 })
  assert.is(rowNumber(utf8(cluster.values.get('same') as string)), 3)
})

test('a row stays to be tried again when the later one with its key is wrong', async () => {
  const cluster = new FakeCluster()
  const file = rowsFile('later-wrong.ndjson', 2, () => 'same')
  const tooLarge = new KvError('TOO_LARGE', 'too large')
  cluster.fails = ({ value }) => (rowNumber(value) === 0 ? unavailable : tooLarge)
  const first = await runJson(cluster, { file })
  assert.equal({ bad: first.bad, unacknowledged: first.unacknowledged }, { bad: 1, unacknowledged: 1 })
  cluster.fails = () => null
  assert.is((await runJson(cluster, { file })).imported, 1)
  assert.is(rowNumber(utf8(cluster.values.get('same') as string)), 0)
})

test('a row that is wrong for good is not tried again, and leaves no state behind', async () => {
  const cluster = new FakeCluster()
  cluster.fails = ({ key }) => (text(key) === 'k1' ? new KvError('TOO_LARGE', 'too large') : null)
  const file = rowsFile('large.ndjson', 3)
  const { bad, imported, exitCode } = await runJson(cluster, { file, retryMs: 5000 })
  assert.equal({ bad, imported, exitCode }, { bad: 1, imported: 2, exitCode: 2 })
  assert.is(cluster.requests.length, 3)
  assert.not(existsSync(`${file}.import-state`))
})

test('rows with one key are never under way together, and the last one stays', async () => {
  const cluster = new FakeCluster()
  const file = rowsFile('same.ndjson', 60, (n) => `k${n % 3}`)
  const { duplicates, exitCode } = await runJson(cluster, { file })
  assert.equal({ duplicates, exitCode }, { duplicates: 57, exitCode: 0 })
  assert.not(cluster.overlapped)
  assert.equal(
    [...cluster.values.values()].map((value) => JSON.parse(value).n),
    [57, 58, 59],
  )
})

test('what an import into another cluster left is not taken up', async () => {
  const cluster = new FakeCluster()
  const file = rowsFile('moved.ndjson', 10)
  cluster.fails = () => unavailable
  assert.is((await runJson(cluster, { file })).unacknowledged, 10)
  const other = new FakeCluster()
  other.clusterId = 'cluster-b'
  assert.is((await runJson(other, { file })).imported, 10)
})

test('a changed file is read from the beginning', async () => {
  const cluster = new FakeCluster()
  const file = rowsFile('changed.ndjson', 10)
  cluster.fails = ({ key }) => (text(key) === 'k9' ? unavailable : null)
  await runJson(cluster, { file })
  cluster.fails = () => null
  rowsFile('changed.ndjson', 12)
  assert.is((await runJson(cluster, { file })).imported, 12)
})

test('--restart forgets what an earlier run left', async () => {
  const cluster = new FakeCluster()
  const file = rowsFile('restart.ndjson', 10)
  cluster.fails = ({ key }) => (text(key) === 'k9' ? unavailable : null)
  await runJson(cluster, { file })
  cluster.fails = () => null
  assert.is((await runJson(cluster, { file, restart: true })).imported, 10)
})

test('when an outcome cannot be noted the import ends with that, and the row is not settled', async () => {
  async function* rows(): AsyncGenerator<Row> {
    for (let number = 1; number <= 50; number++)
      yield { number, content: { fields: { key: `k${number}` }, text: null } }
  }
  const full = new Error('the disk is full')
  const keyspace = { id: 1 as KeyspaceId, name: 'default', w: 'quorum' } as const
  const importer = new Importer(
    { ...new FakeCluster().client, clusterId: 'cluster-a' as ClusterId, keyspace },
    { ...WORDS, keyFields: ['key'], valueField: null, w: null, retryMs: 0, blind: false },
    {
      isSettled: () => false,
      settled: ({ row }) => {
        if (row === 20) throw full
      },
      signal: new AbortController().signal,
    },
  )
  let thrown: unknown = null
  await importer.run(rows()).catch((error: unknown) => {
    thrown = error
  })
  assert.is(thrown, full)
  assert.is(importer.nextRow, 20)
})

test.run()
