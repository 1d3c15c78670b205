/**
 * Questions and answers between peers. An exchange is one operation's conversation under one id with any
 * number of peers: it is told every answer, every link that broke, and the end of its time. Each has a
 * deadline; none outlives it.
 */
import { KvError } from '../base/error.ts'
import type { Address, NodeId } from '../base/ids.ts'
import { SlotTable } from '../base/slot-table.ts'
import type { Clock } from '../effects/clock.ts'
import { Deadlines } from '../effects/deadlines.ts'
import type { PeerMessage, PeerReply } from '../wire/peer-messages.ts'
import type { Links } from './links.ts'

export interface Exchange {
  /** The kind of links it asks on. */
  readonly kind: LinkKind
  answered(from: NodeId, reply: PeerReply): void
  /** What was asked of this peer and not answered may never be. */
  lost(nodeId: NodeId): void
  /** The last call, unless `end` came first. */
  expired(): void
}

export type LinkKind = 'control' | 'data'

export class Rpc {
  readonly #links: Links
  readonly #addressOf: (nodeId: NodeId) => Address | null
  readonly #exchanges = new SlotTable<Exchange>()
  readonly #deadlines: Deadlines<number>

  constructor(links: Links, clock: Clock, addressOf: (nodeId: NodeId) => Address | null) {
    this.#links = links
    this.#addressOf = addressOf
    this.#deadlines = new Deadlines(clock, (id) => this.#expire(id))
  }

  get openCount(): number {
    return this.#exchanges.size
  }

  /** @returns the id for the exchange's messages */
  begin(exchange: Exchange, timeoutMs: number): number {
    const id = this.#exchanges.add(exchange)
    this.#deadlines.add(id, timeoutMs)
    return id
  }

  end(id: number): void {
    this.#exchanges.take(id)
  }

  /** False: there is no link and none can be had now. Otherwise an answer, `lost` or `expired` follows. */
  ask(to: NodeId, kind: LinkKind, message: PeerMessage, payloadBytes = 0): boolean {
    const address = this.#addressOf(to)
    const link = address === null ? null : this.#links.to(to, address, kind)
    return link !== null && this.#links.ask(link, message, payloadBytes)
  }

  /**
   * One question to one peer; `message` is made for the id.
   * @throws UNAVAILABLE when no link can be had; TIMEOUT_UNKNOWN when no answer came
   */
  call(
    to: NodeId,
    kind: LinkKind,
    timeoutMs: number,
    message: (id: number) => PeerMessage,
    payloadBytes = 0,
  ): Promise<PeerReply> {
    return new Promise((resolve, reject) => {
      const settle = (finish: () => void): void => {
        this.end(id)
        finish()
      }
      const id = this.begin(
        {
          kind,
          answered: (from, reply) => {
            if (from === to) settle(() => resolve(reply))
          },
          lost: (nodeId) => {
            if (nodeId === to) settle(() => reject(noAnswer(to)))
          },
          expired: () => reject(noAnswer(to)),
        },
        timeoutMs,
      )
      if (!this.ask(to, kind, message(id), payloadBytes)) {
        settle(() => reject(new KvError('UNAVAILABLE', `peer ${to} cannot be reached`)))
      }
    })
  }

  answered(from: NodeId, reply: PeerReply): void {
    this.#exchanges.get(reply.id)?.answered(from, reply)
  }

  /** A link of this kind to a peer ended. */
  lost(nodeId: NodeId, kind: LinkKind): void {
    for (const exchange of this.#exchanges.values()) if (exchange.kind === kind) exchange.lost(nodeId)
  }

  /** Ends every exchange as expired. */
  stop(): void {
    this.#deadlines.stop()
    const exchanges = this.#exchanges.values()
    this.#exchanges.clear()
    for (const exchange of exchanges) exchange.expired()
  }

  #expire(id: number): void {
    this.#exchanges.take(id)?.expired()
  }
}

function noAnswer(to: NodeId): KvError {
  return new KvError('TIMEOUT_UNKNOWN', `peer ${to} did not answer in time`)
}
