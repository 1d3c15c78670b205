/**
 * One peer: what starts and stops in which order, and what a new configuration changes. The same in
 * production and in the simulator; only the effects differ.
 */
import { assert, present } from '../base/assert.ts'
import { KvError } from '../base/error.ts'
import { type Address, makeAddress, type NodeId, splitAddress } from '../base/ids.ts'
import type { MembershipDriver } from '../cluster/membership-driver.ts'
import { answerLife, UNKNOWN_LIFE } from '../cluster/newest-life.ts'
import { Pauses } from '../cluster/pauses.ts'
import type { Effects } from '../effects/effects.ts'
import type { Link, LinkPurpose, Listener } from '../effects/network.ts'
import type { Configuration } from '../protocol/configuration.ts'
import { isUp, type PeerView } from '../protocol/membership/peer.ts'
import { createRing, type Ring } from '../protocol/ring.ts'
import type { StandInCount } from '../store/stand-in-tally.ts'
import { Store } from '../store/store.ts'
import type { FaultControl, PeerPlace } from '../wire/faults.ts'
import type { KvService } from '../wire/requests.ts'
import { AddressBook } from './address-book.ts'
import { ClientSession, type SessionHost, turnAway } from './client-session.ts'
import { type SimulatedFailures, simulateFailures } from './faults/simulated-failures.ts'
import { Identity } from './identity.ts'
import { hasHandedOver, hasLeft, wasRemoved } from './last-words.ts'
import { type EmptyPlace, findLoss, takeVacantPlace } from './lost-directory.ts'
import { askForNewerLives, runsElsewhere } from './newer-lives.ts'
import type { NodeOptions } from './node-options.ts'
import { assembleParts, type Parts } from './parts.ts'

/** A stopping peer waits this long for requests that are under way. */
const DRAIN_MS = 5000
/** And this long, at most, to deliver what it keeps for others. */
const FLUSH_MS = 3000
const DRAIN_STEP_MS = 10
/** Who has left sees to it for so long that the others know. */
const FAREWELL_MS = 15_000
const STARTING = 'this peer is starting: it has not joined its cluster yet; ask another one'

/**
 * @param onEnd a peer that was ready ends itself: why, and what to do; null: it has left its cluster, as it
 * was to. Its `stop` tells when it has
 */
export function createNode(
  options: NodeOptions,
  effects: Effects,
  onEnd: (error: KvError | null) => void = () => undefined,
): Node {
  return new Node(options, effects, onEnd)
}

export class Node {
  readonly #options: NodeOptions
  readonly #effects: Effects
  readonly #onEnd: (error: KvError | null) => void
  readonly #pauses: Pauses
  /** Null: no failures are simulated here, and nothing is in the way of the network. */
  readonly #failures: SimulatedFailures | null
  readonly #sessions = new Set<ClientSession>()
  #opening: Promise<Parts> | null = null
  #stopping: Promise<void> | null = null
  #parts: Parts | null = null
  #ring: Ring | null = null
  #listener: Listener | null = null
  #isReady = false
  /** Null until it was read. */
  #book: AddressBook | null = null
  /** It knows that it is no member any more, and sees to it that the others do. */
  #isLeaving = false
  /** Why this peer ended itself. */
  #fatal: KvError | null = null

  constructor(options: NodeOptions, effects: Effects, onEnd: (error: KvError | null) => void) {
    this.#options = options
    this.#onEnd = onEnd
    this.#pauses = new Pauses(effects.clock)
    this.#failures = options.enableFaults ? this.#simulateFailures(effects) : null
    this.#effects = this.#failures === null ? effects : { ...effects, network: this.#failures.network }
  }

  /** Serves requests. */
  get isReady(): boolean {
    return this.#isReady
  }

