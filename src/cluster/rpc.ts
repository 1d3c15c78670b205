/**
 * Questions and answers between peers. An exchange is one operation's conversation under one id with any number of peers: it is told every
 * answer, every link that broke, and the end of its time. Each has a deadline; none outlives it.
 */
import { KvError } from '../base/error.ts'
import type { Address, NodeId } from '../base/ids.ts'
import type { Clock, Timer } from '../effects/clock.ts'
import type { PeerMessage, PeerReply } from '../wire/peer-messages.ts'
import type { Links } from './links.ts'

/** Deadlines are kept in slots this wide: one timer for all of them. */
const SLOT_MS = 25

export interface Exchange {
  answered(from: NodeId, reply: PeerReply): void
  /** What was asked of this peer and not answered may never be. */
  lost(nodeId: NodeId): void
  /** The last call, unless `end` came first. */
  expired(): void
}

export type LinkKind = 'control' | 'data'

export class Rpc {
  readonly #links: Links
  readonly #clock: Clock
  readonly #addressOf: (nodeId: NodeId) => Address | null
  readonly #exchanges = new Map<number, Exchange>()
  readonly #slots = new Map<number, number[]>()
  #nextId = 1
  #timer: Timer | null = null
  #sweptSlot: number

  constructor(links: Links, clock: Clock, addressOf: (nodeId: NodeId) => Address | null) {
    this.#links = links
    this.#clock = clock
    this.#addressOf = addressOf
    this.#sweptSlot = Math.floor(clock.monotonic() / SLOT_MS)
  }

  get openCount(): number {
    return this.#exchanges.size
  }

  /** @returns the id for the exchange's messages */
  begin(exchange: Exchange, timeoutMs: number): number {
    const id = this.#nextId
    this.#nextId = id === 0xffff_ffff ? 1 : id + 1
    this.#exchanges.set(id, exchange)
    const slot = Math.floor((this.#clock.monotonic() + timeoutMs) / SLOT_MS) + 1
    const ids = this.#slots.get(slot)
    if (ids === undefined) this.#slots.set(slot, [id])
    else ids.push(id)
    this.#timer ??= this.#clock.setTimer(SLOT_MS, this.#sweep)
    return id
  }

  end(id: number): void {
    this.#exchanges.delete(id)
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
  ): Promise<PeerReply> {
    return new Promise((resolve, reject) => {
      const settle = (finish: () => void): void => {
        this.end(id)
        finish()
      }
      const id = this.begin(
        {
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
      if (!this.ask(to, kind, message(id))) {
        settle(() => reject(new KvError('UNAVAILABLE', `peer ${to} cannot be reached`)))
      }
    })
  }

  answered(from: NodeId, reply: PeerReply): void {
    this.#exchanges.get(reply.id)?.answered(from, reply)
  }

  lost(nodeId: NodeId): void {
    for (const exchange of [...this.#exchanges.values()]) exchange.lost(nodeId)
  }

  /** Ends every exchange as expired. */
  stop(): void {
    this.#timer?.cancel()
    this.#timer = null
    const exchanges = [...this.#exchanges.values()]
    this.#exchanges.clear()
    this.#slots.clear()
    for (const exchange of exchanges) exchange.expired()
  }

  readonly #sweep = (): void => {
    this.#timer = null
    const current = Math.floor(this.#clock.monotonic() / SLOT_MS)
    const due: number[] = []
    if (current - this.#sweptSlot < this.#slots.size) {
      for (let slot = this.#sweptSlot + 1; slot <= current; slot++) this.#takeSlot(slot, due)
    } else {
      for (const slot of [...this.#slots.keys()].sort((a, b) => a - b))
        if (slot <= current) this.#takeSlot(slot, due)
    }
    this.#sweptSlot = current
    for (const id of due) {
      const exchange = this.#exchanges.get(id)
      if (exchange === undefined) continue
      this.#exchanges.delete(id)
      exchange.expired()
    }
    if (this.#slots.size > 0) this.#timer ??= this.#clock.setTimer(SLOT_MS, this.#sweep)
  }

  #takeSlot(slot: number, due: number[]): void {
    const ids = this.#slots.get(slot)
    if (ids === undefined) return
    this.#slots.delete(slot)
    for (const id of ids) due.push(id)
  }
}

function noAnswer(to: NodeId): KvError {
  return new KvError('TIMEOUT_UNKNOWN', `peer ${to} did not answer in time`)
}
