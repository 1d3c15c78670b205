/** All checkers of a running cluster, wired to its disks, its peers and its clients' history. */

import { present } from '../../base/assert.ts'
import { type Bytes, text } from '../../base/bytes.ts'
import type { NodeId } from '../../base/ids.ts'
import type { Keyspace } from '../../protocol/configuration.ts'
import { createRing, type Ring } from '../../protocol/ring.ts'
import { KIND } from '../../store/keys.ts'
import type { DiskLedger } from '../data-loss.ts'
import { type HistoryObserver, type KeyspaceFacts, type Place, placeOf } from '../history.ts'
import type { SimOperation } from '../sim-database.ts'
import type { WorldObserver } from '../sim-world.ts'
import type { Simulation } from '../simulation.ts'
import { type ConfigurationChecker, createConfigurationChecker } from './configurations.ts'
import { createDotLedger, type DotLedger } from './dot-ledger.ts'
import { createDurabilityChecker } from './durability.ts'
import { createHandOverChecker } from './hand-overs.ts'
import { createSessionChecker } from './sessions.ts'
import {
  decodeStored,
  quarantinedKeys,
  type StoredKey,
  type StoredRecord,
  standInPlace,
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

/** A batch is looked at when it is written and when it is durable. */
const decoded = new WeakMap<SimOperation, StoredRecord | null>()

function decodeOnce(operation: SimOperation): StoredRecord | null {
  const known = decoded.get(operation)
  if (known !== undefined) return known
  const stored = operation.type === 'put' ? decodeStored(operation.key, operation.value) : null
  decoded.set(operation, stored)
  return stored
}

export function createClusterChecks(): ClusterChecks {
  const dots = createDotLedger()
  const configurations = createConfigurationChecker()
  const votes = createVotesChecker()
  const durability = createDurabilityChecker()
  const hosts = new Map<NodeId, string>()
  const handOvers = createHandOverChecker((nodeId) => hosts.get(nodeId) ?? null)
  const names = new Map<number, string>()
  let ring: Ring | null = null
  let simulation: Simulation | null = null

  /** What is found amid a peer's work must not become that peer's error. */
  const guarded = (check: () => void): void => {
    try {
      check()
    } catch (error) {
      if (simulation === null) throw error
      simulation.world.scheduler.fail(error)
    }
  }

  const placeOfStored = (stored: StoredKey): Place | null => {
    const name = names.get(stored.keyspaceId)
    return name === undefined ? null : placeOf(name, text(stored.key))
  }

  const ownersOf = ({ keyspaceId, key }: StoredKey): readonly NodeId[] => {
    const keyspace = ring?.keyspaceById(keyspaceId) ?? null
    return keyspace === null || ring === null ? [] : ring.allOwners(keyspace, ring.partitionOf(key))
  }

  const eachRecord = (operations: readonly SimOperation[], tell: (stored: StoredRecord) => void): void => {
    guarded(() => {
      for (const operation of operations) {
        const stored = decodeOnce(operation)
        if (stored !== null) tell(stored)
      }
    })
  }

  const eachLetGo = (host: string, operations: readonly SimOperation[]): void => {
    const isPutAside = operations.some(({ key }) => key[0] === KIND.quarantinedStandIn)
    for (const { type, key } of operations) {
      const standIn = type === 'del' ? standInPlace(key) : null
      const place = standIn === null ? null : placeOfStored(standIn)
      if (standIn === null || place === null) continue
      durability.letGo(host, place)
      if (!isPutAside) guarded(() => handOvers.letGo(host, place, ownersOf(standIn)))
    }
  }

  const look = (): void => {
    for (const peer of simulation?.peers ?? []) {
      const { node, host } = peer
      const configuration = node?.configuration ?? null
      if (node === null || configuration === null) continue
      guarded(() => configurations.saw(host, configuration))
      hosts.set(node.nodeId, host)
      if (configuration.number > (ring?.number ?? 0)) ring = createRing(configuration)
    }
    simulation?.world.scheduler.after(LOOK_INTERVAL_MS, look)
  }

  const lookAtTrees = (): void => {
    const { world, peers } = present(simulation, 'it is watched')
    guarded(() => {
      checkEqualRoots(peers.flatMap((peer) => checkTrees(peer, world.host(peer.host).disk.newest) ?? []))
    })
    world.scheduler.after(TREES_INTERVAL_MS, lookAtTrees)
  }

  return {
    dots,
    configurations,
    votes,
    history: [durability, createVisibilityChecker(dots), createSessionChecker()],
    disks: {
      onWrite: (host, operations) => eachRecord(operations, (stored) => dots.record(host, stored)),
      onDurable: (host, operations) => {
        for (const key of quarantinedKeys(operations)) durability.putAside(host, placeOfStored(key))
        eachLetGo(host, operations)
        eachRecord(operations, (stored) => {
          const place = placeOfStored(stored)
          durability.durable(host, place, stored)
          if (place !== null) handOvers.durable(host, place, stored)
        })
      },
      onFile: (host, name, bytes) => guarded(() => votes.wrote(host, name, bytes)),
    },
    watch(watched) {
      simulation = watched
      look()
      lookAtTrees()
    },
    ledger: {
      isElsewhere: (host) => durability.isElsewhere(host),
      replaced(host) {
        const { world } = present(simulation, 'it is watched')
        configurations.replaced(host)
        durability.replaced(host, world.scheduler.nowMs)
        handOvers.replaced(host)
        for (const place = world.host(host).disk.newest.begin; place.valid; place.next()) {
          const [key, value] = [place.key as Bytes, place.value as Bytes]
          const stored = decodeStored(key, value)
          const keyPlace = stored === null ? null : placeOfStored(stored)
          if (stored === null || keyPlace === null) continue
          durability.durable(host, keyPlace, stored)
          handOvers.durable(host, keyPlace, stored)
        }
      },
    },
    learnKeyspaces(keyspaces) {
      for (const { id, name } of keyspaces) names.set(id, name)
    },
    checkEveryOwner(keyspace, key) {
      const holders = durability.holdersOfAll(placeOf(keyspace.name, key))
      if (holders >= keyspace.owners) return
      const missing = `${holders} of ${keyspace.owners} owners have all of ${keyspace.name}/${key}`
      throw new Violation(2, `after all faults ended and a read of all owners, only ${missing}`)
    },
  }
}
