/** What a peer is told at its start. `config/` makes it from flags, variables and files; tests write it. */
import type { Address } from '../base/ids.ts'
import { DEFAULT_PARTITION_COUNT } from '../protocol/configuration.ts'
import { DEFAULT_PURGE_RULE, type PurgeRule } from '../protocol/purge.ts'
import { DEFAULT_MAX_STAND_IN_BYTES } from '../store/stand-ins.ts'
import { DEFAULT_REBUILD_INTERVAL_MS } from '../store/store-limits.ts'
import { DEFAULT_MAX_VALUE_BYTES } from '../wire/requests.ts'

export interface NodeOptions {
  /** Where it listens; port 0 takes a free one. */
  readonly listen: Address
  /** Where the others find it; null: where it listens. */
  readonly advertise: Address | null
  /** The host of that, where the port is the one it listens at; null: the one of `listen`. */
  readonly advertiseHost: string | null
  /** Peers of the cluster to join, when the directory belongs to none yet. None: a new cluster of one. */
  readonly join: readonly Address[]
  /** Address or id of a dead member whose place this peer is to take when it joins; null: it is one more. */
  readonly replace: string | null
  /** A new cluster stages changes of its ring until they are applied; where it joins its join is staged. */
  readonly manualLayout: boolean
  readonly zone: string
  readonly weight: number
  /** Of a new cluster; one that is joined has its own. */
  readonly partitionCount: number
  readonly maxValueBytes: number
  /** Of what this peer keeps for owners that are away; past it, it keeps no more. */
  readonly maxHintBytes: number
  /** Requests that this peer coordinates at once. */
  readonly maxInFlight: number
  /** Of the values in these. */
  readonly maxInFlightBytes: number
  /** From one reading of the whole disk, which makes all hash trees anew, to the next. */
  readonly treeRebuildIntervalMs: number
  /** Whoever reaches this peer may have failures simulated at it. */
  readonly enableFaults: boolean
  readonly purge: PurgeRule
}

export const DEFAULT_NODE_OPTIONS: Omit<NodeOptions, 'listen'> = {
  advertise: null,
  advertiseHost: null,
  join: [],
  replace: null,
  manualLayout: false,
  zone: '',
  weight: 100,
  partitionCount: DEFAULT_PARTITION_COUNT,
  maxValueBytes: DEFAULT_MAX_VALUE_BYTES,
  maxHintBytes: DEFAULT_MAX_STAND_IN_BYTES,
  maxInFlight: 16_384,
  maxInFlightBytes: 256 * 1024 * 1024,
  treeRebuildIntervalMs: DEFAULT_REBUILD_INTERVAL_MS,
  enableFaults: false,
  purge: DEFAULT_PURGE_RULE,
}
