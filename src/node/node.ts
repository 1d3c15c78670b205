/**
 * One peer, put together: what is made of what, what starts and stops in which order, and which message goes where. The same in
 * production and in the simulator; only the effects differ.
 */
import { assert, present } from '../base/assert.ts'
import { KvError } from '../base/error.ts'
import { hashText32 } from '../base/hash.ts'
import type { Address, ClusterId, KeyspaceId, NodeId } from '../base/ids.ts'
import { parseClusterId } from '../base/ids.ts'
import { VERSION } from '../base/version.ts'
import { ConfigurationDriver } from '../cluster/configuration-driver.ts'
import type { ConfigurationRpc } from '../cluster/configuration-rpc.ts'
import { Links } from '../cluster/links.ts'
import { type ControlLinks, MembershipDriver } from '../cluster/membership-driver.ts'
import { Pauses } from '../cluster/pauses.ts'
import { Rpc } from '../cluster/rpc.ts'
import type { Coordination } from '../coordinator/coordination.ts'
import { Coordinator } from '../coordinator/coordinator.ts'
import { HedgeBudget } from '../coordinator/hedge-budget.ts'
import { Replica } from '../coordinator/replica.ts'
import type { Effects } from '../effects/effects.ts'
import type { Link, LinkPurpose, Listener } from '../effects/network.ts'
import type { Configuration } from '../protocol/configuration.ts'
import type { MembershipMessage } from '../protocol/membership/messages.ts'
import type { PeerView } from '../protocol/membership/peer.ts'
import { createRing, type Ring } from '../protocol/ring.ts'
import { Store } from '../store/store.ts'
import type { ConfigurationAnswer, ConfigurationQuestion } from '../wire/configuration-messages.ts'
import type { PeerFacts } from '../wire/handshake-messages.ts'
import type { PeerMessage } from '../wire/peer-messages.ts'
import type { KvService } from '../wire/requests.ts'
import { AddressBook } from './address-book.ts'
import { ClientSession, type SessionHost } from './client-session.ts'
import { Identity } from './identity.ts'
import { LocalService } from './local-service.ts'
import type { NodeOptions } from './node-options.ts'
import { PeerTraffic, type TrafficParts } from './peer-traffic.ts'

/** A stopping peer waits this long for requests that are under way. */
const DRAIN_MS = 5000
const DRAIN_STEP_MS = 10
const DIAL_INTERVAL_MS = 200
/** How long a directory that belongs to a cluster waits for the named peers to say whether it is theirs. */
const VERDICT_MS = 500
const CHANGE_TIMEOUT_MS = 8000

export function createNode(options: NodeOptions, effects: Effects): Node {
  return new Node(options, effects)
}

/** What exists once the disk was read. */
interface Parts {
  readonly identity: Identity
  readonly store: Store
  readonly book: AddressBook
  readonly links: Links
  readonly rpc: Rpc
  readonly membership: MembershipDriver
  readonly configuration: ConfigurationDriver
  readonly coordinator: Coordinator
  readonly replica: Replica
  readonly service: LocalService
}

export class Node {
  readonly #options: NodeOptions
  readonly #effects: Effects
  readonly #pauses: Pauses
  readonly #sessions = new Set<ClientSession>()
  /** Why a dial of ours was refused, or null for one that reached nobody: by address. */
  readonly #failedDials = new Map<Address, string | null>()
  #parts: Parts | null = null
  #ring: Ring | null = null
  /** Open from early in the start on, also when the rest of it fails. */
  #store: Store | null = null
  #listener: Listener | null = null
  #isReady = false
  #stopping: Promise<void> | null = null

  constructor(options: NodeOptions, effects: Effects) {
    this.#options = options
    this.#effects = effects
    this.#pauses = new Pauses(effects.clock)
  }

  /** Serves requests. */
  get isReady(): boolean {
    return this.#isReady
  }

  /** Where others find it: the real port, once it listens. */
  get address(): Address {
    return this.#options.advertise ?? this.#listener?.address ?? this.#options.listen
  }

  get nodeId(): NodeId {
    return this.#running.identity.nodeId
  }

  get service(): KvService {
    return this.#running.service
  }

  get membership(): MembershipDriver {
    return this.#running.membership
  }

