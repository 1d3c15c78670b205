/**
 * What this peer does for others, answered here: requests go to the coordinator, the rest is looked up or
 * asked of the other peers.
 */
import { present } from '../base/assert.ts'
import type { Bytes } from '../base/bytes.ts'
import { KvError } from '../base/error.ts'
import type { KeyspaceId, NodeId } from '../base/ids.ts'
import { VERSION } from '../base/version.ts'
import type { MembershipDriver } from '../cluster/membership-driver.ts'
import type { Rpc } from '../cluster/rpc.ts'
import type { Coordinator } from '../coordinator/coordinator.ts'
import { type Configuration, readLayout, targetLayout } from '../protocol/configuration.ts'
import { createKeyspace, dropKeyspace, keyspaceDifferences } from '../protocol/configuration-change.ts'
import type { Ring } from '../protocol/ring.ts'
import { findShortage, isLossAccepted, membersWaitedFor } from '../protocol/ring-change.ts'
import type { Store } from '../store/store.ts'
import { type LayoutChange, type LayoutInfo, type LayoutPlanInfo, parseLayoutChange } from '../wire/layout.ts'
import {
  checkGet,
  checkKey,
  checkKeyspaceName,
  checkKeyspaceShape,
  checkPut,
  checkRepair,
  completeKeyspaceOptions,
  keyspaceNamed,
} from '../wire/request-check.ts'
import type {
  ClusterStatus,
  GetReply,
  GetRequest,
  HintCount,
  KeyLocation,
  KeyspaceInfo,
  KeyspaceOptions,
  KeyspaceShape,
  KvService,
  PartitionOwners,
  PeerState,
  PeerStatus,
  PutReply,
  PutRequest,
  RingChangeReply,
  RingInfo,
} from '../wire/requests.ts'
import type { RepairRequest, RepairStart, TaskList } from '../wire/tasks.ts'
import { changeStatus } from './change-progress.ts'
import type { ClusterTasks } from './cluster-tasks.ts'
import type { LayoutOperations } from './layout-operations.ts'
import {
  askReport,
  type Complaints,
  dataWarnings,
  type PeerReport,
  purgeWarnings,
  reportOf,
} from './peer-reports.ts'
import type { RingOperations } from './ring-operations.ts'

export interface ServiceParts {
  readonly selfId: NodeId
  readonly coordinator: Coordinator
  readonly store: Store
  complaints(): Complaints
  readonly rpc: Rpc
  readonly membership: MembershipDriver
  readonly tasks: ClusterTasks
  readonly operations: RingOperations
  readonly layout: LayoutOperations
  /** @throws UNAVAILABLE before there is a configuration */
  ring(): Ring
  /** Why the open change of the ring does not go on, in words; null: it does, or there is none. */
  pendingChange(): string | null
  /** Who is missing so that nothing can be decided, as a sentence; null: enough may be there. */
  missingMajority(): string | null
  /** What is being simulated at this peer, in sentences; null: nothing can be. */
  activeFaults(): readonly string[] | null
  /** Whether somebody else answers there than who was looked for. */
  isStrangerAt(address: string): boolean
  /** Gets a successor of the current configuration decided. */
  change(make: (configuration: Configuration, nowMs: number) => Configuration): Promise<Configuration>
}

export class LocalService implements KvService {
  readonly #parts: ServiceParts

  constructor(parts: ServiceParts) {
    this.#parts = parts
  }

