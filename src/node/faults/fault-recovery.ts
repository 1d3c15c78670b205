/**
 * A peer that comes back from a simulated failure talks to the others first: it waits until it has heard from
 * a majority of the members again, compares what it holds with the other owners, and then serves clients.
 * Each for so long at most: who stays alone serves alone, and a peer that missed very much goes on to compare
 * while it serves, as one does that was down.
 */
import type { NodeId } from '../../base/ids.ts'
import { Pauses } from '../../cluster/pauses.ts'
import type { Clock } from '../../effects/clock.ts'
import type { PeerPlace } from '../../wire/faults.ts'
import type { PeerFaults } from './peer-faults.ts'

const STEP_MS = 20
const MAX_ALONE_MS = 10_000
const MAX_COMPARING_MS = 20_000

export interface RecoveryHost {
  /** The other members. */
  others(): readonly PeerPlace[]
  isAlive(nodeId: NodeId): boolean
  /** Since when nothing was heard of it. */
  heartbeatAgeMs(nodeId: NodeId): number
  /** Compares with the other owners that are up, once. @returns whether it did, with all of them */
  synchronise(): Promise<boolean>
}

export class FaultRecovery {
  readonly #clock: Clock
  readonly #host: RecoveryHost
  readonly #pauses: Pauses
  #isStopped = false
  #isRunning = false
  /** It may fail again, and recover again, while it does what the last recovery began. */
  #recoveries = 0

  constructor(clock: Clock, host: RecoveryHost) {
    this.#clock = clock
    this.#host = host
    this.#pauses = new Pauses(clock)
  }

  /** Tells `faults` when this peer may serve again; once, however often it is asked meanwhile. */
  async run(faults: PeerFaults): Promise<void> {
    this.#recoveries++
    if (this.#isRunning) return
    this.#isRunning = true
    while (faults.state === 'recovering' && !this.#isStopped) {
      const recovery = this.#recoveries
      const isWanted = (): boolean => faults.state === 'recovering' && recovery === this.#recoveries
      if (await this.#findOthers(isWanted)) await this.#compare(isWanted)
      if (recovery === this.#recoveries && !this.#isStopped) faults.recovered()
    }
    this.#isRunning = false
  }

  /** @returns whether a majority was heard */
  async #findOthers(isWanted: () => boolean): Promise<boolean> {
    const startMs = this.#clock.monotonic()
    while (isWanted() && !this.#isStopped) {
      const elapsedMs = this.#clock.monotonic() - startMs
      if (elapsedMs > MAX_ALONE_MS) return false
      if (this.#hasMajority(elapsedMs)) return true
      await this.#pauses.pause(STEP_MS)
    }
    return false
  }

  stop(): void {
    this.#isStopped = true
    this.#pauses.stop()
  }

  /** Who was heard may not be reached yet. */
  async #compare(isWanted: () => boolean): Promise<void> {
    const endMs = this.#clock.monotonic() + MAX_COMPARING_MS
    for (let restMs = MAX_COMPARING_MS; restMs > 0 && isWanted() && !this.#isStopped; ) {
      const isDone = await Promise.race([this.#host.synchronise(), this.#pauses.pause(restMs)])
      if (isDone === true) return
      await this.#pauses.pause(STEP_MS)
      restMs = endMs - this.#clock.monotonic()
    }
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
