/**
 * What a peer does by itself from its start to its stop: one step after the other, with a rest in between
 * that ends early when there is news.
 */
import { Pauses } from '../cluster/pauses.ts'
import type { Clock } from '../effects/clock.ts'

export class BackgroundJob {
  /** Also for what a step waits for meanwhile: a stop ends it. */
  readonly pauses: Pauses
  readonly #step: () => Promise<number>
  #isStopped = false
  #running: Promise<void> = Promise.resolve()

  /** @param step gives how many ms to rest before the next one; 0: none. It does not reject */
  constructor(clock: Clock, step: () => Promise<number>) {
    this.pauses = new Pauses(clock)
    this.#step = step
  }

  /** @param restMs before the first step */
  start(restMs = 0): void {
    this.#running = this.#run(restMs)
  }

  /** From the moment it is to stop. */
  get isStopped(): boolean {
    return this.#isStopped
  }

  /** There is news: all pauses end. */
  wake(): void {
    this.pauses.wake()
  }

  /** Fulfils when no step goes on. Idempotent. */
  async stop(): Promise<void> {
    this.#isStopped = true
    this.pauses.stop()
    await this.#running
  }

  async #run(firstRestMs: number): Promise<void> {
    for (let restMs = firstRestMs; !this.#isStopped; ) {
      if (restMs > 0) await this.pauses.pause(restMs)
      if (!this.#isStopped) restMs = await this.#step()
    }
  }
}