  /** The configuration in force here; null before the first. */
  get configuration(): Configuration | null {
    return this.#parts?.configuration.current ?? null
  }

  /**
   * Fulfils when the peer serves: at once in a cluster it belongs to, after it was made a member otherwise, however long that takes.
   * @throws INVALID_ARGUMENT: the port is taken, the directory belongs to another cluster; CONFLICT: the cluster will not have it; INTERNAL:
   * the disk; UNAVAILABLE: stopped meanwhile
   */
  async start(): Promise<void> {
    assert(this.#parts === null, 'a node is started once')
    const effects = this.#effects
    const identity = await Identity.load(effects)
    const store = await Store.open(effects)
    this.#store = store
    const book = new AddressBook(effects)
    await book.load()
    this.#listener = await effects.network.listen(this.#options.listen, (link, purpose) =>
      this.#accept(link, purpose),
    )
    this.#parts = this.#assemble(identity, store, book)
    const { configuration, membership } = this.#parts
    await configuration.load()
    if (configuration.current !== null) {
      // A crash between founding a cluster and noting its name leaves the name out.
      if (identity.clusterId === null) await identity.joinCluster(configuration.current.clusterId)
      this.#adopt(configuration.current)
    }
    configuration.onAdopt((next) => this.#adopt(next))
    membership.start()
    membership.learn(book.entries().map(([nodeId, address]) => ({ nodeId, address })))
    configuration.start()
    void this.#dropLeftovers()
    await this.#findCluster()
    if (this.#stopping !== null) throw new KvError('UNAVAILABLE', 'this peer was stopped before it was ready')
    this.#isReady = true
    effects.log.info('node.ready', {
      nodeId: identity.nodeId,
      address: this.address,
      configuration: this.#ring?.number,
    })
  }

  /** Takes no more requests, finishes those under way, closes the store. Idempotent. */
  stop(): Promise<void> {
    this.#stopping ??= this.#stop()
    return this.#stopping
  }

  get #running(): Parts {
    return present(this.#parts, 'the node was started')
  }

  #assemble(identity: Identity, store: Store, book: AddressBook): Parts {
    const { clock, log } = this.#effects
    let trafficParts: TrafficParts | null = null
    // Asked for with every message, and there only once the parts are.
    const traffic = new PeerTraffic(() => {
      trafficParts ??= {
        ...this.#running,
        log,
        self: () => this.#selfFacts(identity),
        met: (facts) => this.#met(facts),
        dialFailed: (address, reason) => this.#failedDials.set(address, reason),
      }
      return trafficParts
    })
    const links = new Links(this.#effects, traffic)
    const rpc = new Rpc(links, clock, (nodeId) => this.#running.membership.addressOf(nodeId))
    const { zone, weight } = this.#options
    const { nodeId, generation, bootNonce } = identity
    const isAlive = (peer: NodeId): boolean => peer === nodeId || this.#running.membership.isAlive(peer)
    const membership = new MembershipDriver(
      { nodeId, generation, bootNonce, address: this.address, meta: { zone, weight, version: VERSION } },
      new MembershipLinks(links),
      {
        configurationSeen: (from, number) => this.#running.configuration.configurationSeen(from, number),
        outranked: (theirs, nonce, address) =>
          log.error('node.outranked', { generation, theirs, nonce, address }),
      },
      this.#effects,
    )
    membership.onChange((peer, _before, after) => this.#peerChanged(peer, after))
    const configuration = new ConfigurationDriver({
      identity: { nodeId, bootNonce, zone, weight },
      effects: this.#effects,
      rpc: configurationRpc(rpc),
      peers: {
        isAlive,
        known: () => membership.peers().map((peer) => peer.nodeId),
        nameOf: (peer) => membership.addressOf(peer) ?? peer,
      },
      holdsRecords: () => store.holdsRecords(),
    })
    const coordination: Coordination = {
      selfId: nodeId,
      clock,
      log,
      rpc,
      store,
      hedges: new HedgeBudget(),
      clusterSeed: () => hashText32(this.#requireRing().configuration.clusterId),
      ring: () => this.#requireRing(),
      isAlive,
      sawNumber: (from, number) => configuration.configurationSeen(from, number),
    }
    const coordinator = new Coordinator(coordination, this.#options)
    const replica = new Replica(coordination)
    const service = new LocalService({
      selfId: nodeId,
      coordinator,
      store,
      rpc,
      membership,
      ring: () => this.#requireRing(),
      pendingChange: () => configuration.pendingReason,
      change: (make) =>
        configuration.proposeKeyspaceChange((base) => make(base, clock.now()), CHANGE_TIMEOUT_MS),
    })
    return { identity, store, book, links, rpc, membership, configuration, coordinator, replica, service }
  }

  #peerChanged(nodeId: NodeId, after: PeerView | null): void {
    const { book, links, membership, configuration } = this.#running
    if (after === null) book.forget(nodeId)
    else book.note(nodeId, after.address)
    if (!membership.isAlive(nodeId)) links.cut(nodeId, 'declared dead')
    configuration.peersChanged()
    this.#topologyChanged()
  }

  #selfFacts(identity: Identity) {
    const { nodeId, generation, bootNonce, clusterId } = identity
    const { zone, weight } = this.#options
    const partitionCount = this.#ring?.partitionCount ?? 0
    return {
      nodeId,
      generation,
      bootNonce,
      clusterId,
      partitionCount,
      address: this.address,
      zone,
      weight,
      version: VERSION,
    }
  }

  #requireRing(): Ring {
    if (this.#ring !== null) return this.#ring
    throw new KvError('UNAVAILABLE', 'this peer has not joined its cluster yet; ask another one')
  }

  #accept(link: Link, purpose: LinkPurpose): void {
    if (this.#stopping !== null) return link.terminate()
    if (purpose === 'client') this.#sessions.add(new ClientSession(this.#sessionHost(), link))
    else this.#running.links.accept(link, purpose)
  }

  #sessionHost(): SessionHost {
    const { coordinator, service, identity, membership, configuration } = this.#running
    return {
      coordinator,
      service,
      clock: this.#effects.clock,
      identity: () => ({
        clusterId: this.#ring === null ? null : identity.clusterId,
        nodeId: identity.nodeId,
      }),
      topology: () => {
        const bytes = configuration.currentBytes
        if (bytes === null) return null
        const self = { nodeId: identity.nodeId, address: this.address, alive: true }
        const others = membership
          .peers()
          .map(({ nodeId, address }) => ({ nodeId, address, alive: membership.isAlive(nodeId) }))
        return { configuration: bytes, peers: [self, ...others] }
      },
      closed: (session) => this.#sessions.delete(session),
    }
  }

  /** Makes a cluster, goes back to the one the directory belongs to, or joins the one of the named peers. */
  async #findCluster(): Promise<void> {
    const { identity, configuration } = this.#running
    const { join } = this.#options
    for (const address of join) this.#running.links.dial(address)
    if (configuration.current !== null) {
      if (join.length > 0) await this.#awaitVerdict()
    } else if (join.length === 0 && identity.clusterId === null) {
      const clusterId = parseClusterId(this.#effects.random.id())
      await configuration.found(clusterId, this.#options.partitionCount)
      await identity.joinCluster(clusterId)
    } else {
      void this.#keepDialling()
      await configuration.join()
    }
  }

  /** A directory that belongs to another cluster than the named peers is a mistake worth stopping for. */
  async #awaitVerdict(): Promise<void> {
    const { clock } = this.#effects
    const { membership, identity } = this.#running
    const deadlineMs = clock.monotonic() + VERDICT_MS
    while (clock.monotonic() < deadlineMs && this.#stopping === null) {
      if (membership.peers().some(({ nodeId }) => membership.isAlive(nodeId))) return
      const failed = this.#options.join.filter((address) => this.#failedDials.has(address))
      if (failed.length === this.#options.join.length) break
      await this.#pauses.pause(DRAIN_STEP_MS)
    }
    for (const address of this.#options.join) {
      const reason = this.#failedDials.get(address) ?? null
      if (reason === null || !reason.includes('two clusters')) continue
      const ours = `${this.#effects.storage.name} belongs to cluster ${identity.clusterId}`
      throw new KvError(
        'INVALID_ARGUMENT',
        `${ours}, ${address} to another one; use another --data or another --join`,
      )
    }
  }

  /** Until the membership knows somebody who is up, and again when nobody is. */
  async #keepDialling(): Promise<void> {
    const { membership, links, book, identity } = this.#running
    while (!this.#isReady && this.#stopping === null) {
      const isAlone = !membership.peers().some(({ nodeId }) => membership.isAlive(nodeId))
      if (isAlone) {
        const addresses = [...this.#options.join, ...book.entries().map(([, address]) => address)]
        for (const address of addresses) if (address !== this.address) links.dial(address)
      }
      await this.#pauses.pause(DIAL_INTERVAL_MS)
    }
    this.#effects.log.debug('node.dialled', { nodeId: identity.nodeId })
  }

  #met(facts: PeerFacts): void {
    const { identity, book } = this.#running
    book.note(facts.nodeId, facts.address)
    if (identity.clusterId === null && facts.clusterId !== null) this.#joinCluster(facts.clusterId)
  }

  #joinCluster(clusterId: ClusterId): void {
    const { identity } = this.#running
    identity.joinCluster(clusterId).catch((error: unknown) => {
      this.#effects.log.error('identity.unsaved', { error }) // The next start asks the named peers again.
    })
  }

  /** A newer configuration is on disk: from this call on everything here goes by it. */
  #adopt(configuration: Configuration): void {
    const before = this.#ring?.configuration ?? null
    this.#setRing(configuration)
    const { membership, coordinator, store } = this.#running
    membership.setConfigurationNumber(configuration.number)
    if (configuration.removed.length > 0) membership.forget(configuration.removed)
    coordinator.configurationChanged()
    for (const keyspace of before?.keyspaces ?? []) {
      const stays = configuration.keyspaces.some(({ id }) => id === keyspace.id)
      if (!stays) void this.#dropRecords(store, keyspace.id)
    }
    this.#topologyChanged()
  }

  /** Records of keyspaces that were dropped while this peer was away. */
  async #dropLeftovers(): Promise<void> {
    const { store } = this.#running
    const configuration = this.#ring?.configuration
    if (configuration === undefined) return
    try {
      for (const held of await store.keyspaceIds()) {
        const isKnown = configuration.keyspaces.some(({ id }) => id === held)
        if (!isKnown && held < configuration.nextKeyspaceId) await this.#dropRecords(store, held)
      }
    } catch (error) {
      this.#effects.log.warn('keyspace.leftovers_kept', { error }) // They are in nobody's way; the next start tries again.
    }
  }