  /** Why it does not serve now, in words; null: it does. */
  get obstacle(): string | null {
    if (!this.#isReady) return 'this peer is not ready yet'
    if (this.#ring?.isExcluded(this.nodeId) === true) return 'this peer is being removed from its cluster'
    const outage = this.#running.store.outage
    return outage === null ? null : `this peer can neither read nor write: ${outage}`
  }

  /** Where others find it: the real port, once it listens. */
  get address(): Address {
    const { advertise, advertiseHost, listen } = this.#options
    const own = this.#listener?.address ?? listen
    return advertise ?? (advertiseHost === null ? own : makeAddress(advertiseHost, splitAddress(own).port))
  }

  /** Not before `start` has read the disk. */
  get nodeId(): NodeId {
    return this.#running.identity.nodeId
  }

  /** @throws UNAVAILABLE before `start` has read the disk */
  get service(): KvService {
    return this.#serving.service
  }

  /** The simulated failures of this peer; null: they are not enabled. */
  get faults(): FaultControl | null {
    return this.#failures?.faults ?? null
  }

  get membership(): MembershipDriver {
    return this.#running.membership
  }

  /** What this peer keeps for owners that are away: how much, and for whom. */
  get standIns(): ReadonlyMap<NodeId, StandInCount> {
    return this.#running.store.standIns.counts()
  }

  /** What this peer holds. */
  get store(): Store {
    return this.#running.store
  }

  /** It lacks no data, and votes if it is an acceptor: a disk that was lost has been made good. */
  get isWhole(): boolean {
    if (this.#parts === null) return false
    const { store, configuration } = this.#parts
    return store.completeness.cause === null && configuration.isVoteSound
  }

  /** It may hold records of partitions that it owns no more. */
  get hasLeftovers(): boolean {
    return this.#parts === null || this.#parts.leftovers.waitsFor !== null
  }

  /** The configuration in force here; null before the first. */
  get configuration(): Configuration | null {
    return this.#parts?.configuration.current ?? null
  }

  /**
   * Fulfils when the peer serves: at once in a cluster it belongs to, after it was made a member otherwise,
   * however long that takes. When it rejects nothing is left open but what `stop` closes.
   * @throws INVALID_ARGUMENT: the port is taken, the directory belongs to another cluster, or is a copy of
   * one that is in use; CONFLICT: the cluster will not have it; INTERNAL: the disk; UNAVAILABLE: stopped
   * meanwhile
   */
  async start(): Promise<void> {
    assert(this.#opening === null, 'a node is started once')
    this.#opening = this.#open()
    this.#parts = await this.#opening
    if (this.#stopping === null) {
      if (this.#isRemoved(this.#parts)) await this.#rejectRemoved(this.#parts)
      this.#begin(this.#parts)
      await this.#parts.finder.find().catch((error: unknown) => {
        throw this.#fatal ?? error
      })
    }
    if (this.#fatal !== null) throw this.#fatal
    if (this.#stopping !== null) throw new KvError('UNAVAILABLE', 'this peer was stopped before it was ready')
    this.#isReady = true
    const { nodeId } = this.#parts.identity
    this.#effects.log.info('node.ready', { nodeId, address: this.address, configuration: this.#ring?.number })
  }

  /** Takes no more requests, finishes those under way, closes the store. Idempotent. */
  stop(): Promise<void> {
    this.#stopping ??= this.#stop()
    return this.#stopping
  }

  #simulateFailures(effects: Effects): SimulatedFailures {
    return simulateFailures(effects, {
      self: () => ({ nodeId: this.#serving.identity.nodeId, address: this.address }),
      others: () => this.#others(),
      isAlive: (nodeId) => this.#running.membership.isAlive(nodeId),
      heartbeatAgeMs: (nodeId) => this.#running.membership.heartbeatAgeMs(nodeId),
      synchronise: () => this.#running.antiEntropy.synchronise(),
    })
  }

  /** The other members, in a cluster. */
  #others(): readonly PeerPlace[] {
    const { membership, configuration, identity } = this.#serving
    return (configuration.current?.members ?? []).flatMap(({ nodeId }) => {
      const address = membership.addressOf(nodeId)
      return nodeId === identity.nodeId || address === null ? [] : [{ nodeId, address }]
    })
  }

  /** @throws UNAVAILABLE */
  get #serving(): Parts {
    if (this.#parts !== null) return this.#parts
    throw new KvError('UNAVAILABLE', STARTING)
  }

  get #running(): Parts {
    return present(this.#parts, 'the node has read its disk')
  }

  /** Reads the disk, listens, and puts the parts together. When it throws everything is closed again. */
  async #open(): Promise<Parts> {
    const effects = this.#effects
    const identity = await Identity.load(effects)
    const { maxHintBytes, treeRebuildIntervalMs, purge } = this.#options
    const limits = { maxStandInBytes: maxHintBytes, rebuildIntervalMs: treeRebuildIntervalMs, purge }
    const store = await Store.open(effects, { limits })
    try {
      const book = new AddressBook(effects)
      await book.load()
      this.#book = book
      const { listen, join } = this.#options
      this.#listener = await effects.network.listen(listen, (link, purpose) => this.#accept(link, purpose))
      const { address } = this
      const tookPlace = await takeVacantPlace(effects, this.#emptyPlace(identity))
      const isRolledBack = await askForNewerLives(effects, { identity, book, join, address })
      const loss = findLoss(identity, store, { tookPlace, isRolledBack })
      const parts = assembleParts({
        effects,
        options: this.#options,
        address,
        identity,
        store,
        book,
        ring: () => this.#ring,
        requireRing: () => this.#requireRing(),
        activeFaults: () => this.#failures?.faults.sentences() ?? null,
        outranked: (how) => this.#outranked(how),
        turnedOut: (how) => this.#turnedOut(how),
      })
      await parts.configuration.load(isRolledBack)
      if (loss !== null) await store.beginAnew(loss)
      // A new peer has nothing to catch up with, whatever an attempt to be an old one left here.
      else if (identity.last === null) await store.completeness.end()
      // Last, so that after a crash in between the loss is found again.
      await identity.begin(store.storeId)
      const { current } = parts.configuration
      // A crash between founding a cluster and noting its name leaves the name out.
      if (current !== null && identity.clusterId === null) await identity.joinCluster(current.clusterId)
      await parts.finder.found()
      return parts
    } catch (error) {
      await this.#listener?.close()
      await store.close()
      throw error
    }
  }

  #emptyPlace(identity: Identity): EmptyPlace {
    const { address } = this
    const { listen, join, replace } = this.#options
    const listening = this.#listener?.address ?? listen
    const isStopped = (): boolean => this.#stopping !== null
    return { identity, join, replace, address, listening, pauses: this.#pauses, isStopped }
  }

  #begin(parts: Parts): void {
    const { catchUp, configuration, membership, book, dropped, handoff, antiEntropy, rescue, purger } = parts
    const { takeover, leftovers } = parts
    parts.stalls.start()
    parts.placeWatch.start()
    membership.onChange((nodeId, before, after) => {
      this.#peerChanged(nodeId, before, after)
      if (!hasReturned(before, after)) return
      antiEntropy.peerReturned(nodeId)
      catchUp.wake()
      rescue.wake()
      takeover.wake()
    })
    configuration.onAdopt((next) => this.#adopt(next))
    if (configuration.current !== null) {
      this.#adopt(configuration.current)
      dropped.start(configuration.current)
    }
    membership.start()
    membership.learn(book.entries().map(([nodeId, address]) => ({ nodeId, address })))
    configuration.start()
    handoff.start()
    antiEntropy.start()
    catchUp.start()
    rescue.start()
    purger.start()
    takeover.start()
    leftovers.start()
  }

  #requireRing(): Ring {
    if (this.#ring !== null) return this.#ring
    throw new KvError('UNAVAILABLE', 'this peer has not joined its cluster yet; ask another one')
  }

  #accept(link: Link, purpose: LinkPurpose): void {
    if (this.#stopping !== null) link.terminate()
    else if (this.#parts === null) this.#acceptEarly(link, purpose)
    else if (purpose === 'client') this.#sessions.add(new ClientSession(this.#sessionHost(this.#parts), link))
    else this.#parts.links.accept(link, purpose)
  }

  /** Two who start at once tell each other what they remember, and no more. */
  #acceptEarly(link: Link, purpose: LinkPurpose): void {
    const { clock } = this.#effects
    if (purpose === 'client') return turnAway(link, clock, STARTING)
    const book = this.#book
    if (book === null || purpose !== 'control') return link.terminate()
    answerLife(link, clock, (nodeId) => ({ ...UNKNOWN_LIFE, ...book.lifeOf(nodeId) }))
  }

  #sessionHost({ coordinator, service, identity, membership, configuration }: Parts): SessionHost {
    const { nodeId } = identity
    return {
      coordinator,
      service,
      clock: this.#effects.clock,
      identity: () => ({ clusterId: this.#ring === null ? null : identity.clusterId, nodeId }),
      topology: () => {
        const bytes = configuration.currentBytes
        if (bytes === null) return null
        const others = membership.peers().map((peer) => {
          return { nodeId: peer.nodeId, address: peer.address, alive: membership.isAlive(peer.nodeId) }
        })
        return { configuration: bytes, peers: [{ nodeId, address: this.address, alive: true }, ...others] }
      },
      closed: (session) => this.#sessions.delete(session),
    }
  }

  /** A newer configuration is on disk: from this call on everything here goes by it. */
  #adopt(next: Configuration): void {
    const before = this.#ring?.configuration ?? null
    this.#ring = createRing(next)
    const { membership, coordinator, handoff, antiEntropy, catchUp, purger, dropped } = this.#running
    const { takeover, leftovers, farewells } = this.#running
    membership.setConfiguration(
      next.number,
      next.members.map(({ nodeId }) => nodeId),
    )
    farewells.configurationChanged(before, next)
    // First: what arrives here and is not here yet does not count.
    takeover.configurationChanged()
    coordinator.configurationChanged()
    handoff.ringChanged()
    antiEntropy.configurationChanged()
    catchUp.configurationChanged()
    purger.configurationChanged()
    leftovers.configurationChanged()
    if (before !== null) dropped.configurationChanged(before, next)
    this.#topologyChanged()
    if (this.#isLeaving || !this.#isRemoved(this.#running)) return
    // Numbers may be skipped, that in which it was given up too: only who took part in each step has left.
    if (hasHandedOver(before, next, this.nodeId)) this.#left()
    else this.#turnedOut('it was given up while it was away')
  }

  #isRemoved({ configuration, identity }: Parts): boolean {
    return configuration.current?.removed.includes(identity.nodeId) === true
  }

  /**
   * It knows from its own disk, but the others may not: it may have stopped before it told them, and they
   * would wait for it. @throws CONFLICT
   */
  async #rejectRemoved(parts: Parts): Promise<never> {
    this.#isLeaving = true
    this.#begin(parts)
    await this.#farewell(parts)
    const how = 'it has left, or was given up'
    const { log, storage } = this.#effects
    this.#fatal = parts.identity.hasLeft ? hasLeft(storage.name) : wasRemoved(how, storage.name)
    log.error('node.removed', { how })
    await this.stop()
    throw this.#fatal
  }

  /** Until others can go on with what this peer knows, or nobody wants to hear it, or for so long. */
  async #farewell({ configuration }: Parts): Promise<void> {
    let isTold = false
    const told = configuration.tellAcceptors(FAREWELL_MS).then((is) => {
      isTold = is
    })
    await this.#pauses.pause(FAREWELL_MS, told)
    if (!isTold) this.#effects.log.warn('node.farewell_unheard', { number: this.#ring?.number })
  }

  #peerChanged(nodeId: NodeId, before: PeerView | null, after: PeerView | null): void {
    const { book, links, membership, configuration, handoff } = this.#running
    if (after === null) book.forget(nodeId)
    else book.note(nodeId, after)
    if (!membership.isAlive(nodeId)) links.cut(nodeId, 'declared dead')
    else if (before === null || !isUp(before.state)) handoff.wake()
    configuration.peersChanged()
    this.#topologyChanged()
  }

  /** It is no member any more, and has nothing that the others lack: but they may not know that yet. */
  #left(): void {
    if (this.#stopping !== null) return
    this.#isLeaving = true
    const { log, storage } = this.#effects
    const wasReady = this.#isReady
    log.info('node.left', { number: this.#ring?.number })
    if (!wasReady) this.#fatal = hasLeft(storage.name)
    const { identity } = this.#running
    // Unless that is noted, the next start says to keep the directory: no harm is done.
    const noted = identity.leave().catch(() => undefined)
    void Promise.all([this.#farewell(this.#running), noted]).then(() => {
      if (this.#stopping !== null) return
      this.stop().catch((error: unknown) => log.error('node.not_stopped', { error }))
      if (wasReady) this.#onEnd(null)
    })
  }

  /** It was removed without handing anything over: all others refuse to talk with it, or it was away. */
  #turnedOut(how: string): void {
    if (this.#stopping !== null) return
    // They know what it would tell them.
    if (this.#isLeaving) return this.#pauses.wake()
    const error = wasRemoved(how, this.#effects.storage.name)
    const wasReady = this.#isReady
    this.#fatal = error
    this.#effects.log.error('node.removed', { how })
    this.stop().catch((cause: unknown) => this.#effects.log.error('node.not_stopped', { error: cause }))
    if (wasReady) this.#onEnd(error)
  }

  /** Two lives of one node would name two writes alike: one must end. */
  #outranked(how: string): void {
    if (this.#stopping !== null) return
    const { log } = this.#effects
    const error = runsElsewhere(how)
    const wasReady = this.#isReady
    this.#fatal = error
    log.error('node.outranked', { how })
    this.#running.links.stop()
    this.stop().catch((cause: unknown) => log.error('node.not_stopped', { error: cause }))
    if (wasReady) this.#onEnd(error)
  }

  #topologyChanged(): void {
    for (const session of this.#sessions) session.topologyChanged()
  }

  async #stop(): Promise<void> {
    this.#isReady = false
    if (this.#parts === null) this.#pauses.stop()
    // Whoever called start is told why it failed.
    const parts = this.#parts ?? (await this.#opening?.catch(() => null)) ?? null
    if (parts === null) return
    try {
      await this.#end(parts)
    } finally {
      parts.membership.stop()
      this.#pauses.stop()
      this.#failures?.stop()
      await parts.store.close()
    }
    this.#effects.log.info('node.stopped')
  }

  /** All but the store, which is closed whatever becomes of the rest: what is not, costs the next start. */
  async #end(parts: Parts): Promise<void> {
    parts.finder.stop()
    parts.claims.stop()
    parts.coordinator.stop()
    parts.stalls.stop()
    parts.farewells.stop()
    const { antiEntropy, catchUp, rescue, dropped, purger, takeover, leftovers, placeWatch } = parts
    const background = [antiEntropy, catchUp, rescue, dropped, purger, takeover, leftovers, placeWatch]
    const ended = Promise.all(background.map((each) => each.stop()))
    const isOutranked = this.#fatal !== null
    if (!isOutranked) await this.#drain(parts)
    await parts.handoff.stop(isOutranked ? 0 : FLUSH_MS)
    for (const session of [...this.#sessions]) session.close('this peer is stopping; ask another one')
    // That would be said of the other one too.
    if (!isOutranked) parts.membership.leave()
    await parts.configuration.stop()
    parts.rpc.stop()
    await ended
    parts.links.stop()
    await parts.book.stop()
    await this.#listener?.close()
  }

  async #drain({ coordinator }: Parts): Promise<void> {
    const { clock } = this.#effects
    const deadlineMs = clock.monotonic() + DRAIN_MS
    while (coordinator.inFlight > 0 && clock.monotonic() < deadlineMs) await this.#pauses.pause(DRAIN_STEP_MS)
  }
}

/** Up again, or up in another life. */
function hasReturned(before: PeerView | null, after: PeerView | null): boolean {
  if (after === null || !isUp(after.state)) return false
  return before === null || !isUp(before.state) || before.generation !== after.generation
}
