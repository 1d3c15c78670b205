/** Changes of the ring that somebody asks for: who leaves, who is removed, how many copies there are. */
import { KvError } from '../base/error.ts'
import type { KeyspaceId, NodeId } from '../base/ids.ts'
import type { OnLoss } from '../cluster/loss-check.ts'
import { lossRefused } from '../cluster/loss-words.ts'
import type { Log } from '../effects/log.ts'
import { alteredKeyspace, type Configuration, targetLayout } from '../protocol/configuration.ts'
import { alterLevels, begin, exclude, requireKeyspace } from '../protocol/configuration-change.ts'
import { MAX_REASON_LENGTH } from '../protocol/configuration-check.ts'
import { createRing } from '../protocol/ring.ts'
import { countShortages, findShortage, isLossAccepted } from '../protocol/ring-change.ts'
import { acceptLoss, stage } from '../protocol/staged-changes.ts'
import type { KeyspaceShape } from '../wire/requests.ts'

/** Whoever asked waits no longer than five seconds. */
export const RING_CHANGE_TIMEOUT_MS = 4000

type ChangeOf = (configuration: Configuration) => Configuration

export interface RingOperationsHost {
  readonly selfId: NodeId
  readonly log: Log
  now(): number
  readonly isAlive: (nodeId: NodeId) => boolean
  /** Null: nobody knows. */
  readonly addressOf: (nodeId: NodeId) => string | null
  /** @throws UNAVAILABLE before there is one */
  configuration(): Configuration
  /** As `changeRing`, of what moves no data: whoever is up knows it when it fulfils. */
  readonly proposeChange: (change: ChangeOf, timeoutMs: number) => Promise<Configuration>
  /** See `ConfigurationDriver.changeRing`. */
  readonly changeRing: (change: ChangeOf, timeoutMs: number, onLoss?: OnLoss) => Promise<Configuration>
}

export class RingOperations {
  readonly #host: RingOperationsHost

  constructor(host: RingOperationsHost) {
    this.#host = host
  }

