/**
 * Partitions that this peer is to own, and does not have yet: new writes come here, and count; what was
 * written before is still being taken over. What this peer says of such a partition is no answer.
 */
import type { KeyspaceId } from '../base/ids.ts'
import type { Duty } from '../protocol/ring-change.ts'

export class Arrivals {
  #partitions = new Map<KeyspaceId, Set<number>>()

  has(keyspaceId: KeyspaceId, partition: number): boolean {
    return this.#partitions.get(keyspaceId)?.has(partition) === true
  }

  /** From now on these, and no others. */
  begin(duties: readonly Duty[]): void {
    this.#partitions = new Map()
    for (const { keyspace, partition } of duties) {
      const known = this.#partitions.get(keyspace.id) ?? new Set()
      this.#partitions.set(keyspace.id, known.add(partition))
    }
  }

  /** It is all here. */
  end(keyspaceId: KeyspaceId, partition: number): void {
    this.#partitions.get(keyspaceId)?.delete(partition)
  }
}
