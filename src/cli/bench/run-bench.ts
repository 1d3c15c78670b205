/**
 * Closed-loop load: each of clients × in-flight lanes sends its next request when the last one is answered.
 */
import { randomBytes } from 'node:crypto'
import { type Bytes, utf8 } from '../../base/bytes.ts'
import { type ErrorCode, toKvError } from '../../base/error.ts'
import { createPrng, type Prng } from '../../base/prng.ts'
import { DEFAULT_KEYSPACE_OPTIONS } from '../../wire/requests.ts'
import { EXIT_UNAVAILABLE } from '../exit-code.ts'
import type { KvClient } from '../kvctl/session.ts'
import { formatCount, printJson, renderTable } from '../terminal.ts'
import { Histogram } from './histogram.ts'
import {
  chooseOperation,
  createKeyChooser,
  type KeyChooser,
  type Operation,
  WORKLOAD_TABLE,
  type Workload,
  type WorkloadName,
} from './workload.ts'

const LOAD_IN_FLIGHT = 256
const LIVE_EVERY_MS = 1000

export interface BenchWords {
  readonly workload: WorkloadName
  readonly clients: number
  readonly inFlight: number
  readonly seconds: number
  readonly valueBytes: number
  readonly keys: number
  readonly keyspace: string
  readonly load: boolean
  readonly timeoutMs: number
  readonly json: boolean
}

export async function runBench(words: BenchWords, clients: readonly KvClient[]): Promise<void> {
  const bench = new Bench(words, WORKLOAD_TABLE[words.workload], clients)
  await bench.ensureKeyspace()
  if (words.load) await bench.load()
  await bench.run()
  if (words.json) printJson(bench.results())
  else process.stdout.write(await bench.summary())
  if (bench.succeeded === 0) process.exitCode = EXIT_UNAVAILABLE
}

class Bench {
  readonly #words: BenchWords
  readonly #workload: Workload
  readonly #clients: readonly KvClient[]
  readonly #histograms = new Map<Operation, Histogram>()
  readonly #errors = new Map<ErrorCode, number>()
  readonly #values: readonly Bytes[]
  readonly #choose: KeyChooser
  #keyCount: number
  #done = 0
  #elapsedMs = 0

  constructor(words: BenchWords, workload: Workload, clients: readonly KvClient[]) {
    this.#words = words
    this.#workload = workload
    this.#clients = clients
    this.#keyCount = words.keys
    this.#choose = createKeyChooser(workload.keys, words.keys)
    // A few different values, made beforehand: making them is not what is measured.
    this.#values = Array.from({ length: 16 }, () => randomBytes(words.valueBytes))
  }

  get succeeded(): number {
    return this.#done
  }

  async ensureKeyspace(): Promise<void> {
    const [client] = this.#clients
    const { keyspace } = this.#words
    const existing = (await client?.service.keyspaces()) ?? []
    if (existing.some(({ name }) => name === keyspace)) return
    await client?.service.createKeyspace(keyspace, DEFAULT_KEYSPACE_OPTIONS)
    process.stderr.write(`made keyspace ${keyspace}; 'kvctl keyspace drop ${keyspace}' removes it\n`)
  }

  /** So that reads find something. */
  async load(): Promise<void> {
    const { keys, keyspace } = this.#words
    const startMs = performance.now()
    process.stderr.write(`loading ${formatCount(keys)} keys into ${keyspace}, which --no-load leaves out …\n`)
    let next = 0
    const lane = async (client: KvClient): Promise<void> => {
      for (let index = next++; index < keys; index = next++) await this.#put(client, index, null)
    }
    const lanes = Array.from({ length: LOAD_IN_FLIGHT }, (_, i) =>
      lane(this.#clients[i % this.#clients.length] as KvClient),
    )
    await Promise.all(lanes)
    const tookSeconds = ((performance.now() - startMs) / 1000).toFixed(1)
    const { workload, seconds } = this.#words
    process.stderr.write(`loaded in ${tookSeconds} s; now workload ${workload} for ${seconds} s …\n`)
  }

  async run(): Promise<void> {
    const startMs = performance.now()
    const endMs = startMs + this.#words.seconds * 1000
    let doneBefore = 0
    const timer = setInterval(() => {
      const second = Math.round((performance.now() - startMs) / 1000)
      this.#live(`${second}/${this.#words.seconds} s  ${formatCount(this.#done - doneBefore)} requests/s`)
      doneBefore = this.#done
    }, LIVE_EVERY_MS)
    const stop = stopper()
    const lanes: Promise<void>[] = []
    for (const [index, client] of this.#clients.entries()) {
      for (let lane = 0; lane < this.#words.inFlight; lane++) {
        const prng = createPrng(`bench/${index}/${lane}`)
        lanes.push(this.#lane(client, prng, () => stop.requested || performance.now() >= endMs))
      }
    }
    await Promise.all(lanes)
    clearInterval(timer)
    stop.end()
    this.#elapsedMs = performance.now() - startMs
    this.#live('')
  }

  async #lane(client: KvClient, prng: Prng, isOver: () => boolean): Promise<void> {
    while (!isOver()) {
      const operation = chooseOperation(this.#workload, prng)
      const startMs = performance.now()
      try {
        await this.#perform(client, operation, prng)
      } catch (thrown) {
        const { code } = toKvError(thrown)
        this.#errors.set(code, (this.#errors.get(code) ?? 0) + 1)
        continue
      }
      this.#done++
      this.#histogram(operation).record((performance.now() - startMs) * 1000)
    }
  }

  async #perform(client: KvClient, operation: Operation, prng: Prng): Promise<void> {
    if (operation === 'insert') return this.#put(client, this.#keyCount++, null)
    const index = this.#choose(this.#keyCount, prng)
    if (operation === 'update') return this.#put(client, index, null)
    const { keyspace, timeoutMs } = this.#words
    const reply = await client.service.get({ keyspace, key: keyOf(index), r: null, timeoutMs })
    if (operation === 'read-modify-write') await this.#put(client, index, reply.context)
  }

  async #put(client: KvClient, index: number, context: string | null): Promise<void> {
    const { keyspace, timeoutMs } = this.#words
    const value = this.#values[index % this.#values.length] as Bytes
    const common = { keyspace, contentType: null, blind: false, w: null, timeoutMs, ttlMs: null }
    await client.service.put({ ...common, key: keyOf(index), value, context, writeId: client.newId() })
  }

