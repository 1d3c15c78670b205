/**
 * The ends of many requests' time, kept in slots: one timer for all of them, set to the first slot that holds
 * anything. An item is told at most one slot late: 25 ms, or 100 ms when its time is a second or more,
 * as nobody who waits so long is served by waking four times as often. Whoever is done earlier just forgets
 * the item, and ignores the call.
 */
import type { Clock, Timer } from './clock.ts'

const SLOT_MS = 25
/** Long times share slots. */
const LONG_MS = 1000
const LONG_SLOTS = 4

export class Deadlines<T> {
  readonly #clock: Clock
  readonly #expired: (item: T) => void
  readonly #slots = new Map<number, T[]>()
  /** Slots that hold anything, ascending: timeouts are mostly alike, so a new one belongs at the end. */
  readonly #order: number[] = []
  #timer: Timer | null = null
  /** What the timer waits for. */
  #armedSlot = Number.POSITIVE_INFINITY

  constructor(clock: Clock, expired: (item: T) => void) {
    this.#clock = clock
    this.#expired = expired
  }

  add(item: T, timeoutMs: number): void {
    const nowMs = this.#clock.monotonic()
    const grain = timeoutMs < LONG_MS ? 1 : LONG_SLOTS
    const slot = (Math.floor(slotAt(nowMs + Math.max(0, timeoutMs)) / grain) + 1) * grain
    const items = this.#slots.get(slot)
    if (items === undefined) {
      this.#slots.set(slot, [item])
      this.#order.splice(this.#order.findLastIndex((other) => other < slot) + 1, 0, slot)
    } else items.push(item)
    if (slot < this.#armedSlot) this.#arm(slot, nowMs)
  }

  /** Forgets every item. */
  stop(): void {
    this.#disarm()
    this.#slots.clear()
    this.#order.length = 0
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
    for (let slot = this.#order[0]; slot !== undefined && slot <= current; slot = this.#order[0]) {
      this.#order.shift()
      for (const item of this.#slots.get(slot) ?? []) due.push(item)
      this.#slots.delete(slot)
    }
    const next = this.#order[0]
    if (next !== undefined) this.#arm(next, nowMs)
    for (const item of due) this.#expired(item)
  }
}

function slotAt(ms: number): number {
  return Math.floor(ms / SLOT_MS)
}
