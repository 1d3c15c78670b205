/**
 * One get: R owners' records merged; owners that were behind are brought up to date on disk before the answer
 * leaves.
 */
import { present } from '../base/assert.ts'
import { type Bytes, equalBytes } from '../base/bytes.ts'
import { KvError } from '../base/error.ts'
import type { NodeId } from '../base/ids.ts'
import type { Level } from '../protocol/configuration.ts'
import { encodeContext, encodeDots } from '../protocol/context.ts'
import { mergeRecords } from '../protocol/dvv.ts'
import type { Era } from '../protocol/eras.ts'
import { type Dot, type KeyRecord, MAX_RECORD_BYTES } from '../protocol/record.ts'
import { timestampMs } from '../protocol/timestamp.ts'
import { visibleValues } from '../protocol/view.ts'
import { recordKey } from '../store/keys.ts'
import { encodeRecord, RecordOverflow } from '../store/record-codec.ts'
import type { Merged } from '../store/slot.ts'
import type { GetReply, GetRequest } from '../wire/requests.ts'
import type { Coordination, Done } from './coordination.ts'
import type { OwnerExchange } from './owner-exchange.ts'
import { type Answer, type KeyPlace, QuorumRead } from './quorum-read.ts'
import { Replication, type ReplicationTask } from './replication.ts'
import { keepStandIn, mayStandIn, type StandInRule } from './standing-in.ts'

export class Read {
  readonly #with: Coordination
  readonly #place: KeyPlace
  readonly #request: GetRequest
  readonly #seed: number
  readonly #deadlineMs: number
  readonly #done: Done<GetReply>
  #step: OwnerExchange | null = null

  constructor(
    coordination: Coordination,
    place: KeyPlace,
    request: GetRequest,
    seed: number,
    deadlineMs: number,
    done: Done<GetReply>,
  ) {
    this.#with = coordination
    this.#place = place
    this.#request = request
    this.#seed = seed
    this.#deadlineMs = deadlineMs
    this.#done = done
  }

  start(): void {
    this.#ask(this.#with.eras.begin(), false)
  }

  #ask(era: Era, isDoubted: boolean): void {
    const level = this.#level
    const answered: Done<readonly Answer[]> = (error, answers) => {
      const isDoubtful = !isDoubted && answers?.some((each) => this.#isDoubtful(each, answers)) === true
      if (isDoubtful) return this.#ask(era, true)
      if (error !== null) this.#done(error, null)
      else this.#mergeSafely(present(answers, 'a read without an error has answers'), era)
      this.#with.eras.end(era)
    }
    const read = new QuorumRead(this.#with, this.#place, level, false, this.#deadlineMs, answered, isDoubted)
    this.#step = read
    read.start()
  }

  /**
   * An old record that another owner has not as it is: one of the two missed something, or the key was purged
   * and the disk of this one fell back. It is to be sure before what it has is shown or brought to others.
   */
  #isDoubtful({ record, bytes, isStandIn }: Answer, answers: readonly Answer[]): boolean {
    if (isStandIn || record === null || !this.#with.store.isOld(record)) return false
    return answers.some((other) => !other.isStandIn && !sameBytes(other.bytes, bytes))
  }

  restart(): void {
    this.#step?.restart()
  }

  get #level(): Level {
    return this.#request.r ?? this.#place.keyspace.r
  }

