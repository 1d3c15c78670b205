/**
 * What one peer holds on its disk, one record a key.
 *
 * Intuition: there is one writer (`record-writer.ts`). Reads see only the disk, so what a replica answers is
 * durable there.
 *
 * Invariants: no write is acknowledged before its batch, and all before it, are fsynced (those of keyspaces
 * with durability `os`: before the operating system has them); no dot names two values, through crashes and
 * stops of every kind (`actor.ts`).
 */
import { type Bytes, utf8 } from '../base/bytes.ts'
import { KvError } from '../base/error.ts'
import { hash32 } from '../base/hash.ts'
import { type ActorId, type KeyspaceId, parseStoreId, type StoreId } from '../base/ids.ts'
import type { Effects } from '../effects/effects.ts'
import type { Database } from '../effects/storage.ts'
import { isOld, type PurgeRule } from '../protocol/purge.ts'
import type { Dot, DotSet, KeyRecord } from '../protocol/record.ts'
import { Actor } from './actor.ts'
import { Answers } from './answers.ts'
import { CLEAN_STOP_FILE, encodeCleanStop } from './clean-stop.ts'
import { Completeness, type LossCause, type LostLeaves } from './completeness.ts'
import { DiskDamage } from './disk-damage.ts'
import { DiskRecords } from './disk-records.ts'
import { DotClashes } from './dot-clashes.ts'
import { type CommitOperation, GroupCommit } from './group-commit.ts'
import type { HashTrees } from './hash-trees.ts'
import { Inventory, type InventoryHost } from './inventory.ts'
import { CATCH_UP_KEY, recordKey, STORE_ID_KEY } from './keys.ts'
import { beginLife, emptyLife, keyspacesHeld, type Life, syncDatabase } from './life.ts'
import { type Minted, mintDot, type NewValue, putUnder } from './minting.ts'
import { Mortals } from './mortals.ts'
import { Outage, outageError, outageFields } from './outage.ts'
import { Overfull } from './overfull.ts'
import { Ownership } from './ownership.ts'
import { PartitionReader } from './partition-reader.ts'
import type { PendingWrite } from './pending-writes.ts'
import { Quarantine } from './quarantine.ts'
import { decodeSeeded } from './record-codec.ts'
import { RecordWriter } from './record-writer.ts'
import { Removal, type RemovalHost } from './removal.ts'
import { openAgain } from './reopening.ts'
import type { KeyspacePlace, Merged } from './slot.ts'
import { type StandInHost, StandIns, type StandInWrite } from './stand-ins.ts'
import { STORE_LIMITS, type StoreLimits } from './store-limits.ts'
import { putAside } from './suspects.ts'

type AnyWrite = PendingWrite | StandInWrite | CommitOperation
export type StoreEffects = Pick<Effects, 'clock' | 'storage' | 'random' | 'log' | 'metrics'>

