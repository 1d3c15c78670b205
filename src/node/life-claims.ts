/**
 * What becomes of the word that a newer life of this peer's own node runs, or ran.
 *
 * Intuition: it is hearsay. True, when this directory is a copy of another one: then this life must end, or
 * two would name two writes alike. False, when somebody is confused or lies: then nothing may come of it.
 * They are told apart by asking. Who runs at another place answers there, for itself. A life that has ended
 * cannot be asked, but whoever has met it refuses to talk with an older one. Who only heard of it does not:
 * otherwise the word, once it has gone round, would be its own witness.
 *
 * Invariants: this peer ends only when the newer life itself has answered, or when a member that never talked
 * with this life refuses to. It takes the word back, as SWIM takes back a suspicion, by rising above it; not
 * before every other member has talked with this life, because until then it may be true: so from then on
 * its writes are named as those of no life before.
 */
import type { Address, NodeId } from '../base/ids.ts'
import { askForLives, isOutranked } from '../cluster/newest-life.ts'
import type { Effects } from '../effects/effects.ts'
import type { Identity } from './identity.ts'

/** What is said is said again; so often it is looked into. */
const JUDGE_INTERVAL_MS = 1000

export interface ClaimedLife {
  readonly generation: number
  readonly bootNonce: string
  readonly address: Address | null
}

export interface LifeClaimsParts {
  readonly effects: Pick<Effects, 'clock' | 'network' | 'log'>
  readonly identity: Identity
  /** Where this peer is. */
  readonly address: Address
  /** The other members that are not excluded; null while there is no configuration. */
  others(): readonly NodeId[] | null
  nodeAt(address: Address): NodeId | null
  /** The claimed life may run somewhere, out of reach: what it writes must not be named as our writes are. */
  renewActors(): void
  /** This life has a greater generation now. */
  risen(generation: number): void
  /** There is a newer life, as the sentence says: this one must end. */
  outranked(how: string): void
}

export class LifeClaims {
  readonly #parts: LifeClaimsParts
  /** Members that talked with this life, so they knew of no newer one then. */
  readonly #vouchers = new Set<NodeId>()
  /** No life before this one named writes as this one does. */
  #isRenamed = false
  #isJudging = false
  #nextMs = Number.NEGATIVE_INFINITY
  #isStopped = false

  constructor(parts: LifeClaimsParts) {
    this.#parts = parts
  }

  /** A peer said something on a link, after the handshake. */
  talked(nodeId: NodeId): void {
    if (!this.#vouchers.has(nodeId) && this.#parts.others()?.includes(nodeId) === true) {
      this.#vouchers.add(nodeId)
    }
  }

  /** Somebody says so of this life. */
  heard(claim: ClaimedLife): void {
    this.#look([claim], claim.address === null ? [] : [claim.address])
  }

  /** A peer does not talk with us, because it knows a newer life, as the sentence says. */
  refused(at: Address, how: string): void {
    const others = this.#parts.others()
    const who = this.#parts.nodeAt(at)
    const isNews = who !== null && others?.includes(who) === true && !this.#vouchers.has(who)
    if (others === null || isNews) this.#parts.outranked(how)
    else this.#look([], [at])
  }

  stop(): void {
    this.#isStopped = true
  }

  #look(claims: readonly ClaimedLife[], places: readonly Address[]): void {
    const nowMs = this.#parts.effects.clock.monotonic()
    if (this.#isStopped || this.#isJudging || nowMs < this.#nextMs) return
    this.#isJudging = true
    this.#judge(claims, places)
      .catch((error: unknown) => this.#parts.effects.log.error('node.claim_not_refuted', { error }))
      .finally(() => {
        this.#isJudging = false
        this.#nextMs = this.#parts.effects.clock.monotonic() + JUDGE_INTERVAL_MS
      })
  }

  async #judge(claims: readonly ClaimedLife[], places: readonly Address[]): Promise<void> {
    const { effects, identity, address } = this.#parts
    const { nodeId } = identity
    const lives = await askForLives(effects, nodeId, address, places)
    if (this.#isStopped) return
    const running = lives.find((life) => {
      return life.isSelf && life.isUp && life.address !== address && isOutranked(identity, life)
    })
    if (running !== undefined) {
      const { generation, address: place } = running
      return this.#parts.outranked(`node ${nodeId} runs as generation ${generation} at ${place}`)
    }
    const newer = [...claims, ...lives].filter((life) => isOutranked(identity, life))
    if (newer.length > 0) await this.#refute(newer)
  }

  async #refute(claims: readonly ClaimedLife[]): Promise<void> {
    const { effects, identity } = this.#parts
    const others = this.#parts.others()
    const claimed = Math.max(...claims.map(({ generation }) => generation))
    const fields = { claimed, at: claims.map((claim) => claim.address) }
    if (others === null || !others.every((nodeId) => this.#vouchers.has(nodeId))) {
      effects.log.warn('node.claim_in_doubt', { ...fields, advice: 'it is believed of members not met yet' })
      this.#rename()
      return
    }
    await identity.rise(claimed)
    if (this.#isStopped) return
    this.#rename()
    this.#parts.risen(identity.generation)
    effects.log.warn('node.claim_refuted', { ...fields, generation: identity.generation })
  }

  /**
   * Also when the claimed life is said to be where this one is: an earlier one of this place may have gone on
   * from the same clean stop. Once is enough, whoever else turns up: nobody learns the new names but by a
   * clean stop of this life. More often would do harm: each actor is an entry more in the vectors of all keys
   * that are written.
   */
  #rename(): void {
    if (!this.#isRenamed) this.#parts.renewActors()
    this.#isRenamed = true
  }
}