  #mergeSafely(answers: readonly Answer[], era: Era): void {
    try {
      this.#merge(answers, era)
    } catch (error) {
      if (!(error instanceof KvError)) throw error
      this.#done(error, null)
      if (error instanceof RecordOverflow) this.#noteOverfull()
    }
  }

  /** The next put without a context asks all owners then. */
  #noteOverfull(): void {
    const { keyspace, partition, key } = this.#place
    this.#with.store.overfull.note(recordKey(keyspace.id, partition, key))
  }

  #merge(answers: readonly Answer[], era: Era): void {
    const first = present(answers[0], 'a quorum is never empty')
    // Owners purge a record at different times: who has nothing left of it is not brought anything back.
    if (answers.every(({ record }) => record === null || record.values.length === 0)) {
      return this.#answer(null, answers)
    }
    if (answers.every(({ bytes }) => sameBytes(bytes, first.bytes)))
      return this.#answer(first.record, answers)
    const merged = answers.flatMap(({ record }) => record ?? []).reduce(mergeRecords)
    this.#repair(merged, answers, era)
  }

  /**
   * Strict quorum reads never go backwards: what this one shows is on as many disks as the next one asks,
   * before it is shown.
   */
  #repair(merged: KeyRecord, answers: readonly Answer[], era: Era): void {
    const record = encodeRecord(this.#place.key, merged)
    const holders = answers.filter(({ bytes }) => sameBytes(bytes, record)).map(({ from }) => from)
    const repaired: Done<{ owners: number }> = (error) => {
      if (error === null) return this.#answer(merged, answers)
      if (replication.isOverfull) return this.#done(new RecordOverflow('at one of its owners'), null)
      const why = 'owners that were behind could not be brought up to date in time; try again'
      this.#done(new KvError('UNAVAILABLE', `the read quorum was not met: ${why}`, { cause: error }), null)
    }
    const standIns = this.#standInRule(answers)
    const task: ReplicationTask = {
      place: this.#place,
      record,
      level: this.#level,
      lists: 'read',
      mintedBy: null,
      holders: holders as readonly NodeId[],
      standIns,
      deadlineMs: this.#deadlineMs,
      era,
    }
    const replication: Replication = new Replication(this.#with, task, () => true, repaired)
    this.#step = replication
    replication.start()
    if (holders.includes(this.#with.selfId)) return
    this.#storeHere(record, standIns, replication)
  }

  /** Repairs reach owners; stand-ins only where these are too few, as for the read itself. */
  #standInRule(answers: readonly Answer[]): StandInRule {
    if (!answers.some(({ isStandIn }) => isStandIn)) return 'nobody'
    return mayStandIn(this.#with, this.#place) ? 'selfFirst' : 'others'
  }

  #storeHere(record: Bytes, rule: StandInRule, replication: Replication): void {
    const { keyspace, partition, key } = this.#place
    const { store, selfId } = this.#with
    const ring = this.#with.ring()
    const stored: Merged = (error) => {
      if (error === null) replication.storedHere()
      else replication.failedHere(error)
    }
    if (ring.isOwner(selfId, keyspace, partition)) {
      store.merge(keyspace, partition, key, record, null, stored)
    } else if (rule === 'selfFirst') {
      const owners = ring.allOwners(keyspace, partition)
      keepStandIn(store, this.#place, owners, record, null, stored)
    }
  }

  #answer(record: KeyRecord | null, answers: readonly Answer[]): void {
    const standIns = answers.filter(({ isStandIn }) => isStandIn).length
    const owners = answers.length - standIns
    if (record === null) return this.#done(null, { values: [], context: null, owners, standIns })
    const visible = visibleValues(record, this.#place.keyspace.conflicts, this.#with.clock.now())
    const sizeBytes = visible.reduce((sum, { value }) => sum + (value?.length ?? 0), 0)
    // On a disk from before records had this limit there may be larger ones.
    if (sizeBytes > MAX_RECORD_BYTES) return this.#done(new RecordOverflow(`${MAX_RECORD_BYTES} bytes`), null)
    this.#done(null, {
      values: visible.map((found) => ({
        value: present(found.value, 'a visible value has bytes'),
        contentType: found.contentType,
        timestampMs: timestampMs(found.timestamp),
      })),
      context: encodeContext(record.seen, this.#seed) ?? encodeDots(dotsOf(record), this.#seed),
      owners,
      standIns,
    })
  }
}

function dotsOf({ values }: KeyRecord): Dot[] {
  return values.map(({ dot }) => dot)
}

function sameBytes(a: Bytes | null, b: Bytes | null): boolean {
  return a === b || (a !== null && b !== null && equalBytes(a, b))
}
