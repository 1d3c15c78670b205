/** Everything that a peer with `--enable-faults` has and others do not, put together. */
import type { Effects } from '../../effects/effects.ts'
import type { Network } from '../../effects/network.ts'
import type { PeerPlace } from '../../wire/faults.ts'
import { FaultRecovery, type RecoveryHost } from './fault-recovery.ts'
import { FaultyNetwork } from './faulty-network.ts'
import { PeerFaults } from './peer-faults.ts'

export interface SimulatedFailures {
  readonly faults: PeerFaults
  /** For everything this peer says and hears. */
  readonly network: Network
  stop(): void
}

/** What is asked of the peer. Both places may throw UNAVAILABLE before it has read its disk. */
export interface FailuresHost extends RecoveryHost {
  self(): PeerPlace
}

/** @param effects those of the real world */
export function simulateFailures(effects: Effects, host: FailuresHost): SimulatedFailures {
  const recovery = new FaultRecovery(effects.clock, host)
  const faults: PeerFaults = new PeerFaults({
    log: effects.log,
    self: () => host.self(),
    others: () => host.others(),
    recovering: () => void recovery.run(faults),
  })
  return { faults, network: new FaultyNetwork(faults, effects), stop: () => recovery.stop() }
}