export class Store {
  readonly #effects: StoreEffects
  /** What is kept for owners of other keys, beside the records. */
  readonly standIns: StandIns
  readonly completeness = new Completeness((value, done) => {
    if (!this.#isOpen) throw this.#unavailable()
    this.#commit.add({ key: CATCH_UP_KEY, value, batch: 0 }, true, done, 0)
  })
  /** What was held before a loss. */
  readonly quarantine = new Quarantine(() => this.#opened)
  /** What may be purged some day. */
  readonly mortals: Mortals
  readonly #commit: GroupCommit<AnyWrite>
  readonly #disk: DiskRecords
  readonly #writer: RecordWriter
  /** Counts, exact unless they are being taken, and the making of hash trees. */
  readonly inventory: Inventory
  /** What the disk did not give back as it was written. */
  readonly damage = new DiskDamage()
  readonly clashes: DotClashes
  readonly partitions: PartitionReader
  readonly removal: Removal
  readonly ownership = new Ownership()
  /** Keys of which this or another owner cannot take all concurrent values. */
  readonly overfull: Overfull
  #database: Database
  /** False while the database recovers from a failed write, and after the end. */
  #isOpen = true
  #storeId: StoreId
  #actor: Actor
  readonly #outage: Outage
  #reopening: Promise<void> = Promise.resolve()
  #isClosing = false
  #closed: Promise<void> | null = null
  readonly #answers: Answers
  readonly #purge: PurgeRule

  private constructor(effects: StoreEffects, database: Database, life: Life, limits: StoreLimits) {
    const { metrics, clock, random } = effects
    const { storeId, cleanStop } = life
    this.#effects = effects
    this.#purge = limits.purge
    this.#answers = new Answers(clock)
    this.#outage = new Outage(clock)
    this.#database = database
    this.#disk = new DiskRecords(effects.log, this.damage, database)
    this.#storeId = storeId
    this.#actor = cleanStop === null ? Actor.create(random) : Actor.resume(cleanStop.actor, cleanStop.counter)
    const listener = {
      committed: (writes: readonly AnyWrite[]) => this.#committed(writes),
      failed: (error: unknown) => this.#failed(error),
    }
    this.#commit = new GroupCommit(clock, metrics, listener, limits)
    this.#commit.begin(database)
    this.inventory = new Inventory(this.#inventoryHost(limits.rebuildIntervalMs))
    this.inventory.begin(database, life)
    this.partitions = new PartitionReader(this.inventory, this.#commit, () => this.#opened)
    this.clashes = new DotClashes(effects, () => [this, this.standIns])
    this.overfull = new Overfull(clock, effects.log)
    this.#writer = new RecordWriter({
      ...{ disk: this.#disk, commit: this.#commit, answers: this.#answers },
      ...{ clashes: this.clashes, overfull: this.overfull },
      admit: (keyspaceId, sizeBytes) => this.#admit(keyspaceId, sizeBytes),
      checkOwn: (keyspaceId, partition) => this.ownership.check(keyspaceId, partition),
      checkTrusted: (keyHash, databaseKey) => this.#checkTrusted(keyHash, databaseKey),
      onDisk: (keyHash, databaseKey) => this.#onDisk(keyHash, databaseKey),
    })
    this.standIns = new StandIns(this.#standInHost(), limits.maxStandInBytes)
    this.removal = new Removal(this.#removalHost())
    this.completeness.load(database)
    this.mortals = new Mortals({
      ...{ inventory: this.inventory, storage: effects.storage, writer: this.#writer },
      database: () => this.#opened,
    })
    const lastStop = life.isNew ? 'none' : cleanStop === null ? 'unclean' : 'clean'
    effects.log.info('store.opened', { storeId, lastStop, directory: effects.storage.name })
  }

  /** Closes neither now nor in `close` what it was given as `effects.storage`. @throws INTERNAL */
  static async open(
    effects: StoreEffects,
    options: { readonly limits?: Partial<StoreLimits> } = {},
  ): Promise<Store> {
    const database = await effects.storage.openDatabase()
    try {
      const life = await beginLife(effects.storage, database, effects.random)
      const store = new Store(effects, database, life, { ...STORE_LIMITS, ...options.limits })
      await store.standIns.load(database)
      await store.quarantine.load(database)
      if (store.completeness.isMoving) await store.beginAnew(store.completeness.cause ?? 'replaced')
      return store
    } catch (error) {
      await database.close()
      throw effects.storage.explain(error)
    }
  }

  /** Takes no more writes, brings those it took to the disk, and leaves a clean stop's marker. Idempotent. */
  close(): Promise<void> {
    this.#isClosing = true
    this.#closed ??= this.#close()
    return this.#closed
  }

  /** One life of this data; another one after a wipe, and after `beginAnew`. */
  get storeId(): StoreId {
    return this.#storeId
  }

  /** Why nothing can be read or written now, as in `its disk is full`; null: it can. */
  get outage(): string | null {
    return this.#outage.why
  }

  /** To be called now and then: notices that the directory was deleted or replaced. Does not reject. */
  async checkPlace(): Promise<void> {
    const database = this.#database
    const gone = await this.#effects.storage.checkPlace().then(
      () => null,
      (error: Error) => error,
    )
    if (gone !== null && this.#isOpen && this.#database === database) this.#commit.fail(gone)
  }

  /** Under whose name dots are minted now. */
  get actor(): ActorId {
    return this.#actor.id
  }

  /** From now on dots are minted under a new name: somebody else may be using the one before. */
  renewActor(): void {
    this.#actor = Actor.create(this.#effects.random)
    this.#effects.log.warn('store.actor-renewed', { actor: this.#actor.id })
  }

  /** Data was lost: another life, which catches up. What is here goes into quarantine. Before any write. */
  async beginAnew(cause: LossCause): Promise<void> {
    this.renewActor()
    await this.inventory.stop()
    const storeId = parseStoreId(this.#effects.random.id())
    await this.completeness.begin(this.#database, cause, storeId)
    this.#storeId = storeId
    const quarantined = await this.quarantine.fill(this.#database)
    await this.completeness.moved()
    await this.standIns.load(this.#database)
    this.#disk.forget()
    this.inventory.begin(this.#database, emptyLife(storeId))
    this.#effects.log.warn('store.begun-anew', { cause, storeId, quarantined })
  }

  /** What the disk still gives back of these leaves goes into quarantine. @throws as `putAside` */
  async putAside(lost: LostLeaves): Promise<void> {
    const host = { database: () => this.#opened, quarantine: this.quarantine, writer: this.#writer }
    const admit = (keyspaceId: KeyspaceId, sizeBytes: number): void => this.#admit(keyspaceId, sizeBytes)
    const quarantined = this.removal.isDropped(lost.keyspaceId)
      ? 0
      : await putAside({ ...host, admit, commit: this.#commit }, lost)
    const { keyspaceId, partition } = lost
    this.#effects.log.warn('store.put-aside', { keyspaceId, partition, quarantined })
  }

  /**
   * The record's bytes on disk, checked against their checksum; null: none.
   * @throws UNAVAILABLE while the database is not open, or when this copy is damaged
   */
  read(keyspaceId: KeyspaceId, partition: number, key: Bytes): Bytes | null {
    return this.#onDisk(hash32(key), recordKey(keyspaceId, partition, key))
  }

  /** What is on disk, decoded. @throws as `read` */
  readRecord(keyspaceId: KeyspaceId, partition: number, key: Bytes): KeyRecord | null {
    const record = this.read(keyspaceId, partition, key)
    return record === null ? null : this.#disk.decode(hash32(key), record)
  }

  /** So old that its key may have been purged since: then it goes to nobody before `isAsKept`. */
  isOld(record: KeyRecord): boolean {
    return isOld(record, this.#effects.clock.now(), this.#purge)
  }

  /** False: what this disk gives back of a partition is not what was written, or cannot be compared now. */
  isAsKept(keyspaceId: KeyspaceId, partition: number): Promise<boolean> {
    return this.#isOpen ? this.inventory.isAsKept({ keyspaceId, partition }) : Promise.resolve(false)
  }

  /** What the disk will hold once all that waits is on it. @throws as `read` */
  newest(keyspaceId: KeyspaceId, partition: number, key: Bytes): KeyRecord | null {
    return this.#writer.newest(keyspaceId, partition, key)
  }

  /**
   * Mints a dot for a value that replaces what `context` covers, and keeps what it does not. `done` comes
   * later, once; with TIMEOUT_UNKNOWN when the disk failed meanwhile.
   * @throws with nothing written: OVERLOADED, UNAVAILABLE, NOT_FOUND (the keyspace was dropped), TOO_LARGE
   * (with all its siblings)
   */
  put(
    keyspace: KeyspacePlace,
    partition: number,
    key: Bytes,
    context: DotSet,
    value: NewValue,
    done: (error: KvError | null) => void,
  ): Minted {
    const slot = this.#writer.slot(keyspace, partition, key, value.value?.length ?? 0)
    const held = this.#writer.held(slot)
    const dot = this.#mint(context, held)
    const heldBytes = slot.before?.length ?? 0
    const minted = putUnder(dot, slot.keyHash, held, heldBytes, context, value, this.#effects.clock.now())
    this.overfull.settled(slot.databaseKey)
    this.#writer.enqueue(slot, minted.whole, minted.record, done, 0)
    return minted
  }

  /**
   * Merges a record from elsewhere into what is held. `incoming` must not change any more. `done` comes
   * later, once: without an error when a disk holds all that `incoming` says, with `seenUpTo`, the greatest n
   * of the actor `mintedBy` seen here before (NAMES_ANOTHER: a dot of it named another value). Errors as of
   * `put`, INTERNAL for bytes that are not a record of this key, RecordOverflow where no record holds both.
   */
  merge(
    keyspace: KeyspacePlace,
    partition: number,
    key: Bytes,
    incoming: Bytes,
    mintedBy: ActorId | null,
    done: Merged,
  ): void {
    try {
      const slot = this.#writer.slot(keyspace, partition, key, incoming.length)
      this.#writer.merge(slot, incoming, mintedBy, done)
    } catch (error) {
      if (!(error instanceof KvError)) throw error
      this.#answers.add(() => done(error, 0))
    }
  }

  /**
   * As `merge`, but in place of a record that cannot be read any more. Null: nothing comes in its place, and
   * what is left of it goes into quarantine.
   */
  restore(keyspace: KeyspacePlace, partition: number, key: Bytes, record: Bytes | null, done: Merged): void {
    const keyHash = hash32(key)
    const databaseKey = recordKey(keyspace.id, partition, key)
    const isPending = this.#writer.isPending(keyHash, databaseKey)
    const before = isPending || !this.#isOpen ? null : this.#disk.damagedBytes(keyHash, databaseKey)
    if (before === null && record !== null) return this.merge(keyspace, partition, key, record, null, done)
    if (before === null) return this.#answers.add(() => done(null, 0))
    try {
      this.#admit(keyspace.id, record?.length ?? 0)
      this.ownership.check(keyspace.id, partition)
      const slot = { sync: true, keyHash, databaseKey, pending: null, before }
      const restored: Merged = (error, seen) => {
        if (error === null) this.inventory.correct(keyspace.id, partition)
        done(error, seen)
      }
      // The record may have held dots of ours that the other one lacks: they are not to be covered unseen.
      if (this.#actor.counter > 0) this.renewActor()
      const aside = record === null ? this.quarantine.add(databaseKey, before) : null
      if (aside !== null) this.#commit.add({ ...aside.entry, batch: 0 }, true, aside.written, 0)
      this.#writer.enqueue(slot, record && decodeSeeded(keyHash, record), record, restored, 0)
    } catch (error) {
      if (!(error instanceof KvError)) throw error
      this.#answers.add(() => done(error, 0))
    }
  }

  /** Fulfils when all that waits now is on disk, or has failed. */
  settled(): Promise<void> {
    return this.#commit.barrier()
  }

  /** Fulfils when all that was taken is on disk, however durable its keyspace. @throws UNAVAILABLE */
  harden(): Promise<void> {
    if (!this.#isOpen) return Promise.reject(this.#unavailable())
    return this.#commit.harden({ key: STORE_ID_KEY, value: utf8(this.#storeId), batch: 0 })
  }

  /** Records that were asked for, ever, by requests and by whatever else reads single records. */
  get requestCount(): number {
    return this.#disk.requestCount
  }

  /** Nothing waits for the disk. */
  get isIdle(): boolean {
    return this.#commit.isIdle
  }

  /** Of what is on disk; null while that is not known: after an unclean stop, and after a failed write. */
  get hashTrees(): HashTrees | null {
    return this.#isOpen ? this.inventory.trees : null
  }

  /** The keyspaces that have records on this disk. */
  keyspaceIds(): Promise<KeyspaceId[]> {
    return keyspacesHeld(this.#database)
  }

  #inventoryHost(rebuildIntervalMs: number): InventoryHost {
    return {
      effects: this.#effects,
      rebuildIntervalMs,
      atBoundary: (call) => this.#commit.atBoundary(call),
      requestCount: () => this.#disk.requestCount,
      damaged: (databaseKey) => this.#disk.damaged(databaseKey),
      lost: (lost) => {
        this.completeness.lose(lost)
        this.#disk.forget()
        this.#writer.changed()
        this.damage.lost(lost.leaves.length)
        this.renewActor() // What is held no longer says which of its dots a key has.
      },
    }
  }

  /** @throws UNAVAILABLE while it is not open */
  get #opened(): Database {
    if (!this.#isOpen) throw this.#unavailable()
    return this.#database
  }

  #standInHost(): StandInHost {
    return {
      ...{ effects: this.#effects, clashes: this.clashes, overfull: this.overfull, commit: this.#commit },
      database: () => this.#opened,
      admit: (keyspaceId, sizeBytes) => this.#admit(keyspaceId, sizeBytes),
    }
  }

  #removalHost(): RemovalHost {
    const { inventory, standIns } = this
    return {
      clock: this.#effects.clock,
      requestCount: () => this.#disk.requestCount,
      database: () => this.#opened,
      parts: () => ({ storeId: this.#storeId, inventory, standIns, disk: this.#disk }),
      commit: this.#commit,
      writer: this.#writer,
      giveUpActor: () => (this.#actor.counter > 0 ? this.renewActor() : undefined),
    }
  }

  /** @throws as `put` when no write of this size is taken now */
  #admit(keyspaceId: KeyspaceId, sizeBytes: number): void {
    if (!this.#isOpen || this.#isClosing) throw this.#unavailable()
    if (this.removal.isDropped(keyspaceId)) {
      throw new KvError('NOT_FOUND', 'nothing was written: the keyspace was dropped')
    }
    const refusal = this.#commit.refusal(sizeBytes)
    if (refusal !== null) throw refusal
  }

  #onDisk(keyHash: number, databaseKey: Bytes): Bytes | null {
    if (!this.#isOpen) throw this.#unavailable()
    this.#checkTrusted(keyHash, databaseKey)
    return this.#disk.read(keyHash, databaseKey)
  }

  #checkTrusted(keyHash: number, databaseKey: Bytes): void {
    if (!this.completeness.isSuspect(keyHash, databaseKey)) return
    const message = "nothing was written: this peer's disk lost records beside this key's; try another peer"
    throw new KvError('UNAVAILABLE', message)
  }

  #unavailable(): KvError {
    return outageError(this.#isClosing ? 'it is stopping' : (this.outage ?? 'its disk is away'))
  }

  /**
   * Under a new name when the dot was seen before it was minted: a copy of this store, or its future, is at
   * work.
   */
  #mint(context: DotSet, held: KeyRecord | null): Dot {
    const dot = mintDot(this.#actor, context, held)
    if (dot !== null) return dot
    this.renewActor()
    return this.#actor.mint()
  }

  #committed(writes: readonly AnyWrite[]): void {
    this.#writer.changed()
    for (const write of writes) {
      if ('standIn' in write) this.standIns.committed(write)
      if (!('record' in write)) continue
      this.#disk.wrote(write)
      this.inventory.wrote(write)
      this.#writer.committed(write)
    }
  }

  /** What reached the disk is not known, and dots may be lost: anew, from what the disk says. */
  #failed(error: unknown): void {
    this.#effects.log.error('store.write-failed', { error })
    this.#isOpen = false
    this.#outage.began(this.#effects.storage.explain(error))
    this.#writer.clear()
    if (this.#actor.counter > 0) this.renewActor()
    this.#reopening = this.#reopen()
  }

  async #reopen(): Promise<void> {
    const { log, storage } = this.#effects
    while (!this.#isClosing) {
      try {
        await this.inventory.stop()
        await this.#database.close()
        const { database, life } = await openAgain(this.#effects, this.#storeId, this.#outage)
        this.#database = database
        this.#disk.begin(database)
        await this.standIns.load(database)
        await this.quarantine.load(database)
        this.completeness.load(database)
        this.#commit.begin(database)
        this.inventory.begin(database, life)
        this.#isOpen = true
        this.#outage.ended()
        log.info('store.reopened', { storeId: life.storeId })
        return
      } catch (thrown) {
        const error = storage.explain(thrown)
        log.error('store.reopen-failed', { ...outageFields(error), retryMs: this.#outage.restMs })
        if (!this.#isClosing) await this.#outage.rest(error)
      }
    }
  }

  async #close(): Promise<void> {
    const { log } = this.#effects
    this.removal.stop()
    await this.#commit.barrier()
    this.#outage.stopResting()
    await this.#reopening
    await this.inventory.stop()
    if (this.#isOpen) await this.#leaveMarker().catch((error) => log.warn('store.no-marker', { error }))
    this.#isOpen = false
    await this.#database.close()
    log.info('store.closed')
  }

  async #leaveMarker(): Promise<void> {
    await this.completeness.noteLosses()
    const storeId = this.#storeId
    if (this.#commit.hasUnsynced) await syncDatabase(this.#database, storeId)
    const { id: actor, counter } = this.#actor
    const trees = await this.inventory.save()
    const mortal = trees === null ? null : this.inventory.mortal.entries
    const marker = encodeCleanStop({ storeId, actor, counter, trees, mortal })
    await this.#effects.storage.writeFile(CLEAN_STOP_FILE, marker)
  }
}
