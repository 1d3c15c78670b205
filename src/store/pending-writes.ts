/** The newest write of every key that is not on disk yet. */
import { type Bytes, equalBytes } from '../base/bytes.ts'
import type { KeyRecord } from '../protocol/record.ts'
import type { CommitOperation } from './group-commit.ts'

interface Keyed extends CommitOperation {
  /** `hash32` of the user's key. */
  readonly keyHash: number
}

export interface PendingWrite extends Keyed {
  value: Bytes
  /** `value`, decoded. */
  record: KeyRecord
  /** The record that it replaces; null: none. */
  readonly before: Bytes | null
}

/**
 * By the hash that is computed anyway: it costs no text of the key. The rare keys that share one follow each
 * other in a list.
 */
export class PendingWrites<W extends Keyed> {
  readonly #byHash = new Map<number, W[]>()

  find(keyHash: number, databaseKey: Bytes): W | null {
    const writes = this.#byHash.get(keyHash)
    if (writes === undefined) return null
    for (const write of writes) {
      if (equalBytes(write.key, databaseKey)) return write
    }
    return null
  }

  /** In place of the one before of the same key. */
  set(write: W): void {
    const writes = this.#byHash.get(write.keyHash)
    const place = writes?.findIndex((other) => equalBytes(other.key, write.key)) ?? -1
    if (writes === undefined) this.#byHash.set(write.keyHash, [write])
    else if (place < 0) writes.push(write)
    else writes[place] = write
  }

  /** It is on disk; a newer one of its key stays. */
  settle(write: W): void {
    const writes = this.#byHash.get(write.keyHash)
    const place = writes?.indexOf(write) ?? -1
    if (writes === undefined || place < 0) return
    if (writes.length === 1) this.#byHash.delete(write.keyHash)
    else writes.splice(place, 1)
  }

  clear(): void {
    this.#byHash.clear()
  }
}
