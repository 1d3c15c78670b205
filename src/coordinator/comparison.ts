/**
 * How far two owners came with each partition that they compare.
 *
 * Intuition: a partition has one thing open while its hash trees are walked, and one for each key that was
 * found to differ and is not brought together yet. When nothing is open it was compared wholly, whatever
 * became of the others: what cannot be read, a record or a range of them, holds up its own partition alone.
 */
import type { KeyspaceId } from '../base/ids.ts'

/** What keeps a partition from being compared, for as long as nobody does something about it. */
export type Obstacle =
  /** The other owner is catching up with it itself. */
  | 'incomplete'
  /** The other owner cannot list its keys, or there are keys of which it cannot read the record. */
  | 'unreadable'
  /** The peer that compares cannot. */
  | 'unreadableHere'
  /** A record cannot hold what both of them have. */
  | 'overfull'

export interface ComparedPartition {
  readonly keyspaceId: KeyspaceId
  readonly partition: number
  /** The peer that compares has all that the other one holds of it. */
  readonly isWhole: boolean
  readonly obstacle: Obstacle | null
}

interface Entry {
  obstacle: Obstacle | null
  open: number
}

export class Comparison {
  readonly #entries = new Map<KeyspaceId, Map<number, Entry>>()

  /** Its walk is open. */
  begin(keyspaceId: KeyspaceId, partition: number): void {
    const entries = this.#entries.get(keyspaceId) ?? new Map<number, Entry>()
    this.#entries.set(keyspaceId, entries.set(partition, { obstacle: null, open: 1 }))
  }

  /** One more key in it differs. */
  found(keyspaceId: KeyspaceId, partition: number): void {
    const entry = this.#find(keyspaceId, partition)
    if (entry !== undefined) entry.open += 1
  }

  /** Its walk is over, or a key in it is equal now. */
  settled(keyspaceId: KeyspaceId, partition: number): void {
    const entry = this.#find(keyspaceId, partition)
    if (entry !== undefined) entry.open -= 1
  }

  /** What is open there stays so. */
  blocked(keyspaceId: KeyspaceId, partition: number, obstacle: Obstacle): void {
    const entry = this.#find(keyspaceId, partition)
    if (entry !== undefined) entry.obstacle = obstacle
  }

  /** As they are when each is asked for. */
  *partitions(): Generator<ComparedPartition> {
    for (const [keyspaceId, entries] of this.#entries) {
      for (const [partition, { obstacle, open }] of entries) {
        yield { keyspaceId, partition, obstacle, isWhole: open === 0 }
      }
    }
  }

  #find(keyspaceId: KeyspaceId, partition: number): Entry | undefined {
    return this.#entries.get(keyspaceId)?.get(partition)
  }
}
