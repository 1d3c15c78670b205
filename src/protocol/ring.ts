/**
 * The configuration as requests need it: from a key to its partition, from a partition to the peers that own
 * it.
 *
 * Intuition: the hash space is cut once into equal partitions (strategy 3 of Dynamo, DeCandia et al. 2007,
 * section 6.2); the layout's table lists the peers of each by preference, and a keyspace uses the first N of
 * the list, or everybody.
 *
 * Invariant: owners are those in the table, alive or not. So quorums of the same table intersect, whatever
 * anybody believes about who is up.
 *
 * Every list is made when it is first asked for, then kept: a request allocates nothing for them. Callers
 * must not change them.
 */
import { assert } from '../base/assert.ts'
import type { Bytes } from '../base/bytes.ts'
import { KvError } from '../base/error.ts'
import { hash32 } from '../base/hash.ts'
import type { KeyspaceId, NodeId } from '../base/ids.ts'
import type { Configuration, Keyspace, Layout, Level } from './configuration.ts'
import { alteredKeyspace, readLayout, targetLayout } from './configuration.ts'
import { preferenceList } from './layout.ts'

/** The top bits of the key's hash. `partitionCount` is a power of two up to 2^31. */
export function partitionOf(key: Bytes, partitionCount: number): number {
  return partitionCount === 1 ? 0 : hash32(key) >>> (Math.clz32(partitionCount) + 1)
}

export function createRing(configuration: Configuration): Ring {
  return new Ring(configuration)
}

/** One configuration's ring; the next configuration has another. */
export class Ring {
  readonly configuration: Configuration
  /** The configuration's number. */
  readonly number: number
  readonly partitionCount: number
  readonly #byName = new Map<string, Keyspace>()
  readonly #byId = new Map<KeyspaceId, Keyspace>()
  /** By number of replicas, before and after the open change: keyspaces with the same numbers share one. */
  readonly #views = new Map<string, View>()
  readonly #byKeyspace = new Map<Keyspace, View>()

  constructor(configuration: Configuration) {
    this.configuration = configuration
    this.number = configuration.number
    this.partitionCount = configuration.partitionCount
    for (const keyspace of configuration.keyspaces) {
      this.#byName.set(keyspace.name, keyspace)
      this.#byId.set(keyspace.id, keyspace)
    }
  }

  keyspace(name: string): Keyspace | null {
    return this.#byName.get(name) ?? null
  }

  keyspaceById(id: KeyspaceId): Keyspace | null {
    return this.#byId.get(id) ?? null
  }

  partitionOf(key: Bytes): number {
    return partitionOf(key, this.partitionCount)
  }

  /**
   * [old, new] while the ring changes and the two differ, otherwise one list: a write needs its level in
   * every one. By preference.
   */
  writeOwners(keyspace: Keyspace, partition: number): readonly (readonly NodeId[])[] {
    return this.#owners(keyspace, partition).write
  }

  /**
   * A read needs its level in every one of these: of the old layout until the switch, then of both, and at
   * the end of the new one (`ring-change.ts` says why). By preference.
   */
  readLists(keyspace: Keyspace, partition: number): readonly (readonly NodeId[])[] {
    return this.#owners(keyspace, partition).readLists
  }

  /** Whom to ask first: the last of the lists that a read needs. By preference. */
  readOwners(keyspace: Keyspace, partition: number): readonly NodeId[] {
    return this.#owners(keyspace, partition).read
  }

  /** Everybody in any list, each once: those that reads use first, by preference. */
  allOwners(keyspace: Keyspace, partition: number): readonly NodeId[] {
    return this.#owners(keyspace, partition).all
  }

  /** In any list. */
  isOwner(nodeId: NodeId, keyspace: Keyspace, partition: number): boolean {
    return this.#owners(keyspace, partition).all.includes(nodeId)
  }

  /**
   * Nobody waits for it any more. It stays in its lists, so that quorums stay as large, but what it holds
   * goes with it: it counts in none, and takes nothing.
   */
  isExcluded(nodeId: NodeId): boolean {
    return this.configuration.excluded.includes(nodeId)
  }

