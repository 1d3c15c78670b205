/**
 * Two owners come to hold the same: this one compares its hash trees with a peer's and repairs both.
 *
 * Intuition: the roots of all partitions that both own go over in one message. Where two differ, their
 * children tell where; of the leaves that differ the keys and digests are laid side by side. A write that is
 * on its way looks like a difference, so each key found is looked at once more half a second later, and only
 * what differs then too is repaired. By key, not by leaf: else a leaf with one busy key would never be
 * repaired. A partition of which one of the two cannot list the keys, since its disk is damaged there, stays
 * open, and the others go on without it.
 *
 * A repair sends what is on disk at that moment, not what was compared, as every other write is sent: merged
 * by its dots, refused under another configuration. So it does no harm when it comes late, twice, or not at
 * all.
 */
import { type Bytes, compareBytes, equalBytes } from '../base/bytes.ts'
import { KvError } from '../base/error.ts'
import type { KeyspaceId, NodeId } from '../base/ids.ts'
import type { Pauses } from '../cluster/pauses.ts'
import type { Keyspace } from '../protocol/configuration.ts'
import type { Era } from '../protocol/eras.ts'
import { type Digest, FANOUT, FANOUT_BITS, LEAF_BITS, recordDigest } from '../protocol/hash-tree.ts'
import { MAX_RECORD_BYTES } from '../protocol/record.ts'
import { recordKey } from '../store/keys.ts'
import { decodeRecord, isBare, RecordOverflow } from '../store/record-codec.ts'
import type { Listing, SlicePlace } from '../store/slice-listing.ts'
import { MAX_LISTED_KEYS } from '../wire/repair-messages.ts'
import { Comparison, type Obstacle } from './comparison.ts'
import type { Coordination } from './coordination.ts'
import { ExchangeCalls } from './exchange-calls.ts'
import type { Pace } from './pace.ts'
import { Pages } from './pages.ts'
import { sharedPartitions } from './shared-partitions.ts'
import { EMPTY_TREE, heldDigest, UNREADABLE } from './tree-replica.ts'

/** What can be watched while it runs, and remains of it. */
export interface ExchangeProgress {
  /** That both own. */
  partitions: number
  /** Of these, those that were found equal or were walked. */
  compared: number
  /** Keys that differed twice. */
  differing: number
  repaired: number
  /** Keys whose record could not be read or stored, and partitions that could not be read. */
  failed: number
  /** That went either way, records included: about as many. */
  bytes: number
}

export const NO_PROGRESS: Readonly<ExchangeProgress> = {
  partitions: 0,
  compared: 0,
  differing: 0,
  repaired: 0,
  failed: 0,
  bytes: 0,
}

/** Between the two looks at a key that differs. */
const SECOND_LOOK_MS = 500
/** Partitions, or keys, at work at once; how many of them may ask at once is the pace's. */
const WORKERS = 16
/** While somebody waits for the end. */
const URGENT_WORKERS = 64
/** Keys that wait for their second look. More of them: first these. */
const MAX_CANDIDATES = 16_384
/** Of one partition. What is left is found by the next exchange. */
const MAX_PARTITION_CANDIDATES = 8192

/** Of a key that differed: both hold the same; the peer could not store ours; theirs is not here, and why. */
type Outcome = 'equal' | 'notGiven' | 'unreadable' | 'unreadableHere' | 'overfull'

interface Candidate {
  readonly keyspace: Keyspace
  readonly key: Bytes
}

interface DifferingKey {
  readonly key: Bytes
  readonly partition: number
  readonly ours: Digest
  readonly theirs: Digest
}

/**
 * What to compare: the partitions that both lack nothing of, those that only this peer is catching up with,
 * or some that the peer lacks nothing of.
 */
export type ExchangeScope =
  | 'complete'
  | 'missing'
  | { includes(keyspaceId: KeyspaceId, partition: number): boolean }

export class TreeExchange {
  /** How far it came with each partition, also when its run was cut short. */
  readonly comparison = new Comparison()
  readonly #progress: ExchangeProgress
  readonly #with: Coordination
  readonly #pauses: Pauses
  readonly #peer: NodeId
  readonly #calls: ExchangeCalls
  readonly #scope: ExchangeScope
  #candidates: Candidate[] = []
  #isCut = false

  /** @param progress what it does is added to it */
  constructor(
    coordination: Coordination,
    pace: Pace,
    pauses: Pauses,
    peer: NodeId,
    progress: ExchangeProgress,
    scope: ExchangeScope = 'complete',
  ) {
    this.#with = coordination
    this.#pauses = pauses
    this.#peer = peer
    this.#progress = progress
    this.#calls = new ExchangeCalls(coordination, pace, pauses, peer, progress)
    this.#scope = scope
  }

