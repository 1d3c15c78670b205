/** What a store is told and knows of a key while it writes or reads it. */
import type { Bytes } from '../base/bytes.ts'
import type { KvError } from '../base/error.ts'
import type { Keyspace } from '../protocol/configuration.ts'
import type { KeyRecord } from '../protocol/record.ts'
import type { PendingWrite } from './pending-writes.ts'

/** Which keyspace, and how durable its writes are. */
export type KeyspacePlace = Pick<Keyspace, 'id' | 'durability'>

/** A merge is on disk; `seenUpTo` is as in `Store.merge`. */
export type Merged = (error: KvError | null, seenUpTo: number) => void

/** A key at the moment of a write: where it is, and what it holds. */
export interface Slot {
  readonly sync: boolean
  readonly keyHash: number
  readonly databaseKey: Bytes
  /** The newest write that waits; null: none. */
  readonly pending: PendingWrite | null
  /** The newest record; null: none. */
  readonly before: Bytes | null
}

/** What the disk holds of a key, decoded. */
export interface Look {
  readonly databaseKey: Bytes
  readonly before: Bytes | null
  readonly record: KeyRecord | null
}
