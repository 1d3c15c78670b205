/**
 * What may be asked beyond the necessary: every request earns a part of one more, and no more than a handful
 * are saved up. So when everything is slow, extra questions do not add load where there is too much.
 */

const MAX_SAVED = 10

export class RequestBudget {
  readonly #earnedPerRequest: number
  #saved: number

  constructor(earnedPerRequest: number, saved = MAX_SAVED) {
    this.#earnedPerRequest = earnedPerRequest
    this.#saved = saved
  }

  earn(): void {
    if (this.#saved < MAX_SAVED) this.#saved += this.#earnedPerRequest
  }

  /** True: go ahead. */
  spend(): boolean {
    if (this.#saved < 1) return false
    this.#saved -= 1
    return true
  }
}
