/**
 * The alarm for what must never be: one dot that names two values. A data directory was copied and both
 * copies wrote under one name, or a disk gave back what was never written. Every peer keeps the same one of
 * the two (`mergeRecords`); the other one is lost, and nobody would know.
 */
import type { ActorId } from '../base/ids.ts'
import type { Clock } from '../effects/clock.ts'
import type { Log } from '../effects/log.ts'
import type { Counter, Metrics } from '../effects/metrics.ts'
import type { KeyRecord } from '../protocol/record.ts'
import { clashingDots } from './record-merge.ts'

/** In place of how much of an actor was seen: a dot of it names another value here. More than any minted. */
export const NAMES_ANOTHER: number = Number.MAX_SAFE_INTEGER
/** All are counted; a copied directory may make as many as it has records. */
const LOG_INTERVAL_MS = 10_000

interface Minter {
  readonly actor: ActorId
  renewActor(): void
}

export class DotClashes {
  readonly #clock: Clock
  readonly #log: Log
  readonly #counter: Counter
  readonly #minters: () => readonly Minter[]
  #count = 0
  #nextLogMs = Number.NEGATIVE_INFINITY

  /** @param minters who mints here: not under a clashing dot's name any more */
  constructor(
    { clock, log, metrics }: { readonly clock: Clock; readonly log: Log; readonly metrics: Metrics },
    minters: () => readonly Minter[],
  ) {
    this.#clock = clock
    this.#log = log
    this.#counter = metrics.counter('kv_dot_clashes_total', 'Values met under a dot that names another value')
    this.#minters = minters
  }

  /** Since this peer was started. */
  get count(): number {
    return this.#count
  }

  /** What is held and what comes are about to be merged. @returns does a dot of this actor clash? */
  look(held: KeyRecord, incoming: KeyRecord, mintedBy: ActorId | null): boolean {
    const dots = clashingDots(held, incoming)
    for (const { actor, n } of dots) {
      this.#count += 1
      this.#counter.add()
      const nowMs = this.#clock.monotonic()
      if (nowMs >= this.#nextLogMs) {
        this.#nextLogMs = nowMs + LOG_INTERVAL_MS
        const advice = 'was a data directory copied? stop all but one of its peers'
        this.#log.error('store.dot-names-two-values', { actor, n, count: this.#count, advice })
      }
      for (const minter of this.#minters()) if (minter.actor === actor) minter.renewActor()
    }
    return dots.some(({ actor }) => actor === mintedBy)
  }
}
