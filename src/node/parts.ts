/**
 * What a peer is made of, and which part knows which. Made once the disk was read and the address is known;
 * nothing runs yet.
 */
import { present } from '../base/assert.ts'
import { hashText32 } from '../base/hash.ts'
import type { Address, NodeId } from '../base/ids.ts'
import { VERSION } from '../base/version.ts'
import { ConfigurationDriver } from '../cluster/configuration-driver.ts'
import type { ConfigurationRpc } from '../cluster/configuration-rpc.ts'
import { Links, type SelfFacts } from '../cluster/links.ts'
import { type ControlLinks, MembershipDriver } from '../cluster/membership-driver.ts'
import { Rpc } from '../cluster/rpc.ts'
import { AntiEntropy } from '../coordinator/anti-entropy.ts'
import { Arrivals } from '../coordinator/arrivals.ts'
import { BackgroundJob } from '../coordinator/background-job.ts'
import { CatchUp } from '../coordinator/catch-up.ts'
import type { Coordination } from '../coordinator/coordination.ts'
import { Coordinator } from '../coordinator/coordinator.ts'
import { damageAdvice } from '../coordinator/damage-advice.ts'
import { FenceKeeper } from '../coordinator/fence-keeper.ts'
import { FenceMember } from '../coordinator/fence-member.ts'
import { HintedHandoff } from '../coordinator/hinted-handoff.ts'
import { LingerLimit } from '../coordinator/linger-limit.ts'
import { PartitionSource } from '../coordinator/partition-source.ts'
import { PurgeOwner } from '../coordinator/purge-owner.ts'
import { Purger } from '../coordinator/purger.ts'
import { RecordRescue } from '../coordinator/record-rescue.ts'
import { Replica } from '../coordinator/replica.ts'
import { RequestBudget } from '../coordinator/request-budget.ts'
import { StallWatch } from '../coordinator/stall-watch.ts'
import { Takeover } from '../coordinator/takeover.ts'
import { TreeReplica } from '../coordinator/tree-replica.ts'
import type { Effects } from '../effects/effects.ts'
import { type Configuration, targetLayout } from '../protocol/configuration.ts'
import { readmit } from '../protocol/configuration-change.ts'
import { type EraFacts, Eras } from '../protocol/eras.ts'
import { HoldLedger } from '../protocol/hold-ledger.ts'
import type { MembershipMessage } from '../protocol/membership/messages.ts'
import { isUp, type PeerView } from '../protocol/membership/peer.ts'
import type { Ring } from '../protocol/ring.ts'
import type { Store } from '../store/store.ts'
import type { ConfigurationAnswer } from '../wire/configuration-messages.ts'
import type { KnownLife } from '../wire/handshake-messages.ts'
import type { PeerMessage } from '../wire/peer-messages.ts'
import type { AddressBook, NotedLife } from './address-book.ts'
import { takeoverReport } from './change-progress.ts'
import { ClusterFinder } from './cluster-finder.ts'
import { clusterSizes } from './cluster-sizes.ts'
import { ClusterTasks } from './cluster-tasks.ts'
import { DroppedKeyspaces } from './dropped-keyspaces.ts'
import { Farewells } from './farewells.ts'
import type { Identity } from './identity.ts'
import { LayoutOperations, type LayoutOperationsHost, type WaitingPeer } from './layout-operations.ts'
import { Leftovers } from './leftovers.ts'
import { LifeClaims } from './life-claims.ts'
import { LocalService, type ServiceParts } from './local-service.ts'
import type { NodeOptions } from './node-options.ts'
import { lacksOf } from './own-lacks.ts'
import { PeerTasks } from './peer-tasks.ts'
import { PeerTraffic, type TrafficParts } from './peer-traffic.ts'
import { RingOperations } from './ring-operations.ts'
import { missingMajority, vetted } from './vetted-change.ts'

