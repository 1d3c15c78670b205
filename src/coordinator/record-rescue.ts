/**
 * Brings back records that this peer's disk damaged, from the other owners.
 *
 * Intuition: a damaged copy answers nothing: reads and writes of the key go to other owners meanwhile. To put
 * one owner's record in its place would end that too early, as this peer may have been one of W that
 * acknowledged a write which that owner missed. So enough of the others are asked that one of every write
 * quorum is among them, and what they hold together comes in its place.
 *
 * Invariant: after a rescue this peer holds every write that it, as one of a majority, acknowledged before.
 * With N owners and majorities of M, a write that it took part in is on M - 1 of the N - 1 others: of these,
 * N - M + 1 are never without one that has it.
 *
 * Where every other owner says that it holds nothing, there was no such write, or it was purged (which asks
 * this peer too, so it had at least its bare record): what is left of the copy goes into quarantine, where an
 * operator finds it, and the key is free again.
 */
import { type Bytes, equalBytes } from '../base/bytes.ts'
import { KvError } from '../base/error.ts'
import type { NodeId } from '../base/ids.ts'
import type { Keyspace } from '../protocol/configuration.ts'
import { mergeRecords } from '../protocol/dvv.ts'
import type { KeyRecord } from '../protocol/record.ts'
import { sourcesNeeded } from '../protocol/ring-change.ts'
import type { DamagedRecord } from '../store/disk-damage.ts'
import { decodeRecord, encodeRecord, MalformedRecord } from '../store/record-codec.ts'
import { BackgroundJob } from './background-job.ts'
import type { Coordination } from './coordination.ts'

const ANSWER_TIMEOUT_MS = 2000
/** Under way at once. */
const MAX_AT_ONCE = 8
/** After a round in which some could not be brought back; doubles. */
const FIRST_RETRY_MS = 1000
const LAST_RETRY_MS = 60_000

/** What another owner holds. */
interface Copy {
  readonly owner: NodeId
  readonly bytes: Bytes | null
  readonly record: KeyRecord | null
}

interface Question {
  readonly number: number
  readonly keyspace: Keyspace
  readonly key: Bytes
}

export class RecordRescue {
  readonly #with: Coordination
  readonly #background: BackgroundJob
  #retryMs = FIRST_RETRY_MS

  constructor(coordination: Coordination) {
    this.#with = coordination
    this.#background = new BackgroundJob(coordination.clock, () => this.#step())
  }

  start(): void {
    this.#with.store.damage.onFound(() => this.wake())
    this.#background.start()
  }

  /** One more is damaged, or a peer that may have it is back. */
  wake(): void {
    this.#retryMs = FIRST_RETRY_MS
    this.#background.wake()
  }

  /** Fulfils when nothing of it goes on. Answers to what was asked must still come, or their ends. */
  stop(): Promise<void> {
    return this.#background.stop()
  }