  async #dropRecords(store: Store, keyspaceId: KeyspaceId): Promise<void> {
    try {
      await store.dropKeyspace(keyspaceId)
    } catch (error) {
      this.#effects.log.error('keyspace.not_dropped', { keyspaceId, error }) // The next start tries again.
    }
  }

  #setRing(configuration: Configuration): void {
    this.#ring = createRing(configuration)
  }

  #topologyChanged(): void {
    for (const session of this.#sessions) session.topologyChanged()
  }

  async #stop(): Promise<void> {
    const { clock, log } = this.#effects
    this.#isReady = false
    this.#pauses.wake()
    const parts = this.#parts
    if (parts !== null) {
      parts.coordinator.stop()
      const deadlineMs = clock.monotonic() + DRAIN_MS
      while (parts.coordinator.inFlight > 0 && clock.monotonic() < deadlineMs)
        await this.#pauses.pause(DRAIN_STEP_MS)
      for (const session of [...this.#sessions]) session.close('this peer is stopping; ask another one')
      parts.membership.leave()
      await parts.configuration.stop()
      parts.rpc.stop()
      parts.links.stop()
      await parts.book.stop()
    }
    await this.#listener?.close()
    parts?.membership.stop()
    await this.#store?.close()
    this.#pauses.stop()
    log.info('node.stopped')
  }
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
    call: async (
      to: NodeId,
      question: ConfigurationQuestion,
      timeoutMs: number,
    ): Promise<ConfigurationAnswer> => {
      const reply = await rpc.call(to, 'control', timeoutMs, (id) => ({ ...question, id }) as PeerMessage)
      return reply as unknown as ConfigurationAnswer
    },
  }
}
