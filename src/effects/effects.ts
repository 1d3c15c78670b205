/**
 * All of the world that a peer touches, in one value. `platform/` makes the real one, `simulator/` the
 * simulated one.
 */
import type { Clock } from './clock.ts'
import type { Log } from './log.ts'
import type { Metrics } from './metrics.ts'
import type { Network } from './network.ts'
import type { Random } from './random.ts'
import type { Storage } from './storage.ts'

export interface Effects {
  readonly clock: Clock
  readonly network: Network
  readonly storage: Storage
  readonly random: Random
  readonly log: Log
  readonly metrics: Metrics
}
