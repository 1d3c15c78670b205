/** A member's answers to the questions of a fence (`protocol/purge.ts`), its own included. */
import type { FenceAnswer } from '../protocol/fence-round.ts'
import type { Store } from '../store/store.ts'
import type { PurgeRequest } from '../wire/purge-messages.ts'
import type { Coordination } from './coordination.ts'

export type FenceQuestion = Omit<Extract<PurgeRequest, { type: 'fence' }>, 'type' | 'id' | 'number'>
/** Names this life. */
export interface OwnLife {
  readonly nonce: string
  readonly generation: number
}

export class FenceMember {
  readonly #with: Coordination
  readonly #life: OwnLife
  readonly #hasLeftovers: () => boolean

  /** @param hasLeftovers whether this peer may hold records of partitions that it owns no more */
  constructor(coordination: Coordination, life: OwnLife, hasLeftovers: () => boolean) {
    this.#with = coordination
    this.#life = life
    this.#hasLeftovers = hasLeftovers
  }

  /** @throws UNAVAILABLE when the disk is away */
  async answer({ step, era, round, lives }: FenceQuestion): Promise<FenceAnswer> {
    const { eras, store } = this.#with
    const before = tallyOf(store)
    // A stand-in record that was let go must be gone through any crash before it is said to be. Of one that
    // is let go while the disk works this is not known: it counts as kept.
    if (step === 'survey') await store.harden()
    const agrees =
      step === 'survey' || (step === 'enter' ? eras.enter(era, round) : eras.close(era, round, lives))
    const { nonce, generation } = this.#life
    const kept = Math.max(before.kept, tallyOf(store).kept)
    const unfinished = eras.unfinishedBelow(era)
    const { taken } = before
    const hasLeftovers = this.#hasLeftovers()
    return { nonce, generation, era: eras.current, agrees, kept, taken, hasLeftovers, unfinished }
  }
}

/** `taken` is told as of before: what comes while the disk works differs from it when the era is closed. */
function tallyOf({ standIns }: Store) {
  return { kept: standIns.total.records, taken: standIns.takenCount }
}