  /**
   * A member hands over what it owns, and stops. Fulfils when that has begun, or is staged.
   * @param peer its address or id
   * @returns whether it is staged only @throws NOT_FOUND; CONFLICT: it is down, or another change is open
   */
  async leave(peer: string): Promise<boolean> {
    const nodeId = this.#member(peer)
    if (!this.#isUp(nodeId)) {
      const advice = "bring it back first, or give up what only it has with 'kvctl remove'"
      throw new KvError('CONFLICT', `${peer} is down and cannot hand over what it owns: ${advice}`)
    }
    let isStaged = false
    const leave = (configuration: Configuration): Configuration => {
      // It has left when an answer was lost, and this is the second attempt.
      const isDone = configuration.removed.includes(nodeId) || isLeaving(configuration, nodeId)
      isStaged = configuration.isManual && !isDone
      if (isDone) return configuration
      if (isStaged) return this.#stage(configuration, nodeId, 'leave')
      return begin(configuration, { leaving: [nodeId] }, this.#host.now())
    }
    await this.#host.changeRing(leave, RING_CHANGE_TIMEOUT_MS)
    return isStaged
  }

  /**
   * A member that is down for good is one no more: what it owned is rebuilt from the other owners. Fulfils
   * when nobody waits for it any more, or that is staged; the rest follows by itself. That is possible at any
   * time, and needs no one but a majority of the acceptors, and of the other owners of what it owned as many
   * as must have all that was acknowledged: when several are down, none else waits for another.
   * @param peer its address or id
   * @param mayLose what only it has, and whoever is excluded already, is given up
   * @returns whether it is staged only
   * @throws NOT_FOUND; CONFLICT: it is up, or acknowledged writes may be lost with it
   */
  async remove(peer: string, mayLose: boolean): Promise<boolean> {
    const nodeId = this.#member(peer)
    if (this.#isUp(nodeId)) {
      throw new KvError('CONFLICT', `${peer} is up; 'kvctl leave' has it hand over what it owns, and stop`)
    }
    let isStaged = false
    let before = this.#host.configuration()
    const remove = (configuration: Configuration): Configuration => {
      before = configuration
      const { isManual, phase, removed } = configuration
      isStaged = isManual && phase === 'stable' && !removed.includes(nodeId)
      if (isStaged) return this.#stage(configuration, nodeId, 'remove')
      return this.#removeFrom(configuration, nodeId, mayLose)
    }
    const { changeRing } = this.#host
    const after = await changeRing(remove, RING_CHANGE_TIMEOUT_MS, (next, loss) => {
      if (mayLose) return givingUp(next)
      const name = this.#nameOf(nodeId)
      throw lossRefused(loss, [name], `kvctl remove ${name}`, (owner) => this.#nameOf(owner))
    })
    logLoss(this.#host, before, after)
    return isStaged
  }

  /**
   * What moves no data is decided first, and in force when it fulfils; the rest has begun then. Nothing comes
   * about of what is so already.
   * @throws NOT_FOUND; INVALID_ARGUMENT; CONFLICT
   */
  async alterKeyspace(id: KeyspaceId, shape: Partial<KeyspaceShape>): Promise<void> {
    const { strategy, replicas, ...levels } = shape
    const { proposeChange, changeRing } = this.#host
    if (Object.keys(levels).length > 0) {
      const alter = (base: Configuration) => alterLevels(base, id, levels, this.#host.now())
      await proposeChange(alter, RING_CHANGE_TIMEOUT_MS)
    }
    if (strategy === undefined && replicas === undefined) return
    await changeRing((configuration) => {
      const keyspace = requireKeyspace(configuration, id)
      const target = alteredKeyspace(configuration, keyspace)
      const asked = { strategy: strategy ?? keyspace.strategy, replicas: replicas ?? keyspace.replicas }
      const wanted = { id, ...asked }
      if (wanted.strategy === target.strategy && wanted.replicas === target.replicas) return configuration
      return begin(configuration, { keyspaces: [wanted] }, this.#host.now())
    }, RING_CHANGE_TIMEOUT_MS)
  }

  #removeFrom(configuration: Configuration, nodeId: NodeId, mayLose: boolean): Configuration {
    const nowMs = this.#host.now()
    if (configuration.removed.includes(nodeId)) return configuration
    const next = exclude(configuration, nodeId, nowMs)
    // `onLoss` weighs that before it is excluded. When it is by now, this is how the loss is accepted.
    const isDue = next === configuration && mayLose && !isLossAccepted(next)
    const isShort = isDue && findShortage(createRing(next)) !== null
    return isShort ? givingUp(acceptLoss(configuration, nowMs)) : next
  }

  #isUp(nodeId: NodeId): boolean {
    return nodeId === this.#host.selfId || this.#host.isAlive(nodeId)
  }

  #nameOf(nodeId: NodeId): string {
    return this.#host.addressOf(nodeId) ?? nodeId
  }

  #member(peer: string): NodeId {
    return findMember(this.#host, this.#host.configuration(), peer)
  }

  #stage(configuration: Configuration, nodeId: NodeId, kind: 'leave' | 'remove'): Configuration {
    const nothing = { zone: null, weight: null, replaces: null }
    return stage(configuration, { nodeId, kind, ...nothing }, this.#host.now())
  }
}

/** @param peer its address or id @throws NOT_FOUND */
export function findMember(
  { addressOf }: Pick<RingOperationsHost, 'addressOf'>,
  { members }: Configuration,
  peer: string,
): NodeId {
  const found = members.find(({ nodeId }) => nodeId === peer || addressOf(nodeId) === peer)
  if (found !== undefined) return found.nodeId
  const listed = "'kvctl status' shows who is"
  throw new KvError('NOT_FOUND', `${peer.slice(0, 64)} is no member of this cluster: ${listed}`)
}

/**
 * The same, which goes on without what too few owners are left of; how much that is stays in its reason. By
 * number, that is: where enough are left, some of them do not say that they have everything.
 */
export function givingUp(next: Configuration): Configuration {
  const { few, none } = countShortages(createRing(next))
  const copies = `too few owners are left of ${few} partition${few === 1 ? '' : 's'}, none of ${none}`
  const what = few === 0 ? 'owners that are left lack something, or do not answer' : copies
  const reason = `${next.reason}, loss accepted: ${what}`.slice(0, MAX_REASON_LENGTH)
  return { ...next, lossAccepted: next.excluded, reason }
}

/** Once it is decided: what was given up with somebody is not to be had again. */
export function logLoss(
  { log, addressOf }: Pick<RingOperationsHost, 'log' | 'addressOf'>,
  before: Configuration,
  after: Configuration,
): void {
  const { number, lossAccepted } = after
  if (lossAccepted.every((nodeId) => before.lossAccepted.includes(nodeId))) return
  const { few, none } = countShortages(createRing(after))
  const peers = lossAccepted.map((nodeId) => addressOf(nodeId) ?? nodeId)
  log.warn('ring.loss_accepted', { number, peers, partitions: few, withoutOwner: none })
}

/** The open change takes it out. */
function isLeaving(configuration: Configuration, nodeId: NodeId): boolean {
  if (configuration.phase === 'stable') return false
  return !targetLayout(configuration).members.includes(nodeId)
}