  /**
   * All keyspaces, by who owns their partitions: those of a group have the same owners everywhere. So what is
   * about owners alone is looked at once for many keyspaces.
   */
  alike(): readonly (readonly [Keyspace, ...Keyspace[]])[] {
    const groups = new Map<View, [Keyspace, ...Keyspace[]]>()
    for (const keyspace of this.configuration.keyspaces) {
      const view = this.#view(keyspace)
      const group = groups.get(view)
      if (group === undefined) groups.set(view, [keyspace])
      else group.push(keyspace)
    }
    return [...groups.values()]
  }

  /**
   * In no list: what this peer holds of the partition is to go. Of a keyspace that was dropped nothing is
   * left over: it goes as a whole.
   */
  isLeftOver(nodeId: NodeId, keyspaceId: KeyspaceId, partition: number): boolean {
    const keyspace = this.#byId.get(keyspaceId)
    return keyspace !== undefined && !this.isOwner(nodeId, keyspace, partition)
  }

  /**
   * Who keeps writes for owners that are away, by preference: the rest of the partition's list, then the
   * other members, beginning elsewhere in each partition. Nobody that owns the partition in any layout, and
   * nobody who leaves.
   */
  standIns(keyspace: Keyspace, partition: number): readonly NodeId[] {
    return this.#view(keyspace).standIns(partition)
  }

  /**
   * A peer's part of all replicas of a keyspace, the oldest one unless given, under the layout the cluster
   * has or is moving to: 0 … 1; those of all peers add up to 1.
   */
  share(nodeId: NodeId, keyspace: Keyspace | undefined = this.configuration.keyspaces[0]): number {
    return keyspace === undefined ? 0 : (this.#view(keyspace).shares.get(nodeId) ?? 0)
  }

  /**
   * How many answers of so many owners a level asks for. @throws INVALID_ARGUMENT when there are not as many
   * owners
   */
  required(level: Level, ownerCount: number): number {
    if (level === 'one') return 1
    if (level === 'quorum') return Math.floor(ownerCount / 2) + 1
    if (level === 'all') return ownerCount
    if (Number.isInteger(level) && level >= 1 && level <= ownerCount) return level
    const owners = `a key here has ${ownerCount} owner${ownerCount === 1 ? '' : 's'}`
    const allowed = `one, quorum, all or a number from 1 to ${ownerCount}`
    throw new KvError('INVALID_ARGUMENT', `level ${level} cannot be met: ${owners}; ask for ${allowed}`)
  }

  /**
   * As `required`, of each of these lists, for a request that was checked before: a number that owners cannot
   * meet any more is just not met. While there are two lists, one that is shorter than the number asks for
   * all of it.
   */
  needed(level: Level, lists: readonly (readonly NodeId[])[]): readonly number[] {
    const [only] = lists
    if (lists.length === 1 && only !== undefined) {
      return [typeof level === 'number' ? level : this.required(level, only.length)]
    }
    return lists.map(({ length }) =>
      typeof level === 'number' ? Math.min(level, length) : this.required(level, length),
    )
  }

  #owners(keyspace: Keyspace, partition: number): Owners {
    return this.#view(keyspace).owners(partition)
  }

  /**
   * A request may outlive the configuration it began under: what counts is this ring's idea of its keyspace,
   * and for one that was dropped meanwhile, any owners will do to refuse it.
   */
  #view(keyspace: Keyspace): View {
    const known = this.#byId.get(keyspace.id) ?? keyspace
    let view = this.#byKeyspace.get(known)
    if (view !== undefined) return view
    const counts = [known, alteredKeyspace(this.configuration, known)].map(replicasOf) as [number, number]
    const name = counts.join()
    view = this.#views.get(name) ?? new View(this.configuration, counts)
    this.#views.set(name, view)
    if (this.#byId.has(known.id)) this.#byKeyspace.set(known, view)
    return view
  }
}

function replicasOf({ strategy, replicas }: Keyspace): number {
  return strategy === 'full' ? EVERYBODY : replicas
}

