/**
 * The ends of many requests' time, kept in slots: one timer for all of them. An item is told at most one slot late; whoever is done
 * earlier just forgets the item, and ignores the call.
 */
import type { Clock, Timer } from './clock.ts'

const SLOT_MS = 25

export class Deadlines<T> {
  readonly #clock: Clock
  readonly #expired: (item: T) => void
  readonly #slots = new Map<number, T[]>()
  #sweptSlot: number
  #timer: Timer | null = null

  constructor(clock: Clock, expired: (item: T) => void) {
    this.#clock = clock
    this.#expired = expired
    this.#sweptSlot = this.#slotAt(clock.monotonic())
  }

  add(item: T, timeoutMs: number): void {
    const slot = this.#slotAt(this.#clock.monotonic() + timeoutMs) + 1
    const items = this.#slots.get(slot)
    if (items === undefined) this.#slots.set(slot, [item])
    else items.push(item)
    this.#timer ??= this.#clock.setTimer(SLOT_MS, this.#sweep)
  }

  /** Forgets every item. */
  stop(): void {
    this.#timer?.cancel()
    this.#timer = null
    this.#slots.clear()
  }

  #slotAt(ms: number): number {
    return Math.floor(ms / SLOT_MS)
  }

  readonly #sweep = (): void => {
    this.#timer = null
    const current = this.#slotAt(this.#clock.monotonic())
    const due: T[] = []
    if (current - this.#sweptSlot <= this.#slots.size) {
      for (let slot = this.#sweptSlot + 1; slot <= current; slot++) this.#take(slot, due)
    } else {
      for (const slot of [...this.#slots.keys()]) if (slot <= current) this.#take(slot, due)
    }
    this.#sweptSlot = current
    if (this.#slots.size > 0) this.#timer = this.#clock.setTimer(SLOT_MS, this.#sweep)
    for (const item of due) this.#expired(item)
  }

  #take(slot: number, due: T[]): void {
    const items = this.#slots.get(slot)
    if (items === undefined) return
    this.#slots.delete(slot)
    for (const item of items) due.push(item)
  }
}
