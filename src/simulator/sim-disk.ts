/**
 * What one simulated peer has on its disk, and what a crash leaves of it.
 *
 * Intuition: LevelDB appends every batch to one log. A synced batch makes the log durable up to and with
 * itself; a crash loses an end of what came after. So the disk is a durable root and a tail of roots, one per
 * batch since, and a crash picks one of them: batches are lost from the end, whole, never from the middle. A
 * small file is replaced all or nothing.
 *
 * Invariant: what a settled `sync` write or file operation put there survives every crash.
 */
import { assert } from '../base/assert.ts'
import { type Bytes, copyBytes, equalBytes } from '../base/bytes.ts'
import { KvError } from '../base/error.ts'
import type { Prng } from '../base/prng.ts'
import {
  applyOperations,
  EMPTY_TREE,
  type SimOperation,
  type SimTree,
  type SimWrites,
} from './sim-database.ts'

/** What takes time: a batch without or with fsync, a small file, opening the database. */
export type SimDiskWork = 'write' | 'sync' | 'file' | 'open'
/** What can fail: also a look at whether the disk is there. */
type SimDiskEffort = SimDiskWork | 'look'

/** Runs `run` later, in virtual time: how long the work takes is the simulator's choice. */
export type SimDelay = (work: SimDiskWork, run: () => void) => void

/** `kept`: what failed reached the log all the same, and shows after the next open. */
export interface SimDiskFailure {
  readonly message: string
  readonly kept: boolean
}

/** Told what happens to a peer's data, for checkers. */
export interface SimDiskObserver {
  /** A batch was handed to the database. */
  onWrite?(operations: readonly SimOperation[], sync: boolean): void
  /** It survives a crash from now on. Batches come in the order in which they were written. */
  onDurable?(operations: readonly SimOperation[]): void
  /** A crash took it, or a failure. */
  onLost?(operations: readonly SimOperation[]): void
}

export interface SimDiskOptions {
  readonly observer?: SimDiskObserver
  /** Asked when a piece of work ends: null lets it succeed. */
  readonly fail?: (work: SimDiskEffort) => SimDiskFailure | null
}

/**
 * `power`: whatever was not fsynced may be gone. `process`: the operating system lives on and keeps what it
 * was handed.
 */
export type SimCrash = 'power' | 'process'

/** A disk's durable state as a value, to put it back later or onto another disk. */
export interface SimDiskImage {
  readonly tree: SimTree
  readonly files: ReadonlyMap<string, Bytes>
}

interface Appended {
  readonly operations: readonly SimOperation[]
  tree: SimTree
  done: boolean
}

export class SimDisk {
  readonly #observer: SimDiskObserver
  readonly #fail: (work: SimDiskEffort) => SimDiskFailure | null
  #durable: SimTree = EMPTY_TREE
  /** The log since `#durable`. */
  #tail: Appended[] = []
  #files = new Map<string, Bytes>()
  /** Entries that lie in damaged blocks. */
  #unreadable: { readonly key: Bytes; readonly value: Bytes }[] = []
  #session: SimDiskSession | null = null

  constructor(options: SimDiskOptions = {}) {
    this.#observer = options.observer ?? {}
    this.#fail = options.fail ?? (() => null)
  }

