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
/**
 * What was asked and not answered may weigh so much: question and expected answer together. The rest waits
 * here, where it can still go elsewhere, and not in the buffers of both ends, which cut a link that overflows
 * them.
 */
const MAX_OUTSTANDING_BYTES = 16 * 1024 * 1024

export type Question = Exclude<ClientRequest, { type: 'clientHello' }>
export type Answer = Exclude<ClientReply, { type: 'clientWelcome' | 'changed' | 'goodbye' }>

/** A question, and who asks it: on one connection at a time. */
export interface Asker {
  /** Its id is replaced. */
  readonly question: Question
  /** About how large the question is, when it carries a key or a value. */
  readonly payloadBytes: number
  /** That, and about how large its answer will be; 0: it waits for no others. Stays while it is asked. */
  readonly weightBytes: number
  /** The id it was sent under; 0: it was not. The connection's to set. */
  sentId: number
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
  readonly #probe = new Probe()
  /** In order. Ids rise on one link, so they get theirs when they are sent. */
  readonly #waiting = new Set<Asker>()
  /** The weight of what was sent and not answered. */
  #outstandingBytes = 0
  #isOpen = false
  #isClosed = false
  #goodbye: string | null = null

  constructor(address: Address, effects: { clock: Clock; network: Network }, owner: ConnectionOwner) {
    this.address = address
    this.#owner = owner
    this.#clock = effects.clock
    this.#channel = new Channel(clientRequestCodec, clientReplyCodec, effects.clock, this)
    this.#connectTimer = effects.clock.setTimer(CONNECT_TIMEOUT_MS, () =>
      this.#channel.terminate('no answer in time; is kvnode running there?'),
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
    return this.#askers.size + this.#waiting.size
  }

  /** Sends now, or when the peer has welcomed us and what was asked before leaves room. */
  ask(asker: Asker): void {
    const { weightBytes } = asker
    const isNext = weightBytes === 0 || (this.#waiting.size === 0 && this.#hasRoom(weightBytes))
    if (this.#isOpen && isNext) this.#send(asker)
    else {
      asker.sentId = 0
      this.#waiting.add(asker)
    }
    this.#watchTimer ??= this.#clock.setTimer(WATCH_INTERVAL_MS, this.#watch)
  }

  /**
   * The asker is told nothing any more. True: the peer may have the request. What waits is not sent in its
   * place at once: most likely it is given up next.
   */
  forget(asker: Asker): boolean {
    if (this.#waiting.delete(asker)) return false
    this.#take(asker.sentId)
    return true
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
        this.#take(message.id)?.answered(message)
        this.#sendWaiting()
    }
  }

  closed(cause: CloseCause, reason: string | null): void {
    if (this.#isClosed) return
    this.#isClosed = true
    this.#isOpen = false
    this.#connectTimer.cancel()
    this.#watchTimer?.cancel()
    this.#watchTimer = null
    const sent = this.#askers.values()
    this.#askers.clear()
    const unsent = [...this.#waiting]
    this.#waiting.clear()
    this.#owner.closed(this)
    const ending =
      cause === 'refused' ? 'nobody listens there; is kvnode running there?' : 'the connection broke'
    const why = this.#goodbye ?? reason ?? ending
    for (const asker of sent) asker.disconnected(true, `${this.address}: ${why}`)
    for (const asker of unsent) asker.disconnected(false, `${this.address}: ${why}`)
  }

  #welcomed(): void {
    if (this.#isOpen) return
    this.#connectTimer.cancel()
    this.#isOpen = true
    this.#sendWaiting()
    this.#owner.welcomed(this)
  }

  /** One question alone always has room, whatever it weighs. */
  #hasRoom(weightBytes: number): boolean {
    // What was given up may not have left yet.
    const busyBytes = Math.max(this.#outstandingBytes, this.#channel.bufferedBytes)
    return busyBytes === 0 || busyBytes + weightBytes <= MAX_OUTSTANDING_BYTES
  }

  #send(asker: Asker): void {
    const id = this.#askers.add(asker)
    asker.sentId = id
    this.#outstandingBytes += asker.weightBytes
    const why = this.#channel.send({ ...asker.question, id }, asker.payloadBytes)
    if (why !== null) this.#take(id)?.disconnected(false, `${this.address}: this cannot be sent: ${why}`)
  }

  #sendWaiting(): void {
    if (this.#waiting.size === 0 || !this.#isOpen) return
    for (const asker of this.#waiting) {
      if (!this.#hasRoom(asker.weightBytes)) return
      this.#waiting.delete(asker)
      this.#send(asker)
    }
  }

  #take(id: number): Asker | null {
    const asker = this.#askers.take(id)
    if (asker !== null) this.#outstandingBytes -= asker.weightBytes
    return asker
  }

  readonly #watch = (): void => {
    this.#watchTimer = null
    const nowMs = this.#clock.monotonic()
    const { lastHeardMs } = this.#channel
    const probe = this.#probe
    if (probe.sentMs !== null && lastHeardMs > probe.sentMs) {
      this.forget(probe)
      probe.sentMs = null
    }
    this.#sendWaiting()
    if (this.#isClosed || this.inFlight === 0) return
    if (probe.sentMs !== null && nowMs - probe.sentMs >= SILENCE_LIMIT_MS) {
      this.#channel.terminate('silent for too long')
      return
    }
    if (this.#isOpen && probe.sentMs === null && nowMs - lastHeardMs >= WATCH_INTERVAL_MS) {
      probe.sentMs = nowMs
      this.ask(probe)
    }
    this.#watchTimer ??= this.#clock.setTimer(WATCH_INTERVAL_MS, this.#watch)
  }
}

/** Asks for a sign of life; whether it is this answer or another does not matter. */
class Probe implements Asker {
  readonly question = { type: 'keyspaces', id: 0 } as const
  readonly payloadBytes = 0
  readonly weightBytes = 0
  sentId = 0
  /** Null: none is under way. */
  sentMs: number | null = null

  answered(): void {}

  disconnected(): void {}
}

export function unexpected(answer: Answer): KvError {
  return new KvError(
    'INTERNAL',
    `the peer answered with '${answer.type}', which is no answer to this request`,
  )
}