  /** False: there was more than it takes on; another exchange is to follow. */
  get isComplete(): boolean {
    return !this.#isCut && this.#progress.failed === 0
  }

  /** @throws KvError when the peer cannot go on, or one of us has another configuration meanwhile */
  async run(keyspaces: readonly Keyspace[]): Promise<void> {
    const ring = this.#with.ring()
    const alike = ring.alike().flatMap((group) => {
      const shared = sharedPartitions(ring, group[0], this.#with.selfId, this.#peer)
      return group.map(({ id }) => [id, shared] as const)
    })
    const sharedBy = new Map(alike)
    const plan = keyspaces.map((keyspace) => {
      const shared = sharedBy.get(keyspace.id) ?? []
      return { keyspace, shared: shared.filter((partition) => this.#isInScope(keyspace, partition)) }
    })
    this.#progress.partitions = plan.reduce((sum, { shared }) => sum + shared.length, 0)
    for (const { keyspace, shared } of plan) await this.#compare(keyspace, shared)
    await this.#lookAgain()
  }

  async #compare(keyspace: Keyspace, own: readonly number[]): Promise<void> {
    if (own.length === 0) return
    const question = { type: 'roots', keyspaceId: keyspace.id, isLost: this.#scope === 'missing' } as const
    const answer = await this.#calls.askOrFail('rootsDone', question)
    if (answer === null) return this.#unreadable(keyspace, own)
    const { partitions, roots, incomplete } = answer
    const theirGaps = new Set(incomplete)
    const shared = own.filter((partition) => !theirGaps.has(partition))
    this.#progress.partitions -= own.length - shared.length
    for (const partition of own) {
      this.comparison.begin(keyspace.id, partition)
      if (theirGaps.has(partition)) this.comparison.blocked(keyspace.id, partition, 'incomplete')
    }
    const theirs = new Map(partitions.map((partition, i) => [partition, roots[i] ?? 0n]))
    const trees = this.#trees
    const isEqual = (each: number): boolean => trees.root(keyspace.id, each) === (theirs.get(each) ?? 0n)
    const differing: number[] = []
    for (const partition of shared) {
      if (isEqual(partition)) this.comparison.settled(keyspace.id, partition)
      else differing.push(partition)
    }
    this.#progress.compared += shared.length - differing.length
    const walk = async (): Promise<void> => {
      while (this.#candidates.length < MAX_CANDIDATES) {
        const partition = differing.pop()
        if (partition === undefined) return
        await this.#walk(keyspace, partition)
      }
    }
    while (differing.length > 0) {
      await together(this.#scope, walk)
      if (this.#candidates.length >= MAX_CANDIDATES) await this.#lookAgain()
    }
  }

  /** The peer does not know what its disk holds, as it cannot read all of it. */
  #unreadable(keyspace: Keyspace, own: readonly number[]): void {
    for (const partition of own) {
      this.comparison.begin(keyspace.id, partition)
      this.comparison.blocked(keyspace.id, partition, 'unreadable')
    }
    this.#progress.failed += own.length
  }

  #isInScope(keyspace: Keyspace, partition: number): boolean {
    if (typeof this.#scope === 'object') return this.#scope.includes(keyspace.id, partition)
    if (this.#scope === 'complete') return this.#with.isComplete(keyspace.id, partition)
    return !this.#with.store.completeness.isComplete(keyspace.id, partition)
  }

  /** From the root of a partition's tree to the keys that differ. */
  async #walk(keyspace: Keyspace, partition: number): Promise<void> {
    let places = [0]
    for (let bits = 0; bits < LEAF_BITS && places.length > 0; bits += FANOUT_BITS) {
      places = await this.#differingChildren(keyspace, partition, bits, places)
    }
    try {
      const isWalked = places.length === 0 || (await this.#compareKeys(keyspace, partition, places))
      if (isWalked) this.comparison.settled(keyspace.id, partition)
      else this.#isCut = true
      this.#progress.compared += 1
    } catch (error) {
      if (!(error instanceof Unlisted)) throw error
      this.comparison.blocked(keyspace.id, partition, error.obstacle)
      this.#progress.failed += 1
    }
  }

  /** @returns places among 2^(bits + FANOUT_BITS) slices */
  async #differingChildren(
    keyspace: Keyspace,
    partition: number,
    bits: number,
    places: readonly number[],
  ): Promise<number[]> {
    const question = { type: 'slices', keyspaceId: keyspace.id, partition, bits, places } as const
    const { children } = await this.#calls.ask('slicesDone', question)
    const tree = this.#trees.find(keyspace.id, partition) ?? EMPTY_TREE
    const ours = tree.level(bits + FANOUT_BITS)
    const all = places.flatMap((place) => Array.from({ length: FANOUT }, (_, i) => place * FANOUT + i))
    return all.filter((child, i) => children[i] !== ours[child])
  }

  /** False: there was more than it takes on. @throws Unlisted: what was found before that counts */
  async #compareKeys(keyspace: Keyspace, partition: number, leaves: readonly number[]): Promise<boolean> {
    const keyspaceId = keyspace.id
    const place = { keyspaceId, partition, leaves: new Set(leaves) }
    const ours = new Pages((after) => this.#listHere(place, after))
    const theirs = new Pages(async (after) => {
      const question = { type: 'listKeys', keyspaceId, partition, leaves, after } as const
      const listed = await this.#calls.askOrFail('keysDone', question)
      if (listed === null) throw new Unlisted('unreadable')
      const { keys, digests, last } = listed
      return { entries: keys.map((key, i) => ({ key, digest: digests[i] ?? 0n })), last }
    })
    for (let found = 0; ; ) {
      const a = await ours.peek()
      const b = await theirs.peek()
      if (a === null && b === null) return true
      const order = a === null ? 1 : b === null ? -1 : compareBytes(a.key, b.key)
      const key = (order <= 0 ? a : b)?.key as Bytes
      if (order !== 0 || a?.digest !== b?.digest) {
        if (found++ >= MAX_PARTITION_CANDIDATES) return false
        this.comparison.found(keyspaceId, partition)
        this.#candidates.push({ keyspace, key })
      }
      if (order <= 0) ours.take()
      if (order >= 0) theirs.take()
    }
  }

  /** @throws Unlisted */
  async #listHere(place: SlicePlace, after: Bytes | null): Promise<Listing> {
    try {
      return await this.#with.store.partitions.list(place, after, MAX_LISTED_KEYS)
    } catch (error) {
      // Without trees the whole disk is away, not a part of it.
      if (!(error instanceof KvError) || this.#with.store.hashTrees === null) throw error
      this.#with.log.warn('repair.not-listed', { error })
      throw new Unlisted('unreadableHere')
    }
  }

  async #lookAgain(): Promise<void> {
    const candidates = this.#candidates
    this.#candidates = []
    if (candidates.length === 0) return
    await this.#pauses.pause(SECOND_LOOK_MS)
    for (let i = 0; i < candidates.length; ) {
      const { keyspace } = candidates[i] as Candidate
      const some: Bytes[] = []
      for (; some.length < MAX_LISTED_KEYS && candidates[i]?.keyspace === keyspace; i++) {
        some.push((candidates[i] as Candidate).key)
      }
      await this.#repairDiffering(keyspace, some)
    }
  }

  async #repairDiffering(keyspace: Keyspace, keys: readonly Bytes[]): Promise<void> {
    const { store } = this.#with
    const keyspaceId = keyspace.id
    const { digests } = await this.#calls.ask('digestsDone', { type: 'digests', keyspaceId, keys })
    const ring = this.#with.ring()
    const rest = keys.flatMap((key, i) => {
      const theirs = digests[i] ?? 0n
      const partition = ring.partitionOf(key)
      const ours = heldDigest(store, keyspaceId, partition, key)
      if (theirs !== ours || ours === UNREADABLE) return [{ key, partition, theirs, ours }]
      this.comparison.settled(keyspaceId, partition)
      return []
    })
    this.#progress.differing += rest.length
    const work = async (): Promise<void> => {
      for (let next = rest.pop(); next !== undefined; next = rest.pop()) {
        const outcome = await this.#repair(keyspace, next)
        if (outcome === 'equal') this.#progress.repaired += 1
        else this.#progress.failed += 1
        if (outcome === 'equal' || outcome === 'notGiven') this.comparison.settled(keyspaceId, next.partition)
        else this.comparison.blocked(keyspaceId, next.partition, outcome)
      }
    }
    await together(this.#scope, work)
  }

  /** Brings both to the merge of the two, where a record can hold it. */
  async #repair(keyspace: Keyspace, differing: DifferingKey): Promise<Outcome> {
    const { overfull } = this.#with.store
    const { key, partition, ours, theirs } = differing
    const place = recordKey(keyspace.id, partition, key)
    const difference = ours ^ theirs
    if (overfull.isVain(place, difference)) {
      overfull.note(place)
      return 'overfull'
    }
    const era = this.#with.eras.begin()
    try {
      return await this.#bringTogether(keyspace, differing, era)
    } catch (error) {
      if (!(error instanceof RecordOverflow)) throw error
      overfull.note(place, difference)
      return 'overfull'
    } finally {
      this.#with.eras.end(era)
    }
  }

  /** @throws RecordOverflow when the two do not fit into one */
  async #bringTogether(keyspace: Keyspace, differing: DifferingKey, era: Era): Promise<Outcome> {
    const { key, partition, theirs: theirDigest } = differing
    const theirs = theirDigest === 0n ? null : await this.#obtain(keyspace, partition, key, theirDigest)
    if (theirs === undefined) return 'unreadable'
    const held = this.#readHere(keyspace, partition, key)
    if (!(await this.#mayGo(keyspace, partition, key, held))) return 'unreadableHere'
    // Purged at both, if not at the same time.
    if (held !== undefined && hasNoValues(held) && hasNoValues(theirs)) return 'equal'
    if (theirs !== null && !(await this.#mergeHere(keyspace, partition, key, theirs))) return 'unreadableHere'
    const ours = this.#readHere(keyspace, partition, key)
    if (ours === undefined) return 'unreadableHere'
    if (ours === null || (theirs !== null && equalBytes(ours, theirs))) return 'equal'
    if (ours.length > MAX_RECORD_BYTES) throw new RecordOverflow('here')
    const fields = { keyspaceId: keyspace.id, key, record: ours, mintedBy: null, standInFor: null, era }
    const stored = await this.#calls.askOrFail('stored', { type: 'replicate', ...fields }, ours.length)
    return stored === null ? 'notGiven' : 'equal'
  }

  /** The peer's record; from our quarantine when it lies there. Undefined: the peer cannot read it. */
  async #obtain(
    keyspace: Keyspace,
    partition: number,
    key: Bytes,
    digest: Digest,
  ): Promise<Bytes | null | undefined> {
    const { store } = this.#with
    const kept = this.#scope !== 'complete' ? store.quarantine.find(keyspace.id, partition, key) : null
    if (kept !== null && recordDigest(keyspace.id, key, kept) === digest) return kept
    return this.#fetch(keyspace, key)
  }

  /** The peer has something else, or nothing: an old record is looked at before it goes there. */
  async #mayGo(
    keyspace: Keyspace,
    partition: number,
    key: Bytes,
    held: Bytes | null | undefined,
  ): Promise<boolean> {
    const { store } = this.#with
    if (held === null || held === undefined || !store.isOld(decodeRecord(key, held))) return true
    return store.isAsKept(keyspace.id, partition)
  }

  /** Undefined: the peer cannot read it. */
  async #fetch(keyspace: Keyspace, key: Bytes): Promise<Bytes | null | undefined> {
    const fields = { keyspaceId: keyspace.id, key, seenOnly: false, asStandIn: null }
    const question = { type: 'read', ...fields, isDoubted: true, isLost: this.#scope === 'missing' } as const
    return (await this.#calls.askOrFail('record', question))?.record
  }

  /** Undefined: it cannot be read. @throws UNAVAILABLE while the whole disk is away */
  #readHere(keyspace: Keyspace, partition: number, key: Bytes): Bytes | null | undefined {
    try {
      return this.#with.store.read(keyspace.id, partition, key)
    } catch (error) {
      if (!(error instanceof KvError) || this.#with.store.outage !== null) throw error
      return undefined
    }
  }

  #mergeHere(keyspace: Keyspace, partition: number, key: Bytes, record: Bytes): Promise<boolean> {
    this.#calls.checkNumber()
    return new Promise((resolve, reject) => {
      this.#with.store.merge(keyspace, partition, key, record, null, (error) => {
        if (error instanceof RecordOverflow) return reject(error)
        if (error !== null && this.#with.store.outage !== null) return reject(error)
        if (error !== null) this.#with.log.warn('repair.not-stored', { from: this.#peer, error })
        resolve(error === null)
      })
    })
  }

  get #trees() {
    const trees = this.#with.store.hashTrees
    if (trees !== null) return trees
    throw new KvError('UNAVAILABLE', 'what this disk holds is not known yet: its hash trees are being built')
  }
}

/** One of the two cannot read the keys of a partition. */
class Unlisted extends Error {
  readonly obstacle: Obstacle

  constructor(obstacle: Obstacle) {
    super()
    this.obstacle = obstacle
  }
}

/** Several workers. Waits for all, also when one fails: nothing of an exchange goes on after its end. */
async function together(scope: ExchangeScope, work: () => Promise<void>): Promise<void> {
  const results = await Promise.allSettled(
    Array.from({ length: scope === 'complete' ? WORKERS : URGENT_WORKERS }, work),
  )
  for (const result of results) if (result.status === 'rejected') throw result.reason
}

function hasNoValues(record: Bytes | null): boolean {
  return record === null || isBare(record)
}
