/**
 * Before anybody is excluded: what would be lost without him, by what all that would be left say of
 * themselves now. The configuration alone does not know who is catching up.
 */
import type { NodeId } from '../base/ids.ts'
import type { Log } from '../effects/log.ts'
import type { Configuration } from '../protocol/configuration.ts'
import type { Lacks } from '../protocol/lacks.ts'
import { createRing } from '../protocol/ring.ts'
import { findLoss, isLossAccepted, membersWaitedFor, type Shortage } from '../protocol/ring-change.ts'
import type { Decided } from './configuration-adoption.ts'
import type { ConfigurationRpc, ConfigurationTiming, PeerView } from './configuration-rpc.ts'
import type { ConfigurationSpread } from './configuration-spread.ts'
import { lossAhead } from './loss-words.ts'

export interface LossCheckParts {
  readonly self: NodeId
  readonly log: Log
  readonly timing: ConfigurationTiming
  readonly peers: PeerView
  readonly rpc: ConfigurationRpc
  readonly spread: ConfigurationSpread
  /** Of ourselves. */
  readonly lacks: () => Lacks
}

/** What becomes of a change with which acknowledged writes may be lost. @throws KvError */
export type OnLoss = (next: Configuration, loss: Shortage) => Configuration

export class LossCheck {
  readonly #parts: LossCheckParts

  constructor(parts: LossCheckParts) {
    this.#parts = parts
  }

  /**
   * Where acknowledged writes may be missing without those that `next` excludes; null: nowhere, or that is
   * accepted. Nobody is asked when it excludes no more than what is decided. Does not reject.
   */
  async find(decided: Decided, next: Configuration): Promise<Shortage | null> {
    if (isLossAccepted(next)) return null
    const { excluded } = decided.configuration
    const isMore = next.excluded.some((nodeId) => !excluded.includes(nodeId))
    const said = isMore ? await this.#ask(decided, next) : new Map<NodeId, Lacks>()
    return findLoss(createRing(next), excluded, said)
  }

  /** The same for people. */
  async explain(decided: Decided, next: Configuration): Promise<string | null> {
    const loss = await this.find(decided, next)
    const { excluded } = decided.configuration
    const going = next.excluded.filter((nodeId) => !excluded.includes(nodeId))
    return loss && lossAhead(loss, going, (nodeId) => this.#parts.peers.nameOf(nodeId))
  }

  /** Who acknowledges another number by now does not count: what he says is of another time. */
  async #ask(decided: Decided, next: Configuration): Promise<ReadonlyMap<NodeId, Lacks>> {
    const { self, peers, spread } = this.#parts
    const isUp = (nodeId: NodeId): boolean => nodeId === self || peers.isAlive(nodeId)
    const staying = membersWaitedFor(next).filter((nodeId) => {
      return isUp(nodeId) && decided.configuration.members.some((member) => member.nodeId === nodeId)
    })
    const acks = await spread.collect(decided, staying)
    const { number } = decided.configuration
    const answers = acks.map(async ({ nodeId }) => [nodeId, await this.#lacksOf(nodeId, number)] as const)
    const said = new Map<NodeId, Lacks>()
    for (const [nodeId, lacks] of await Promise.all(answers)) if (lacks !== null) said.set(nodeId, lacks)
    return said
  }

  /** Null: it did not say. */
  async #lacksOf(nodeId: NodeId, number: number): Promise<Lacks | null> {
    const { self, rpc, timing, lacks, log } = this.#parts
    if (nodeId === self) return lacks()
    try {
      const reply = await rpc.call(nodeId, { type: 'askLacks', number }, timing.callTimeoutMs)
      if (reply.type !== 'lacksReply' || reply.number !== number) return null
      return new Map(reply.lacks.map(({ keyspaceId, partitions }) => [keyspaceId, partitions]))
    } catch (error) {
      // It counts as one that has nothing.
      log.debug('loss_check.unanswered', { peer: nodeId, number, error })
      return null
    }
  }
}
