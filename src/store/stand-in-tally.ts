/** How many stand-in records there are, and for whom: kept by every write, counted when a store is opened. */
import type { KeyspaceId, NodeId } from '../base/ids.ts'

export interface StandInCount {
  readonly records: number
  /** Of keys, records and the ids of those they are meant for. */
  readonly bytes: number
}

/** A stand-in record as far as it is counted. */
export interface Counted {
  readonly targets: readonly NodeId[]
  readonly bytes: number
}

type MutableCount = { -readonly [K in keyof StandInCount]: StandInCount[K] }

interface KeyspaceTally {
  readonly total: MutableCount
  readonly byTarget: Map<NodeId, MutableCount>
}

export class StandInTally {
  readonly #keyspaces = new Map<KeyspaceId, KeyspaceTally>()

  drop(keyspaceId: KeyspaceId): void {
    this.#keyspaces.delete(keyspaceId)
  }

  /** A key's stand-in record became another one; null: there is none. */
  replaced(keyspaceId: KeyspaceId, before: Counted | null, after: Counted | null): void {
    if (before !== null) this.#add(keyspaceId, before, -1)
    if (after !== null) this.#add(keyspaceId, after, 1)
  }

  /** Each record once, however many it is meant for. */
  get total(): StandInCount {
    const total = { records: 0, bytes: 0 }
    for (const tally of this.#keyspaces.values()) addTo(total, tally.total)
    return total
  }

  /** Those that have any, by id. A record counts for everyone it is meant for. */
  byTarget(): ReadonlyMap<NodeId, StandInCount> {
    const counts = new Map<NodeId, MutableCount>()
    for (const { byTarget } of this.#keyspaces.values()) {
      for (const [target, count] of byTarget) addTo(countOf(counts, target), count)
    }
    return new Map([...counts].filter(([, { records }]) => records > 0).sort(([a], [b]) => (a < b ? -1 : 1)))
  }

  #add(keyspaceId: KeyspaceId, { targets, bytes }: Counted, sign: 1 | -1): void {
    let tally = this.#keyspaces.get(keyspaceId)
    if (tally === undefined) {
      tally = { total: { records: 0, bytes: 0 }, byTarget: new Map() }
      this.#keyspaces.set(keyspaceId, tally)
    }
    const change = { records: sign, bytes: sign * bytes }
    addTo(tally.total, change)
    for (const target of targets) addTo(countOf(tally.byTarget, target), change)
  }
}

function countOf(counts: Map<NodeId, MutableCount>, target: NodeId): MutableCount {
  const known = counts.get(target)
  if (known !== undefined) return known
  const count = { records: 0, bytes: 0 }
  counts.set(target, count)
  return count
}

function addTo(sum: MutableCount, { records, bytes }: StandInCount): void {
  sum.records += records
  sum.bytes += bytes
}
