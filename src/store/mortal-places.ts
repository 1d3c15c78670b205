/**
 * Which partitions hold records that may be purged some day: so that whoever looks for these reads no others,
 * and none twice for nothing. One too many does no harm.
 */
import type { KeyspaceId } from '../base/ids.ts'

export type MortalEntries = readonly (readonly [KeyspaceId, readonly number[]])[]

export class MortalPlaces {
  /** By partition: whether it got one since it was looked through last. */
  readonly #places = new Map<KeyspaceId, Map<number, boolean>>()

  /** One was written there, or found there. */
  add(keyspaceId: KeyspaceId, partition: number): void {
    let partitions = this.#places.get(keyspaceId)
    if (partitions === undefined) {
      partitions = new Map()
      this.#places.set(keyspaceId, partitions)
    }
    partitions.set(partition, true)
  }

  /** From an earlier life. */
  load(entries: MortalEntries): void {
    for (const [keyspaceId, partitions] of entries) {
      for (const partition of partitions) this.add(keyspaceId, partition)
    }
  }

  /** In no order. */
  partitions(keyspaceId: KeyspaceId): readonly number[] {
    return [...(this.#places.get(keyspaceId)?.keys() ?? [])]
  }

  get entries(): MortalEntries {
    return [...this.#places.keys()].map((keyspaceId) => [keyspaceId, this.partitions(keyspaceId)])
  }

  /** It got one since it was looked through last. */
  isNew(keyspaceId: KeyspaceId, partition: number): boolean {
    return this.#places.get(keyspaceId)?.get(partition) ?? false
  }

  /** It is about to be looked through. */
  look(keyspaceId: KeyspaceId, partition: number): void {
    const partitions = this.#places.get(keyspaceId)
    if (partitions?.has(partition)) partitions.set(partition, false)
  }

  /** None was found; it stays when it got one meanwhile. */
  remove(keyspaceId: KeyspaceId, partition: number): void {
    if (!this.isNew(keyspaceId, partition)) this.#places.get(keyspaceId)?.delete(partition)
  }

  drop(keyspaceId: KeyspaceId): void {
    this.#places.delete(keyspaceId)
  }
}
