/**
 * The one writer of records.
 *
 * Intuition: a write merges with the newest record of its key, be it on disk or on its way there, becomes the
 * newest itself, and joins the next batch.
 */
import { type Bytes, equalBytes } from '../base/bytes.ts'
import { hash32 } from '../base/hash.ts'
import type { ActorId, KeyspaceId } from '../base/ids.ts'
import { mergeRecords } from '../protocol/dvv.ts'
import type { KeyRecord } from '../protocol/record.ts'
import type { Answers } from './answers.ts'
import type { DiskRecords } from './disk-records.ts'
import { type DotClashes, NAMES_ANOTHER } from './dot-clashes.ts'
import type { Committed, GroupCommit } from './group-commit.ts'
import { recordKey } from './keys.ts'
import type { Overfull } from './overfull.ts'
import { type PendingWrite, PendingWrites } from './pending-writes.ts'
import { decodeSeeded, encodeSeeded, isBare, verifyRecord } from './record-codec.ts'
import { includesRecord, seenUpTo } from './record-merge.ts'
import type { KeyspacePlace, Look, Merged, Slot } from './slot.ts'

/** What the store does for its writer. */
export interface RecordWriterHost {
  readonly disk: DiskRecords
  readonly commit: Pick<GroupCommit<PendingWrite>, 'add' | 'replace' | 'join' | 'filling' | 'hasUnsynced'>
  readonly answers: Answers
  readonly clashes: DotClashes
  readonly overfull: Overfull
  /** @throws with nothing written: OVERLOADED, UNAVAILABLE, NOT_FOUND (the keyspace was dropped) */
  admit(keyspaceId: KeyspaceId, sizeBytes: number): void
  /** @throws UNAVAILABLE when this peer does not own the partition */
  checkOwn(keyspaceId: KeyspaceId, partition: number): void
  /** @throws UNAVAILABLE when what is held of this key is suspect */
  checkTrusted(keyHash: number, databaseKey: Bytes): void
  /** Null: none. @throws UNAVAILABLE while the database is not open, or when this copy is damaged */
  onDisk(keyHash: number, databaseKey: Bytes): Bytes | null
}

export class RecordWriter {
  readonly #host: RecordWriterHost
  readonly #pending = new PendingWrites<PendingWrite>()
  /** The last look of `newest`, until anything changes: a put that follows needs no second one. */
  #look: Look | null = null

  constructor(host: RecordWriterHost) {
    this.#host = host
  }

  /** What the disk will hold once all that waits is on it. @throws as `RecordWriterHost.onDisk` */
  newest(keyspaceId: KeyspaceId, partition: number, key: Bytes): KeyRecord | null {
    const keyHash = hash32(key)
    const databaseKey = recordKey(keyspaceId, partition, key)
    this.#host.checkTrusted(keyHash, databaseKey)
    const pending = this.#pending.find(keyHash, databaseKey)
    if (pending !== null) return this.#recordOf(pending)
    const before = this.#host.onDisk(keyHash, databaseKey)
    const record = before === null ? null : this.#host.disk.decode(keyHash, before)
    this.#look = { databaseKey, before, record }
    return record
  }

  isPending(keyHash: number, databaseKey: Bytes): boolean {
    return this.#pending.find(keyHash, databaseKey) !== null
  }

  /** A write is on disk. */
  committed(write: PendingWrite): void {
    this.#pending.settle(write)
  }

  /** What the disk holds is another matter now. */
  changed(): void {
    this.#look = null
  }

  /** What waited failed: what became of it, only the disk knows. */
  clear(): void {
    this.#look = null
    this.#pending.clear()
  }

  slot({ id, durability }: KeyspacePlace, partition: number, key: Bytes, sizeBytes: number): Slot {
    this.#host.admit(id, sizeBytes)
    this.#host.checkOwn(id, partition)
    const keyHash = hash32(key)
    const databaseKey = recordKey(id, partition, key)
    this.#host.checkTrusted(keyHash, databaseKey)
    const pending = this.#pending.find(keyHash, databaseKey)
    const before = pending === null ? this.#seenBefore(keyHash, databaseKey) : pending.value
    return { sync: durability === 'disk', keyHash, databaseKey, pending, before }
  }

