/** All checkers of a running cluster, wired to its disks, its peers and its clients' history. */

import { present } from '../../base/assert.ts'
import { type Bytes, text, utf8 } from '../../base/bytes.ts'
import type { NodeId } from '../../base/ids.ts'
import { openCopy } from '../../cluster/twin-file.ts'
import { decodeIdentity, IDENTITY_FILE } from '../../node/identity.ts'
import type { Node } from '../../node/node.ts'
import type { Configuration, Conflicts, Keyspace } from '../../protocol/configuration.ts'
import { createRing, type Ring } from '../../protocol/ring.ts'
import { decidedIn } from '../change-watch.ts'
import type { DiskLedger } from '../data-loss.ts'
import { type HistoryObserver, type KeyspaceFacts, keyspaceNameOf, type Place, placeOf } from '../history.ts'
import type { HostClock } from '../sim-clock.ts'
import type { SimOperation } from '../sim-database.ts'
import type { FrameEntry, WorldObserver } from '../sim-world.ts'
import type { Simulation } from '../simulation.ts'
import { type ConfigurationChecker, createConfigurationChecker } from './configurations.ts'
import { createDepartureChecker } from './departures.ts'
import { createDotLedger, type DotLedger } from './dot-ledger.ts'
import { createDurabilityChecker } from './durability.ts'
import { createHandOverChecker } from './hand-overs.ts'
import { createKeepers } from './keepers.ts'
import { createNumberChecker } from './numbers.ts'
import { createPurgeChecker, type PurgeChecker } from './purges.ts'
import { createQuorumChecker } from './quorums.ts'
import { createSessionChecker } from './sessions.ts'
import {
  decodeStored,
  type RemovedKey,
  removedKeys,
  type StoredKey,
  type StoredRecord,
  storedKey,
} from './stored-record.ts'
import { isOrdered, stripOrdersIn } from './strip-orders.ts'
import { checkEqualRoots, checkTrees } from './trees.ts'
import { Violation } from './violation.ts'
import { createVisibilityChecker } from './visibility.ts'
import { createVotesChecker, type VotesChecker } from './votes.ts'

export interface ClusterChecks {
  /** For the simulation's `observer`. */
  readonly disks: WorldObserver
  /** For the simulation's `frame`. */
  readonly frames: (entry: FrameEntry) => void
  /** For the load's `observers`. */
  readonly history: readonly HistoryObserver[]
  readonly dots: DotLedger
  readonly purges: PurgeChecker
  readonly configurations: ConfigurationChecker
  readonly votes: VotesChecker
  /** Looks at the peers from time to time, and ends the run when something is wrong. */
  watch(simulation: Simulation): void
  /** Which keyspaces the history is about. */
  learnKeyspaces(keyspaces: readonly Keyspace[]): void
  /** When a host may lose its disk, and that it has another one. */
  readonly ledger: DiskLedger
  /** Every acknowledged write of a key is on all its owners' disks. */
  checkEveryOwner(keyspace: KeyspaceFacts, key: string): void
}

const LOOK_INTERVAL_MS = 50
/** Reading all disks takes longer than anything else here. */
const TREES_INTERVAL_MS = 5000

/** What a batch says about records. */
interface Batch {
  readonly records: readonly Placed<StoredRecord>[]
  readonly removed: readonly Placed<RemovedKey>[]
}

interface Placed<T> {
  readonly stored: T
  /** Null while the keyspace is not known. */
  readonly place: Place | null
}

export function createClusterChecks(): ClusterChecks {
  return new Checks()
}