/** Of the reads, how many may ask one more owner because the first is slow. */
const HEDGED_SHARE = 0.05
const CHANGE_TIMEOUT_MS = 8000
/** So long may writes be acknowledged whose disk is gone. */
const PLACE_CHECK_MS = 1000

export interface Parts {
  readonly identity: Identity
  readonly store: Store
  readonly book: AddressBook
  readonly links: Links
  readonly rpc: Rpc
  readonly membership: MembershipDriver
  readonly configuration: ConfigurationDriver
  readonly claims: LifeClaims
  readonly dropped: DroppedKeyspaces
  readonly finder: ClusterFinder
  readonly coordinator: Coordinator
  readonly stalls: StallWatch
  readonly handoff: HintedHandoff
  readonly antiEntropy: AntiEntropy
  readonly catchUp: CatchUp
  readonly rescue: RecordRescue
  readonly purger: Purger
  readonly takeover: Takeover
  readonly leftovers: Leftovers
  readonly farewells: Farewells
  readonly placeWatch: BackgroundJob
  readonly service: LocalService
}

export interface Surroundings {
  readonly effects: Effects
  readonly options: NodeOptions
  /** Where others find this peer. */
  readonly address: Address
  readonly identity: Identity
  readonly store: Store
  readonly book: AddressBook
  /** Of the configuration in force; null before the first. */
  ring(): Ring | null
  /** @throws UNAVAILABLE before the first configuration */
  requireRing(): Ring
  /** What is being simulated at this peer, in sentences; null: nothing can be. */
  activeFaults(): readonly string[] | null
  /** There is a newer life of this node, as the sentence says: this one must end. */
  outranked(how: string): void
  /** No member talks with this peer any more, because it was removed, as the sentence says. */
  turnedOut(how: string): void
}

export function assembleParts(around: Surroundings): Parts {
  const { effects, options, identity, store, book } = around
  let trafficParts: TrafficParts | null = null
  let change: Pick<Parts, 'takeover' | 'leftovers'> | null = null
  store.ownership.takeOnly((keyspaceId, partition) => {
    const ring = around.ring()
    return ring === null || !ring.isLeftOver(identity.nodeId, keyspaceId, partition)
  })
  const cluster = assembleCluster(
    around,
    () => present(trafficParts, 'no link is made before the parts are together'),
    () => {
      const { takeover, leftovers } = present(change, 'nobody asks before the parts are together')
      const configuration = around.ring()?.configuration
      if (configuration?.phase === 'stable') return leftovers.waitsFor
      return takeover.waitsFor ?? lastDuties(around, configuration ?? null)
    },
  )
  const { rpc, membership, configuration } = cluster
  const coordination = coordinationOf(around, cluster)
  const shownName = (peer: NodeId): string => membership.addressOf(peer) ?? peer
  const takeover = new Takeover(coordination, shownName)
  const leftovers = leftoversOf(around, cluster)
  const farewells = new Farewells(effects.clock, (nodeIds) => membership.forget(nodeIds))
  change = { takeover, leftovers }
  const { stalls, eras } = coordination
  const coordinator = new Coordinator(coordination, options)
  const handoff = new HintedHandoff(coordination, shownName)
  const antiEntropy = new AntiEntropy(coordination, effects.random)
  const catchUp = catchUpOf(coordination, cluster)
  const rescue = new RecordRescue(coordination)
  const { purger, purgeOwner } = assemblePurging(around, coordination, leftovers)
  const finder = new ClusterFinder({ effects, options, identity, book, ...cluster })
  const tasks = new PeerTasks(coordination, antiEntropy, handoff, catchUp, takeover)
  const complaints = () => ({
    catchingUp: catchUp.report,
    purgeWaits: purger.complaint,
    ringWaits: takeover.complaint ?? leftovers.complaint ?? handoff.complaint,
    takeover: takeoverReport(takeover.progress, effects.clock.monotonic()),
  })
  const service = serviceOf(around, cluster, { coordinator, complaints, tasks })
  trafficParts = {
    ...{ log: effects.log, rpc, store, membership, configuration, coordinator, complaints, finder, tasks },
    replica: new Replica(coordination),
    treeReplica: new TreeReplica(coordination),
    ...{ purgeOwner, eras },
    self: () => ({ ...selfFacts(around), ...eras.facts }),
    source: new PartitionSource(coordination),
    newestLife: (peer) => newestLife(membership.view(peer), book.lifeOf(peer)),
    book,
    claims: cluster.claims,
    farewells,
    // One that refuses may lie; when all do, or are down, this peer is of no use to anybody.
    turnedOut: (how) => {
      if (!membership.peers().some((peer) => membership.isAlive(peer.nodeId))) around.turnedOut(how)
    },
  }
  const dropped = new DroppedKeyspaces(store, effects)
  const placeWatch = new BackgroundJob(effects.clock, async () => {
    await store.checkPlace()
    return PLACE_CHECK_MS
  })
  const background = { antiEntropy, catchUp, rescue, purger, takeover, leftovers, placeWatch }
  const data = { coordinator, dropped, farewells, stalls, handoff, ...background, service }
  return { identity, store, book, ...cluster, finder, ...data }
}

