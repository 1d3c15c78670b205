/** Which message from another peer goes where, and what the answers are sent on. */
import { toKvError } from '../base/error.ts'
import type { Address, NodeId } from '../base/ids.ts'
import type { ConfigurationDriver } from '../cluster/configuration-driver.ts'
import type { LinksHandler, SelfFacts } from '../cluster/links.ts'
import type { MembershipDriver } from '../cluster/membership-driver.ts'
import type { PeerLink } from '../cluster/peer-link.ts'
import type { Rpc } from '../cluster/rpc.ts'
import type { Coordinator } from '../coordinator/coordinator.ts'
import { sizesAt } from '../coordinator/partition-sizes.ts'
import type { PartitionSource } from '../coordinator/partition-source.ts'
import type { PurgeOwner } from '../coordinator/purge-owner.ts'
import type { Replica } from '../coordinator/replica.ts'
import type { TreeReplica } from '../coordinator/tree-replica.ts'
import type { Log } from '../effects/log.ts'
import type { CloseCause } from '../effects/network.ts'
import type { EraFacts, Eras } from '../protocol/eras.ts'
import type { Store } from '../store/store.ts'
import type { KnownLife, KnownPlaces, PeerFacts, Refusal } from '../wire/handshake-messages.ts'
import {
  isHandshake,
  isPeerReply,
  isPeerRequest,
  type PeerMessage,
  type PeerRequest,
} from '../wire/peer-messages.ts'
import type { PutRequest } from '../wire/requests.ts'
import type { AddressBook } from './address-book.ts'
import type { ClusterFinder } from './cluster-finder.ts'
import type { Farewells } from './farewells.ts'
import type { LifeClaims } from './life-claims.ts'
import { type Complaints, reportOf } from './peer-reports.ts'
import type { PeerTasks } from './peer-tasks.ts'

export interface TrafficParts {
  readonly log: Log
  readonly rpc: Rpc
  readonly store: Store
  readonly membership: MembershipDriver
  readonly configuration: ConfigurationDriver
  readonly coordinator: Coordinator
  readonly replica: Replica
  readonly treeReplica: TreeReplica
  readonly source: PartitionSource
  complaints(): Complaints
  readonly purgeOwner: PurgeOwner
  readonly eras: Eras
  readonly finder: ClusterFinder
  readonly tasks: PeerTasks
  self(): SelfFacts
  newestLife(nodeId: NodeId): KnownLife | null
  readonly book: AddressBook
  readonly claims: LifeClaims
  readonly farewells: Farewells
  /** A peer does not talk with this one, because it was removed, as the sentence says. */
  turnedOut(how: string): void
}

export class PeerTraffic implements LinksHandler {
  readonly #parts: () => TrafficParts

  /** @param parts asked when the first link is made, not before */
  constructor(parts: () => TrafficParts) {
    this.#parts = parts
  }

  self(): SelfFacts {
    return this.#parts().self()
  }

  isBarred(nodeId: NodeId): boolean {
    const { configuration, farewells } = this.#parts()
    return configuration.current?.removed.includes(nodeId) === true && !farewells.has(nodeId)
  }

  newestLife(nodeId: NodeId): KnownLife | null {
    return this.#parts().newestLife(nodeId)
  }

  newestMet(nodeId: NodeId): KnownLife | null {
    const { book, membership } = this.#parts()
    const life = book.lifeOf(nodeId)
    return life && { ...life, isUp: membership.isAlive(nodeId), isSelf: false }
  }

  places(): KnownPlaces {
    const parts = this.#parts()
    const { nodeId: from, clusterId, address, generation } = parts.self()
    const { current } = parts.configuration
    const isMember = current?.members.some(({ nodeId }) => nodeId === from) === true
    if (current === null || !isMember) return { from, clusterId, number: 0, members: [] }
    const members = current.members.flatMap(({ nodeId }) => {
      if (current.excluded.includes(nodeId)) return []
      if (nodeId === from) return [{ nodeId, address, generation, isUp: true }]
      const life = parts.newestLife(nodeId)
      const where = life?.address ?? parts.membership.addressOf(nodeId)
      const isUp = parts.membership.isAlive(nodeId)
      return [{ nodeId, address: where, generation: life?.generation ?? 0, isUp }]
    })
    return { from, clusterId, number: current.number, members }
  }