  /** For one process at a time. @throws INVALID_ARGUMENT when another one has it */
  open(delay: SimDelay): SimDiskSession {
    if (this.#session !== null) {
      throw new KvError('INVALID_ARGUMENT', 'the simulated disk is in use by another process')
    }
    this.#session = new SimDiskSession(this, delay, () => {
      this.#session = null
    })
    return this.#session
  }

  /** The process that has it open, if any, is gone, and its unfinished work happened or did not. */
  crash(prng: Prng, kind: SimCrash = 'power'): void {
    this.#session?.kill(prng)
    this.#session = null
    const finished = this.#tail.filter((batch) => batch.done).length
    const least = kind === 'power' ? 0 : finished
    const kept = least + prng.int(this.#tail.length - least + 1)
    const lost = this.#tail.splice(kept)
    for (const { operations } of lost) this.#observer.onLost?.(operations)
    this.flush()
  }

  /** Everything gone, as after `rm -r`. */
  wipe(): void {
    this.restore({ tree: EMPTY_TREE, files: new Map() })
  }

  /** What was written of this key becomes something else, without a word: null, nothing. */
  rot(key: Bytes, value: Bytes | null): void {
    const operation: SimOperation = value === null ? { type: 'del', key } : { type: 'put', key, value }
    const rotten = (tree: SimTree): SimTree => applyOperations(tree, [operation])
    this.#durable = rotten(this.#durable)
    for (const batch of this.#tail) batch.tree = rotten(batch.tree)
    this.#session?.rot(rotten)
  }

  /**
   * The block of this key cannot be read any more. As in LevelDB what is written of the key later can be, but
   * no range that goes over it.
   */
  spoil(key: Bytes): void {
    const value = this.newest.get(key)
    assert(value !== undefined, 'what is spoilt is there')
    this.#unreadable.push({ key, value })
  }

  /** For sessions. @param value null: any of that key */
  isReadable(key: Bytes, value: Bytes | null): boolean {
    return !this.#unreadable.some((entry) => {
      return equalBytes(entry.key, key) && (value === null || entry.value === value)
    })
  }

  /** What a crash right now, at its worst, would leave. */
  image(): SimDiskImage {
    return { tree: this.#durable, files: new Map(this.#files) }
  }

  restore(image: SimDiskImage): void {
    assert(this.#session === null, 'a disk is replaced while no process has it open')
    this.#durable = image.tree
    this.#tail = []
    this.#unreadable = []
    this.#files = new Map(image.files)
  }

  /** The newest state of the log. For sessions and checks. */
  get newest(): SimTree {
    return this.#tail.at(-1)?.tree ?? this.#durable
  }

  /** For sessions, as all below. */
  append(operations: readonly SimOperation[], sync: boolean): Appended {
    this.#observer.onWrite?.(operations, sync)
    const batch = { operations, tree: applyOperations(this.newest, operations), done: false }
    this.#tail.push(batch)
    return batch
  }

  /** The last one appended never reached the log. */
  retract(batch: Appended): void {
    assert(this.#tail.at(-1) === batch, 'only the newest batch is retracted')
    this.#tail.pop()
    this.#observer.onLost?.(batch.operations)
  }

  /** Everything in the log is durable. */
  flush(): void {
    const flushed = this.#tail
    this.#durable = this.newest
    this.#tail = []
    for (const { operations } of flushed) this.#observer.onDurable?.(operations)
  }

  failure(work: SimDiskEffort): SimDiskFailure | null {
    return this.#fail(work)
  }

  get files(): ReadonlyMap<string, Bytes> {
    return this.#files
  }

  setFile(name: string, bytes: Bytes | null): void {
    if (bytes === null) this.#files.delete(name)
    else this.#files.set(name, bytes)
  }
}

interface QueuedWrite {
  readonly operations: readonly SimOperation[]
  readonly sync: boolean
  resolve(): void
  reject(error: Error): void
}

interface FileChange {
  readonly name: string
  readonly bytes: Bytes | null
}

/** One process's life with a disk: its queue of writes, one at a time as in LevelDB. */
export class SimDiskSession implements SimWrites {
  readonly #disk: SimDisk
  readonly #delay: SimDelay
  readonly #ended: () => void
  readonly #changes = new Set<FileChange>()
  #alive = true
  #visible: SimTree = EMPTY_TREE
  #queue: QueuedWrite[] = []
  #writing = false
  /** After a failed write LevelDB takes no other until it is opened again. */
  #broken: Error | null = null
  #drains: (() => void)[] = []

  constructor(disk: SimDisk, delay: SimDelay, ended: () => void) {
    this.#disk = disk
    this.#delay = delay
    this.#ended = ended
  }

  get visible(): SimTree {
    return this.#visible
  }

  /** What reads see rots with the disk. */
  rot(rotten: (tree: SimTree) => SimTree): void {
    this.#visible = rotten(this.#visible)
  }

  checkReadable(key: Bytes, value: Bytes | null): void {
    if (!this.#disk.isReadable(key, value)) throw new Error('Corruption: block checksum mismatch')
  }

  assertAlive(): void {
    if (!this.#alive) throw new Error('the process that opened this simulated disk is no more')
  }

  /** LevelDB replays its log, and what it replayed is synced before anything else happens. */
  recover(): Promise<void> {
    return this.#work('open', () => {
      this.#disk.flush()
      this.#visible = this.#disk.newest
      this.#broken = null
    })
  }

  /** Takes no time. */
  look(): void {
    const failure = this.#disk.failure('look')
    if (failure !== null) throw new KvError('INTERNAL', failure.message)
  }

  write(operations: readonly SimOperation[], sync: boolean): Promise<void> {
    return new Promise((resolve, reject) => {
      if (!this.#alive) return // A dead process hears nothing any more.
      this.#queue.push({ operations, sync, resolve, reject })
      if (!this.#writing) this.#next()
    })
  }

  drained(): Promise<void> {
    if (!this.#writing || !this.#alive) return Promise.resolve()
    return new Promise((resolve) => this.#drains.push(resolve))
  }

  readFile(name: string): Promise<Bytes | null> {
    return this.#work('file', () => this.#disk.files.get(name)?.slice() ?? null)
  }

  changeFile(name: string, bytes: Bytes | null): Promise<void> {
    const change: FileChange = { name, bytes: bytes === null ? null : copyBytes(bytes) }
    this.#changes.add(change)
    return this.#work('file', () => {
      this.#changes.delete(change)
      this.#disk.setFile(name, change.bytes)
    })
  }

  close(): void {
    if (!this.#alive) return
    this.#alive = false
    this.#ended()
  }

  /** By the disk, at a crash: nothing of this session is heard again. */
  kill(prng: Prng): void {
    this.#alive = false
    this.#queue = []
    for (const { name, bytes } of this.#changes) {
      if (prng.int(2) === 1) this.#disk.setFile(name, bytes)
    }
  }

  #next(): void {
    const write = this.#queue.shift()
    this.#writing = write !== undefined
    if (write === undefined) {
      for (const resolve of this.#drains.splice(0)) resolve()
    } else if (this.#broken !== null) {
      write.reject(this.#broken)
      this.#next()
    } else {
      const work = write.sync ? 'sync' : 'write'
      const batch = this.#disk.append(write.operations, write.sync)
      this.#delay(work, () => {
        if (this.#alive) this.#finish(write, batch, this.#disk.failure(work))
      })
    }
  }

  #finish(write: QueuedWrite, batch: Appended, failure: SimDiskFailure | null): void {
    batch.done = true
    if (failure !== null) {
      if (!failure.kept) this.#disk.retract(batch)
      this.#broken = new Error(failure.message)
      write.reject(this.#broken)
    } else {
      if (write.sync) this.#disk.flush()
      this.#visible = batch.tree
      write.resolve()
    }
    this.#next()
  }

  #work<T>(work: SimDiskWork, run: () => T): Promise<T> {
    return new Promise((resolve, reject) => {
      if (!this.#alive) return // As above.
      this.#delay(work, () => {
        if (!this.#alive) return
        const failure = this.#disk.failure(work)
        if (failure === null) resolve(run())
        else reject(new KvError('INTERNAL', failure.message))
      })
    })
  }
}
