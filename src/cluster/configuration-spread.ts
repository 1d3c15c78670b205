/**
 * Brings decided configurations to the other peers and collects their acknowledgements; fetches newer ones
 * from peers that have them.
 */
import type { Bytes } from '../base/bytes.ts'
import type { NodeId } from '../base/ids.ts'
import type { Log } from '../effects/log.ts'
import { decodeConfiguration } from '../wire/configuration-codec.ts'
import { clip } from '../wire/configuration-messages.ts'
import { MalformedMessage } from '../wire/schema.ts'
import type { ConfigurationAdoption, Decided } from './configuration-adoption.ts'
import type { ConfigurationRpc, ConfigurationTiming } from './configuration-rpc.ts'

/** Peers asked at the same time: each may be sent a whole configuration. */
const MAX_CONCURRENT = 32

/** `ack(p, i)`: peer p has number i on disk, has ended its requests below i, refuses such from now on. */
export interface Ack {
  readonly nodeId: NodeId
  readonly number: number
  /** Why it is not ready for the next step of a change of the ring, in words; null: it is. */
  readonly waitsFor: string | null
  readonly acceptorId: string
}

export interface SpreadParts {
  readonly self: NodeId
  readonly log: Log
  readonly timing: ConfigurationTiming
  readonly rpc: ConfigurationRpc
  readonly adoption: ConfigurationAdoption
  readonly acceptorId: () => string
  /** See `Ack`; of ourselves. */
  readonly waitsFor: () => string | null
  /** What the open change waits for, in words; null: for nothing. */
  readonly pending: () => string | null
}

export class ConfigurationSpread {
  readonly #parts: SpreadParts
  /** Who was sent the bytes of which number last, by us. */
  readonly #sent = new Map<NodeId, number>()
  readonly #asking = new Map<NodeId, { readonly number: number; readonly ack: Promise<Ack | null> }>()
  #seen: { readonly from: NodeId; readonly number: number } | null = null
  #isFetching = false
  #isStopped = false

  constructor(parts: SpreadParts) {
    this.#parts = parts
  }

  /** Acknowledgements from all these members that gave one in time. Does not reject. */
  async collect(decided: Decided, from: readonly NodeId[]): Promise<readonly Ack[]> {
    this.#forgetGone(decided)
    const acks: Ack[] = []
    const waiting = from.slice()
    const work = async (): Promise<void> => {
      for (let nodeId = waiting.shift(); nodeId !== undefined; nodeId = waiting.shift()) {
        const ack = await this.bring(nodeId, decided)
        if (ack !== null) acks.push(ack)
      }
    }
    await Promise.all(Array.from({ length: Math.min(MAX_CONCURRENT, from.length) }, work))
    return acks
  }