  #seenBefore(keyHash: number, databaseKey: Bytes): Bytes | null {
    const look = this.#look
    if (look !== null && equalBytes(look.databaseKey, databaseKey)) return look.before
    this.#look = null
    return this.#host.onDisk(keyHash, databaseKey)
  }

  /** The newest record, decoded. */
  held({ keyHash, pending, before }: Slot): KeyRecord | null {
    if (pending !== null) return this.#recordOf(pending)
    if (this.#look !== null && this.#look.before === before) return this.#look.record
    return before === null ? null : this.#host.disk.decode(keyHash, before)
  }

  #recordOf(pending: PendingWrite): KeyRecord | null {
    if (pending.record !== undefined) return pending.record
    pending.record = this.#host.disk.decode(pending.keyHash, pending.value as Bytes)
    return pending.record
  }

  /** See `Store.merge`. @throws RecordOverflow */
  merge(slot: Slot, incoming: Bytes, mintedBy: ActorId | null, done: Merged): void {
    const { keyHash, before } = slot
    const held = before !== null && equalBytes(before, incoming) && mintedBy === null ? null : this.held(slot)
    if (before === null && mintedBy !== null) {
      return this.enqueue(slot, decodeSeeded(keyHash, incoming), incoming, done, 0)
    }
    if (before === null) {
      verifyRecord(keyHash, incoming)
      return this.enqueue(slot, undefined, incoming, done, 0)
    }
    if (held === null) return this.#alreadyHeld(slot, before, done, 0)
    const seen = mintedBy === null ? 0 : seenUpTo(held.seen, mintedBy)
    const record = decodeSeeded(keyHash, incoming)
    if (includesRecord(held, record)) return this.#alreadyHeld(slot, before, done, seen)
    const { overfull } = this.#host
    if (includesRecord(record, held)) {
      overfull.settled(slot.databaseKey)
      return this.enqueue(slot, record, incoming, done, seen)
    }
    const merged = mergeRecords(held, record)
    const bytes = overfull.watched(slot.databaseKey, () => encodeSeeded(keyHash, merged))
    const isTaken = this.#host.clashes.look(held, record, mintedBy)
    this.enqueue(slot, merged, bytes, done, isTaken ? NAMES_ANOTHER : seen)
  }

  /**
   * In place of the newest record; null: nothing is. @param record see `PendingWrite`
   * @param value `record`, encoded @param detail what `done` is told with it
   */
  enqueue(
    slot: Slot,
    record: KeyRecord | null | undefined,
    value: Bytes | null,
    done: Committed,
    detail: number,
  ): void {
    this.#look = null
    const { keyHash, databaseKey, pending, before } = slot
    // Who states that it holds no values must not fall back to them: others forget the key then.
    const sync = slot.sync || value === null || isBare(value)
    if (pending !== null && pending.batch === this.#host.commit.filling) {
      pending.record = record
      this.#host.commit.replace(pending, value, sync, done, detail)
      return
    }
    const write = { key: databaseKey, value, batch: 0, keyHash, record, before }
    this.#pending.set(write)
    this.#host.commit.add(write, sync, done, detail)
  }

  /** Nothing new: to be told when what is held is as durable as the keyspace asks. */
  #alreadyHeld(slot: Slot, before: Bytes, done: Merged, seen: number): void {
    const { sync, keyHash, pending } = slot
    if (pending !== null && this.#host.commit.join(pending, sync, done, seen)) return
    const isDurable = pending === null && !(sync && this.#host.commit.hasUnsynced)
    if (isDurable) this.#host.answers.add(() => done(null, seen))
    else this.enqueue(slot, pending?.record ?? this.#host.disk.decode(keyHash, before), before, done, seen)
  }
}