class Checks implements ClusterChecks {
  readonly dots = createDotLedger()
  readonly configurations = createConfigurationChecker()
  readonly votes = createVotesChecker()
  readonly purges: PurgeChecker = createPurgeChecker(
    this.dots,
    {
      now: () => this.#simulation?.nowMs ?? 0,
      greatestWallMs: (host, sinceMs) => this.#clockOf(host).greatestWallMs(sinceMs),
    },
    (place) => present(this.#conflicts.get(keyspaceNameOf(place)), 'the keyspace of a record is known'),
  )
  readonly #durability = createDurabilityChecker(this.purges.purged)
  readonly #departures = createDepartureChecker(
    this.dots,
    this.purges.isStripped,
    () => this.#simulation?.nowMs ?? 0,
  )
  readonly #hosts = new Map<NodeId, string>()
  readonly #handOvers = createHandOverChecker((nodeId) => this.#hosts.get(nodeId) ?? null)
  readonly #names = new Map<number, string>()
  /** Each is looked at when it is written and when it is durable. */
  readonly #batches = new WeakMap<readonly SimOperation[], Batch>()
  readonly #conflicts = new Map<string, Conflicts>()
  /** The newest that anybody goes by. */
  #ring: Ring | null = null
  /** The newest that is on anybody's disk. */
  #newest: Ring | null = null
  readonly #keepers = createKeepers((nodeId) => this.#hosts.get(nodeId) ?? null)
  readonly #rings = new WeakMap<Configuration, Ring>()
  #simulation: Simulation | null = null
  /** Hosts whose peers have gone for good. */
  readonly #gone = new Set<string>()
  /** Hosts whose peers were removed, by the number that says so: until all others go by it, they count. */
  readonly #removedBy = new Map<string, number>()
  /** Host and place of what hosts were told to forget, because they own it no more. */
  readonly #dropping = new Set<string>()