  /**
   * This member's acknowledgement of exactly that number; null when it gave none in time. Does not reject.
   */
  bring(to: NodeId, decided: Decided): Promise<Ack | null> {
    const { number } = decided.configuration
    const asking = this.#asking.get(to)
    if (asking?.number === number) return asking.ack
    const ack = this.#bringNow(to, decided)
      .catch((error: unknown) => {
        // Expected while a peer is down or stopping; whoever needs the acknowledgement asks again.
        this.#parts.log.debug('configuration.not_acknowledged', { peer: to, number, error })
        return null
      })
      .finally(() => {
        if (this.#asking.get(to)?.number === number) this.#asking.delete(to)
      })
    this.#asking.set(to, { number, ack })
    return ack
  }

  /** Those that answer, members or not. Does not reject. */
  async answering(decided: Decided, among: readonly NodeId[]): Promise<readonly NodeId[]> {
    const answers = await Promise.allSettled(among.map((nodeId) => this.#ask(nodeId, decided, false)))
    return among.filter((_, i) => {
      const answer = answers[i]
      return answer?.status === 'fulfilled' && answer.value !== null
    })
  }

  /** Somebody says that there is a newer configuration: get it. */
  seen(from: NodeId, number: number): void {
    if (this.#isStopped || number <= this.#parts.adoption.number || from === this.#parts.self) return
    if (this.#seen === null || number > this.#seen.number) this.#seen = { from, number }
    if (!this.#isFetching) void this.#fetchSeen()
  }

  /** A configuration of this cluster, or null. */
  parse(bytes: Bytes): Decided | null {
    try {
      const configuration = decodeConfiguration(bytes)
      const ours = this.#parts.adoption.current?.configuration.clusterId ?? configuration.clusterId
      if (configuration.clusterId === ours) return { configuration, bytes }
      this.#parts.log.error('configuration.foreign', { theirs: configuration.clusterId, ours })
    } catch (error) {
      if (!(error instanceof MalformedMessage)) throw error
      this.#parts.log.warn('configuration.malformed', { reason: error.message })
    }
    return null
  }

  /**
   * Adopts what another peer says is decided. A peer that has no configuration yet takes none that does not
   * name it: it would know a ring without having a place in it.
   * @throws INTERNAL when the disk fails, UNAVAILABLE when stopping
   */
  async take(decided: Decided): Promise<void> {
    const { adoption, self } = this.#parts
    const names = decided.configuration.members.some(({ nodeId }) => nodeId === self)
    if (adoption.current !== null || names) await adoption.adopt(decided)
  }

  /** What this peer says of itself. */
  acknowledge(): Omit<Ack, 'nodeId'> {
    const { adoption, acceptorId, waitsFor } = this.#parts
    return { number: adoption.number, waitsFor: clip(waitsFor()), acceptorId: acceptorId() }
  }

  stop(): void {
    this.#isStopped = true
    this.#seen = null
  }

  /** Members go, and never come back under their names. */
  #forgetGone({ configuration }: Decided): void {
    for (const nodeId of configuration.removed) this.#sent.delete(nodeId)
  }

  async #bringNow(to: NodeId, decided: Decided): Promise<Ack | null> {
    const { self, adoption } = this.#parts
    const { number } = decided.configuration
    if (to === self) {
      await adoption.adopt(decided)
      const own = this.acknowledge()
      return own.number === number ? { ...own, nodeId: self } : null
    }
    const isSent = this.#sent.get(to) === number
    const ack = await this.#ask(to, decided, !isSent)
    // It was sent and did not arrive, or the peer lost it.
    const answer = isSent && ack !== null && ack.number < number ? await this.#ask(to, decided, true) : ack
    if (answer === null) return null
    this.seen(to, answer.number)
    return answer.number === number ? answer : null
  }

  async #ask(to: NodeId, decided: Decided, withBytes: boolean): Promise<Ack | null> {
    const { rpc, timing, pending } = this.#parts
    const { number } = decided.configuration
    if (withBytes) this.#sent.set(to, number)
    const configuration = withBytes ? decided.bytes : null
    const reply = await rpc.call(
      to,
      { type: 'adopt', number, configuration, pending: pending() },
      timing.callTimeoutMs,
    )
    if (reply.type !== 'adopted') return null
    return {
      nodeId: to,
      number: reply.number,
      waitsFor: reply.waitsFor,
      acceptorId: reply.acceptorId,
    }
  }

  async #fetchSeen(): Promise<void> {
    const { rpc, timing, adoption, log } = this.#parts
    this.#isFetching = true
    while (this.#seen !== null && this.#seen.number > adoption.number) {
      const { from, number } = this.#seen
      this.#seen = null
      try {
        const question = { type: 'fetchConfiguration', above: adoption.number } as const
        const reply = await rpc.call(from, question, timing.callTimeoutMs)
        if (reply.type !== 'configurationReply' || reply.configuration === null) continue
        const decided = this.parse(reply.configuration)
        if (decided !== null && !this.#isStopped) await this.take(decided)
      } catch (error) {
        // Gossip repeats itself: the next one that says so is asked.
        log.debug('configuration.not_fetched', { peer: from, number, error })
      }
    }
    this.#isFetching = false
  }
}
