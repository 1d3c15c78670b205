/**
 * Hash trees are made anew from the disk on a schedule, to see whether it still holds what was written.
 *
 * Intuition: between two batches the disk and the tree that follows its writes say the same. There a snapshot
 * of one partition is taken, and the leaves of its tree are copied; what the snapshot holds is then read at
 * leisure, while both go on changing. A leaf that comes out otherwise than it was kept means that the disk
 * lost a record, or gives back an older or a damaged one. The tree is corrected by the difference of the two,
 * which holds whatever was written meanwhile: leaves are XORs, and counts are sums. From then on other owners
 * see what is missing here, and repair it.
 *
 * Invariant: a sound disk never looks like a loss; after a pass every tree and count says what the disk says.
 */
import type { Bytes } from '../base/bytes.ts'
import { hash32 } from '../base/hash.ts'
import type { KeyspaceId } from '../base/ids.ts'
import type { Effects } from '../effects/effects.ts'
import type { Database } from '../effects/storage.ts'
import { type HashTree, LEAF_BITS, recordDigest, sliceOf } from '../protocol/hash-tree.ts'
import { placeName } from '../protocol/place-name.ts'
import { Census, type KeyCount } from './census.ts'
import type { LostLeaves } from './completeness.ts'
import type { HashTrees, TreePlace } from './hash-trees.ts'
import { KIND, partitionRange, userKey } from './keys.ts'
import { isBare, verifyRecord } from './record-codec.ts'
import { RecordScan } from './record-scan.ts'
import { ScanPace } from './scan-pace.ts'

/** Trees that were kept while the peer was away say nothing of what became of the disk: looked at soon. */
const FIRST_PASS_MS = 2000
/** A tree that was made anew is believed for so long. */
const BELIEVED_MS = 60_000
/** Who waits to hear of a tree. */
const MAX_WAITING = 1024

export interface RebuildHost {
  readonly effects: Pick<Effects, 'clock' | 'log' | 'random'>
  /** From the end of one pass to the next. */
  readonly intervalMs: number
  /** Calls when the database holds all it was given and the trees say so: now, or before its next batch. */
  atBoundary(call: () => void): void
  isDropped(keyspaceId: KeyspaceId): boolean
  /** Records that requests have asked for, ever: they come first. */
  requestCount(): number
  /** A record is damaged. */
  damaged(databaseKey: Bytes): void
  /** Leaves differ, and no damaged record explains it: the disk lost what it had acknowledged. */
  lost(lost: LostLeaves): void
}

/** A reading of the disk that makes hash trees anew. */
export interface RebuildProgress {
  /** Monotonic ms. */
  readonly startedMs: number
  /** Null: it goes on. */
  readonly endedMs: number | null
  readonly failure: string | null
  /** Trees made anew; where all records are read in one go, `at` tells how far it is. */
  readonly done: number
  /** Null: how many there are is not known. */
  readonly total: number | null
  readonly at: TreePlace | null
  /** Leaves that were not as kept. */
  readonly differingLeaves: number
}

export type MutableRebuild = { -readonly [K in keyof RebuildProgress]: RebuildProgress[K] }

interface Doubt {
  readonly place: TreePlace
  readonly told: ((isAsKept: boolean) => void)[]
}

/** One tree, from a snapshot on. */
interface Reading {
  readonly tree: HashTree
  readonly kept: BigUint64Array
  readonly rebuilt: BigUint64Array
  readonly keptCount: KeyCount
  readonly counted: Census
  readonly damagedLeaves: Set<number>
  readonly isComplete: Promise<boolean>
}

export class TreeRebuild {
  readonly #host: RebuildHost
  readonly #database: Database
  readonly #trees: HashTrees
  readonly #pace: ScanPace
  /** To be looked at before the schedule goes on. */
  readonly #wanted = new Map<string, TreePlace>()
  /** Somebody waits to hear of these. */
  readonly #doubted = new Map<string, Doubt>()
  #waiting = 0
  /** When those that came out as they were kept were read, monotonic ms. */
  readonly #believed = new Map<string, number>()
  #pass: TreePlace[] = []
  #progress: MutableRebuild | null = null
  #scan: RecordScan | null = null
  #isStopped = false
  /** A tree that is known to be wrong was not made anew. */
  #hasErrors = false
  #wake: () => void = () => undefined
  #running: Promise<void> = Promise.resolve()

