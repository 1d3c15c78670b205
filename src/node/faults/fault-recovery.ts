/**
 * A peer that comes back from a simulated failure talks to the others first: it serves clients once it has
 * heard from a majority of the members again, or when it has waited long enough to know that it will not.
 */
import type { NodeId } from '../../base/ids.ts'
import { Pauses } from '../../cluster/pauses.ts'
import type { Clock } from '../../effects/clock.ts'
import type { PeerPlace } from '../../wire/faults.ts'
import type { PeerFaults } from './peer-faults.ts'

const STEP_MS = 20
/** A peer that stays alone serves alone, as one does that was cut off. */
const MAX_ALONE_MS = 10_000

export interface RecoveryHost {
  /** The other members. */
  others(): readonly PeerPlace[]
  isAlive(nodeId: NodeId): boolean
  /** Since when nothing was heard of it. */
  heartbeatAgeMs(nodeId: NodeId): number
}

export class FaultRecovery {
  readonly #clock: Clock
  readonly #host: RecoveryHost
  readonly #pauses: Pauses
  #isStopped = false
  #isRunning = false

  constructor(clock: Clock, host: RecoveryHost) {
    this.#clock = clock
    this.#host = host
    this.#pauses = new Pauses(clock)
  }

  /** Tells `faults` when this peer may serve again; once, however often it is asked meanwhile. */
  async run(faults: PeerFaults): Promise<void> {
    if (this.#isRunning) return
    this.#isRunning = true
    const startMs = this.#clock.monotonic()
    while (faults.state === 'recovering' && !this.#isStopped) {
      const elapsedMs = this.#clock.monotonic() - startMs
      if (elapsedMs > MAX_ALONE_MS || this.#hasMajority(elapsedMs)) faults.recovered()
      else await this.#pauses.pause(STEP_MS)
    }
    this.#isRunning = false
  }

  stop(): void {
    this.#isStopped = true
    this.#pauses.stop()
  }

  #hasMajority(elapsedMs: number): boolean {
    const host = this.#host
    const others = host.others()
    // What it believed of the others before it failed proves nothing.
    const heard = others.filter(
      ({ nodeId }) => host.isAlive(nodeId) && host.heartbeatAgeMs(nodeId) < elapsedMs,
    )
    return 2 * (heard.length + 1) > others.length + 1
  }
}
