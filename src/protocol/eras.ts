/**
 * One member's side of a fence (`purge.ts`): which era work belongs to, and which eras are closed.
 *
 * Invariants: the era and the closed eras only rise. No work begins in an era that is closed. An era is
 * closed only after all work of it and of those before has ended here.
 */
import { assert } from '../base/assert.ts'
import type { NodeId } from '../base/ids.ts'

/** Eras are counted from 1; 0 means that none was ever entered. */
export type Era = number

/**
 * Every member takes part in every fence, so one that runs is never far behind. Who claims more is not
 * believed: eras would be used up, and then nothing could be purged before all peers are stopped at once.
 */
const MAX_LEAP = 2 ** 20

export interface LifeOf {
  readonly nodeId: NodeId
  readonly generation: number
}

/** What a peer tells others about itself. */
export interface EraFacts {
  readonly era: Era
  /** Write messages of eras before this one are refused. */
  readonly closedBelow: Era
}

export class Eras {
  #era: Era = 0
  #closedBelow: Era = 0
  /** The fence whose era was entered last. */
  #round: string | null = null
  /** Work under way of this era: begun and ended with every request. */
  #work = 0
  /** Work under way of earlier eras. */
  readonly #olderWork = new Map<Era, number>()
  /** What comes from lives of a node before these is refused. */
  readonly #lives = new Map<NodeId, number>()

  /** In which work begins now. */
  get current(): Era {
    return this.#era
  }

  get facts(): EraFacts {
    return { era: this.#era, closedBelow: this.#closedBelow }
  }

  /** Work that may write what it reads begins. @returns its era, for its messages and for `end` */
  begin(): Era {
    return this.continue(this.#era)
  }

  /** Work begins with what older work, which has not ended yet, has read. */
  continue(era: Era): Era {
    if (era === this.#era) this.#work += 1
    else this.#olderWork.set(era, (this.#olderWork.get(era) ?? 0) + 1)
    return era
  }

  /** It sends no more. */
  end(era: Era): void {
    const rest = (era === this.#era ? this.#work : (this.#olderWork.get(era) ?? 0)) - 1
    assert(rest >= 0, 'work ends once')
    if (era === this.#era) this.#work = rest
    else if (rest === 0) this.#olderWork.delete(era)
    else this.#olderWork.set(era, rest)
  }

  /**
   * From another member: what it has entered was proposed to all, what it has closed nobody's work is in any
   * more. What cannot be is left out.
   */
  learned({ era, closedBelow }: EraFacts): void {
    if (closedBelow > era || this.#isLeap(era)) return
    if (era > this.#era) this.#begin(era, null)
    this.#closedBelow = Math.max(this.#closedBelow, closedBelow)
  }

  /** False: this era was entered before this fence asked, or a later one. The same fence may ask again. */
  enter(era: Era, round: string): boolean {
    if (era === this.#era && round === this.#round) return true
    if (era <= this.#era || this.#isLeap(era)) return false
    this.#begin(era, round)
    return true
  }

  /** How much work of earlier eras goes on. */
  unfinishedBelow(era: Era): number {
    let count = this.#era < era ? this.#work : 0
    for (const [begun, work] of this.#olderWork) if (begun < era) count += work
    return count
  }

  /** False: this fence's era is not the one entered last here, or older work goes on. */
  close(era: Era, round: string, lives: readonly LifeOf[]): boolean {
    if (era !== this.#era || round !== this.#round || this.unfinishedBelow(era) > 0) return false
    this.#closedBelow = era
    this.#lives.clear()
    for (const { nodeId, generation } of lives) this.#lives.set(nodeId, generation)
    return true
  }

  /** Whether a write message is taken. @param generation of the life that sent it */
  admits(from: NodeId, generation: number, era: Era): boolean {
    return era >= this.#closedBelow && generation >= (this.#lives.get(from) ?? 0)
  }

  #isLeap(era: Era): boolean {
    return this.#era > 0 && era - this.#era > MAX_LEAP
  }

  #begin(era: Era, round: string | null): void {
    if (this.#work > 0) this.#olderWork.set(this.#era, this.#work)
    this.#work = 0
    this.#era = era
    this.#round = round
  }
}