  met(facts: PeerFacts, dialled: Address | null): void {
    const parts = this.#parts()
    parts.finder.met(facts)
    this.#learnEras(facts.nodeId, { era: facts.era ?? 0, closedBelow: facts.closedBelow ?? 0 })
    const { nodeId, generation, bootNonce, address, zone, weight, version } = facts
    parts.membership.met({ nodeId, generation, bootNonce, address, meta: { zone, weight, version } }, dialled)
    parts.book.met(nodeId, facts)
  }

  dialFailed(address: Address, refusal: Refusal | null, why: string): void {
    const parts = this.#parts()
    if (refusal !== null) parts.log.warn('link.turned_away', { address, ...refusal })
    parts.finder.dialFailed(address, refusal, why)
    parts.book.missed(address, refusal)
    if (refusal?.kind === 'outranked') parts.claims.refused(address, refusal.reason)
    if (refusal?.kind === 'removed') parts.turnedOut(refusal.reason)
  }

  lost(nodeId: NodeId, link: PeerLink, cause: CloseCause): void {
    const parts = this.#parts()
    if (link.purpose !== 'client') parts.rpc.lost(nodeId, link.purpose)
    if (link.purpose === 'control') parts.membership.linkClosed(nodeId, cause, link.dialledAddress)
  }

  received(from: NodeId, message: PeerMessage, link: PeerLink): void {
    const parts = this.#parts()
    if (message.type === 'eraClosed') this.#learnEras(from, message)
    if (isPeerReply(message)) parts.rpc.answered(from, message)
    else if (isPeerRequest(message)) this.#serve(parts, from, message, link)
    else if (isHandshake(message)) link.terminate('said hello twice')
    else {
      parts.claims.talked(from)
      parts.membership.received(from, message)
    }
  }

  #learnEras(from: NodeId, facts: EraFacts): void {
    const { configuration, eras } = this.#parts()
    const { current } = configuration
    if (current === null || current.members.some(({ nodeId }) => nodeId === from)) eras.learned(facts)
  }

  #serve(parts: TrafficParts, from: NodeId, message: PeerRequest, link: PeerLink): void {
    switch (message.type) {
      case 'read':
        return parts.replica.read(from, message, link)
      case 'replicate':
        return parts.replica.replicate(from, message, link)
      case 'roots':
      case 'slices':
      case 'listKeys':
      case 'digests':
        return parts.treeReplica.serve(from, message, link)
      case 'fetchRecords':
        return parts.source.serve(from, message, link)
      case 'askSizes': {
        const { id, keyspaceId } = message
        const sizes = sizesAt(parts.store, keyspaceId)
        link.send({ type: 'sizes', id, ...sizes }, 8 * sizes.partitions.length)
        return
      }
      case 'beginRepair':
      case 'listTasks':
        return parts.tasks.serve(from, message, link)
      case 'fence':
      case 'askFence':
      case 'purge':
        return parts.purgeOwner.serve(from, message, link)
      case 'forwardPut':
        if (parts.replica.refusesForward(from, message.id, message.number, link)) return
        return this.#coordinate(parts, message.id, message, link)
      case 'inquire':
        link.send({ type: 'report', id: message.id, ...reportOf(parts.store, parts.complaints()) }, 0)
        return
      default: {
        const { id, ...question } = message
        parts.configuration.answer(question).then(
          (answer) => link.send({ ...answer, id } as PeerMessage, 0),
          // No answer is an answer too: the asker has a deadline, and asks again.
          (error: unknown) =>
            parts.log.debug('configuration.unanswered', { from, error: toKvError(error).message }),
        )
      }
    }
  }

  #coordinate(parts: TrafficParts, id: number, request: PutRequest, link: PeerLink): void {
    parts.coordinator.put(request, true, (error, reply) => {
      if (reply !== null) link.send({ type: 'forwardDone', id, ...reply }, 0)
      else {
        const { code, message } = toKvError(error)
        link.send({ type: 'forwardFailed', id, code, message: message.slice(0, 4096) }, 0)
      }
    })
  }
}
