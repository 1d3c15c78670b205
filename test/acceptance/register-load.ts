/**
 * Reads and writes at a steady rate, all the time, by one client: every key is a register with one writer,
 * whose versions count up. So each read can be judged: it began when a version was acknowledged, or shown to
 * an earlier read, and may find that one or a later one, never an older.
 */
import { Histogram } from '../../src/cli/bench/histogram.ts'
import { type Client, type Found, KvError } from '../../src/index.ts'

const VALUE_BYTES = 100
const TICK_MS = 2
/** Of the requests those that write. */
const WRITES = 0.5
const LANES = 256
/** More of them under way means that the cluster does not keep up with the rate at all. */
const MAX_IN_FLIGHT = 20_000
const MAX_EXAMPLES = 5

/** What happened to the requests that began in a stretch of time. */
export class Phase {
  readonly name: string
  readonly startMs = performance.now()
  endMs: number | null = null
  /** From when each was due to its answer. */
  readonly latencies = new Histogram()
  /** Requests, by what they failed with. */
  readonly failures = new Map<string, number>()
  /** Of its requests those that wait for their answers. */
  inFlight = 0

  constructor(name: string) {
    this.name = name
  }

  get durationMs(): number {
    return (this.endMs ?? performance.now()) - this.startMs
  }

  get failed(): number {
    return [...this.failures.values()].reduce((sum, count) => sum + count, 0)
  }

  get requests(): number {
    return this.latencies.count + this.failed
  }
}

export class RegisterLoad {
  readonly phases: Phase[] = []
  /** What must not be, in words: the first of them. */
  readonly faults: string[] = []
  faultCount = 0
  readonly #client: Client
  readonly #keyspace: string
  readonly #rate: number
  /** By key: the version written last, that was acknowledged last, that a read has shown. */
  readonly #written: Uint32Array
  readonly #acknowledged: Uint32Array
  readonly #shown: Uint32Array
  /** By key: its writer waits for an answer. */
  readonly #isWriting: Uint8Array
  #phase = new Phase('')
  #inFlight = 0
  #timer: NodeJS.Timeout | null = null
  #dueMs = 0

  /** @param rate requests a second */
  constructor(client: Client, keyspace: string, keyCount: number, rate: number) {
    this.#client = client
    this.#keyspace = keyspace
    this.#rate = rate
    this.#written = new Uint32Array(keyCount)
    this.#acknowledged = new Uint32Array(keyCount)
    this.#shown = new Uint32Array(keyCount)
    this.#isWriting = new Uint8Array(keyCount)
  }

  get keyCount(): number {
    return this.#written.length
  }

  keyOf(i: number): string {
    return `register:${String(i).padStart(8, '0')}`
  }

  /** Writes every key once. Rejects with the first failure. */
  async fill(): Promise<void> {
    await this.#forEachKey(async (i) => {
      this.#written[i] = 1
      await this.#put(i, 1, true)
      this.#acknowledged[i] = 1
    })
  }

  /** Begins to load, with a stretch of this name. */
  start(name: string): void {
    this.#dueMs = performance.now()
    this.next(name)
    this.#timer = setInterval(() => this.#tick(), TICK_MS)
  }

  /** The requests from now on belong to another stretch. */
  next(name: string): Phase {
    this.#phase.endMs = performance.now()
    this.#phase = new Phase(name)
    this.phases.push(this.#phase)
    return this.#phase
  }

  /** Resolves when all requests of the stretches before this one are answered. */
  async caughtUp(): Promise<void> {
    const before = this.phases.slice(0, -1)
    while (before.some(({ inFlight }) => inFlight > 0)) {
      await new Promise((resolve) => setTimeout(resolve, TICK_MS))
    }
  }

  /** Resolves when all that was asked is answered. */
  async stop(): Promise<void> {
    if (this.#timer !== null) clearInterval(this.#timer)
    this.#phase.endMs = performance.now()
    while (this.#inFlight > 0) await new Promise((resolve) => setTimeout(resolve, TICK_MS))
  }

  /** Reads every key once more, when nothing is written. */
  async readAll(): Promise<void> {
    await this.#forEachKey(async (i) => {
      const floor = this.#floorOf(i)
      this.#judge(i, floor, await this.#client.get(this.keyOf(i), { keyspace: this.#keyspace }))
    })
  }

  #tick(): void {
    const nowMs = performance.now()
    for (; this.#dueMs <= nowMs; this.#dueMs += 1000 / this.#rate) {
      if (this.#inFlight >= MAX_IN_FLIGHT) throw new Error(`${MAX_IN_FLIGHT} requests wait for their answers`)
      const phase = this.#phase
      phase.inFlight += 1
      this.#inFlight += 1
      void this.#request(this.#dueMs, phase).finally(() => {
        phase.inFlight -= 1
        this.#inFlight -= 1
      })
    }
  }

  async #request(dueMs: number, phase: Phase): Promise<void> {
    const i = Math.floor(Math.random() * this.keyCount)
    try {
      if (Math.random() < WRITES && this.#isWriting[i] === 0) await this.#write(i)
      else await this.#read(i)
      phase.latencies.record((performance.now() - dueMs) * 1000)
    } catch (error) {
      if (!(error instanceof KvError)) throw error
      const what = `${error.code}: ${error.message}`
      phase.failures.set(what, (phase.failures.get(what) ?? 0) + 1)
    }
  }

  /** One that failed may have been done: the next write of the key replaces it. */
  async #write(i: number): Promise<void> {
    this.#isWriting[i] = 1
    try {
      const version = (this.#written[i] as number) + 1
      this.#written[i] = version
      await this.#put(i, version, false)
      this.#acknowledged[i] = version
    } finally {
      this.#isWriting[i] = 0
    }
  }

  async #put(i: number, version: number, blind: boolean): Promise<void> {
    const value = `${version} `.padEnd(VALUE_BYTES, '.')
    await this.#client.put(this.keyOf(i), value, { keyspace: this.#keyspace, blind })
  }

  async #read(i: number): Promise<void> {
    const floor = this.#floorOf(i)
    this.#judge(i, floor, await this.#client.get(this.keyOf(i), { keyspace: this.#keyspace }))
  }

  #floorOf(i: number): number {
    return Math.max(this.#acknowledged[i] as number, this.#shown[i] as number)
  }

  /** @param floor of when the read began */
  #judge(i: number, floor: number, found: Found): void {
    const versions = found.values.map(({ value }) => Number.parseInt(Buffer.from(value).toString(), 10))
    const newest = Math.max(0, ...versions)
    const is = `${this.keyOf(i)} is ${versions.join(' and ') || 'not there'}`
    if (newest < floor) this.#fault(`${is}, after ${floor} was acknowledged or shown`)
    else if (newest > (this.#written[i] as number)) this.#fault(`${is}, which was never written`)
    else this.#shown[i] = Math.max(newest, this.#shown[i] as number)
  }

  #fault(what: string): void {
    this.faultCount += 1
    if (this.faults.length < MAX_EXAMPLES) this.faults.push(`${what} (${this.#phase.name})`)
  }

  async #forEachKey(action: (i: number) => Promise<void>): Promise<void> {
    let next = 0
    const lane = async (): Promise<void> => {
      while (next < this.keyCount) await action(next++)
    }
    await Promise.all(Array.from({ length: LANES }, lane))
  }
}