  #histogram(operation: Operation): Histogram {
    let histogram = this.#histograms.get(operation)
    if (histogram === undefined) {
      histogram = new Histogram()
      this.#histograms.set(operation, histogram)
    }
    return histogram
  }

  results(): Readonly<Record<string, unknown>> {
    const { workload, clients, inFlight, valueBytes, keys, keyspace } = this.#words
    const seconds = this.#elapsedMs / 1000
    const operations = Object.fromEntries(
      [...this.#histograms].map(([name, histogram]) => [name, figures(histogram, seconds)]),
    )
    const errors = Object.fromEntries(this.#errors)
    const setting = { workload, clients, inFlight, valueBytes, keys, keyspace }
    return {
      ...setting,
      seconds,
      requests: this.#done,
      requestsPerSecond: this.#done / seconds,
      operations,
      errors,
    }
  }

  async summary(): Promise<string> {
    const seconds = this.#elapsedMs / 1000
    const titles = ['count', 'per s', 'mean ms', 'p50', 'p95', 'p99', 'p99.9', 'max']
    const columns = [{ title: 'operation' }, ...titles.map((title) => ({ title, align: 'right' as const }))]
    const rows = [...this.#histograms].map(([name, histogram]) => {
      const { count, perSecond, meanMs, p50Ms, p95Ms, p99Ms, p999Ms, maxMs } = figures(histogram, seconds)
      const times = [meanMs, p50Ms, p95Ms, p99Ms, p999Ms, maxMs].map((ms) => ms.toFixed(2))
      return [name, formatCount(count), formatCount(perSecond), ...times]
    })
    const rate = formatCount(this.#done / seconds)
    const total = `${formatCount(this.#done)} requests in ${seconds.toFixed(1)} s: ${rate} per second`
    const errors = [...this.#errors].map(([code, count]) => `${code}: ${formatCount(count)}`)
    const failed = errors.length === 0 ? [] : [`failed: ${errors.join(', ')}`]
    return `${[await renderTable(columns, rows), '', total, ...failed].join('\n')}\n`
  }

  /** One line on a terminal that is written over. */
  #live(text: string): void {
    if (process.stderr.isTTY === true) process.stderr.write(`\r\u001b[K${text}`)
  }
}

/** Ctrl-C ends the measurement early and still shows it. */
function stopper(): { readonly requested: boolean; end(): void } {
  let requested = false
  const request = (): void => {
    if (requested) process.exit(EXIT_UNAVAILABLE)
    requested = true
  }
  process.on('SIGINT', request)
  return {
    get requested() {
      return requested
    },
    end: () => process.off('SIGINT', request),
  }
}

function keyOf(index: number): Bytes {
  return utf8(`user${index}`)
}

function figures(histogram: Histogram, seconds: number) {
  const ms = (percent: number): number => histogram.percentileUs(percent) / 1000
  return {
    count: histogram.count,
    perSecond: histogram.count / seconds,
    meanMs: histogram.meanUs / 1000,
    p50Ms: ms(50),
    p95Ms: ms(95),
    p99Ms: ms(99),
    p999Ms: ms(99.9),
    maxMs: histogram.maxUs / 1000,
  }
}
