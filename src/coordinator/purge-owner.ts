/** An owner's part in purging: what it holds, for how long, and the steps it takes when it is told to. */
import { KvError } from '../base/error.ts'
import type { NodeId } from '../base/ids.ts'
import type { PeerLink } from '../cluster/peer-link.ts'
import type { Keyspace } from '../protocol/configuration.ts'
import type { Era } from '../protocol/eras.ts'
import { type Digest, recordDigest } from '../protocol/hash-tree.ts'
import type { HoldLedger } from '../protocol/hold-ledger.ts'
import { placeName } from '../protocol/place-name.ts'
import { isPurgeable, type PurgeRule } from '../protocol/purge.ts'
import type { KeyRecord } from '../protocol/record.ts'
import type { TreePlace } from '../store/hash-trees.ts'
import { isBare } from '../store/record-codec.ts'
import type { Refusal } from '../wire/data-messages.ts'
import type { PurgeRequest } from '../wire/purge-messages.ts'
import type { Coordination } from './coordination.ts'
import type { FenceKeeper } from './fence-keeper.ts'
import type { FenceMember } from './fence-member.ts'
import { Reclaimer } from './reclaimer.ts'

type Ask<T extends PurgeRequest['type']> = Extract<PurgeRequest, { type: T }>
export type PurgeQuestion = Pick<Ask<'purge'>, 'step' | 'era' | 'keys' | 'digests'>

/** In place of a digest: what is held here is something else, or cannot be read. */
export const DISAGREES: Digest = 2n ** 64n - 1n
/** Messages of others that are worked on at once. */
const MAX_AT_WORK = 4
/** Rounds of fences that are answered, and fences that are asked for, at once. */
const MAX_FENCES_AT_WORK = 256
const MAX_OBSTACLE_LENGTH = 1000

export class PurgeOwner {
  readonly #with: Coordination
  readonly #rule: PurgeRule
  readonly #holds: HoldLedger
  readonly #member: FenceMember
  readonly #keeper: FenceKeeper
  readonly #reclaimer: Reclaimer
  #atWork = 0
  #fencesAtWork = 0

  constructor(
    coordination: Coordination,
    rule: PurgeRule,
    holds: HoldLedger,
    member: FenceMember,
    keeper: FenceKeeper,
  ) {
    this.#with = coordination
    this.#rule = rule
    this.#holds = holds
    this.#member = member
    this.#keeper = keeper
    this.#reclaimer = new Reclaimer(coordination)
  }

  /** Fulfils when the disk is left alone. */
  stop(): Promise<void> {
    return this.#reclaimer.stop()
  }

  /** So many records went from the disk with their partition, which this peer owns no more. */
  dropped({ keyspaceId, partition }: TreePlace, count: number): void {
    this.#reclaimer.erased(keyspaceId, partition, count)
  }

