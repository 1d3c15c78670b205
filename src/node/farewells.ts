/**
 * Members that left a moment ago. They are talked with for a while yet: they have requests to end, and are to
 * hear that they are members no more. After that nobody knows them.
 */
import type { NodeId } from '../base/ids.ts'
import type { Clock, Timer } from '../effects/clock.ts'
import type { Configuration } from '../protocol/configuration.ts'

const FAREWELL_MS = 8000

export class Farewells {
  readonly #clock: Clock
  readonly #forget: (nodeIds: readonly NodeId[]) => void
  readonly #timers = new Map<NodeId, Timer>()

  /** @param forget they are not talked with from now on */
  constructor(clock: Clock, forget: (nodeIds: readonly NodeId[]) => void) {
    this.#clock = clock
    this.#forget = forget
  }

  /** One that was excluded has nothing to end, and is forgotten at once. */
  configurationChanged(before: Configuration | null, after: Configuration): void {
    const leaving = (before?.members ?? []).flatMap(({ nodeId }) => {
      return before?.excluded.includes(nodeId) === true ? [] : [nodeId]
    })
    const gone = after.removed.filter((nodeId) => !this.#timers.has(nodeId) && !leaving.includes(nodeId))
    if (gone.length > 0) this.#forget(gone)
    for (const nodeId of after.removed) {
      if (!leaving.includes(nodeId) || this.#timers.has(nodeId)) continue
      const timer = this.#clock.setTimer(FAREWELL_MS, () => {
        this.#timers.delete(nodeId)
        this.#forget([nodeId])
      })
      this.#timers.set(nodeId, timer)
    }
  }

  /** It has left, and is talked with nevertheless. */
  has(nodeId: NodeId): boolean {
    return this.#timers.has(nodeId)
  }

  stop(): void {
    for (const timer of this.#timers.values()) timer.cancel()
    this.#timers.clear()
  }
}
