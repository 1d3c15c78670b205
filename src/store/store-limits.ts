/** What a store takes at most, and how often it looks after itself. */
import { DEFAULT_PURGE_RULE, type PurgeRule } from '../protocol/purge.ts'
import { COMMIT_LIMITS, type CommitLimits } from './group-commit.ts'
import { DEFAULT_MAX_STAND_IN_BYTES } from './stand-ins.ts'

export interface StoreLimits extends CommitLimits {
  /** Of all stand-in records. */
  readonly maxStandInBytes: number
  /** From one reading of the whole disk, to see whether trees are as kept, to the next. */
  readonly rebuildIntervalMs: number
  /** From when on a record may have been purged since it was written. */
  readonly purge: PurgeRule
}

/** Six hours. */
export const DEFAULT_REBUILD_INTERVAL_MS = 6 * 3_600_000

export const STORE_LIMITS: StoreLimits = {
  ...COMMIT_LIMITS,
  maxStandInBytes: DEFAULT_MAX_STAND_IN_BYTES,
  rebuildIntervalMs: DEFAULT_REBUILD_INTERVAL_MS,
  purge: DEFAULT_PURGE_RULE,
}