  serve(from: NodeId, message: PurgeRequest, link: PeerLink): void {
    const { id } = message
    const refusal = this.#refusal(from, message)
    if (refusal !== null) return this.#refuse(link, id, refusal)
    this.#answer(message, link).catch((error: unknown) => {
      if (!(error instanceof KvError)) throw error
      this.#with.log.debug('purge.unanswered', { from, error })
      this.#refuse(link, id, 'failed')
    })
  }

  /**
   * What is held now of each key. @param number of the configuration whose owners are asked
   * @throws KvError when the disk is away, or the configuration is another one by now, or about to be
   */
  async step(
    number: number,
    keyspace: Keyspace,
    { step, era, keys, digests }: PurgeQuestion,
  ): Promise<Digest[]> {
    // What is said to be held must be held through any crash from now on.
    await this.#with.store.harden()
    if (this.#number !== number || this.#with.ring().configuration.phase !== 'stable') {
      throw new KvError('UNAVAILABLE', 'the ring is being changed: nothing is purged meanwhile')
    }
    const answers = keys.map(async (key, i) => {
      const digest = digests[i] ?? DISAGREES
      try {
        if (step === 'hold' || step === 'bare') return this.#stated(keyspace, step, key, digest)
        return await this.#take(keyspace, step, era, key, digest)
      } catch (error) {
        if (!(error instanceof KvError)) throw error
        return DISAGREES // A damaged record, or a disk that fails: this key is tried again some day.
      }
    })
    return Promise.all(answers)
  }

  async #answer(message: PurgeRequest, link: PeerLink): Promise<void> {
    const { id } = message
    if (message.type === 'purge') return this.#takeSteps(message, link)
    if (this.#fencesAtWork >= MAX_FENCES_AT_WORK) return this.#refuse(link, id, 'overloaded')
    this.#fencesAtWork += 1
    try {
      if (message.type === 'fence')
        link.send({ type: 'fenceDone', id, ...(await this.#member.answer(message)) }, 0)
      else link.send({ type: 'fenced', id, ...(await this.#fence()) }, 0)
    } finally {
      this.#fencesAtWork -= 1
    }
  }

  async #fence(): Promise<{ readonly era: Era | null; readonly obstacle: string }> {
    try {
      return { era: await this.#keeper.complete(), obstacle: '' }
    } catch (error) {
      if (!(error instanceof KvError)) throw error
      return { era: null, obstacle: error.message.slice(0, MAX_OBSTACLE_LENGTH) }
    }
  }

  async #takeSteps(message: Ask<'purge'>, link: PeerLink): Promise<void> {
    const { id, keyspaceId, keys, digests } = message
    const keyspace = this.#with.ring().keyspaceById(keyspaceId)
    if (keyspace === null || keys.length !== digests.length) return this.#refuse(link, id, 'notOwner')
    if (this.#atWork >= MAX_AT_WORK) return this.#refuse(link, id, 'overloaded')
    this.#atWork += 1
    try {
      const held = await this.step(message.number, keyspace, message)
      link.send({ type: 'purgeDone', id, digests: held }, 8 * held.length)
    } finally {
      this.#atWork -= 1
    }
  }

  #stated(keyspace: Keyspace, step: 'hold' | 'bare', key: Uint8Array, digest: Digest): Digest {
    const { clock } = this.#with
    const place = this.#placeOf(keyspace, key)
    if (place === null) return DISAGREES
    const held = this.#heldDigest(keyspace, place.partition, key)
    if (step === 'bare') return held.isBare || held.digest === 0n ? held.digest : DISAGREES
    const since = this.#holds.since(placeName(keyspace.id, place.partition), digest)
    const isLong = since !== null && since + this.#rule.purgeAfterMs <= clock.monotonic()
    if (held.digest !== digest || held.isBare || !isLong) return DISAGREES
    const record = this.#with.store.readRecord(keyspace.id, place.partition, key)
    return record !== null && isPurgeable(record, keyspace.conflicts, clock.now(), this.#rule)
      ? digest
      : DISAGREES
  }

  async #take(
    keyspace: Keyspace,
    step: 'strip' | 'erase',
    era: Era,
    key: Uint8Array,
    digest: Digest,
  ): Promise<Digest> {
    const { clock, store, eras } = this.#with
    const place = this.#placeOf(keyspace, key)
    // Restarted since the fence: what was promised then is promised no more.
    if (place === null || eras.facts.closedBelow < era) return DISAGREES
    const { partition } = place
    const at = { keyspace, partition, key }
    const mayGo = (held: KeyRecord) => isPurgeable(held, keyspace.conflicts, clock.now(), this.#rule)
    await new Promise<void>((resolve, reject) => {
      const done = (error: KvError | null): void => (error === null ? resolve() : reject(error))
      const isTaken =
        step === 'strip'
          ? store.mortals.strip(at, digest, mayGo, done)
          : store.mortals.erase(at, digest, done)
      if (!isTaken) resolve()
    })
    const held = this.#heldDigest(keyspace, partition, key)
    if (step === 'erase' && held.digest === 0n) this.#reclaimer.erased(keyspace.id, partition, 1)
    return held.isBare || held.digest === 0n ? held.digest : DISAGREES
  }

  #heldDigest(keyspace: Keyspace, partition: number, key: Uint8Array) {
    const record = this.#with.store.read(keyspace.id, partition, key)
    if (record === null) return { digest: 0n, isBare: false }
    return { digest: recordDigest(keyspace.id, key, record), isBare: isBare(record) }
  }

  /** Null: this peer does not own the key, or lacks what it should hold of it. */
  #placeOf(keyspace: Keyspace, key: Uint8Array): { readonly partition: number } | null {
    const ring = this.#with.ring()
    const partition = ring.partitionOf(key)
    if (!ring.isOwner(this.#with.selfId, keyspace, partition)) return null
    return this.#with.store.completeness.isComplete(keyspace.id, partition) ? { partition } : null
  }

  /** Why it is not answered: another configuration, an open change, or somebody who is no member. */
  #refusal(from: NodeId, { number }: PurgeRequest): Refusal | null {
    const own = this.#number
    if (number < own) return 'stale'
    if (number > own || own === 0) {
      this.#with.sawNumber(from, number)
      return 'behind'
    }
    const { members, excluded, phase } = this.#with.ring().configuration
    if (phase !== 'stable') return 'failed'
    const isMember = members.some(({ nodeId }) => nodeId === from) && !excluded.includes(from)
    return isMember ? null : 'notOwner'
  }

  #refuse(link: PeerLink, id: number, reason: Refusal): void {
    link.send({ type: 'refused', id, reason, number: this.#number }, 0)
  }

  /** 0 while there is no configuration here. */
  get #number(): number {
    return this.#with.hasRing() ? this.#with.ring().number : 0
  }
}