type Cluster = Pick<Parts, 'links' | 'rpc' | 'membership' | 'configuration' | 'claims'>

/** @param waitsFor why this peer is not ready for the next step of a change of the ring; null: it is */
function assembleCluster(
  around: Surroundings,
  trafficParts: () => TrafficParts,
  waitsFor: () => string | null,
): Cluster {
  const { effects, options, identity, store } = around
  const { nodeId, generation, bootNonce } = identity
  const links = new Links(effects, new PeerTraffic(trafficParts))
  const rpc: Rpc = new Rpc(links, effects.clock, (peer) => membership.addressOf(peer))
  const membership: MembershipDriver = new MembershipDriver(
    { nodeId, generation, bootNonce, address: around.address, meta: metaOf(options) },
    new MembershipLinks(links),
    {
      configurationSeen: (from, number) => configuration.configurationSeen(from, number),
      outranked: (theirs, nonce, at) => claims.heard({ generation: theirs, bootNonce: nonce, address: at }),
    },
    effects,
  )
  const configuration: ConfigurationDriver = new ConfigurationDriver({
    identity: { nodeId, bootNonce, zone: options.zone, weight: options.weight },
    replaces: options.replace,
    isManual: options.manualLayout,
    effects,
    rpc: configurationRpc(rpc),
    peers: {
      isAlive: (peer) => peer === nodeId || membership.isAlive(peer),
      known: () => membership.peers().map((peer) => peer.nodeId),
      nameOf: (peer) => membership.addressOf(peer) ?? peer,
    },
    waitsFor,
    lacks: () => lacksOf(store, around.ring()),
  })
  const claims = claimsOf(around, membership)
  return { links, rpc, membership, configuration, claims }
}

function claimsOf(around: Surroundings, membership: MembershipDriver): LifeClaims {
  const { effects, identity, address, store } = around
  return new LifeClaims({
    ...{ effects, identity, address },
    others: () => otherMembers(around.ring(), identity.nodeId),
    nodeAt: (place) => membership.peers().find((peer) => peer.address === place)?.nodeId ?? null,
    renewActors() {
      store.renewActor()
      store.standIns.renewActor()
    },
    risen: (generation) => membership.rise(generation),
    outranked: (how) => around.outranked(how),
  })
}

