/** One link to one peer, and the requests under way on it. Answers come in any order. */
import { KvError } from '../base/error.ts'
import type { Address } from '../base/ids.ts'
import { SlotTable } from '../base/slot-table.ts'
import type { Clock, Timer } from '../effects/clock.ts'
import type { CloseCause, Network } from '../effects/network.ts'
import { Channel, type ChannelHandler } from '../wire/channel.ts'
import {
  type ClientReply,
  type ClientRequest,
  clientReplyCodec,
  clientRequestCodec,
} from '../wire/client-messages.ts'
import { PROTOCOL_VERSION } from '../wire/frame.ts'

const CONNECT_TIMEOUT_MS = 3000
/** While answers are owed, a link that brought nothing for this long is asked for a sign of life. */
const WATCH_INTERVAL_MS = 500
/** Without one for this long it is cut: a host without power, or beyond a cut, never says that it is gone. */
const SILENCE_LIMIT_MS = 2000
const NOBODY: Asker = { answered: () => undefined, disconnected: () => undefined }

export type Question = Exclude<ClientRequest, { type: 'clientHello' }>
export type Answer = Exclude<ClientReply, { type: 'clientWelcome' | 'changed' | 'goodbye' }>

export interface Asker {
  answered(answer: Answer): void
  /** The link ended; `wasSent` says whether the peer may have the request. */
  disconnected(wasSent: boolean, reason: string): void
}

export interface ConnectionOwner {
  welcomed(connection: Connection): void
  /** The peer says that the topology changed. */
  changed(): void
  closed(connection: Connection): void
}

export class Connection implements ChannelHandler<ClientReply> {
  readonly address: Address
  readonly #owner: ConnectionOwner
  readonly #channel: Channel<ClientRequest, ClientReply>
  readonly #askers = new SlotTable<Asker>()
  readonly #connectTimer: Timer
  readonly #clock: Clock
  #watchTimer: Timer | null = null
  /** The question that asked for a sign of life, and when. */
  #probe: { readonly id: number; readonly sentMs: number } | null = null
  /** By id, in order. */
  readonly #waiting = new Map<number, { readonly question: Question; readonly payloadBytes: number }>()
  #isOpen = false
  #isClosed = false
  #goodbye: string | null = null

  constructor(address: Address, effects: { clock: Clock; network: Network }, owner: ConnectionOwner) {
    this.address = address
    this.#owner = owner
    this.#clock = effects.clock
    this.#channel = new Channel(clientRequestCodec, clientReplyCodec, effects.clock, this)
    this.#connectTimer = effects.clock.setTimer(CONNECT_TIMEOUT_MS, () =>
      this.#channel.terminate('no answer in time'),
    )
    this.#channel.attach(effects.network.dial(address, 'client', this.#channel))
  }

  get isOpen(): boolean {
    return this.#isOpen
  }

  /** Nothing more is asked here: it has ended, or the peer said goodbye and hears nothing more. */
  get isClosed(): boolean {
    return this.#isClosed || this.#goodbye !== null
  }

  get inFlight(): number {
    return this.#askers.size
  }

  /**
   * Sends now, or when the peer has welcomed us. The id in `question` is replaced. @returns a handle for
   * `forget`
   */
  ask(question: Question, payloadBytes: number, asker: Asker): number {
    const id = this.#askers.add(asker)
    if (this.#isOpen) this.#channel.send({ ...question, id }, payloadBytes)
    else this.#waiting.set(id, { question, payloadBytes })
    this.#watchTimer ??= this.#clock.setTimer(WATCH_INTERVAL_MS, this.#watch)
    return id
  }

  /** The asker is told nothing any more. True: the peer may have the request. */
  forget(id: number): boolean {
    this.#askers.take(id)
    return !this.#waiting.delete(id)
  }

  close(): void {
    this.#watchTimer?.cancel()
    this.#watchTimer = null
    this.#channel.close()
  }

  opened(): void {
    this.#channel.send({ type: 'clientHello', protocolVersion: PROTOCOL_VERSION })
  }

  received(message: ClientReply): void {
    switch (message.type) {
      case 'clientWelcome':
        return this.#welcomed()
      case 'changed':
        return this.#owner.changed()
      case 'goodbye':
        this.#goodbye = message.reason
        this.#isOpen = false
        return this.#channel.close()
      default:
        this.#askers.take(message.id)?.answered(message)
    }
  }

  closed(cause: CloseCause, reason: string | null): void {
    if (this.#isClosed) return
    this.#isClosed = true
    this.#isOpen = false
    this.#connectTimer.cancel()
    this.#watchTimer?.cancel()
    this.#watchTimer = null
    const unsent = new Set(this.#waiting.keys())
    this.#waiting.clear()
    const askers = this.#askers.entries()
    this.#askers.clear()
    this.#owner.closed(this)
    const why =
      this.#goodbye ?? reason ?? (cause === 'refused' ? 'nobody listens there' : 'the connection broke')
    for (const [id, asker] of askers) asker.disconnected(!unsent.has(id), `${this.address}: ${why}`)
  }

  #welcomed(): void {
    if (this.#isOpen) return
    this.#connectTimer.cancel()
    this.#isOpen = true
    // Before the owner asks anything itself: ids rise on one link, and the peer drops one that comes late.
    for (const [id, { question, payloadBytes }] of this.#waiting)
      this.#channel.send({ ...question, id }, payloadBytes)
    this.#waiting.clear()
    this.#owner.welcomed(this)
  }

  readonly #watch = (): void => {
    this.#watchTimer = null
    const nowMs = this.#clock.monotonic()
    const { lastHeardMs } = this.#channel
    if (this.#probe !== null && lastHeardMs > this.#probe.sentMs) {
      this.#askers.take(this.#probe.id)
      this.#probe = null
    }
    if (this.#isClosed || this.#askers.size === 0) return
    if (this.#probe !== null && nowMs - this.#probe.sentMs >= SILENCE_LIMIT_MS) {
      this.#channel.terminate('silent for too long')
      return
    }
    if (this.#isOpen && this.#probe === null && nowMs - lastHeardMs >= WATCH_INTERVAL_MS) {
      this.#probe = { id: this.ask({ type: 'keyspaces', id: 0 }, 0, NOBODY), sentMs: nowMs }
    }
    this.#watchTimer ??= this.#clock.setTimer(WATCH_INTERVAL_MS, this.#watch)
  }
}

export function unexpected(answer: Answer): KvError {
  return new KvError(
    'INTERNAL',
    `the peer answered with '${answer.type}', which is no answer to this request`,
  )
}
