/** What every operation of the coordinator works with. */
import type { KvError } from '../base/error.ts'
import type { KeyspaceId, NodeId } from '../base/ids.ts'
import type { Rpc } from '../cluster/rpc.ts'
import type { Clock } from '../effects/clock.ts'
import type { Log } from '../effects/log.ts'
import type { Eras } from '../protocol/eras.ts'
import type { Ring } from '../protocol/ring.ts'
import type { Store } from '../store/store.ts'
import type { Arrivals } from './arrivals.ts'
import type { LingerLimit } from './linger-limit.ts'
import type { RequestBudget } from './request-budget.ts'
import type { StallWatch } from './stall-watch.ts'

export interface Coordination {
  readonly selfId: NodeId
  readonly clock: Clock
  readonly log: Log
  readonly rpc: Rpc
  readonly store: Store
  /** `hashText32` of the cluster's id: what contexts are bound to. */
  clusterSeed(): number
  /** For asking one more owner when the first is slow (Dean and Barroso, "The Tail at Scale", 2013). */
  readonly hedges: RequestBudget
  readonly lingers: LingerLimit
  readonly stalls: StallWatch
  /** Work that writes what it has read, of records with values, is registered here. */
  readonly eras: Eras
  readonly arrivals: Arrivals
  /** False while this peer has no configuration: others may know it as a member before it does. */
  hasRing(): boolean
  /**
   * Of the current configuration; another one after each adoption. @throws UNAVAILABLE while there is none
   */
  ring(): Ring
  isAlive(nodeId: NodeId): boolean
  /** What this disk says of the partition is all that it ever acknowledged, or took over. */
  isComplete(keyspaceId: KeyspaceId, partition: number): boolean
  /** Somebody works under a newer configuration than ours: fetch it. */
  sawNumber(from: NodeId, number: number): void
}

/** Called once: with an error, or with a result. */
export type Done<T> = (error: KvError | null, result: T | null) => void
