/**
 * Copies whole partitions from old owners, many records at a time, in the order of their keys: the bulk of
 * what a new owner takes over. Nothing depends on its being complete: the comparisons that follow find what
 * is missing.
 *
 * Each piece is read when it is asked for, behind the last key of the one before. So a source that restarts,
 * or another one, goes on where the last left off.
 */
import { assert, present } from '../base/assert.ts'
import { type Bytes, copyBytes } from '../base/bytes.ts'
import { KvError } from '../base/error.ts'
import type { KeyspaceId, NodeId } from '../base/ids.ts'
import type { Pauses } from '../cluster/pauses.ts'
import type { Keyspace } from '../protocol/configuration.ts'
import type { Digest } from '../protocol/hash-tree.ts'
import { placeName } from '../protocol/place-name.ts'
import type { Duty } from '../protocol/ring-change.ts'
import type { HashTrees } from '../store/hash-trees.ts'
import { RecordOverflow } from '../store/record-codec.ts'
import type { Merged } from '../store/slot.ts'
import { WorkShare } from '../store/work-share.ts'
import type { Refusal } from '../wire/data-messages.ts'
import type { PeerReply } from '../wire/peer-messages.ts'
import type { Coordination } from './coordination.ts'
import type { GainedPartitions } from './duty-ledger.ts'
import { Pace } from './pace.ts'
import { askSizes } from './partition-sizes.ts'

export interface CopyProgress {
  /** Of all that are copied: those that a source has something of. */
  partitions: number
  done: number
  records: number
  bytes: number
  /** What `bytes` will be, about, as the sources say; null: none has said. */
  expectedBytes: number | null
  /** Monotonic ms of the first page that was asked for; null: none was. An estimate counts from here. */
  startedMs: number | null
}

export const NOTHING_COPIED: Readonly<CopyProgress> = {
  partitions: 0,
  done: 0,
  records: 0,
  bytes: 0,
  expectedBytes: null,
  startedMs: null,
}

const PACE = { maxInFlight: 16, slowMs: 100, bytesPerSecond: 64 * 1024 * 1024 }
const WORKERS = 16
/** Pages that are on their way, or wait for their turn to be merged, while there are requests. */
const MAX_BUSY_PAGES = 3
/** Merged in one turn of the event loop while there are requests: a millisecond. */
const BUSY_PIECE_RECORDS = 100
const IDLE_PIECE_RECORDS = 400
const CALL_TIMEOUT_MS = 5000
/** Until a source that cannot go on now is asked again, and how often. */
const BUSY_PAUSE_MS = 100
const MAX_BUSY_ANSWERS = 20
/** Why a source that will go on does not do so now. */
const PASSING: ReadonlySet<Refusal> = new Set(['overloaded', 'behind', 'stale'])

interface Choice {
  readonly keyspace: Keyspace
  readonly partition: number
  /** Those that have something of it, the first to be asked first. */
  readonly sources: readonly NodeId[]
}

/** What a source has of a keyspace: the partitions, with the roots of their trees. */
type Held = ReadonlyMap<number, Digest>

type Page = Extract<PeerReply, { type: 'recordsFetched' }>

export class PartitionCopy {
  readonly #with: Coordination
  readonly #pauses: Pauses
  readonly #pace: Pace
  readonly #share: WorkShare
  /** Pieces are merged one after the other, whichever page they are of. */
  #lastPiece: Promise<void> = Promise.resolve()
  /** Asked for, and not on disk yet. */
  #pages = 0
  /** Workers that wait for one page less. */
  #waiting: (() => void)[] = []
  /** Of which change the rest is. */
  #phaseNumber = 0
  /** By keyspace and partition: behind which key to go on; null: it was copied to its end. */
  #cursors = new Map<string, Bytes | null>()
  #isStopped = false

  constructor(coordination: Coordination, pauses: Pauses) {
    this.#with = coordination
    this.#pauses = pauses
    this.#pace = new Pace(coordination.clock, PACE)
    this.#share = new WorkShare(coordination.clock, () => coordination.store.requestCount)
  }

  stop(): void {
    this.#isStopped = true
    this.#pace.stop()
    this.#share.stop()
  }

  /**
   * Goes on with what was not copied to its end. What cannot be had now is left out.
   * @param progress what it does is added to it
   * @returns of which partitions no owner says yet whether he has something: compared without having been
   * copied they would come over one by one
   * @throws KvError when this peer cannot go on
   */
  async run(
    phaseNumber: number,
    gained: Iterable<GainedPartitions>,
    progress: CopyProgress,
  ): Promise<ReadonlySet<string>> {
    if (phaseNumber !== this.#phaseNumber) this.#cursors = new Map()
    this.#phaseNumber = phaseNumber
    await this.#share.rest(0, 0) // To know whether there are requests.
    const { left, unsaid } = await this.#plan(gained)
    progress.partitions = progress.done + left.length
    progress.startedMs ??= this.#with.clock.monotonic()
    const before = progress.bytes
    const sized = this.#sizeOf([...left]).then((bytes) => {
      progress.expectedBytes = before + bytes
    })
    const work = async (): Promise<void> => {
      for (let next = left.pop(); next !== undefined; next = left.pop()) {
        if (await this.#copyFromAny(next, progress)) progress.done += 1
      }
    }
    const results = await Promise.allSettled([sized, ...Array.from({ length: WORKERS }, work)])
    for (const result of results) if (result.status === 'rejected') throw result.reason
    return unsaid
  }

