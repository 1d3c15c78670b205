/**
 * What a peer still has to take over in an open change of the ring: which partitions, and with which of their
 * old owners each of them is to be compared yet.
 *
 * A partition is done when it was compared with all of them. One whose disk does not give it is gone around
 * where the others are enough: as many as must be left when owners are given up (`sourcesNeeded`).
 *
 * A number is acknowledged in the turn in which it is adopted, so what happens then must be short, however
 * many keyspaces there are: those with the same owners share one list of what is due, and of a keyspace
 * nothing is kept but what was done for it.
 */
import { present } from '../base/assert.ts'
import type { KeyspaceId, NodeId } from '../base/ids.ts'
import type { Keyspace } from '../protocol/configuration.ts'
import { placeName } from '../protocol/place-name.ts'
import { type Duty, type DutyGroup, sourcesNeeded } from '../protocol/ring-change.ts'
import type { ComparedPartition, Obstacle } from './comparison.ts'

export interface DutyRules {
  /** Whether this peer has all of it that it acknowledged itself. */
  isComplete(keyspaceId: KeyspaceId, partition: number): boolean
  /** An operator gave up what these sources cannot read of it. */
  isGivenUp(keyspaceId: KeyspaceId, partition: number, sources: readonly NodeId[]): boolean
}

/** Partitions of one keyspace that this peer gains, and that are not done. */
export interface GainedPartitions {
  readonly keyspace: Keyspace
  readonly duties: readonly Duty[]
}

/** A partition that is not done, and that something keeps from it. */
export interface ObstructedPartition {
  readonly keyspace: Keyspace
  readonly partition: number
  /** With whom it is to be compared yet. */
  readonly left: readonly NodeId[]
  /** Of each of these; null: it was not tried, or goes on. */
  readonly obstacles: readonly (Obstacle | null)[]
}

/** What is due in keyspaces with the same owners. */
interface Shape {
  /** By partition. */
  readonly duties: readonly (Duty | undefined)[]
  readonly count: number
  /** Those that somebody can be asked about. */
  readonly openCount: number
}

/** How far a partition is in this phase. */
interface Compared {
  readonly with: NodeId[]
  /** What kept the last comparison with an owner from its end. */
  readonly obstacles: Map<NodeId, Obstacle>
}

interface Entry {
  readonly keyspace: Keyspace
  readonly shape: Shape
  /** By partition. Of the others nothing was compared. */
  readonly compared: Map<number, Compared>
  /** Of these, those that are not done. */
  readonly begun: Set<number>
  /** Of these, those that a disk does not give, or that cannot be stored: few, but looked at often. */
  readonly blocked: Set<number>
  /** Partitions that are not done. */
  open: number
}

export class DutyLedger {
  readonly #rules: DutyRules
  #entries = new Map<KeyspaceId, Entry>()
  #total = 0
  #open = 0

  constructor(rules: DutyRules) {
    this.#rules = rules
  }

  /** Partitions, of all keyspaces. */
  get total(): number {
    return this.#total
  }

  /** Of these, those that are not done. */
  get open(): number {
    return this.#open
  }

  /** @param isNewPhase what was compared before counts for nothing */
  begin(groups: readonly DutyGroup[], isNewPhase: boolean): void {
    const before = isNewPhase ? new Map<KeyspaceId, Entry>() : this.#entries
    this.#entries = new Map()
    this.#total = 0
    for (const { keyspaces, duties } of groups) {
      const shape = shapeOf(duties)
      /** Which shapes of before are the same as this one, as far as that was looked at. */
      const same = new Map<Shape, boolean>()
      for (const keyspace of keyspaces) {
        const known = before.get(keyspace.id)
        if (known !== undefined && !same.has(known.shape)) same.set(known.shape, isSame(known.shape, shape))
        const isAsBefore = known !== undefined && same.get(known.shape) === true
        const { compared = new Map(), begun = new Set<number>(), blocked = new Set<number>() } = known ?? {}
        const open = isAsBefore ? known.open : shape.openCount
        const entry: Entry = { keyspace, shape, compared, begun, blocked, open }
        if (!isAsBefore) this.#recount(entry)
        this.#entries.set(keyspace.id, entry)
        this.#total += shape.count
      }
    }
    this.#sum()
  }