  put(request: PutRequest): Promise<PutReply> {
    return new Promise((resolve, reject) => {
      checkPut(request)
      this.#parts.coordinator.put(request, false, (error, reply) => {
        if (reply === null) reject(error)
        else resolve(reply)
      })
    })
  }

  get(request: GetRequest): Promise<GetReply> {
    return new Promise((resolve, reject) => {
      checkGet(request)
      this.#parts.coordinator.get(request, (error, reply) => {
        if (reply === null) reject(error)
        else resolve(reply)
      })
    })
  }

  async status(): Promise<ClusterStatus> {
    const { configuration } = this.#parts.ring()
    const { clusterId, number, phase } = configuration
    const ids = this.#everybody
    const reports = await this.#reports(ids)
    const peers = ids.map((nodeId) => this.#peerStatus(nodeId, configuration, reports))
    const pending = this.#parts.pendingChange()
    return {
      clusterId,
      nodeId: this.#parts.selfId,
      layout: { version: number, phase, pending, change: changeStatus(configuration, reports.values()) },
      peers: peers.sort((a, b) => (a.address < b.address ? -1 : 1)),
      faults: this.#parts.activeFaults() ?? [],
      warnings: this.#warnings(peers, reports, pending),
    }
  }

  async ring(): Promise<RingInfo> {
    const ring = this.#parts.ring()
    // As a keyspace of strategy `ring` uses it; in a cluster where every keyspace is `full`, as the default
    // one would.
    const keyspaces = ring.configuration.keyspaces
    const [first] = [...keyspaces.filter(({ strategy }) => strategy === 'ring'), ...keyspaces]
    const shown = present(first, 'the default keyspace cannot be dropped')
    const partitions = Array.from({ length: ring.partitionCount }, (_, partition): PartitionOwners => {
      return { partition, owners: ring.readOwners(shown, partition).map((nodeId) => this.#addressOf(nodeId)) }
    })
    return { partitionCount: ring.partitionCount, layoutVersion: ring.number, partitions }
  }

  async locate(keyspaceName: string, key: Bytes): Promise<KeyLocation> {
    checkKeyspaceName(keyspaceName)
    checkKey(key)
    const ring = this.#parts.ring()
    const keyspace = ring.keyspace(keyspaceName)
    if (keyspace === null)
      throw new KvError('NOT_FOUND', `there is no keyspace '${keyspaceName.slice(0, 64)}'`)
    const partition = ring.partitionOf(key)
    const owners = ring.readOwners(keyspace, partition)
    return { partition, owners: owners.map((nodeId) => this.#addressOf(nodeId)), replicas: owners.length }
  }

  async keyspaces(): Promise<readonly KeyspaceInfo[]> {
    return this.#parts.ring().configuration.keyspaces
  }

  async hints(): Promise<readonly HintCount[]> {
    const reports = await this.#reports(this.#everybody)
    return [...reports].flatMap(([holder, report]) => {
      return (report?.hintsFor ?? []).map(({ nodeId: target, records, bytes }) => {
        const holderAddress = this.#addressOf(holder)
        return { holder, holderAddress, target, targetAddress: this.#addressOf(target), records, bytes }
      })
    })
  }

  async repair(request: RepairRequest): Promise<RepairStart> {
    checkRepair(request)
    return this.#parts.tasks.repair(request)
  }

  tasks(): Promise<TaskList> {
    return this.#parts.tasks.tasks()
  }

  async createKeyspace(name: string, options: Partial<KeyspaceOptions> = {}): Promise<KeyspaceInfo> {
    checkKeyspaceName(name, 'name')
    const wanted = completeKeyspaceOptions(options)
    const same = this.#parts.ring().keyspace(name)
    if (same !== null && keyspaceDifferences(same, wanted).length === 0) return same
    const changed = await this.#parts.change((configuration, nowMs) =>
      createKeyspace(configuration, name, wanted, nowMs),
    )
    const made = changed.keyspaces.find((keyspace) => keyspace.name === name)
    if (made === undefined) throw new KvError('CONFLICT', `keyspace '${name}' was dropped at the same time`)
    return made
  }

  /** By its id also in here: the change is tried again on newer configurations. */
  async dropKeyspace(which: string | KeyspaceId): Promise<void> {
    const id = typeof which === 'number' ? which : keyspaceNamed(await this.keyspaces(), which).id
    await this.#parts.change((configuration, nowMs) => dropKeyspace(configuration, id, nowMs))
  }

  async alterKeyspace(which: string | KeyspaceId, shape: Partial<KeyspaceShape>): Promise<void> {
    checkKeyspaceShape(shape)
    const id = typeof which === 'number' ? which : keyspaceNamed(await this.keyspaces(), which).id
    await this.#parts.operations.alterKeyspace(id, shape)
  }

  async leave(peer: string): Promise<RingChangeReply> {
    return { staged: await this.#parts.operations.leave(peer) }
  }

  async remove(peer: string, acceptLoss = false): Promise<RingChangeReply> {
    return { staged: await this.#parts.operations.remove(peer, acceptLoss) }
  }

  async layout(): Promise<LayoutInfo> {
    return this.#parts.layout.show()
  }

  planLayout(): Promise<LayoutPlanInfo> {
    return this.#parts.layout.plan()
  }

  async changeLayout(change: LayoutChange): Promise<LayoutInfo> {
    return this.#parts.layout.change(parseLayoutChange(change))
  }

  #peerStatus(
    nodeId: NodeId,
    configuration: Configuration,
    reports: ReadonlyMap<NodeId, PeerReport | null>,
  ): PeerStatus {
    const { selfId, membership } = this.#parts
    const isSelf = nodeId === selfId
    const view = membership.view(nodeId)
    const isUp = isSelf || membership.isAlive(nodeId)
    const report = reports.get(nodeId) ?? null
    const isCounting = report === null ? null : report.isCounting === true
    // What was found so far would read as a loss.
    const counted = isCounting === true ? null : report
    return {
      id: nodeId,
      address: this.#addressOf(nodeId),
      zone: configuration.members.find((member) => member.nodeId === nodeId)?.zone ?? view?.meta.zone ?? '',
      state: stateOf(nodeId, configuration, isUp),
      share: this.#parts.ring().share(nodeId),
      keys: counted?.keys ?? null,
      bytes: counted?.bytes ?? null,
      hints: hintsFor(nodeId, reports),
      catchingUp: report?.catchingUp ?? null,
      quarantined: report?.quarantined ?? null,
      heartbeatAgeMs: isSelf ? 0 : membership.heartbeatAgeMs(nodeId),
      version: isSelf ? VERSION : (view?.meta.version ?? null),
      counting: isCounting,
    }
  }

  /** Of all that are up. Null: it did not answer in time. */
  async #reports(ids: readonly NodeId[]): Promise<ReadonlyMap<NodeId, PeerReport | null>> {
    const { selfId, membership, store, rpc } = this.#parts
    const reports = ids.map(async (nodeId) => {
      if (nodeId === selfId) return reportOf(store, this.#parts.complaints())
      return membership.isAlive(nodeId) ? await askReport(rpc, nodeId) : null
    })
    const answers = await Promise.all(reports)
    return new Map(ids.map((nodeId, i) => [nodeId, answers[i] ?? null]))
  }

  /** Everyone that is a member, or known to be on the way to it: who says that it goes is not any more. */
  get #everybody(): readonly NodeId[] {
    const { configuration } = this.#parts.ring()
    const members = configuration.members.map(({ nodeId }) => nodeId)
    const others = this.#parts.membership.peers().filter(({ nodeId, state }) => {
      return state !== 'left' && !members.includes(nodeId) && !configuration.removed.includes(nodeId)
    })
    return [...members, ...others.map(({ nodeId }) => nodeId)]
  }

  #warnings(
    peers: readonly PeerStatus[],
    reports: ReadonlyMap<NodeId, PeerReport | null>,
    pending: string | null,
  ): string[] {
    const warnings: string[] = []
    const { isStrangerAt, activeFaults } = this.#parts
    const why = whyDown(activeFaults())
    if (pending !== null && this.#isHeldUp()) warnings.push(pending)
    const missing = this.#parts.missingMajority()
    if (missing !== null) warnings.push(missing)
    for (const [nodeId, report] of reports) warnings.push(...dataWarnings(this.#addressOf(nodeId), report))
    warnings.push(...purgeWarnings(reports.values()))
    const { members, excluded } = this.#parts.ring().configuration
    for (const { id, address, state, catchingUp, quarantined } of peers) {
      const isMember = members.some(({ nodeId }) => nodeId === id)
      if (state === 'DJ' && !isMember) warnings.push(`${address} ${NEVER_CAME}`)
      else if (excluded.includes(id as NodeId))
        warnings.push(`${address} ${state.startsWith('D') ? LEFT_OUT : LEFT_OUT_AND_UP}`)
      else if (state.startsWith('D')) warnings.push(`${address} ${isStrangerAt(address) ? REPLACED : why}`)
      if (catchingUp !== null) warnings.push(`${address} is ${catchingUp}`)
      else if (quarantined !== null && quarantined > 0) {
        warnings.push(`${address} keeps ${quarantined} records in quarantine that no other owner has`)
      }
    }
    return warnings
  }

  /** What an open change waits for is no matter for a person while all go on with it by themselves. */
  #isHeldUp(): boolean {
    const { selfId, membership } = this.#parts
    const ring = this.#parts.ring()
    const { configuration } = ring
    if (configuration.phase === 'stable') return true
    const isUp = (nodeId: NodeId): boolean => nodeId === selfId || membership.isAlive(nodeId)
    const isShort = findShortage(ring) !== null && !isLossAccepted(configuration)
    return isShort || !membersWaitedFor(configuration).every(isUp)
  }

  #addressOf(nodeId: NodeId): string {
    return this.#parts.membership.addressOf(nodeId) ?? nodeId
  }
}

/** Of one who is down and was not let in yet: the cluster does without it. */
const NEVER_CAME =
  'is down and was no member yet: start it again, or let it be forgotten, which takes about a minute'

/** Of one who was given up: it cannot come back. */
const LEFT_OUT = 'is being removed: do not start it again with the data directory that it had'
const LEFT_OUT_AND_UP = 'is being removed, and takes no more writes: it ends by itself once that is done'
/** Of one who is down, while somebody else answers at its address: a start would find the port taken. */
const REPLACED =
  'is down, and another peer answers at its address (started with an empty directory and without --join?): ' +
  'stop that one, and start it again with the data directory it had, or with an empty one and --join'

/** What to do about a peer that is down. It may run, and must not be started twice. */
function whyDown(activeFaults: readonly string[] | null): string {
  const advice = 'start it again with the same data directory'
  if (activeFaults === null) return `is down: ${advice}`
  if (activeFaults.length === 0)
    return `is down: unless 'kvctl fault list' shows that it is cut off or plays dead, ${advice}`
  return 'is not reachable from here; a simulated fault may be the cause: kvctl fault list'
}

function hintsFor(target: NodeId, reports: ReadonlyMap<NodeId, PeerReport | null>): number {
  let count = 0
  for (const report of reports.values()) {
    count += report?.hintsFor?.find(({ nodeId }) => nodeId === target)?.records ?? 0
  }
  return count
}

function stateOf(nodeId: NodeId, configuration: Configuration, isUp: boolean): PeerState {
  const isOwner = readLayout(configuration).members.includes(nodeId)
  const stays = targetLayout(configuration).members.includes(nodeId)
  if (isOwner && stays) return isUp ? 'UN' : 'DN'
  // Who leaves does so until the last step, although reads count others before that.
  const [before] = configuration.layouts
  if (!stays && before.members.includes(nodeId)) return isUp ? 'UL' : 'DL'
  return isUp ? 'UJ' : 'DJ'
}
