/**
 * Single-key writes through one Store on a real disk, against bare synced batches of the same sizes, taken in
 * turns in one run: absolute figures of a machine drift, their ratio says more. `node --import tsx
 * test/benchmark/store.ts [--seconds 2] [--in-flight 256]`
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { type Bytes, utf8 } from '../../src/base/bytes.ts'
import type { ActorId, KeyspaceId } from '../../src/base/ids.ts'
import type { Database, Storage } from '../../src/effects/storage.ts'
import { openLevelStorage } from '../../src/platform/level-storage.ts'
import { createSystemMetrics } from '../../src/platform/metrics.ts'
import { createSystemClock } from '../../src/platform/system-clock.ts'
import { createSystemRandom } from '../../src/platform/system-random.ts'
import { EMPTY_DOTS } from '../../src/protocol/dvv.ts'
import { encodeRecord } from '../../src/store/record-codec.ts'
import { Store } from '../../src/store/store.ts'

const { values: options } = parseArgs({
  options: { seconds: { type: 'string', default: '2' }, 'in-flight': { type: 'string', default: '256' } },
})
const ROUND_MS = Number(options.seconds) * 1000
const IN_FLIGHT = Number(options['in-flight'])
const ROUNDS = 3
const KEYS = 100_000
const VALUE = new Uint8Array(100).fill(7)
const KEYSPACE = { id: 1 as KeyspaceId, durability: 'disk' } as const
const ACTOR = 'aaaaaaaaaaaaaaaa' as ActorId
const SYNC: object = { sync: true }

interface Round {
  readonly perSecond: number
  readonly cpuMicros: number
  readonly batchSize: number
}

const ignore = (): void => undefined
const keys = Array.from({ length: KEYS }, (_, i) => utf8(`user:${String(i).padStart(8, '0')}`))
let turn = 0

function nextKey(): Bytes {
  turn = (turn + 1) % KEYS
  return keys[turn] as Bytes
}

function recordOf(key: Bytes, n: number): Bytes {
  const dot = { actor: ACTOR, n }
  const value = {
    dot,
    value: VALUE,
    contentType: null,
    writeId: 'V1StGXR8_Z5jdHi6B-myT',
    timestamp: 1.8e15 + n,
    expiresAtMs: null,
  }
  return encodeRecord(key, { seen: { vector: new Map([[ACTOR, n]]), loose: [] }, values: [value] })
}

/** @param write begins one write and calls back; `IN_FLIGHT` of them are kept going. */
async function closedLoop(write: (done: () => void) => void, batches: () => number): Promise<Round> {
  const cpu = process.cpuUsage()
  const startMs = performance.now()
  const batchesBefore = batches()
  const endMs = startMs + ROUND_MS
  let done = 0
  await new Promise<void>((resolve) => {
    let active = 0
    const ended = (): void => {
      done++
      active--
      if (performance.now() < endMs) begin()
      else if (active === 0) resolve()
    }
    const begin = (): void => {
      active++
      write(ended)
    }
    for (let i = 0; i < IN_FLIGHT; i++) begin()
  })
  return round(done, batches() - batchesBefore, startMs, cpu)
}

async function bareBatches(database: Database, batchSize: number): Promise<Round> {
  const cpu = process.cpuUsage()
  const startMs = performance.now()
  let done = 0
  let batches = 0
  for (; performance.now() < startMs + ROUND_MS; batches++) {
    const operations = Array.from({ length: batchSize }, () => {
      const key = nextKey()
      return { type: 'put' as const, key, value: recordOf(key, 1) }
    })
    await database.batch(operations, SYNC)
    done += batchSize
  }
  return round(done, batches, startMs, cpu)
}

function round(done: number, batches: number, startMs: number, cpuBefore: NodeJS.CpuUsage): Round {
  const elapsedMs = performance.now() - startMs
  const cpu = process.cpuUsage(cpuBefore)
  return {
    perSecond: (done / elapsedMs) * 1000,
    cpuMicros: (cpu.user + cpu.system) / done,
    batchSize: done / Math.max(1, batches),
  }
}

async function main(storages: { readonly store: Storage; readonly bare: Storage }): Promise<void> {
  let batches = 0
  const metrics = createSystemMetrics()
  const counted = {
    ...metrics,
    counter: (name: string, help: string) =>
      name === 'kv_store_batches_total' ? { add: () => void batches++ } : metrics.counter(name, help),
  }
  const log = { debug: ignore, info: ignore, warn: ignore, error: ignore }
  const effects = { clock: createSystemClock(), random: createSystemRandom(), log, metrics: counted }
  const store = await Store.open({ ...effects, storage: storages.store })
  const bare = await storages.bare.openDatabase()
  let n = 0
  const merge = (done: () => void): void => {
    const key = nextKey()
    store.merge(KEYSPACE, 1, key, recordOf(key, ++n), ACTOR, done)
  }
  const put = (done: () => void): void => {
    const key = nextKey()
    const fields = { value: VALUE, contentType: null, writeId: 'V1StGXR8_Z5jdHi6B-myT', expiresAtMs: null }
    store.put(KEYSPACE, 1, key, store.newest(KEYSPACE.id, 1, key)?.seen ?? EMPTY_DOTS, fields, done)
  }
  for (let i = 0; i < ROUNDS; i++) {
    const merges = await closedLoop(merge, () => batches)
    const bares = await bareBatches(bare, Math.max(1, Math.round(merges.batchSize)))
    const puts = await closedLoop(put, () => batches)
    report('merges', merges, bares)
    report('puts', puts, bares)
    report('bare batches', bares, bares)
  }
  await store.close()
  await bare.close()
}

function report(what: string, { perSecond, cpuMicros, batchSize }: Round, bare: Round): void {
  const figures = [
    `${what.padEnd(13)}${Math.round(perSecond).toString().padStart(8)}/s`,
    `${cpuMicros.toFixed(1).padStart(6)} µs CPU each`,
    `${batchSize.toFixed(0).padStart(5)} a batch`,
    `${(perSecond / bare.perSecond).toFixed(2)} of bare`,
  ]
  process.stdout.write(`${figures.join('  ')}\n`)
}

const directory = mkdtempSync(join(tmpdir(), 'kvnode-benchmark-store-'))
const storages = {
  store: await openLevelStorage(join(directory, 'store')),
  bare: await openLevelStorage(join(directory, 'bare')),
}
try {
  await main(storages)
} finally {
  await storages.store.close()
  await storages.bare.close()
  rmSync(directory, { recursive: true, force: true })
}
