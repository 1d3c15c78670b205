/**
 * Asking one more owner when the first is slow cuts the tail (Dean and Barroso, "The Tail at Scale", 2013),
 * but when all are slow it would add load where there is too much: so every request earns a twentieth of a
 * hedge, and no more than a handful are saved up.
 */

const EARNED_PER_REQUEST = 0.05
const MAX_SAVED = 10

export class HedgeBudget {
  #saved = MAX_SAVED

  earn(): void {
    if (this.#saved < MAX_SAVED) this.#saved += EARNED_PER_REQUEST
  }

  /** True: go ahead. */
  spend(): boolean {
    if (this.#saved < 1) return false
    this.#saved -= 1
    return true
  }
}
