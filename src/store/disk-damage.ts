/**
 * What this disk does not give back as it was written: records that are damaged, as their checksums tell,
 * known until they are written anew (`coordinator/record-rescue.ts` is told of each), and leaves of hash
 * trees whose records are gone or of an older time.
 */
import { type Bytes, toHex } from '../base/bytes.ts'
import type { KeyspaceId } from '../base/ids.ts'
import { keyspaceOf, partitionOf, userKey } from './keys.ts'

/** More of them are found again when there is room. */
const MAX_KNOWN = 65_536

export interface DamagedRecord {
  readonly keyspaceId: KeyspaceId
  readonly partition: number
  readonly key: Bytes
  readonly databaseKey: Bytes
}

export class DiskDamage {
  readonly #known = new Map<string, DamagedRecord>()
  #restored = 0
  #lostLeaves = 0
  #found: () => void = () => undefined

  /** @param found called whenever one more is known */
  onFound(found: () => void): void {
    this.#found = found
  }

  /** Known and not yet written anew. */
  get count(): number {
    return this.#known.size
  }

  /** There may be more than are known. */
  get isFull(): boolean {
    return this.#known.size >= MAX_KNOWN
  }

  /** Since this peer was started. */
  get restored(): number {
    return this.#restored
  }

  /** Leaves of trees that were found wrong without a damaged record in them, since this peer was started. */
  get lostLeaves(): number {
    return this.#lostLeaves
  }

  lost(leaves: number): void {
    this.#lostLeaves += leaves
  }

  /** The first ones known. */
  list(maxCount: number): DamagedRecord[] {
    const some: DamagedRecord[] = []
    for (const record of this.#known.values()) {
      if (some.length >= maxCount) break
      some.push(record)
    }
    return some
  }

  /** @returns true when it was not known */
  note(databaseKey: Bytes): boolean {
    const name = toHex(databaseKey)
    if (this.#known.has(name) || this.isFull) return false
    const place = { keyspaceId: keyspaceOf(databaseKey), partition: partitionOf(databaseKey) }
    this.#known.set(name, { ...place, key: userKey(databaseKey), databaseKey })
    this.#found()
    return true
  }

  /** It was written anew. */
  wasRestored(databaseKey: Bytes): void {
    if (this.forget(databaseKey)) this.#restored += 1
  }

  /** It is sound after all, or nobody's any more. @returns true when it was known */
  forget(databaseKey: Bytes): boolean {
    return this.#known.delete(toHex(databaseKey))
  }

  /** To the end of the row: others come first. */
  postpone(record: DamagedRecord): void {
    if (this.forget(record.databaseKey)) this.#known.set(toHex(record.databaseKey), record)
  }
}