function coordinationOf(around: Surroundings, { rpc, membership, configuration }: Cluster): Coordination {
  const { effects, identity, store } = around
  const { clock, log } = effects
  const selfId = identity.nodeId
  const arrivals = new Arrivals()
  return {
    ...{ selfId, clock, log, rpc, store },
    hedges: new RequestBudget(HEDGED_SHARE),
    lingers: new LingerLimit(),
    stalls: new StallWatch(clock),
    eras: new Eras(),
    arrivals,
    clusterSeed: () => hashText32(around.requireRing().configuration.clusterId),
    hasRing: () => around.ring() !== null,
    ring: () => around.requireRing(),
    isAlive: (peer) => peer === selfId || membership.isAlive(peer),
    // Whom nobody waits for may have missed what a change of the ring brought him.
    isComplete: (keyspaceId, partition) =>
      store.completeness.isComplete(keyspaceId, partition) &&
      !arrivals.has(keyspaceId, partition) &&
      around.ring()?.configuration.excluded.includes(selfId) !== true,
    sawNumber: (from, number) => configuration.configurationSeen(from, number),
  }
}

function catchUpOf(coordination: Coordination, { configuration, membership }: Cluster): CatchUp {
  const { selfId, clock } = coordination
  return new CatchUp(coordination, {
    readmit: (storeId) =>
      configuration.proposeChange((base) => readmit(base, selfId, storeId, clock.now()), CHANGE_TIMEOUT_MS),
    renewAcceptor: () => configuration.renewAcceptor(CHANGE_TIMEOUT_MS),
    nameOf: (peer) => membership.addressOf(peer) ?? peer,
  })
}

function serviceOf(
  around: Surroundings,
  { rpc, membership, configuration }: Cluster,
  { tasks, ...data }: Pick<ServiceParts, 'coordinator' | 'complaints'> & { readonly tasks: PeerTasks },
): LocalService {
  const { effects, identity, store } = around
  const selfId = identity.nodeId
  const ring = (): Ring => around.requireRing()
  const { log } = effects
  const addressOf = (peer: NodeId) => (peer === selfId ? around.address : membership.addressOf(peer))
  const voters = { isDown: (peer: NodeId) => isKnownDown(membership.view(peer)), addressOf }
  const host: LayoutOperationsHost = {
    ...{ selfId, ring, log, addressOf },
    now: () => effects.clock.now(),
    isAlive: (peer) => membership.isAlive(peer),
    configuration: () => around.requireRing().configuration,
    changeRing: (change, timeoutMs, onLoss) =>
      configuration.changeRing(vetted(voters, change), timeoutMs, onLoss),
    proposeChange: (change, timeoutMs) => configuration.proposeChange(vetted(voters, change), timeoutMs),
    waiting: () => waitingPeers(membership, around.requireRing().configuration),
    sizes: () => clusterSizes(around.requireRing(), { selfId, store, rpc, membership }),
  }
  return new LocalService({
    ...data,
    ...{ selfId, store, rpc, membership, ring },
    tasks: new ClusterTasks({
      ...{ selfId, rpc, ring, own: tasks },
      isAlive: (peer) => peer === selfId || membership.isAlive(peer),
      addressOf: (peer) => membership.addressOf(peer) ?? peer,
    }),
    operations: new RingOperations(host),
    layout: new LayoutOperations(host),
    pendingChange: () => configuration.pendingReason,
    activeFaults: () => around.activeFaults(),
    isStrangerAt: (place) => around.book.isStrangerAt(place),
    missingMajority: () => missingMajority(voters, around.requireRing().configuration),
    change: (make) => host.proposeChange((base) => make(base, effects.clock.now()), CHANGE_TIMEOUT_MS),
  })
}

/** It was met in this life, or somebody else met it. */
function isKnownDown(view: PeerView | null): boolean {
  return view !== null && view.generation > 0 && !isUp(view.state)
}

/** Who is up and known, and no member. */
function waitingPeers(membership: MembershipDriver, { members }: Configuration): readonly WaitingPeer[] {
  return membership.peers().flatMap(({ nodeId, meta: { zone, weight } }) => {
    const isMember = members.some((member) => member.nodeId === nodeId)
    return isMember || !membership.isAlive(nodeId) ? [] : [{ nodeId, zone, weight }]
  })
}