  /** What is here of it turned out to be less than was copied. */
  forget(keyspaceId: KeyspaceId, partition: number): void {
    this.#cursors.delete(placeName(keyspaceId, partition))
  }

  /**
   * Sources for each partition that is not here yet, where some of those that are up have something of it.
   * What came before a restart is here. `unsaid`: as `run` returns it.
   * @throws UNAVAILABLE while it is not known what is here
   */
  async #plan(
    gained: Iterable<GainedPartitions>,
  ): Promise<{ readonly left: Choice[]; readonly unsaid: Set<string> }> {
    const unsaid = new Set<string>()
    const left: Choice[] = []
    for (const { keyspace, duties } of gained) {
      const held = new Map<NodeId, Held | null>()
      const open = duties.filter(({ partition }) => {
        return this.#cursors.get(placeName(keyspace.id, partition)) !== null
      })
      const choices = open.map((duty) => ({ duty, up: this.#inOrder(duty) }))
      for (const source of new Set(choices.flatMap(({ up }) => up))) {
        held.set(source, await this.#heldBy(source, keyspace.id))
      }
      const trees = this.#trees
      for (const { duty, up } of choices) {
        const { partition } = duty
        const own = trees.root(keyspace.id, partition)
        const answers = up.map((source) => ({ source, has: held.get(source) ?? null }))
        if (answers.every(({ has }) => has === null)) unsaid.add(placeName(keyspace.id, partition))
        const sources = answers.flatMap(({ source, has }) => (has?.has(partition) ? [source] : []))
        const isHere = answers.some(({ has }) => has?.get(partition) === own)
        if (!isHere && sources.length > 0) left.push({ keyspace, partition, sources })
      }
    }
    return { left, unsaid }
  }

  get #trees(): HashTrees {
    const trees = this.#with.store.hashTrees
    if (trees !== null) return trees
    throw new KvError('UNAVAILABLE', 'what this disk holds is not known yet: its hash trees are being built')
  }

  /** Those that are up. Each begins with some of the partitions. */
  #inOrder({ sources, partition }: Duty): readonly NodeId[] {
    const up = sources.filter((source) => this.#with.isAlive(source))
    const first = partition % Math.max(1, up.length)
    return [...up.slice(first), ...up.slice(0, first)]
  }

  /** What a source does not say counts for nothing: this is for people. */
  async #sizeOf(choices: readonly Choice[]): Promise<number> {
    const sizes = new Map<string, ReadonlyMap<number, number>>()
    let bytes = 0
    for (const { keyspace, partition, sources } of choices) {
      const source = present(sources[0], 'a choice has sources')
      const name = `${source} ${keyspace.id}`
      const { rpc } = this.#with
      if (!sizes.has(name)) sizes.set(name, (await askSizes(rpc, source, keyspace.id)) ?? new Map())
      bytes += sizes.get(name)?.get(partition) ?? 0
    }
    return bytes
  }

  /** Of what both own. Null: it does not say now; one that cannot read its disk has nothing to give. */
  async #heldBy(source: NodeId, keyspaceId: KeyspaceId): Promise<Held | null> {
    const { rpc } = this.#with
    const { number } = this.#with.ring()
    try {
      const question = (id: number) => ({ type: 'roots', id, number, keyspaceId, isLost: null }) as const
      const reply = await rpc.call(source, 'data', CALL_TIMEOUT_MS, question)
      if (reply.type === 'refused' && reply.reason === 'stale') this.#with.sawNumber(source, reply.number)
      if (reply.type === 'refused' && reply.reason === 'failed') return new Map()
      if (reply.type !== 'rootsDone') return null
      const { partitions, roots, incomplete } = reply
      const held = new Map(partitions.map((partition, i) => [partition, roots[i] ?? 0n]))
      for (const partition of incomplete) held.delete(partition)
      return held
    } catch (error) {
      if (!(error instanceof KvError)) throw error
      return null // It is asked again with the next attempt.
    }
  }

  /** Where a disk does not give it, another one does. False: none of them goes on. */
  async #copyFromAny(choice: Choice, progress: CopyProgress): Promise<boolean> {
    for (const source of choice.sources) {
      if (await this.#copy(choice, source, progress)) return true
    }
    return false
  }

  /** False: the source does not go on. */
  async #copy({ keyspace, partition }: Choice, source: NodeId, progress: CopyProgress): Promise<boolean> {
    const name = placeName(keyspace.id, partition)
    for (;;) {
      const era = this.#with.eras.begin()
      const page = await this.#takePage(keyspace, partition, source).finally(() => this.#with.eras.end(era))
      if (page === null) return false
      this.#cursors.set(name, page.last === null ? null : copyBytes(page.last))
      progress.records += page.keys.length
      progress.bytes += sizeOf(page)
      if (page.last === null) return true
    }
  }

  /** From the source to the disk. Null: the source does not go on. */
  async #takePage(keyspace: Keyspace, partition: number, source: NodeId): Promise<Page | null> {
    const after = this.#cursors.get(placeName(keyspace.id, partition)) ?? null
    await this.#room()
    this.#pages += 1
    try {
      const page = await this.#fetch(keyspace.id, partition, source, after)
      if (page !== null) await this.#store(keyspace, partition, page)
      return page
    } finally {
      this.#pages -= 1
      const waiting = this.#waiting
      this.#waiting = []
      for (const goOn of waiting) goOn()
    }
  }

  /** Sources have more work with a page than this peer: what cannot be merged yet is not asked for. */
  async #room(): Promise<void> {
    while (this.#share.isBusy && this.#pages >= MAX_BUSY_PAGES) {
      await new Promise<void>((resolve) => this.#waiting.push(resolve))
    }
  }

  async #fetch(
    keyspaceId: KeyspaceId,
    partition: number,
    source: NodeId,
    after: Bytes | null,
  ): Promise<Page | null> {
    const { rpc } = this.#with
    for (let busy = 0; busy < MAX_BUSY_ANSWERS && !this.#isStopped; busy++) {
      const { number } = this.#with.ring()
      const question = (id: number) =>
        ({ type: 'fetchRecords', id, number, keyspaceId, partition, after }) as const
      try {
        const call = () => rpc.call(source, 'data', CALL_TIMEOUT_MS, question)
        const reply = await this.#pace.run(call, (answer) => sizeOf(answer))
        if (reply.type === 'recordsFetched') return reply
        if (reply.type !== 'refused') throw new KvError('INTERNAL', `peer ${source} answered ${reply.type}`)
        if (reply.reason === 'stale') this.#with.sawNumber(source, reply.number)
        if (!PASSING.has(reply.reason)) return null
      } catch (error) {
        if (!(error instanceof KvError) || error.code === 'INTERNAL') throw error
        return null // It does not answer.
      }
      this.#pace.slowDown()
      await this.#pauses.pause(BUSY_PAUSE_MS)
    }
    return null
  }

  /** Fulfils when all of it is on disk. @throws KvError */
  async #store(keyspace: Keyspace, partition: number, { keys, records }: Page): Promise<void> {
    assert(keys.length === records.length, 'keys and records are side by side')
    const pieces: Promise<void>[] = []
    const most = this.#share.isBusy ? BUSY_PIECE_RECORDS : IDLE_PIECE_RECORDS
    for (let start = 0; start < keys.length; start += most) {
      const end = Math.min(keys.length, start + most)
      const merge = (i: number, done: Merged): void => {
        this.#with.store.merge(keyspace, partition, keys[i] as Bytes, records[i] as Bytes, null, done)
      }
      pieces.push(this.#inTurn(start, end, merge))
    }
    const results = await Promise.allSettled(pieces)
    for (const result of results) if (result.status === 'rejected') throw result.reason
  }

  /** Fulfils when these are on disk; the next piece comes when this one is merged and rested from. */
  #inTurn(start: number, end: number, merge: (i: number, done: Merged) => void): Promise<void> {
    let stored: Promise<void> = Promise.resolve()
    const merged = this.#lastPiece.then(async () => {
      if (this.#with.ring().configuration.phaseNumber !== this.#phaseNumber) {
        throw new KvError('UNAVAILABLE', 'the configuration changed meanwhile')
      }
      const startMs = this.#with.clock.monotonic()
      stored = new Promise((resolve, reject) => {
        let left = end - start
        let failure: KvError | null = null
        const done: Merged = (error) => {
          left -= 1
          // What has no room here beside what is held is left to the comparisons: they say so.
          if (!(error instanceof RecordOverflow)) failure ??= error
          if (left > 0) return
          if (failure === null) resolve()
          else reject(failure)
        }
        for (let i = start; i < end; i++) merge(i, done)
      })
      stored.catch(() => undefined) // Whoever waits for it hears of it; that may be a little later.
      await this.#share.rest(this.#with.clock.monotonic() - startMs, end - start)
    })
    this.#lastPiece = merged.catch(() => undefined)
    return merged.then(() => stored)
  }
}

function sizeOf(reply: PeerReply): number {
  if (reply.type !== 'recordsFetched') return 0
  const records = reply.records.reduce((sum, record) => sum + record.length, 0)
  return reply.keys.reduce((sum, key) => sum + key.length, records)
}
