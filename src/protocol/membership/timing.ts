/**
 * The numbers of the protocol and how they grow with the cluster. Formulas: Lifeguard (Dadgar, Phillips,
 * Currey 2017), section IV, and hashicorp/memberlist's util.go; figures: memberlist's defaults for a LAN,
 * with probes faster.
 */
import type { Address } from '../../base/ids.ts'

export interface MembershipOptions {
  readonly probeIntervalMs: number
  readonly ackTimeoutMs: number
  /** How many others are asked to probe for us. */
  readonly helperCount: number
  readonly suspicionMultiplier: number
  /** The longest suspicion is this many of the shortest. */
  readonly suspicionMaxMultiplier: number
  /** k: that many more accusers make the suspicion as short as it gets. */
  readonly confirmationCount: number
  readonly gossipIntervalMs: number
  readonly gossipFanout: number
  readonly retransmitMultiplier: number
  readonly pushPullIntervalMs: number
  /** Between attempts to reach the dead. */
  readonly redialIntervalMs: number
  /** How long one who is down and no member of the cluster is remembered, while anybody is up. */
  readonly strangerMemoryMs: number
  /** Where to find a first peer. */
  readonly seeds: readonly Address[]
}

export const DEFAULT_MEMBERSHIP_OPTIONS: MembershipOptions = {
  probeIntervalMs: 350,
  ackTimeoutMs: 200,
  helperCount: 3,
  suspicionMultiplier: 4,
  suspicionMaxMultiplier: 6,
  confirmationCount: 2,
  gossipIntervalMs: 200,
  gossipFanout: 3,
  retransmitMultiplier: 4,
  pushPullIntervalMs: 30_000,
  redialIntervalMs: 1000,
  strangerMemoryMs: 60_000,
  seeds: [],
}

/** Push-pull becomes rarer in clusters larger than this. */
const PUSH_PULL_SCALE_THRESHOLD = 32

/** The shortest suspicion in a cluster of `count` peers, in ms. */
export function minSuspicionMs(options: MembershipOptions, count: number): number {
  return options.suspicionMultiplier * Math.max(1, Math.log10(Math.max(1, count))) * options.probeIntervalMs
}

/** How many times one update is sent on, in a cluster of `count` peers. */
export function retransmitLimit(options: MembershipOptions, count: number): number {
  return options.retransmitMultiplier * Math.ceil(Math.log10(count + 1))
}

/** Ms between two push-pulls of one peer, in a cluster of `count` peers. */
export function pushPullIntervalMs(options: MembershipOptions, count: number): number {
  if (count <= PUSH_PULL_SCALE_THRESHOLD) return options.pushPullIntervalMs
  const doublings = Math.ceil(Math.log2(count) - Math.log2(PUSH_PULL_SCALE_THRESHOLD))
  return options.pushPullIntervalMs * (doublings + 1)
}