  /** By host, who it is by its disk: before it is a member, too. */
  readonly #idsOnDisk = new Map<string, NodeId>()
  /** By host, of the configuration that its disk has. */
  readonly #numbersOnDisk = new Map<string, number>()
  /** That were ever decided, by number. */
  readonly #decided = new Map<number, Ring>()
  readonly #numbers = createNumberChecker({
    isUniform: () => this.#isUniform(),
    numberOn: (host) => {
      const peer = this.#simulation?.peers.find((each) => each.host === host)
      return peer === undefined ? null : (peer.node?.configuration?.number ?? 0)
    },
    lifeOn: (host) => this.#nodeOn(host),
  })
  readonly #quorums = createQuorumChecker({
    numbers: () => this.#numbersInForce(),
    rings: () => this.#decided.values(),
    holders: (write) => this.#durability.holdersOf(write),
    hostOf: (nodeId) => this.#hosts.get(nodeId) ?? null,
  })

  readonly frames = ({ from, to, frame }: FrameEntry): void => {
    this.#guarded(() => {
      this.#numbers.sent(from, to, frame)
      if (!this.#isPeer(from) || !this.#isPeer(to)) return
      for (const order of stripOrdersIn(frame)) {
        const place = this.#placeOfStored(order)
        if (place !== null) this.purges.ordered(place, (record) => isOrdered(order, record))
      }
    })
  }

  readonly history: readonly HistoryObserver[] = [
    this.#quorums,
    this.#durability,
    createVisibilityChecker(this.dots, this.purges),
    createSessionChecker(this.purges.purged),
    this.purges,
    this.#departures,
  ]

  readonly disks: WorldObserver = {
    onWrite: (host, operations) => {
      if (this.#isNobodys(host)) return
      this.#guarded(() => {
        const { records, removed } = this.#read(operations)
        for (const { place, stored } of removed) {
          if (place === null) continue
          if (!stored.isStandIn && !this.#owns(host, stored)) this.#dropping.add(`${host} ${place}`)
          this.purges.forgotten(host, place, this.#known(host, place, stored), false)
        }
        for (const { place, stored } of records) {
          this.dots.record(host, stored)
          if (place === null) continue
          if (!stored.isStandIn && this.#dropping.size > 0) this.#dropping.delete(`${host} ${place}`)
          this.purges.written(host, place, stored)
        }
      })
    },
    onDurable: (host, operations) => {
      if (this.#isNobodys(host)) return
      this.#guarded(() => {
        const { records, removed } = this.#read(operations)
        for (const { place, stored } of removed) {
          if (place !== null) this.#removed(host, place, stored)
        }
        for (const { place, stored } of records) {
          this.#durability.durable(host, place, stored)
          if (place === null) continue
          this.#handOvers.durable(host, place, stored)
          this.purges.durable(host, place, stored)
          this.#departures.durable(host, place, stored)
        }
      })
    },
    onLost: (host, operations) => {
      this.#guarded(() => {
        for (const { key } of operations) {
          const stored = storedKey(key)
          const place = stored === null || stored.isStandIn ? null : this.#placeOfStored(stored)
          if (place !== null) this.purges.lost(host, place)
        }
      })
    },
    onFile: (host, name, bytes) => {
      this.#guarded(() => this.votes.wrote(host, name, bytes))
      this.#noteIdentity(host, name, bytes)
      this.#noteDecided(host, name, bytes)
    },
    onGone: (host) => this.#isGone(host),
  }

  readonly ledger: DiskLedger = {
    isElsewhere: (host, isForGood) => {
      const ring = present(this.#newest, 'a peer has a configuration')
      return this.#durability.isElsewhere(host, (place) => this.#keepers.of(ring, place, isForGood))
    },
    replaced: (host) => this.#replaced(host),
  }

  watch(simulation: Simulation): void {
    this.#simulation = simulation
    this.#look()
    this.#lookAtTrees()
  }

  learnKeyspaces(keyspaces: readonly Keyspace[]): void {
    for (const { id, name, conflicts } of keyspaces) {
      this.#names.set(id, name)
      this.#conflicts.set(name, conflicts)
    }
  }

  checkEveryOwner(keyspace: KeyspaceFacts, key: string): void {
    // The change that everybody finished a moment ago says who owns it, not the look before.
    this.#learn()
    const ring = present(this.#ring, 'somebody knows a configuration')
    const now = ring.keyspace(keyspace.name)
    // A change may have begun meanwhile: who gains the key need not have it before reads ask him.
    const lists = now === null ? [] : ring.readLists(now, ring.partitionOf(utf8(key)))
    for (const list of lists) {
      const hosts = new Set(list.flatMap((nodeId) => this.#hosts.get(nodeId) ?? []))
      const holders = this.#durability.holdersOfAll(placeOf(keyspace.name, key), hosts)
      if (holders >= list.length) continue
      const missing = `${holders} of ${list.length} owners have all of ${keyspace.name}/${key}`
      throw new Violation(2, `after all faults ended and a read of all owners, only ${missing}`)
    }
  }

  /** What is found amid a peer's work must not become that peer's error. */
  #guarded(check: () => void): void {
    try {
      check()
    } catch (error) {
      if (this.#simulation === null) throw error
      this.#simulation.world.scheduler.fail(error)
    }
  }

  #noteIdentity(host: string, file: string, bytes: Bytes | null): void {
    const copy = bytes === null || file !== IDENTITY_FILE ? null : openCopy(IDENTITY_FILE, bytes)
    if (copy !== null) this.#idsOnDisk.set(host, decodeIdentity(copy.payload, host).nodeId)
  }

  #noteDecided(host: string, file: string, bytes: Bytes | null): void {
    const configuration = bytes === null ? null : decidedIn(file, bytes)
    if (configuration === null) return
    this.#numbersOnDisk.set(host, configuration.number)
    this.#handOvers.goesOn(host, (stored) => this.#heirsOf(host, stored))
    const self = this.#idsOnDisk.get(host)
    if (configuration.members.some(({ nodeId }) => nodeId === self)) this.#hosts.set(self as NodeId, host)
    if (this.#decided.has(configuration.number)) return
    const ring = createRing(configuration)
    this.#decided.set(ring.number, ring)
    if (ring.number > (this.#newest?.number ?? 0)) this.#newest = ring
    const before = this.#decided.get(configuration.number - 1)?.configuration.removed ?? []
    for (const nodeId of configuration.removed) {
      const host = before.includes(nodeId) ? undefined : this.#hosts.get(nodeId)
      if (host !== undefined && !this.#gone.has(host)) this.#removedBy.set(host, configuration.number)
    }
  }

  #forgetRemoved(): void {
    const stay = this.#simulation?.peers.filter(({ host }) => !this.#removedBy.has(host)) ?? []
    const lowest = Math.min(...stay.flatMap(({ node }) => node?.configuration?.number ?? []))
    for (const [host, number] of this.#removedBy) {
      if (number > lowest) continue
      this.#removedBy.delete(host)
      this.#isGone(host)
    }
  }

  /** A peer was here that has gone, and nobody else is. */
  #isNobodys(host: string): boolean {
    if (!this.#gone.has(host)) return false
    const node = this.#nodeOn(host)
    if (node !== null && node.configuration !== null) this.#isBack(host, node.nodeId)
    return this.#gone.has(host)
  }

  /** Somebody else, with a disk of his own, where a peer was that has gone. */
  #isBack(host: string, nodeId: NodeId): void {
    if (!this.#gone.has(host) || this.#ring?.configuration.removed.includes(nodeId) !== false) return
    this.#gone.delete(host)
    this.#replaced(host)
  }

  /** It may live on and not know it: what is on its disk is nobody's any more. */
  #isGone(host: string | undefined): void {
    if (host === undefined || this.#gone.has(host)) return
    this.#gone.add(host)
    this.#forget(host)
  }

  /** By host. Of those that are down: what their disks say. */
  #numbersInForce(): ReadonlyMap<string, number> {
    const numbers = new Map<string, number>()
    for (const { host, node } of this.#simulation?.peers ?? []) {
      const number = node?.configuration?.number ?? this.#numbersOnDisk.get(host)
      if (number !== undefined) numbers.set(host, number)
    }
    return numbers
  }

  /** Asked with every frame. */
  #isUniform(): boolean {
    let first: number | undefined
    for (const { node } of this.#simulation?.peers ?? []) {
      const number = node?.configuration?.number
      first ??= number
      if (number !== undefined && number !== first) return false
    }
    return true
  }

  #placeOfStored(stored: StoredKey): Place | null {
    const name = this.#names.get(stored.keyspaceId)
    return name === undefined ? null : placeOf(name, text(stored.key))
  }

  #ownersOf(host: string, { keyspaceId, key }: StoredKey): readonly NodeId[] {
    const ring = this.#ringOf(host)
    const keyspace = ring?.keyspaceById(keyspaceId) ?? null
    return keyspace === null || ring === null ? [] : ring.allOwners(keyspace, ring.partitionOf(key))
  }

  /**
   * Whom a stand-in record may be meant for. Nobody counts an excluded owner as one who has something, and it
   * never comes back with what it held: once a change is open that leaves it out, the others are whom what
   * was acknowledged has to be with, those of the old layout and of the new one.
   */
  #heirsOf(host: string, stored: StoredKey): readonly NodeId[] {
    const owners = this.#ownersOf(host, stored)
    const { phase, excluded } = this.#ringOf(host)?.configuration ?? {}
    if (phase === 'stable' || excluded === undefined) return owners
    return owners.filter((owner) => !excluded.includes(owner))
  }

  #removed(host: string, place: Place, removed: RemovedKey): void {
    const known = this.#known(host, place, removed)
    const { nowMs } = present(this.#simulation, 'it is watched').world.scheduler
    if (known.isDropped) {
      this.#durability.dropped(host, place, nowMs)
      this.#checkKept(host, place, removed)
    } else this.#durability.letGo(host, place, removed)
    this.purges.forgotten(host, place, known, true)
    const { isStandIn, isPutAside } = removed
    this.#departures.letGo(host, place, isStandIn)
    if (isStandIn && !isPutAside) this.#handOvers.letGo(host, place, this.#heirsOf(host, removed))
  }

  /** Old owners let go of a key only when the owners of now have all of it. */
  #checkKept(host: string, place: Place, removed: RemovedKey): void {
    const owners = this.#ownersOf(host, removed).flatMap((nodeId) => this.#hosts.get(nodeId) ?? [])
    if (owners.length === 0 || this.#durability.isKept(place, new Set(owners))) return
    const lost = 'its owners have not all that was acknowledged'
    throw new Violation(2, `${host} dropped ${place}, which it owns no more, and ${lost}`)
  }

  #read(operations: readonly SimOperation[]): Batch {
    const known = this.#batches.get(operations)
    if (known !== undefined) return known
    const records: Placed<StoredRecord>[] = []
    for (const operation of operations) {
      const stored = operation.type === 'put' ? decodeStored(operation.key, operation.value) : null
      if (stored !== null) records.push({ stored, place: this.#placeOfStored(stored) })
    }
    const removed = removedKeys(operations).map((stored) => ({ stored, place: this.#placeOfStored(stored) }))
    const batch = { records, removed }
    this.#batches.set(operations, batch)
    return batch
  }

  #clockOf(host: string): HostClock {
    return present(this.#simulation, 'it is watched').world.host(host).clock
  }

  #forget(host: string): void {
    const { nowMs } = present(this.#simulation, 'it is watched')
    this.#numbersOnDisk.delete(host)
    this.configurations.replaced(host)
    this.#durability.replaced(host, nowMs)
    this.#handOvers.replaced(host)
    this.purges.replaced(host)
    this.#departures.replaced(host)
  }

  #replaced(host: string): void {
    if (this.#gone.has(host)) return
    const { world } = present(this.#simulation, 'it is watched')
    this.#forget(host)
    for (const place = world.host(host).disk.image().tree.begin; place.valid; place.next()) {
      const [key, value] = [place.key as Bytes, place.value as Bytes]
      const stored = decodeStored(key, value)
      const keyPlace = stored === null ? null : this.#placeOfStored(stored)
      if (stored === null || keyPlace === null) continue
      this.#durability.durable(host, keyPlace, stored)
      this.#handOvers.durable(host, keyPlace, stored)
      this.#departures.durable(host, keyPlace, stored)
    }
  }

  /** A record that is dropped says nothing of its key, like one that is put aside. */
  #known(host: string, place: Place, removed: RemovedKey) {
    const isDropped = !removed.isStandIn && this.#dropping.has(`${host} ${place}`)
    return { ...removed, isDropped, isPutAside: removed.isPutAside || isDropped }
  }

  #owns(host: string, stored: StoredKey): boolean {
    const node = this.#nodeOn(host)
    if (node === null || node.configuration === null) return true
    return this.#ownersOf(host, stored).includes(node.nodeId)
  }

  #isPeer(host: string): boolean {
    return this.#simulation?.peers.some((peer) => peer.host === host) === true
  }

  #nodeOn(host: string): Node | null {
    return this.#simulation?.peers.find((peer) => peer.host === host)?.node ?? null
  }

  /** As the host itself goes by, which may know more than any other. */
  #ringOf(host: string): Ring | null {
    const configuration = this.#nodeOn(host)?.configuration ?? null
    if (configuration === null || configuration.number === this.#ring?.number) return this.#ring
    const known = this.#rings.get(configuration) ?? createRing(configuration)
    this.#rings.set(configuration, known)
    return known
  }

  readonly #look = (): void => {
    this.#learn()
    this.#forgetRemoved()
    present(this.#simulation, 'it is watched').world.scheduler.after(LOOK_INTERVAL_MS, this.#look)
  }

  /** Who is there, and what configurations the peers go by. */
  #learn(): void {
    const simulation = present(this.#simulation, 'it is watched')
    for (const { node, host } of simulation.peers) {
      const configuration = node?.configuration ?? null
      if (node === null || configuration === null) continue
      this.#guarded(() => this.configurations.saw(host, configuration))
      this.#hosts.set(node.nodeId, host)
      this.#isBack(host, node.nodeId)
      if (configuration.number > (this.#ring?.number ?? 0)) this.#ring = createRing(configuration)
    }
  }

  readonly #lookAtTrees = (): void => {
    const { world, peers } = present(this.#simulation, 'it is watched')
    this.#guarded(() => {
      checkEqualRoots(peers.flatMap((peer) => checkTrees(peer, world.host(peer.host).disk.newest) ?? []))
    })
    this.#guarded(() => this.#departures.judge())
    world.scheduler.after(TREES_INTERVAL_MS, this.#lookAtTrees)
  }
}