/** What a peer that leaves has to see to before it may go, in words; null: nothing. */
function lastDuties({ identity, store }: Surroundings, configuration: Configuration | null): string | null {
  if (configuration?.phase !== 'switched') return null
  if (targetLayout(configuration).members.includes(identity.nodeId)) return null
  const { records } = store.standIns.total
  return records === 0 ? null : `hands over ${records} records that it keeps for others`
}

function leftoversOf(
  { identity, store, effects, ring }: Surroundings,
  { configuration }: Cluster,
): Leftovers {
  return new Leftovers(store, effects, {
    ring,
    isLeftOver: (now, { keyspaceId, partition }) => now.isLeftOver(identity.nodeId, keyspaceId, partition),
    isAcknowledged: () => configuration.isAcknowledged(),
    damageAdvice: () => damageAdvice(ring(), identity.nodeId),
  })
}

function otherMembers(ring: Ring | null, selfId: NodeId): readonly NodeId[] | null {
  if (ring === null) return null
  const { members, excluded } = ring.configuration
  return members.flatMap(({ nodeId }) => (nodeId === selfId || excluded.includes(nodeId) ? [] : [nodeId]))
}

function assemblePurging(
  { effects, options, identity }: Surroundings,
  coordination: Coordination,
  leftovers: Leftovers,
) {
  const { bootNonce: nonce, generation } = identity
  const holds = new HoldLedger()
  const hasLeftovers = (): boolean => leftovers.waitsFor !== null
  const member = new FenceMember(coordination, { nonce, generation }, hasLeftovers)
  const keeper = new FenceKeeper(coordination, effects.random, member)
  const purgeOwner = new PurgeOwner(coordination, options.purge, holds, member, keeper)
  leftovers.onDropped((place, records) => purgeOwner.dropped(place, records))
  return { purger: new Purger(coordination, effects, options.purge, holds, purgeOwner, keeper), purgeOwner }
}

function metaOf({ zone, weight }: NodeOptions) {
  return { zone, weight, version: VERSION }
}

function selfFacts(around: Surroundings): Omit<SelfFacts, keyof EraFacts> {
  const { nodeId, generation, bootNonce, clusterId } = around.identity
  const partitionCount = around.ring()?.partitionCount ?? 0
  const { address, options } = around
  return { nodeId, generation, bootNonce, clusterId, partitionCount, address, ...metaOf(options) }
}

/** What others believe, or who was met when they do not know better. */
function newestLife(view: PeerView | null, noted: NotedLife | null): KnownLife | null {
  const rest = { isUp: false, isSelf: false }
  if (view === null || view.generation === 0 || view.generation < (noted?.generation ?? 0)) {
    return noted === null ? null : { ...rest, ...noted }
  }
  const { generation, bootNonce, address } = view
  return { ...rest, generation, bootNonce, isUp: isUp(view.state), address }
}

/** The membership's messages go over control links; what it asks is held to an answer. */
class MembershipLinks implements ControlLinks {
  readonly #links: Links

  constructor(links: Links) {
    this.#links = links
  }

  send(to: NodeId, address: Address, message: MembershipMessage): void {
    const link = this.#links.to(to, address, 'control')
    if (link === null) return // A dial failed a moment ago: like a lost packet.
    if (message.type === 'ping') this.#links.ask(link, message, 0)
    else link.send(message, 0)
  }

  dial(address: Address): void {
    this.#links.dial(address)
  }
}

function configurationRpc(rpc: Rpc): ConfigurationRpc {
  return {
    call: async (to, question, timeoutMs) => {
      const reply = await rpc.call(to, 'control', timeoutMs, (id) => ({ ...question, id }) as PeerMessage)
      // Whoever asked checks that it is the answer to his question.
      return reply as unknown as ConfigurationAnswer
    },
  }
}
