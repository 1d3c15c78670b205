/**
 * The records that may be purged some day: tombstones, values that expire, and what a purge has left so far.
 * Nothing lists them; whoever looks for them reads the partitions that have any, a little at a time.
 */
import type { Bytes } from '../base/bytes.ts'
import { KvError } from '../base/error.ts'
import type { KeyspaceId } from '../base/ids.ts'
import type { Database, Storage } from '../effects/storage.ts'
import { type Digest, recordDigest } from '../protocol/hash-tree.ts'
import { bareRecord } from '../protocol/purge.ts'
import type { KeyRecord } from '../protocol/record.ts'
import type { Committed } from './group-commit.ts'
import type { Inventory } from './inventory.ts'
import { KIND, partitionRange, userKey } from './keys.ts'
import type { MortalPlaces } from './mortal-places.ts'
import { encodeSeeded, isBare, isStoredMortal } from './record-codec.ts'
import type { RecordWriter } from './record-writer.ts'
import type { KeyspacePlace, Slot } from './slot.ts'

/** Read at a time, whichever is less: some 3 ms of work. */
const CHUNK_RECORDS = 500
const CHUNK_BYTES = 256 * 1024

/** A key of a keyspace. */
export interface PurgePlace {
  readonly keyspace: KeyspacePlace
  readonly partition: number
  readonly key: Bytes
}

/** What the store does for them. */
export interface MortalsHost {
  /** @throws UNAVAILABLE while it is not open */
  database(): Database
  readonly inventory: Inventory
  readonly storage: Pick<Storage, 'reclaim'>
  readonly writer: Pick<RecordWriter, 'slot' | 'held' | 'enqueue'>
}

export class Mortals {
  readonly #host: MortalsHost

  constructor(host: MortalsHost) {
    this.#host = host
  }

  /**
   * First step of a purge: the newest record, when it still has this digest, gives way to one that tells only
   * what was seen. False: it is another one, or may not go, and stays.
   * @throws as `Store.put`
   */
  strip(place: PurgePlace, digest: Digest, mayGo: (held: KeyRecord) => boolean, done: Committed): boolean {
    const slot = this.#slotOf(place, digest)
    const held = slot === null ? null : this.#host.writer.held(slot)
    if (slot === null || held === null || !mayGo(held)) return false
    const bare = bareRecord(held)
    this.#host.writer.enqueue(slot, bare, encodeSeeded(slot.keyHash, bare), done, 0)
    return true
  }

  /** Second step: a bare record gives way to nothing. As above. */
  erase(place: PurgePlace, digest: Digest, done: Committed): boolean {
    const slot = this.#slotOf(place, digest)
    if (slot === null || slot.before === null || !isBare(slot.before)) return false
    this.#host.writer.enqueue(slot, null, null, done, 0)
    return true
  }

  #slotOf({ keyspace, partition, key }: PurgePlace, digest: Digest): Slot | null {
    const slot = this.#host.writer.slot(keyspace, partition, key, 0)
    const { before } = slot
    const isSame = before !== null && recordDigest(keyspace.id, key, before) === digest
    return isSame ? slot : null
  }

  /**
   * Reads those of a partition, as they are on disk now.
   * @param goOn asked after so many records of all kinds; false: no more. @throws UNAVAILABLE
   */
  async read(
    keyspaceId: KeyspaceId,
    partition: number,
    found: (key: Bytes, record: Bytes) => void,
    goOn: (recordCount: number) => Promise<boolean>,
  ): Promise<void> {
    const range = partitionRange(KIND.record, keyspaceId, partition)
    const options = { ...range, highWaterMarkBytes: CHUNK_BYTES }
    const iterator = this.#host.database().iterator(options)
    try {
      for (;;) {
        const chunk = await iterator.nextv(CHUNK_RECORDS).catch(unreadable)
        for (const [databaseKey, record] of chunk) {
          if (isStoredMortal(record)) found(userKey(databaseKey), record)
        }
        if (chunk.length === 0 || !(await goOn(chunk.length))) return
      }
    } finally {
      await iterator.close()
    }
  }

  /** Where they are. */
  get places(): MortalPlaces {
    return this.#host.inventory.mortal
  }

  /** Gives back the disk space of what is gone from these partitions, `first` to before `end`. */
  reclaim(keyspaceId: KeyspaceId, first: number, end: number, goOn: () => Promise<boolean>): Promise<void> {
    const { gte } = partitionRange(KIND.record, keyspaceId, first)
    const { lt } = partitionRange(KIND.record, keyspaceId, end - 1)
    return this.#host.storage.reclaim(gte, lt, goOn)
  }
}

function unreadable(cause: unknown): never {
  const advice = "the peer whose log says so ('purge.waits') needs another disk, if that stays so"
  const why = `a disk cannot be read where they are: ${advice}`
  throw new KvError('UNAVAILABLE', `deleted keys cannot be purged now: ${why}`, { cause })
}
