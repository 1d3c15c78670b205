/** What a store knows of a key while it writes or reads it. */
import type { Bytes } from '../base/bytes.ts'
import type { KeyRecord } from '../protocol/record.ts'
import type { PendingWrite } from './pending-writes.ts'

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