  /** What the rules say is another matter now. */
  recount(): void {
    for (const entry of this.#entries.values()) this.#recount(entry)
    this.#sum()
  }

  /** What was compared of it counts for nothing any more. False: nothing was. */
  forget(keyspaceId: KeyspaceId, partition: number): boolean {
    const entry = this.#entries.get(keyspaceId)
    if (entry?.compared.delete(partition) !== true) return false
    this.#recount(entry)
    this.#sum()
    return true
  }

  /** Everybody with whom something is to be compared yet. @param without names of places that do not count */
  sources(without: ReadonlySet<string>): ReadonlySet<NodeId> {
    const found = new Set<NodeId>()
    for (const entry of this.#entries.values()) {
      if (entry.open === 0) continue
      for (const duty of entry.shape.duties) {
        if (duty === undefined || !isOpen(entry, duty)) continue
        if (without.size > 0 && without.has(placeName(entry.keyspace.id, duty.partition))) continue
        for (const source of duty.sources) if (!isCompared(entry, duty, source)) found.add(source)
      }
    }
    return found
  }

  /** Keyspace by keyspace, as they are when each is asked for. */
  *gained(): Generator<GainedPartitions> {
    for (const entry of this.#entries.values()) {
      if (entry.open === 0) continue
      const duties = entry.shape.duties.flatMap((duty) => {
        return duty?.isGained === true && isOpen(entry, duty) ? [duty] : []
      })
      if (duties.length > 0) yield { keyspace: entry.keyspace, duties }
    }
  }

  isGained(keyspaceId: KeyspaceId, partition: number): boolean {
    const entry = this.#entries.get(keyspaceId)
    if (entry === undefined || entry.open === 0) return false
    const duty = entry.shape.duties[partition]
    return duty?.isGained === true && isOpen(entry, duty)
  }

  /** Whether it is to be compared with this source yet. */
  isOpen(keyspaceId: KeyspaceId, partition: number, source: NodeId): boolean {
    const entry = this.#entries.get(keyspaceId)
    const duty = entry?.shape.duties[partition]
    if (entry === undefined || duty === undefined || !duty.sources.includes(source)) return false
    return isOpen(entry, duty) && !isCompared(entry, duty, source)
  }

  /** Partitions that something keeps from being done. */
  obstructed(): ObstructedPartition[] {
    return [...this.#entries.values()].flatMap(({ keyspace, shape, compared, blocked }) => {
      return [...blocked].map((partition) => {
        const one = present(compared.get(partition), 'what is blocked was compared')
        const left = leftOf(present(shape.duties[partition], 'what is blocked is due'), one)
        return {
          keyspace,
          partition,
          left,
          obstacles: left.map((source) => one.obstacles.get(source) ?? null),
        }
      })
    })
  }

  /**
   * A comparison with a source came so far with a partition.
   * @returns with how many fewer sources it is to be compared now; who is gone around when it is done
   */
  note(found: ComparedPartition, source: NodeId): { readonly fewer: number; readonly around: NodeId[] } {
    const { keyspaceId, partition, isWhole, obstacle } = found
    const entry = this.#entries.get(keyspaceId)
    const duty = entry?.shape.duties[partition]
    if (entry === undefined || duty === undefined) return { fewer: 0, around: [] }
    const wasOpen = isOpen(entry, duty)
    const compared: Compared = entry.compared.get(partition) ?? { with: [], obstacles: new Map() }
    const before = wasOpen ? leftOf(duty, compared).length : 0
    entry.compared.set(partition, compared)
    if (obstacle === null) compared.obstacles.delete(source)
    else compared.obstacles.set(source, obstacle)
    if (isWhole && !compared.with.includes(source)) compared.with.push(source)
    if (!wasOpen) return { fewer: 0, around: [] }
    const left = leftOf(duty, compared)
    if (this.#look(entry, duty, compared)) return { fewer: before - left.length, around: [] }
    entry.open -= 1
    this.#open -= 1
    return { fewer: before, around: left }
  }

  #recount(entry: Entry): void {
    const { shape, compared, begun, blocked } = entry
    begun.clear()
    blocked.clear()
    entry.open = shape.openCount
    for (const [partition, one] of compared) {
      const duty = shape.duties[partition]
      if (duty === undefined || duty.sources.length === 0) continue
      if (!this.#look(entry, duty, one)) entry.open -= 1
    }
  }

  /** Files it under what it is now. False: it is done. */
  #look(entry: Entry, duty: Duty, compared: Compared): boolean {
    const { partition } = duty
    const isLeft = this.#isLeft(entry, duty, compared)
    const isBlocked = isLeft && [...compared.obstacles.values()].some((one) => one !== 'incomplete')
    if (isLeft) entry.begun.add(partition)
    else entry.begun.delete(partition)
    if (isBlocked) entry.blocked.add(partition)
    else entry.blocked.delete(partition)
    return isLeft
  }

  #sum(): void {
    this.#open = 0
    for (const { open } of this.#entries.values()) this.#open += open
  }

  /** It is to be compared with somebody yet. */
  #isLeft({ keyspace: { id } }: Entry, duty: Duty, compared: Compared): boolean {
    const left = leftOf(duty, compared)
    const isStuck = left.every((source) => compared.obstacles.get(source) === 'unreadable')
    if (left.length === 0 || !isStuck) return left.length > 0
    const isOwn = !duty.isGained && this.#rules.isComplete(id, duty.partition)
    const has = duty.sources.length - left.length + (isOwn ? 1 : 0)
    return has < sourcesNeeded(duty.ownerCount) && !this.#rules.isGivenUp(id, duty.partition, left)
  }
}

function shapeOf(duties: readonly Duty[]): Shape {
  const byPartition: (Duty | undefined)[] = []
  for (const duty of duties) byPartition[duty.partition] = duty
  const openCount = duties.filter(({ sources }) => sources.length > 0).length
  return { duties: byPartition, count: duties.length, openCount }
}

function isSame(a: Shape, b: Shape): boolean {
  const isSameDuty = (one: Duty | undefined, other: Duty | undefined): boolean => {
    const isSameOwner = one?.isGained === other?.isGained && one?.ownerCount === other?.ownerCount
    return isSameOwner && one?.sources.join() === other?.sources.join()
  }
  const isLikeOther = (one: Duty | undefined, i: number): boolean => isSameDuty(one, b.duties[i])
  return a.count === b.count && a.duties.length === b.duties.length && a.duties.every(isLikeOther)
}

function isOpen({ compared, begun }: Entry, { partition, sources }: Duty): boolean {
  return compared.has(partition) ? begun.has(partition) : sources.length > 0
}

function isCompared({ compared }: Entry, { partition }: Duty, source: NodeId): boolean {
  return compared.get(partition)?.with.includes(source) === true
}

function leftOf({ sources }: Duty, compared: Compared): NodeId[] {
  return sources.filter((source) => !compared.with.includes(source))
}
