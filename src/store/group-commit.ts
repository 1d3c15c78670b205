/**
 * Many writes, one batch, one fsync: one batch is on its way to the disk, the next one fills meanwhile. So
 * batches grow with the load, and a lone write waits for nothing but the end of the event loop's turn.
 *
 * Invariant: a write's `done` is called without an error only after its batch, and every batch before it, is
 * on disk. When a batch fails, all that wait are told that it is not known whether they happened, and nothing
 * more is taken until a database is given anew.
 */
import { assert } from '../base/assert.ts'
import type { Bytes } from '../base/bytes.ts'
import { KvError } from '../base/error.ts'
import type { Clock } from '../effects/clock.ts'
import type { Counter, Histogram, Metrics } from '../effects/metrics.ts'
import type { Database } from '../effects/storage.ts'
import { diskWords } from './outage.ts'

export interface CommitOperation {
  readonly key: Bytes
  /** May be replaced while its batch fills. Null: the key is removed. */
  value: Bytes | null
  /** Number of the batch it is in; set by `add`. */
  batch: number
}

/** `detail` is what was handed over with it. */
export type Committed = (error: KvError | null, detail: number) => void

export interface CommitLimits {
  /** Callers that wait for the disk. */
  readonly maxWaiting: number
  readonly maxWaitingBytes: number
  /** A batch that has this much is full: fsync of more takes too long for those that wait. */
  readonly maxBatchOperations: number
  readonly maxBatchBytes: number
}

export const COMMIT_LIMITS: CommitLimits = {
  maxWaiting: 16 * 1024,
  maxWaitingBytes: 64 * 1024 * 1024,
  maxBatchOperations: 4096,
  maxBatchBytes: 4 * 1024 * 1024,
}

export interface CommitListener<O extends CommitOperation> {
  /** A batch is on disk; its callers are told next. */
  committed(operations: readonly O[]): void
  /** A batch failed; all that wait are told next. */
  failed(error: unknown): void
}

interface Batch<O> {
  readonly number: number
  readonly operations: O[]
  /** Callers and their details, side by side: no object for each. */
  readonly waiting: Committed[]
  readonly details: number[]
  sizeBytes: number
  sync: boolean
  startedMs: number
}

const SYNC: object = { sync: true }
const NO_SYNC: object = {}

export class GroupCommit<O extends CommitOperation> {
  readonly #clock: Clock
  readonly #limits: CommitLimits
  readonly #listener: CommitListener<O>
  readonly #batchCount: Counter
  readonly #operationCount: Counter
  readonly #commitTime: Histogram
  #database: Database | null = null
  /** In order; the first is being written when `#writing`, the last one fills. */
  #batches: Batch<O>[]
  #writing = false
  #scheduled = false
  #waiting = 0
  #waitingBytes = 0
  #unsynced = false
  /** Why the batch that is being written counts for nothing. */
  #awayBecause: Error | null = null
  /** Called between two batches. */
  #atBoundary: (() => void)[] = []

  constructor(
    clock: Clock,
    metrics: Metrics,
    listener: CommitListener<O>,
    limits: CommitLimits = COMMIT_LIMITS,
  ) {
    this.#clock = clock
    this.#limits = limits
    this.#listener = listener
    this.#batches = [emptyBatch(1)]
    this.#batchCount = metrics.counter('kv_store_batches_total', 'Batches written to the disk')
    this.#operationCount = metrics.counter('kv_store_writes_total', 'Records written to the disk')
    this.#commitTime = metrics.histogram(
      'kv_store_commit_seconds',
      'From the start of a batch until it is on disk',
    )
    metrics.gauge('kv_store_waiting_writes', 'Writes that wait for the disk', () => this.#waiting)
  }

