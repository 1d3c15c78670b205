/**
 * What is under way, under numbers handed out here, which rise and never come again.
 *
 * Not a Map: one whose entries come and go by the thousand a second leaves a trail of outgrown tables, each
 * of which refers to the next. Once one of them is old, young collections keep all that follow, and what was
 * in them, until a full one: that was a fifth of a peer's time.
 */

const FIRST_SLOTS = 64

export class SlotTable<T> {
  /** An id's place is its lowest bits. */
  #ids = new Array<number>(FIRST_SLOTS).fill(0)
  #values = new Array<T | null>(FIRST_SLOTS).fill(null)
  #nextId = 1
  #size = 0

  get size(): number {
    return this.#size
  }

  /** @returns the id: 1 … 2^53-1 */
  add(value: T): number {
    if (this.#size * 2 >= this.#ids.length) this.#grow()
    // Somebody may have stayed for so long that his place comes round again.
    while (this.#ids[this.#place(this.#nextId)] !== 0) this.#nextId++
    const id = this.#nextId++
    this.#put(id, value)
    this.#size += 1
    return id
  }

  get(id: number): T | null {
    const place = this.#place(id)
    return this.#ids[place] === id ? (this.#values[place] as T | null) : null
  }

  /** What was there; null: nothing. */
  take(id: number): T | null {
    const place = this.#place(id)
    if (this.#ids[place] !== id || id === 0) return null
    const value = this.#values[place] as T
    this.#ids[place] = 0
    this.#values[place] = null
    this.#size -= 1
    return value
  }

  /** A copy, by age. */
  entries(): (readonly [id: number, value: T])[] {
    const found: (readonly [number, T])[] = []
    this.#ids.forEach((id, place) => {
      if (id !== 0) found.push([id, this.#values[place] as T])
    })
    return found.sort(([a], [b]) => a - b)
  }

  /** A copy, by age. */
  values(): T[] {
    return this.entries().map(([, value]) => value)
  }

  clear(): void {
    this.#ids.fill(0)
    this.#values.fill(null)
    this.#size = 0
  }

  #place(id: number): number {
    return id & (this.#ids.length - 1)
  }

  #put(id: number, value: T): void {
    const place = this.#place(id)
    this.#ids[place] = id
    this.#values[place] = value
  }

  /** Ids that differed in their lowest bits still do with one bit more. */
  #grow(): void {
    const entries = this.entries()
    const slots = this.#ids.length * 2
    this.#ids = new Array<number>(slots).fill(0)
    this.#values = new Array<T | null>(slots).fill(null)
    for (const [id, value] of entries) this.#put(id, value)
  }
}
