/**
 * Takes records away for good: those of a keyspace that was dropped, and those of partitions that this peer
 * owns no more.
 *
 * Invariant: this store knows of every dot that its actor, as it is called now, has minted for a key. So what
 * is dropped takes the name along under which it may have been minted: one of these partitions may be owned
 * again some day, and a put there that knows nothing of the dots before it would say that it replaces them.
 */
import { type Bytes, copyBytes } from '../base/bytes.ts'
import { KvError } from '../base/error.ts'
import { hash32 } from '../base/hash.ts'
import type { KeyspaceId, StoreId } from '../base/ids.ts'
import type { Clock } from '../effects/clock.ts'
import type { Database } from '../effects/storage.ts'
import type { DiskRecords } from './disk-records.ts'
import type { CommitOperation, GroupCommit } from './group-commit.ts'
import type { TreePlace } from './hash-trees.ts'
import type { Inventory } from './inventory.ts'
import {
  KEYSPACE_KINDS,
  KIND,
  keyspaceOf,
  keyspaceRange,
  partitionOf,
  partitionRange,
  userKey,
} from './keys.ts'
import { syncDatabase } from './life.ts'
import type { RecordWriter } from './record-writer.ts'
import type { StandIns } from './stand-ins.ts'
import { isSound } from './tree-rebuild.ts'
import { WorkShare } from './work-share.ts'

/** Taken away at a time, whichever is less: a millisecond or two. */
const CHUNK_RECORDS = 200
const CHUNK_BYTES = 1024 * 1024

export interface RemovalHost {
  readonly clock: Clock
  /** See `WorkShare`. */
  requestCount(): number
  /** @throws UNAVAILABLE while it is not open */
  database(): Database
  /** The rest of the store, as it is now. */
  parts(): {
    readonly storeId: StoreId
    readonly inventory: Inventory
    readonly standIns: StandIns
    readonly disk: DiskRecords
  }
  readonly commit: Pick<GroupCommit<CommitOperation>, 'barrier' | 'refusal'>
  readonly writer: Pick<RecordWriter, 'enqueue' | 'changed'>
  /** From now on dots are minted under a name that none was minted under. */
  giveUpActor(): void
}

export class Removal {
  readonly #host: RemovalHost
  readonly #share: WorkShare
  readonly #dropped = new Set<KeyspaceId>()

  constructor(host: RemovalHost) {
    this.#host = host
    this.#share = new WorkShare(host.clock, () => host.requestCount())
  }

  /** What goes on does so without rests, until there is no database any more. */
  stop(): void {
    this.#share.stop()
  }

  isDropped(keyspaceId: KeyspaceId): boolean {
    return this.#dropped.has(keyspaceId)
  }

  /** All records of a keyspace, which takes no writes from now on. To be repeated when it rejects. */
  async dropKeyspace(keyspaceId: KeyspaceId): Promise<void> {
    const { commit } = this.#host
    this.#dropped.add(keyspaceId)
    await commit.barrier()
    const database = this.#host.database()
    for (const kind of KEYSPACE_KINDS) await database.clear(keyspaceRange(kind, keyspaceId))
    const { storeId, disk, standIns, inventory } = this.#host.parts()
    await syncDatabase(database, storeId) // Clearing does not.
    // When it was counted anew meanwhile, what was counted may be gone.
    if (this.#host.database() !== database) throw new KvError('UNAVAILABLE', 'the database was opened anew')
    this.#host.writer.changed()
    disk.forget()
    standIns.dropped(keyspaceId)
    inventory.drop(keyspaceId)
  }

  /**
   * All records of partitions that this peer owns no more; what it keeps for others stays. To be repeated
   * when it rejects or ends early: what is gone is gone.
   *
   * The actor is renewed once, before the first is gone. That is enough: as long as none of them is owned,
   * the store takes no records of them (`Ownership`), so none is minted there under the new name. A
   * crash renews it anyway, and a clean stop keeps the new one.
   * @param areLeftOver false: one of them may be owned again, and this ends. Asked before anything is removed
   * @param dropped is told how many records of each
   * @throws UNAVAILABLE, OVERLOADED
   */
  async dropPartitions(
    places: readonly TreePlace[],
    areLeftOver: () => boolean,
    dropped: (place: TreePlace, records: number) => void,
  ): Promise<void> {
    if (areLeftOver()) this.#host.giveUpActor()
    for (const place of places) dropped(place, await this.#dropPartition(place, areLeftOver))
  }

  async #dropPartition({ keyspaceId, partition }: TreePlace, areLeftOver: () => boolean): Promise<number> {
    await this.#host.commit.barrier()
    if (!this.#host.parts().inventory.isExact)
      throw new KvError('UNAVAILABLE', 'what is on the disk is being counted')
    const range = partitionRange(KIND.record, keyspaceId, partition)
    const options = { ...range, highWaterMarkBytes: CHUNK_BYTES }
    const iterator = this.#host.database().iterator(options)
    let count = 0
    try {
      for (;;) {
        const entries = await iterator.nextv(CHUNK_RECORDS).catch(notRead)
        // In the turn in which it is removed: nothing newer than what was read can have come between.
        if (entries.length === 0 || !areLeftOver()) return count
        await this.#remove(entries)
        count += entries.length
      }
    } finally {
      await iterator.close()
    }
  }

  /** By way of the group commit: so trees and disk say the same between any two batches. */
  async #remove(entries: readonly (readonly [Bytes, Bytes])[]): Promise<void> {
    const { commit, writer } = this.#host
    const refusal = commit.refusal(0)
    if (refusal !== null) throw refusal
    this.#host.database()
    const { inventory } = this.#host.parts()
    const startMs = this.#host.clock.monotonic()
    const removals = entries.map(([found, before]) => {
      const databaseKey = copyBytes(found)
      const keyHash = hash32(userKey(databaseKey))
      // What the tree says of it is not known.
      if (!isSound(keyHash, before)) inventory.correct(keyspaceOf(databaseKey), partitionOf(databaseKey))
      const slot = { sync: true, keyHash, databaseKey, pending: null, before }
      return new Promise<void>((resolve, reject) => {
        const done = (error: KvError | null): void => (error === null ? resolve() : reject(error))
        writer.enqueue(slot, null, null, done, 0)
      })
    })
    const rest = this.#share.rest(this.#host.clock.monotonic() - startMs, 0)
    await Promise.all([...removals, rest])
  }
}

/** The database says so in words of its own. */
function notRead(error: unknown): never {
  throw new KvError('UNAVAILABLE', 'the records that are to be dropped cannot be read now', { cause: error })
}
