/**
 * What is written in an experiment, and what must be found in the end. Every writer writes to as many keys:
 * half of them to keys that all writers write to, half to keys of its own; half of either existed before the
 * cut, and of these some are deleted, by everybody or by one side while the other writes.
 */
import type { Replicas } from './replicas.ts'

export const OLD_VALUE = 'old'

export interface Write {
  readonly key: string
  /** Null: a delete. */
  readonly value: string | null
  /** There before the cut: replaced with the context of then, so the old value and nothing else. */
  readonly isOld: boolean
}

/** @param place of the writer among the writers. @param count of keys */
export function writesOf(place: number, count: number): readonly Write[] {
  return Array.from({ length: count }, (_, i) => {
    const isShared = i < count / 2
    const isOld = i % 2 === 0
    const key = `${isOld ? 'old' : 'new'}-${isShared ? 'shared' : place}-${i}`
    const isDeleted = isOld && (i % 10 === 4 || (i % 10 === 8 && place === 0))
    return { key, value: isDeleted ? null : `by ${place}: ${i}`, isOld }
  })
}

/** The outcome of every write, by key. */
export class Ledger {
  /** None may be missing anywhere, unless another write has seen it. */
  readonly #acknowledged = new Map<string, Set<string>>()
  /** Values that may be there or not. */
  readonly #possible = new Map<string, Set<string>>()
  /** Old keys that somebody replaced or deleted for certain. */
  readonly #replaced = new Set<string>()
  readonly #sidesMeet: boolean
  #count = 0

  /**
   * @param sidesMeet writers reach owners in common, so one may have seen, and replaced, what the other wrote
   */
  constructor(sidesMeet: boolean) {
    this.#sidesMeet = sidesMeet
  }

  /** Acknowledged writes. */
  get count(): number {
    return this.#count
  }

  acknowledged({ key, value, isOld }: Write): void {
    this.#count++
    if (value !== null) addTo(this.#acknowledged, key, value)
    if (isOld) this.#replaced.add(key)
  }

  /** It may have been done. */
  unknown({ key, value }: Write): void {
    if (value !== null) addTo(this.#possible, key, value)
  }

  /** Keys with several acknowledged values: siblings. */
  get concurrent(): readonly string[] {
    return [...this.#acknowledged].flatMap(([key, values]) => (values.size > 1 ? [key] : []))
  }

  /** Why this is not what a key must hold; null: it is. */
  fault(key: string, values: readonly string[]): string | null {
    const needed = this.#acknowledged.get(key) ?? new Set()
    for (const value of needed) {
      if (!values.includes(value) && !this.#isReplaced(key, values)) return `lost '${value}'`
    }
    for (const value of values) {
      if (needed.has(value) || (this.#possible.get(key)?.has(value) ?? false)) continue
      if (value === OLD_VALUE && key.startsWith('old') && !this.#replaced.has(key)) continue
      return `'${value}' is back, or was never written`
    }
    return null
  }

  /**
   * A write without a context replaces what it finds, so another one of the same key may stand in its place.
   * Old keys are written with the context of before the cut, and replace nothing of anybody else's.
   */
  #isReplaced(key: string, values: readonly string[]): boolean {
    return this.#sidesMeet && key.startsWith('new') && values.length > 0
  }

  /** What is wrong at owners, in words. */
  faults(replicas: Replicas): string[] {
    return [...replicas].flatMap(([key, byOwner]) =>
      [...byOwner].flatMap(([owner, { values }]) => {
        const fault = this.fault(key, values)
        return fault === null ? [] : [`${key} at ${owner}: ${fault}`]
      }),
    )
  }
}

function addTo(map: Map<string, Set<string>>, key: string, value: string): void {
  map.set(key, (map.get(key) ?? new Set()).add(value))
}
