/**
 * The ends of many requests' time, kept in slots: one timer for all of them, set to the first slot that holds
 * anything. An item is told at most one slot late; whoever is done earlier just forgets the item, and ignores
 * the call.
 */
import type { Clock, Timer } from './clock.ts'

const SLOT_MS = 25

export class Deadlines<T> {
  readonly #clock: Clock
  readonly #expired: (item: T) => void
  readonly #slots = new Map<number, T[]>()
  #timer: Timer | null = null
  /** What the timer waits for. */
  #armedSlot = Number.POSITIVE_INFINITY

  constructor(clock: Clock, expired: (item: T) => void) {
    this.#clock = clock
    this.#expired = expired
  }

  add(item: T, timeoutMs: number): void {
    const nowMs = this.#clock.monotonic()
    const slot = slotAt(nowMs + Math.max(0, timeoutMs)) + 1
    const items = this.#slots.get(slot)
    if (items === undefined) this.#slots.set(slot, [item])
    else items.push(item)
    if (slot < this.#armedSlot) this.#arm(slot, nowMs)
  }

  /** Forgets every item. */
  stop(): void {
    this.#disarm()
    this.#slots.clear()
  }

  #arm(slot: number, nowMs: number): void {
    this.#disarm()
    this.#armedSlot = slot
    this.#timer = this.#clock.setTimer(slot * SLOT_MS - nowMs, this.#sweep)
  }

  #disarm(): void {
    this.#timer?.cancel()
    this.#timer = null
    this.#armedSlot = Number.POSITIVE_INFINITY
  }

  readonly #sweep = (): void => {
    this.#disarm()
    const nowMs = this.#clock.monotonic()
    const current = slotAt(nowMs)
    const due: T[] = []
    let next = Number.POSITIVE_INFINITY
    for (const [slot, items] of this.#slots) {
      if (slot > current) {
        next = Math.min(next, slot)
        continue
      }
      this.#slots.delete(slot)
      for (const item of items) due.push(item)
    }
    if (next !== Number.POSITIVE_INFINITY) this.#arm(next, nowMs)
    for (const item of due) this.#expired(item)
  }
}

function slotAt(ms: number): number {
  return Math.floor(ms / SLOT_MS)
}
