/** All checkers of a running cluster, wired to its disks, its peers and its clients' history. */

import { present } from '../../base/assert.ts'
import { type Bytes, text } from '../../base/bytes.ts'
import type { Keyspace } from '../../protocol/configuration.ts'
import type { DiskLedger } from '../data-loss.ts'
import { type HistoryObserver, type KeyspaceFacts, type Place, placeOf } from '../history.ts'
import type { SimOperation } from '../sim-database.ts'
import type { WorldObserver } from '../sim-world.ts'
import type { Simulation } from '../simulation.ts'
import { type ConfigurationChecker, createConfigurationChecker } from './configurations.ts'
import { createDotLedger, type DotLedger } from './dot-ledger.ts'
import { createDurabilityChecker } from './durability.ts'
import { createSessionChecker } from './sessions.ts'
import {
  decodeStored,
  quarantinedKeys,
  type StoredKey,
  type StoredRecord,
  standInPlace,
} from './stored-record.ts'
import { checkTrees } from './trees.ts'
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

export function createClusterChecks(): ClusterChecks {
  const dots = createDotLedger()
  const configurations = createConfigurationChecker()
  const votes = createVotesChecker()
  const durability = createDurabilityChecker()
  const names = new Map<number, string>()
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

  const eachRecord = (operations: readonly SimOperation[], tell: (stored: StoredRecord) => void): void => {
    guarded(() => {
      for (const operation of operations) {
        const stored = operation.type === 'put' ? decodeStored(operation.key, operation.value) : null
        if (stored !== null) tell(stored)
      }
    })
  }

  const eachLetGo = (host: string, operations: readonly SimOperation[]): void => {
    for (const { type, key } of operations) {
      const standIn = type === 'del' ? standInPlace(key) : null
      if (standIn !== null) durability.letGo(host, placeOfStored(standIn))
    }
  }

  const look = (): void => {
    for (const peer of simulation?.peers ?? []) {
      const configuration = peer.node?.configuration ?? null
      if (configuration !== null) guarded(() => configurations.saw(peer.host, configuration))
    }
    simulation?.world.scheduler.after(LOOK_INTERVAL_MS, look)
  }

  const lookAtTrees = (): void => {
    const { world, peers } = present(simulation, 'it is watched')
    for (const peer of peers) guarded(() => checkTrees(peer, world.host(peer.host).disk.newest))
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
        eachRecord(operations, (stored) => durability.durable(host, placeOfStored(stored), stored))
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
        for (const place = world.host(host).disk.newest.begin; place.valid; place.next()) {
          const [key, value] = [place.key as Bytes, place.value as Bytes]
          const stored = decodeStored(key, value)
          if (stored !== null) durability.durable(host, placeOfStored(stored), stored)
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
