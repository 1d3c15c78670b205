/**
 * How much this peer trusts itself: 0 is healthy, 7 is worst. A peer that is slow hears answers late and
 * would accuse others, so it stretches its own timeouts by (score + 1). Lifeguard (Dadgar, Phillips, Currey
 * 2017), section IV-A, "Local Health Aware Probe".
 */
const MAX_HEALTH_SCORE = 7

export class LocalHealth {
  #score = 0

  get score(): number {
    return this.#score
  }

  /** What our own timeouts are multiplied by. */
  get stretch(): number {
    return this.#score + 1
  }

  /** Up is worse: probes that failed, nacks that did not come, having to refute, a late event loop. */
  worsen(by: number): void {
    this.#score = Math.min(MAX_HEALTH_SCORE, this.#score + by)
  }

  /** A probe that succeeded. */
  improve(): void {
    this.#score = Math.max(0, this.#score - 1)
  }
}