  constructor(host: RebuildHost, database: Database, trees: HashTrees) {
    this.#host = host
    this.#database = database
    this.#trees = trees
    this.#pace = new ScanPace(host.effects.clock, () => host.requestCount())
  }

  /** Of the pass that goes on, or of the last one; null: the first is still to come. */
  get progress(): RebuildProgress | null {
    return this.#progress
  }

  /** @param areKept the trees were not made from this disk now, but kept while the peer was away */
  start(areKept: boolean): void {
    this.#running = this.#run(areKept ? FIRST_PASS_MS : this.#host.intervalMs)
  }

  /** Fulfils when it no longer reads the database. */
  async stop(): Promise<void> {
    this.#isStopped = true
    this.#wake()
    this.#pace.stop()
    await this.#scan?.stop()
    await this.#running
    for (const [name] of this.#doubted) this.#tell(name, false)
  }

  /** Made anew before all others, unless that was done a moment ago. False: it was not as kept, or cannot. */
  isAsKept(place: TreePlace): Promise<boolean> {
    const name = placeName(place.keyspaceId, place.partition)
    const readMs = this.#believed.get(name) ?? Number.NEGATIVE_INFINITY
    if (this.#host.effects.clock.monotonic() - readMs < BELIEVED_MS) return Promise.resolve(true)
    if (this.#isStopped || this.#waiting >= MAX_WAITING) return Promise.resolve(false)
    this.#waiting += 1
    return new Promise((resolve) => {
      const doubt = this.#doubted.get(name) ?? { place, told: [] }
      doubt.told.push(resolve)
      this.#doubted.set(name, doubt)
      this.#wake()
    })
  }

  /** Not while somebody waits. */
  #rest(): Promise<void> {
    return this.#doubted.size === 0 ? this.#pace.rest() : Promise.resolve()
  }

  #tell(name: string, isAsKept: boolean): void {
    const told = this.#doubted.get(name)?.told ?? []
    this.#doubted.delete(name)
    this.#waiting -= told.length
    for (const tell of told) tell(isAsKept)
  }

  /** After the end: no tree is known to be wrong. */
  get isCorrect(): boolean {
    return !this.#hasErrors && this.#wanted.size === 0
  }

  /** Soon: what this tree says of its records is known to be wrong, so a difference is no loss. */
  correct(place: TreePlace): void {
    this.#wanted.set(placeName(place.keyspaceId, place.partition), place)
    this.#wake()
  }

  /** The first pass comes at any time within `firstMs`: peers that were started together take turns. */
  async #run(firstMs: number): Promise<void> {
    const { effects, intervalMs } = this.#host
    const { clock, random } = effects
    let dueMs = clock.monotonic() + random.float() * firstMs
    while (!this.#isStopped) {
      const [wanted] = this.#wanted
      const [doubted] = this.#doubted
      if (wanted !== undefined) {
        this.#wanted.delete(wanted[0])
        await this.#safely(wanted[1], true)
      } else if (doubted !== undefined) {
        await this.#check(doubted[0], doubted[1].place)
      } else if (this.#pass.length > 0) {
        await this.#safely(this.#pass.pop() as TreePlace, false)
        if (this.#pass.length > 0) continue
        this.#endPass()
        dueMs = clock.monotonic() + intervalMs
      } else if (clock.monotonic() >= dueMs) {
        dueMs = clock.monotonic() + intervalMs
        this.#beginPass()
      } else await this.#pause(dueMs - clock.monotonic())
    }
  }

  #pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = this.#host.effects.clock.setTimer(ms, resolve)
      this.#wake = () => {
        timer.cancel()
        resolve()
      }
    })
  }

  #beginPass(): void {
    this.#pass = this.#trees.places()
    if (this.#pass.length === 0) return
    const startedMs = this.#host.effects.clock.monotonic()
    const none = { endedMs: null, failure: null, done: 0, at: null, differingLeaves: 0 }
    this.#progress = { startedMs, total: this.#pass.length, ...none }
  }

  #endPass(): void {
    const progress = this.#progress
    if (progress === null) return
    const { clock, log } = this.#host.effects
    progress.endedMs = clock.monotonic()
    const { total: trees, differingLeaves, failure } = progress
    const tookMs = Math.round(progress.endedMs - progress.startedMs)
    log.info('trees.rebuilt', { trees, differingLeaves, tookMs, failure })
  }

  async #safely(place: TreePlace, isExpected: boolean): Promise<void> {
    const progress = this.#pass.length > 0 || !isExpected ? this.#progress : null
    try {
      await this.#rebuild(place, isExpected)
    } catch (error) {
      this.#host.effects.log.error('trees.not-rebuilt', { ...place, error })
      this.#hasErrors ||= isExpected
      if (progress !== null) progress.failure = 'the disk could not be read; the log says more'
    }
    if (!isExpected && progress !== null) progress.done += 1
  }

  async #check(name: string, place: TreePlace): Promise<void> {
    this.#believed.delete(name)
    // Of an empty partition nothing was kept: it is compared with nothing.
    if (!this.#host.isDropped(place.keyspaceId)) this.#trees.treeOf(place.keyspaceId, place.partition)
    try {
      await this.#rebuild(place, false)
    } catch (error) {
      this.#host.effects.log.error('trees.not-rebuilt', { ...place, error })
    }
    this.#tell(name, this.#believed.has(name))
  }

  async #rebuild(place: TreePlace, isExpected: boolean): Promise<void> {
    const reading = await new Promise<Reading | null>((resolve) => {
      this.#host.atBoundary(() => resolve(this.#read(place)))
    })
    if (reading === null || !(await reading.isComplete)) {
      this.#hasErrors ||= isExpected
      return
    }
    await this.#rest()
    const { tree, kept, rebuilt, keptCount, counted, damagedLeaves } = reading
    const { keyspaceId, partition } = place
    if (this.#trees.find(keyspaceId, partition) !== tree) return // It was dropped.
    this.#trees.counts.correct(keyspaceId, partition, keptCount, counted.at(keyspaceId, partition))
    let differing = 0
    const leaves: number[] = []
    for (let leaf = 0; leaf < kept.length; leaf++) {
      const error = (kept[leaf] as bigint) ^ (rebuilt[leaf] as bigint)
      if (error === 0n) continue
      tree.toggle(leaf, error)
      differing += 1
      if (!damagedLeaves.has(leaf)) leaves.push(leaf)
    }
    if (isExpected) return
    if (this.#progress !== null) this.#progress.differingLeaves += differing
    if (leaves.length === 0) {
      this.#believed.set(placeName(place.keyspaceId, place.partition), this.#host.effects.clock.monotonic())
      return
    }
    this.#believed.delete(placeName(place.keyspaceId, place.partition))
    this.#host.effects.log.error('trees.records-lost', { ...place, leaves: leaves.length })
    this.#host.lost({ ...place, leaves })
  }

  /** At a boundary. Null: there is nothing to read. */
  #read(place: TreePlace): Reading | null {
    const { keyspaceId, partition } = place
    const tree = this.#trees.find(keyspaceId, partition)
    if (this.#isStopped || tree === null || this.#host.isDropped(keyspaceId)) return null
    const kept = tree.level(LEAF_BITS)
    const rebuilt = new BigUint64Array(kept.length)
    const keptCount = this.#trees.counts.at(keyspaceId, partition)
    const counted = new Census()
    const damagedLeaves = new Set<number>()
    const pace = { rest: () => this.#rest() }
    const scan = new RecordScan(pace, (databaseKey, record) => {
      const key = userKey(databaseKey)
      const keyHash = hash32(key)
      const leaf = sliceOf(keyHash, LEAF_BITS)
      const digest = isBare(record) ? 0n : recordDigest(keyspaceId, key, record)
      rebuilt[leaf] = (rebuilt[leaf] as bigint) ^ digest
      counted.wrote(databaseKey, null, record)
      if (isSound(keyHash, record)) return
      damagedLeaves.add(leaf)
      this.#host.damaged(databaseKey)
    })
    this.#scan = scan
    const isComplete = scan.run(this.#database, partitionRange(KIND.record, keyspaceId, partition))
    return { tree, kept, rebuilt, keptCount, counted, damagedLeaves, isComplete }
  }
}

export function isSound(keyHash: number, record: Bytes): boolean {
  try {
    verifyRecord(keyHash, record)
    return true
  } catch {
    return false
  }
}