  /** At the start, and after a failure. */
  begin(database: Database): void {
    assert(this.#database === null, 'a group commit has one database at a time')
    this.#database = database
  }

  /** The disk is away: all that waits fails, at once or when the batch on its way comes back. */
  fail(cause: Error): void {
    if (this.#database === null) return
    if (this.#writing) this.#awayBecause = cause
    else this.#failed(cause)
  }

  /** True when something was written, and not since synced. */
  get hasUnsynced(): boolean {
    return this.#unsynced
  }

  /** The number of the batch that fills. */
  get filling(): number {
    return this.#last.number
  }

  get isIdle(): boolean {
    return this.#waiting === 0
  }

  /** Why no write of this size can be taken now; null when it can. */
  refusal(sizeBytes: number): KvError | null {
    const { maxWaiting, maxWaitingBytes } = this.#limits
    const full =
      this.#waiting >= maxWaiting || (this.#waiting > 0 && this.#waitingBytes + sizeBytes > maxWaitingBytes)
    return full
      ? new KvError('OVERLOADED', 'nothing was written: too many writes wait for the disk; try again')
      : null
  }

  /** Into the batch that fills. The key and the value must not change from now on. */
  add(operation: O, sync: boolean, done: Committed, detail: number): void {
    const { maxBatchOperations, maxBatchBytes } = this.#limits
    let batch = this.#last
    if (batch.operations.length >= maxBatchOperations || batch.sizeBytes >= maxBatchBytes) {
      batch = emptyBatch(batch.number + 1)
      this.#batches.push(batch)
    }
    operation.batch = batch.number
    batch.operations.push(operation)
    this.#grow(batch, operation.key.length + lengthOf(operation.value))
    this.#wait(batch, sync, done, detail)
  }

  /** A newer value for an operation of the batch that fills. */
  replace(operation: O, value: O['value'], sync: boolean, done: Committed, detail: number): void {
    assert(operation.batch === this.filling, 'only what still fills is replaced')
    this.#grow(this.#last, lengthOf(value) - lengthOf(operation.value))
    operation.value = value
    this.#wait(this.#last, sync, done, detail)
  }

  /**
   * Nothing to write, but to be told when this operation is on disk. False: too late, its batch is on its way
   * without a sync.
   */
  join(operation: O, sync: boolean, done: Committed, detail: number): boolean {
    const batch = this.#batches[operation.batch - (this.#batches[0] as Batch<O>).number]
    assert(batch !== undefined, 'an operation that is waited for is in a batch')
    if (sync && !batch.sync && this.#writing && batch === this.#batches[0]) return false
    this.#wait(batch, sync, done, detail)
    return true
  }

  /** Calls while no batch is on its way: now, or between the present one and the next. */
  atBoundary(call: () => void): void {
    if (this.#writing) this.#atBoundary.push(call)
    else call()
  }

  /** Fulfils when everything that waits now is on disk, or has failed. */
  barrier(): Promise<void> {
    if (this.isIdle) return Promise.resolve()
    return new Promise((resolve) => this.#wait(this.#last, true, () => resolve(), 0))
  }

  /**
   * Fulfils when everything that was taken is on disk, and synced.
   * @param stamp written when nothing else is: a sync must have something to write. @throws TIMEOUT_UNKNOWN
   */
  harden(stamp: O): Promise<void> {
    if (this.isIdle && !this.#unsynced) return Promise.resolve()
    return new Promise((resolve, reject) => {
      this.add(stamp, true, (error) => (error === null ? resolve() : reject(error)), 0)
    })
  }

  get #last(): Batch<O> {
    return this.#batches[this.#batches.length - 1] as Batch<O>
  }

  #grow(batch: Batch<O>, sizeBytes: number): void {
    batch.sizeBytes += sizeBytes
    this.#waitingBytes += sizeBytes
  }

  #wait(batch: Batch<O>, sync: boolean, done: Committed, detail: number): void {
    assert(this.#database !== null, 'writes are taken only while there is a database')
    batch.sync ||= sync
    batch.waiting.push(done)
    batch.details.push(detail)
    this.#waiting += 1
    if (this.#writing || this.#scheduled) return
    this.#scheduled = true
    this.#clock.defer(() => {
      this.#scheduled = false
      if (!this.#writing) this.#writeNext()
    })
  }

  #writeNext(): void {
    const batch = this.#batches[0] as Batch<O>
    const database = this.#database
    if (database === null || batch.waiting.length === 0) return
    if (this.#batches.length === 1) this.#batches.push(emptyBatch(batch.number + 1))
    this.#writing = true
    batch.startedMs = this.#clock.monotonic()
    write(database, batch).then(
      () => (this.#awayBecause === null ? this.#succeeded(batch) : this.#failed(this.#awayBecause)),
      (error: unknown) => this.#failed(error),
    )
  }

  #succeeded(batch: Batch<O>): void {
    const done = this.#batches.shift()
    assert(done === batch, 'batches end in order')
    this.#writing = false
    this.#unsynced = !batch.sync
    this.#waiting -= batch.waiting.length
    this.#waitingBytes -= batch.sizeBytes
    this.#batchCount.add()
    this.#operationCount.add(batch.operations.length)
    this.#commitTime.observe((this.#clock.monotonic() - batch.startedMs) / 1000)
    this.#listener.committed(batch.operations)
    if (this.#atBoundary.length > 0) this.#reachBoundary()
    this.#writeNext() // Before the callers hear: the disk works while they do.
    this.#tell(batch, null)
  }

  #failed(cause: unknown): void {
    const batches = this.#batches
    this.#batches = [emptyBatch(this.filling + 1)]
    this.#database = null
    this.#awayBecause = null
    this.#writing = false
    this.#waiting = 0
    this.#waitingBytes = 0
    this.#listener.failed(cause)
    this.#reachBoundary()
    const error = new KvError(
      'TIMEOUT_UNKNOWN',
      `it is not known whether this peer has written it: ${diskWords(cause)}`,
      { cause },
    )
    for (const batch of batches) this.#tell(batch, error)
  }

  #reachBoundary(): void {
    const calls = this.#atBoundary
    this.#atBoundary = []
    for (const call of calls) call()
  }

  #tell(batch: Batch<O>, error: KvError | null): void {
    const { waiting, details } = batch
    for (let i = 0; i < waiting.length; i++) (waiting[i] as Committed)(error, details[i] as number)
  }
}

/** A chained batch: an array of operations would be copied twice on its way. */
async function write<O extends CommitOperation>(
  database: Database,
  { operations, sync }: Batch<O>,
): Promise<void> {
  const chain = database.batch()
  for (const { key, value } of operations) {
    if (value === null) chain.del(key)
    else chain.put(key, value)
  }
  await chain.write(sync ? SYNC : NO_SYNC)
}

function lengthOf(value: Bytes | null): number {
  return value === null ? 0 : value.length
}

function emptyBatch<O>(number: number): Batch<O> {
  return { number, operations: [], waiting: [], details: [], sizeBytes: 0, sync: false, startedMs: 0 }
}
