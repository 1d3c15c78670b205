/** All checkers of a running cluster, wired to its disks, its peers and its clients' history. */

import { present } from '../../base/assert.ts'
import { type Bytes, text } from '../../base/bytes.ts'
import type { NodeId } from '../../base/ids.ts'
import type { Conflicts, Keyspace } from '../../protocol/configuration.ts'
import { createRing, type Ring } from '../../protocol/ring.ts'
import type { DiskLedger } from '../data-loss.ts'
import { type HistoryObserver, type KeyspaceFacts, keyspaceNameOf, type Place, placeOf } from '../history.ts'
import type { HostClock } from '../sim-clock.ts'
import type { SimOperation } from '../sim-database.ts'
import type { WorldObserver } from '../sim-world.ts'
import type { Simulation } from '../simulation.ts'
import { type ConfigurationChecker, createConfigurationChecker } from './configurations.ts'
import { createDepartureChecker } from './departures.ts'
import { createDotLedger, type DotLedger } from './dot-ledger.ts'
import { createDurabilityChecker } from './durability.ts'
import { createHandOverChecker } from './hand-overs.ts'
import { createPurgeChecker, type PurgeChecker } from './purges.ts'
import { createSessionChecker } from './sessions.ts'
import {
  decodeStored,
  type RemovedKey,
  removedKeys,
  type StoredKey,
  type StoredRecord,
  storedKey,
} from './stored-record.ts'
import { checkEqualRoots, checkTrees } from './trees.ts'
import { Violation } from './violation.ts'
import { createVisibilityChecker } from './visibility.ts'
import { createVotesChecker, type VotesChecker } from './votes.ts'

export interface ClusterChecks {
  /** For the simulation's `observer`. */
  readonly disks: WorldObserver
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
  #ring: Ring | null = null
  #simulation: Simulation | null = null

  readonly history: readonly HistoryObserver[] = [
    this.#durability,
    createVisibilityChecker(this.dots, this.purges),
    createSessionChecker(this.purges.purged),
    this.purges,
    this.#departures,
  ]

  readonly disks: WorldObserver = {
    onWrite: (host, operations) => {
      this.#guarded(() => {
        const { records, removed } = this.#read(operations)
        for (const { place, stored } of removed) {
          if (place !== null) this.purges.forgotten(host, place, stored, false)
        }
        for (const { place, stored } of records) {
          this.dots.record(host, stored)
          if (place !== null) this.purges.written(host, place, stored)
        }
      })
    },
    onDurable: (host, operations) => {
      this.#guarded(() => {
        const { records, removed } = this.#read(operations)
        for (const { place, stored } of removed) {
          if (place !== null) this.#gone(host, place, stored)
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
    onFile: (host, name, bytes) => this.#guarded(() => this.votes.wrote(host, name, bytes)),
  }

  readonly ledger: DiskLedger = {
    isElsewhere: (host) => this.#durability.isElsewhere(host),
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
    const holders = this.#durability.holdersOfAll(placeOf(keyspace.name, key))
    if (holders >= keyspace.owners) return
    const missing = `${holders} of ${keyspace.owners} owners have all of ${keyspace.name}/${key}`
    throw new Violation(2, `after all faults ended and a read of all owners, only ${missing}`)
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

  #placeOfStored(stored: StoredKey): Place | null {
    const name = this.#names.get(stored.keyspaceId)
    return name === undefined ? null : placeOf(name, text(stored.key))
  }

  #ownersOf({ keyspaceId, key }: StoredKey): readonly NodeId[] {
    const ring = this.#ring
    const keyspace = ring?.keyspaceById(keyspaceId) ?? null
    return keyspace === null || ring === null ? [] : ring.allOwners(keyspace, ring.partitionOf(key))
  }

  #gone(host: string, place: Place, removed: RemovedKey): void {
    this.#durability.letGo(host, place, removed)
    this.purges.forgotten(host, place, removed, true)
    const { isStandIn, isPutAside } = removed
    this.#departures.letGo(host, place, isStandIn)
    if (isStandIn && !isPutAside) this.#handOvers.letGo(host, place, this.#ownersOf(removed))
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

  #replaced(host: string): void {
    const { world } = present(this.#simulation, 'it is watched')
    this.configurations.replaced(host)
    this.#durability.replaced(host, world.scheduler.nowMs)
    this.#handOvers.replaced(host)
    this.purges.replaced(host)
    this.#departures.replaced(host)
    for (const place = world.host(host).disk.newest.begin; place.valid; place.next()) {
      const [key, value] = [place.key as Bytes, place.value as Bytes]
      const stored = decodeStored(key, value)
      const keyPlace = stored === null ? null : this.#placeOfStored(stored)
      if (stored === null || keyPlace === null) continue
      this.#durability.durable(host, keyPlace, stored)
      this.#handOvers.durable(host, keyPlace, stored)
      this.#departures.durable(host, keyPlace, stored)
    }
  }

  readonly #look = (): void => {
    const simulation = present(this.#simulation, 'it is watched')
    for (const { node, host } of simulation.peers) {
      const configuration = node?.configuration ?? null
      if (node === null || configuration === null) continue
      this.#guarded(() => this.configurations.saw(host, configuration))
      this.#hosts.set(node.nodeId, host)
      if (configuration.number > (this.#ring?.number ?? 0)) this.#ring = createRing(configuration)
    }
    simulation.world.scheduler.after(LOOK_INTERVAL_MS, this.#look)
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