  /** @returns ms to the next round */
  async #step(): Promise<number> {
    const { damage } = this.#with.store
    const rescued = damage.count === 0 || !this.#with.hasRing() ? 0 : await this.#round(damage.count)
    if (damage.count === 0) return LAST_RETRY_MS
    if (rescued > 0) return 0
    const restMs = this.#retryMs
    this.#retryMs = Math.min(LAST_RETRY_MS, 2 * restMs)
    return restMs
  }

  /** Each that was known at its beginning. @returns how many need no rescue any more */
  async #round(count: number): Promise<number> {
    let rescued = 0
    for (let done = 0; done < count && !this.#background.isStopped; done += MAX_AT_ONCE) {
      const some = this.#with.store.damage.list(Math.min(MAX_AT_ONCE, count - done))
      const ends = await Promise.all(some.map((damaged) => this.#rescue(damaged)))
      rescued += ends.filter((isOver) => isOver).length
    }
    return rescued
  }

  /** True: it is sound again, or not ours to hold. */
  async #rescue(damaged: DamagedRecord): Promise<boolean> {
    const { store, log, eras } = this.#with
    const era = eras.begin()
    try {
      const isOver = await this.#bringBack(damaged).finally(() => eras.end(era))
      if (!isOver) store.damage.postpone(damaged)
      return isOver
    } catch (error) {
      if (!(error instanceof KvError)) throw error
      log.warn('rescue.failed', { partition: damaged.partition, error })
      store.damage.postpone(damaged)
      return false
    }
  }

  async #bringBack({ keyspaceId, partition, key, databaseKey }: DamagedRecord): Promise<boolean> {
    const { store, selfId, log } = this.#with
    const ring = this.#with.ring()
    const keyspace = ring.keyspaceById(keyspaceId)
    if (keyspace === null || !ring.isOwner(selfId, keyspace, partition)) {
      store.damage.forget(databaseKey)
      return true
    }
    const lists = ring.readLists(keyspace, partition)
    const others = [...new Set(lists.flat())].filter((owner) => owner !== selfId)
    if (!areEnough(lists, selfId, others.filter(this.#with.isAlive))) return false
    const ask = { number: ring.number, keyspace, key }
    let answers = await this.#askAll(others, ask, false)
    if (this.#isDoubtful(answers)) answers = await this.#askAll(others, ask, true)
    const answered = answers.map(({ owner }) => owner)
    const whole = answers.flatMap(({ record }) => record ?? [])
    if (!areEnough(lists, selfId, answered) || ring.number !== this.#with.ring().number) return false
    if (whole.length === 0) {
      // While the ring is changed somebody else may have it who is not asked for answers.
      if (answers.length < others.length || ring.configuration.phase !== 'stable') return false
      await this.#restore(keyspace, partition, key, null)
      store.damage.forget(databaseKey)
      log.error('rescue.put-aside', { keyspaceId, partition })
      return true
    }
    const [first] = answers.flatMap(({ bytes }) => bytes ?? [])
    const bytes = areSame(answers) ? (first as Bytes) : encodeRecord(key, whole.reduce(mergeRecords))
    await this.#restore(keyspace, partition, key, bytes)
    store.damage.wasRestored(databaseKey)
    return true
  }

  /** @throws KvError */
  #restore(keyspace: Keyspace, partition: number, key: Bytes, record: Bytes | null): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#with.store.restore(keyspace, partition, key, record, (error) => {
        if (error === null) resolve()
        else reject(error)
      })
    })
  }

  /**
   * One has an old record that another has not as it is: the key may have been purged since, and that one's
   * disk fell back. Asked again, it compares its partition with the hash tree first; where that takes longer
   * than is waited for, the next round finds it done.
   */
  #isDoubtful(answers: readonly Copy[]): boolean {
    if (areSame(answers)) return false
    return answers.some(({ record }) => record !== null && this.#with.store.isOld(record))
  }

  /** @returns the answers that count */
  async #askAll(owners: readonly NodeId[], question: Question, isDoubted: boolean): Promise<readonly Copy[]> {
    const copies = await Promise.all(owners.map((owner) => this.#ask(owner, question, isDoubted)))
    return copies.filter((copy) => copy !== null)
  }

  /** Null: it gave no answer that counts. */
  async #ask(owner: NodeId, question: Question, isDoubted: boolean): Promise<Copy | null> {
    const { number, keyspace, key } = question
    const about = { number, keyspaceId: keyspace.id, key, seenOnly: false }
    const fields = { ...about, asStandIn: null, isDoubted, isLost: null }
    try {
      const { rpc } = this.#with
      const reply = await rpc.call(owner, 'data', ANSWER_TIMEOUT_MS, (id) => ({
        type: 'read',
        id,
        ...fields,
      }))
      if (reply.type === 'refused' && reply.reason === 'stale') this.#with.sawNumber(owner, reply.number)
      if (reply.type !== 'record') return null
      const record = reply.record === null ? null : decodeRecord(key, reply.record)
      return { owner, bytes: reply.record, record }
    } catch (error) {
      if (!(error instanceof KvError) && !(error instanceof MalformedRecord)) throw error
      return null // Its copy is damaged too, or it did not answer in time.
    }
  }
}

/** All of them have a record, and it is the same one. */
function areSame(answers: readonly Copy[]): boolean {
  const first = answers[0]?.bytes ?? null
  return first !== null && answers.every(({ bytes }) => bytes !== null && equalBytes(bytes, first))
}

/** `sourcesNeeded` of the others in each list, whether this peer is in it or not. */
function areEnough(lists: readonly (readonly NodeId[])[], selfId: NodeId, found: readonly NodeId[]): boolean {
  return lists.every((list) => {
    const others = list.filter((owner) => owner !== selfId && found.includes(owner))
    return others.length >= sourcesNeeded(list.length)
  })
}