interface Owners {
  readonly write: readonly (readonly NodeId[])[]
  readonly readLists: readonly (readonly NodeId[])[]
  readonly read: readonly NodeId[]
  readonly all: readonly NodeId[]
}

/** Longer than any list of members. */
const EVERYBODY = Number.POSITIVE_INFINITY

/** The owners for one number of replicas under the first layout, and one under the second. */
class View {
  readonly #configuration: Configuration
  readonly #replicas: readonly [number, number]
  readonly #owners: (Owners | undefined)[]
  readonly #standIns: (readonly NodeId[] | undefined)[] = []
  #shares: ReadonlyMap<NodeId, number> | null = null

  constructor(configuration: Configuration, replicas: readonly [number, number]) {
    this.#configuration = configuration
    this.#replicas = replicas
    this.#owners = new Array(configuration.partitionCount)
  }

  owners(partition: number): Owners {
    return this.#owners[partition] ?? this.#makeOwners(partition)
  }

  standIns(partition: number): readonly NodeId[] {
    const known = this.#standIns[partition]
    if (known !== undefined) return known
    const { all } = this.owners(partition)
    const { members, excluded } = this.#configuration
    const list = preferenceList(readLayout(this.#configuration), partition)
    const others = members.map(({ nodeId }) => nodeId).filter((nodeId) => !list.includes(nodeId))
    const stays = new Set(targetLayout(this.#configuration).members)
    const barred = new Set([
      ...all,
      ...excluded,
      ...members.flatMap(({ nodeId }) => (stays.has(nodeId) ? [] : [nodeId])),
    ])
    const standIns = [...list, ...rotated(others, partition)].filter((nodeId) => !barred.has(nodeId))
    this.#standIns[partition] = standIns
    return standIns
  }

  get shares(): ReadonlyMap<NodeId, number> {
    this.#shares ??= this.#countShares()
    return this.#shares
  }

  #makeOwners(partition: number): Owners {
    const { layouts, partitionCount, phase } = this.#configuration
    assert(partition >= 0 && partition < partitionCount, 'the partition is one of the ring')
    const lists = layouts.map((layout, i) => ownersIn(layout, partition, this.#replicas[i] as number))
    const [old, changed] = lists as [readonly NodeId[], (readonly NodeId[])?]
    const current = changed ?? old
    const isSettled = changed === undefined || isSameSet(old, changed)
    const write = isSettled ? [current] : [old, current]
    const readLists = phase === 'begun' ? [isSettled ? current : old] : write
    const read = readLists.at(-1) as readonly NodeId[]
    const all = isSettled ? current : [...new Set([...read, ...old, ...current])]
    const owners = { write, readLists, read, all }
    this.#owners[partition] = owners
    return owners
  }

  #countShares(): ReadonlyMap<NodeId, number> {
    const layout = targetLayout(this.#configuration)
    const { partitionCount } = this.#configuration
    const counts = new Map<NodeId, number>()
    let total = 0
    for (let partition = 0; partition < partitionCount; partition++) {
      for (const nodeId of ownersIn(layout, partition, this.#replicas[1])) {
        counts.set(nodeId, (counts.get(nodeId) ?? 0) + 1)
        total++
      }
    }
    return new Map([...counts].map(([nodeId, count]) => [nodeId, count / total]))
  }
}

/**
 * The first `replicas` of the partition's list; for more than the list has, the others too, beginning
 * elsewhere in each partition.
 */
function ownersIn(layout: Layout, partition: number, replicas: number): readonly NodeId[] {
  const list = preferenceList(layout, partition, replicas)
  if (replicas !== EVERYBODY) return list
  const listed = new Set(list)
  const others = layout.members.filter((nodeId) => !listed.has(nodeId))
  return [...list, ...rotated(others, partition)]
}

function isSameSet(a: readonly NodeId[], b: readonly NodeId[]): boolean {
  return a.length === b.length && a.every((nodeId) => b.includes(nodeId))
}

function rotated(nodeIds: readonly NodeId[], by: number): readonly NodeId[] {
  const start = nodeIds.length === 0 ? 0 : by % nodeIds.length
  return [...nodeIds.slice(start), ...nodeIds.slice(0, start)]
}
