/**
 * Counts the answers to one request.
 *
 * Intuition: a request is done when enough owners said yes, and lost when so many said no that enough cannot
 * come any more. While the ring changes there are two lists of owners, and enough must say yes in each. An
 * owner that was excluded stays in its lists, so that quorums stay as large, but what it has goes with it.
 *
 * Invariants: a peer counts once in each list it is in, with its first answer, however often it answers. Who
 * is excluded counts with no yes of its own: somebody else may have it in its place. `met` and `impossible`
 * are never both true, and neither becomes false again. With majorities, two met quorums of the same lists
 * share an owner.
 *
 * Source: weighted voting without weights (Gifford 1979); both lists at once as in Raft's joint consensus
 * (Ongaro and Ousterhout 2014, section 6).
 */
import { assert } from '../base/assert.ts'
import type { NodeId } from '../base/ids.ts'

/** `needed[i]` answers of `lists[i]`. The lists are kept, not copied. */
export function createQuorum(
  lists: readonly (readonly NodeId[])[],
  needed: readonly number[],
  excluded: readonly NodeId[] = [],
): Quorum {
  return new Quorum(lists, needed, excluded)
}

export class Quorum {
  readonly #lists: readonly (readonly NodeId[])[]
  readonly #needed: readonly number[]
  readonly #excluded: readonly NodeId[]
  /** Who answered, yes or no. Owners are few: searching an array beats a set. */
  readonly #answered: NodeId[] = []
  readonly #acked: number[]
  readonly #failed: number[]
  #ackedCount = 0

  constructor(lists: readonly (readonly NodeId[])[], needed: readonly number[], excluded: readonly NodeId[]) {
    assert(lists.length === needed.length, 'each list says how many it needs')
    this.#lists = lists
    this.#needed = needed
    this.#excluded = excluded
    this.#acked = lists.length === 1 ? [0] : lists.map(() => 0)
    this.#failed = lists.length === 1 ? [0] : lists.map(() => 0)
  }

  /** Enough owners of every list said yes. */
  get met(): boolean {
    for (let i = 0; i < this.#lists.length; i++) {
      if ((this.#acked[i] as number) < (this.#needed[i] as number)) return false
    }
    return true
  }

  /** In some list too many said no, or it is shorter than what it needs. */
  get impossible(): boolean {
    for (let i = 0; i < this.#lists.length; i++) {
      const possible = (this.#lists[i]?.length ?? 0) - (this.#failed[i] as number)
      if (possible < (this.#needed[i] as number)) return true
    }
    return false
  }

  /** Distinct owners that said yes. */
  get ackedCount(): number {
    return this.#ackedCount
  }

  /**
   * A yes. True when this one made the quorum met: once at most. Peers in no list are not counted, nor those
   * that are excluded.
   */
  ack(nodeId: NodeId): boolean {
    return !this.#excluded.includes(nodeId) && this.ackFor(nodeId)
  }

  /** As `ack`, of somebody who stands in for this owner. */
  ackFor(nodeId: NodeId): boolean {
    const wasMet = this.met
    if (!this.#count(nodeId, this.#acked)) return false
    this.#ackedCount++
    return !wasMet && this.met
  }

  /** A no, or no answer any more. True when this one made the quorum impossible: once at most. */
  fail(nodeId: NodeId): boolean {
    const wasImpossible = this.impossible
    return this.#count(nodeId, this.#failed) && !wasImpossible && this.impossible
  }

  /** Whether it is the first answer of an owner. */
  #count(nodeId: NodeId, counts: number[]): boolean {
    if (this.#answered.includes(nodeId)) return false
    let isOwner = false
    for (let i = 0; i < this.#lists.length; i++) {
      if (!this.#lists[i]?.includes(nodeId)) continue
      counts[i] = (counts[i] as number) + 1
      isOwner = true
    }
    if (isOwner) this.#answered.push(nodeId)
    return isOwner
  }
}
