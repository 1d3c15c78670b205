/**
 * Which news still has to be passed on, least-sent first. SWIM (Das, Gupta, Motivala 2002), section 4.1: each
 * update is passed on λ·log n times, those that were sent fewer times first.
 *
 * Deviation: the queue holds names, not messages. What is sent is what is believed at that moment, so nothing
 * outdated ever leaves.
 */
import type { NodeId } from '../../base/ids.ts'

export class BroadcastQueue {
  /** By how many times they were sent; within one tier, the oldest first. */
  readonly #tiers: Set<NodeId>[] = []
  readonly #tierOf = new Map<NodeId, number>()

  get size(): number {
    return this.#tierOf.size
  }

  /** There is news about this peer. News about it that was queued before is replaced. */
  add(nodeId: NodeId): void {
    this.remove(nodeId)
    this.#place(nodeId, 0)
  }

  remove(nodeId: NodeId): void {
    const tier = this.#tierOf.get(nodeId)
    if (tier === undefined) return
    this.#tiers[tier]?.delete(nodeId)
    this.#tierOf.delete(nodeId)
  }

  /** At most `count` names, each counted as sent once; those sent `limit` times leave the queue. */
  take(count: number, limit: number): readonly NodeId[] {
    if (this.#tierOf.size === 0) return []
    const taken: NodeId[] = []
    for (const tier of this.#tiers) {
      for (const nodeId of tier) {
        if (taken.length >= count) break
        taken.push(nodeId)
      }
    }
    for (const nodeId of taken) {
      const sent = (this.#tierOf.get(nodeId) ?? 0) + 1
      this.remove(nodeId)
      if (sent < limit) this.#place(nodeId, sent)
    }
    return taken
  }

  #place(nodeId: NodeId, tier: number): void {
    while (this.#tiers.length <= tier) this.#tiers.push(new Set())
    this.#tiers[tier]?.add(nodeId)
    this.#tierOf.set(nodeId, tier)
  }
}
