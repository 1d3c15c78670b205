/**
 * Messages over one link: what is sent in one turn of the event loop leaves in one frame, and frames come
 * apart into messages again. Malformed input ends the link, never the process; so what its receiver would
 * have to refuse is never sent.
 */
import type { Clock } from '../effects/clock.ts'
import type { CloseCause, Link, LinkHandler } from '../effects/network.ts'
import { FRAME_TARGET_BYTES, MAX_FRAME_BYTES, MAX_FRAME_MESSAGES, packFrame, unpackFrame } from './frame.ts'
import { MalformedMessage, type MessageCodec } from './schema.ts'

export interface ChannelHandler<In> {
  opened(): void
  received(message: In): void
  closed(cause: CloseCause, reason: string | null): void
}

export class Channel<Out, In> implements LinkHandler {
  readonly #outgoing: MessageCodec<Out>
  readonly #incoming: MessageCodec<In>
  readonly #clock: Clock
  readonly #handler: ChannelHandler<In>
  #link: Link | null = null
  #outbox: unknown[][] = []
  #outboxBytes = 0
  /** Of all frames so far. */
  #flushedBytes = 0
  #flushing = false
  #closeReason: string | null = null
  #lastHeardMs: number
  #lastProgressMs: number

  constructor(
    outgoing: MessageCodec<Out>,
    incoming: MessageCodec<In>,
    clock: Clock,
    handler: ChannelHandler<In>,
  ) {
    this.#outgoing = outgoing
    this.#incoming = incoming
    this.#clock = clock
    this.#handler = handler
    this.#lastHeardMs = clock.monotonic()
    this.#lastProgressMs = this.#lastHeardMs
  }

  /** Before the first message. An accepted link's handler is the channel itself. */
  attach(link: Link): void {
    this.#link = link
  }

  /**
   * Monotonic ms of the last sign of life: a frame that came, or was seen to be on its way. Before the first,
   * of the channel's making.
   */
  get lastHeardMs(): number {
    return this.#lastHeardMs
  }

  /** Of the last sign that a large frame moves, of those alone. */
  get lastProgressMs(): number {
    return this.#lastProgressMs
  }

  get bufferedBytes(): number {
    return this.#outboxBytes + (this.#link?.bufferedBytes ?? 0)
  }

  /** What has left this process, of all that was ever sent. */
  get leftBytes(): number {
    return this.#flushedBytes - (this.#link?.bufferedBytes ?? 0)
  }

  /**
   * @param payloadBytes about how large the message is, when it carries a value
   * @returns null: it is on its way, or lost with the link. Otherwise why its receiver would have to cut the
   * link for it; it was not sent
   */
  send(message: Out, payloadBytes = 0): string | null {
    const raw = this.#encoded(message)
    if (typeof raw === 'string') return raw
    // Alone: what a frame can hold is known of each such message for itself.
    if (payloadBytes >= FRAME_TARGET_BYTES && this.#link !== null) {
      this.#flush()
      return this.#sendFrame([raw])
    }
    this.#outbox.push(raw)
    this.#outboxBytes += payloadBytes + 32
    if (this.#outboxBytes >= FRAME_TARGET_BYTES || this.#outbox.length >= MAX_FRAME_MESSAGES) this.#flush()
    else if (!this.#flushing) {
      this.#flushing = true
      this.#clock.defer(this.#flushDeferred)
    }
    return null
  }

  /** Ends the link once everything sent has left. */
  close(): void {
    this.#flush()
    this.#link?.close()
  }

  /** Ends the link now; `reason` is what the handler is told. */
  terminate(reason: string): void {
    this.#closeReason ??= reason
    this.#outbox = []
    this.#outboxBytes = 0
    this.#link?.terminate()
  }

  opened(): void {
    this.#handler.opened()
  }

  received(frame: Uint8Array): void {
    this.#lastHeardMs = this.#clock.monotonic()
    try {
      for (const raw of unpackFrame(frame)) {
        if (this.#closeReason !== null) return
        this.#handler.received(this.#incoming.decode(raw))
      }
    } catch (error) {
      if (!(error instanceof MalformedMessage)) throw error
      this.terminate(error.message)
    }
  }

  progressed(): void {
    this.#lastHeardMs = this.#clock.monotonic()
    this.#lastProgressMs = this.#lastHeardMs
  }

  closed(cause: CloseCause, why: string | null = null): void {
    this.#outbox = []
    this.#outboxBytes = 0
    this.#handler.closed(cause, this.#closeReason ?? why)
  }

  readonly #flushDeferred = (): void => {
    this.#flushing = false
    this.#flush()
  }

  /** A text: why its receiver would not take it. */
  #encoded(message: Out): unknown[] | string {
    try {
      return this.#outgoing.encode(message)
    } catch (error) {
      if (!(error instanceof MalformedMessage)) throw error
      return error.message
    }
  }

  #flush(): void {
    if (this.#outbox.length === 0 || this.#link === null) return
    const messages = this.#outbox
    this.#outbox = []
    this.#outboxBytes = 0
    this.#sendFrame(messages)
  }

  #sendFrame(messages: unknown[][]): string | null {
    const frame = packFrame(messages)
    if (frame.length > MAX_FRAME_BYTES) return `no frame holds its ${frame.length} bytes`
    this.#flushedBytes += frame.length
    this.#link?.send(frame)
    return null
  }
}
