/**
 * How far two owners came with each partition that they compare.
 *
 * Intuition: a partition has one thing open while its hash trees are walked, and one for each key that was
 * found to differ and is not brought together yet. When nothing is open it was compared wholly, whatever
 * became of the others: what cannot be read, a record or a range of them, holds up its own partition alone.
 */
import type { KeyspaceId } from '../base/ids.ts'
import { placeName } from '../protocol/place-name.ts'

/** What keeps a partition from being compared, for as long as nobody does something about it. */
export type Obstacle =
  /** The other owner is catching up with it itself. */
  | 'incomplete'
  /** The other owner cannot list its keys, or there are keys of which it cannot read the record. */
  | 'unreadable'
  /** The peer that compares cannot, or cannot store what the other one has. */
  | 'unreadableHere'

export interface ComparedPartition {
  readonly keyspaceId: KeyspaceId
  readonly partition: number
  /** The peer that compares has all that the other one holds of it. */
  readonly isWhole: boolean
  readonly obstacle: Obstacle | null
}

type Entry = { -readonly [K in Exclude<keyof ComparedPartition, 'isWhole'>]: ComparedPartition[K] } & {
  open: number
}

export class Comparison {
  readonly #entries = new Map<string, Entry>()

  /** Its walk is open. */
  begin(keyspaceId: KeyspaceId, partition: number): void {
    this.#entries.set(placeName(keyspaceId, partition), { keyspaceId, partition, obstacle: null, open: 1 })
  }

  /** One more key in it differs. */
  found(keyspaceId: KeyspaceId, partition: number): void {
    const entry = this.#entries.get(placeName(keyspaceId, partition))
    if (entry !== undefined) entry.open += 1
  }

  /** Its walk is over, or a key in it is equal now. */
  settled(keyspaceId: KeyspaceId, partition: number): void {
    const entry = this.#entries.get(placeName(keyspaceId, partition))
    if (entry !== undefined) entry.open -= 1
  }

  /** What is open there stays so. */
  blocked(keyspaceId: KeyspaceId, partition: number, obstacle: Obstacle): void {
    const entry = this.#entries.get(placeName(keyspaceId, partition))
    if (entry !== undefined) entry.obstacle = obstacle
  }

  get partitions(): ComparedPartition[] {
    return [...this.#entries.values()].map(({ keyspaceId, partition, obstacle, open }) => {
      return { keyspaceId, partition, obstacle, isWhole: open === 0 }
    })
  }
}
