/**
 * How long a suspect has to speak up. One accuser alone may be the one that is ill, so he waits long; each
 * further one that saw the same shortens the time, down to the minimum. Lifeguard (Dadgar, Phillips, Currey
 * 2017), section IV-B, "Local Health Aware Suspicion":
 *
 *     timeout = max - (max - min) · ln(c + 1) / ln(k + 1)
 *
 * Deviation: accusers travel together in one record instead of one message each, so that a queued update
 * cannot displace another's accusation.
 */
import { type MembershipOptions, minSuspicionMs } from './timing.ts'

export interface Suspicion {
  /** Monotonic ms; moved forward by the time in which this peer itself did not run. */
  readonly startedAtMs: number
  readonly minMs: number
  readonly maxMs: number
  /** k; 0 when there are not enough others to confirm. */
  readonly wantedConfirmations: number
}

/** @param count peers that are up, this one and the suspect included */
export function startSuspicion(options: MembershipOptions, count: number, nowMs: number): Suspicion {
  const minMs = minSuspicionMs(options, count)
  const others = count - 2
  return {
    startedAtMs: nowMs,
    minMs,
    maxMs: options.suspicionMaxMultiplier * minMs,
    wantedConfirmations: others < options.confirmationCount ? 0 : options.confirmationCount,
  }
}

/** When the suspect is dead, given how many distinct peers accuse it. */
export function suspicionDeadlineMs(suspicion: Suspicion, accuserCount: number): number {
  const { startedAtMs, minMs, maxMs, wantedConfirmations } = suspicion
  if (wantedConfirmations === 0) return startedAtMs + minMs
  const confirmations = Math.max(0, accuserCount - 1)
  const share = Math.log(confirmations + 1) / Math.log(wantedConfirmations + 1)
  return startedAtMs + Math.max(minMs, maxMs - share * (maxMs - minMs))
}
