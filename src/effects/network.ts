/**
 * Links between processes: ordered frames of bytes, as a WebSocket gives them. Everything is told through the
 * handler, synchronously from the event loop; nothing here is a promise but `listen`.
 */
import type { Bytes } from '../base/bytes.ts'
import type { Address } from '../base/ids.ts'

/** What a link is for. Control traffic has links of its own, so that bulk data never delays a heartbeat. */
export type LinkPurpose = 'control' | 'data' | 'client'

/**
 * Why a link ended. `refused`: the host is there, nobody listens at that port (or the link was reset while it
 * was set up). `closed`: the other side ended it, or its process did. `lost`: silence, a broken stream, a
 * frame too large, or our own `terminate`.
 */
export type CloseCause = 'refused' | 'closed' | 'lost'

export interface Network {
  /**
   * Takes links from others until the listener is closed. Port 0 takes a free one.
   * @throws INVALID_ARGUMENT when the address is in use or not ours
   */
  listen(address: Address, accept: (link: Link, purpose: LinkPurpose) => void): Promise<Listener>
  /** Begins to connect and returns at once; the handler is told how it went. */
  dial(address: Address, purpose: LinkPurpose, handler: LinkHandler): Link
}

export interface Listener {
  /** Where it listens: the port is the real one. */
  readonly address: Address
  /** While it refuses, whoever dials is turned away as if nobody listened; the links it took end now. */
  refuseLinks(isRefusing: boolean): void
  /** Takes no more links, ends those it took. */
  close(): Promise<void>
}

export interface Link {
  /** For messages and logs; the port of an accepted link means nothing. */
  readonly remote: string
  /** Bytes handed to `send` that have not left this process. */
  readonly bufferedBytes: number
  /** Accepted links get their handler here, before the turn of the event loop ends. */
  setHandler(handler: LinkHandler): void
  /** The frame is no longer the caller's. Ignored when the link is not open. */
  send(frame: Bytes): void
  /** Ends it after what was sent has left. Idempotent. The handler's `closed` still comes. */
  close(): void
  /** Ends it now. Idempotent. The handler's `closed` still comes. */
  terminate(): void
}

export interface LinkHandler {
  /** Once, on dialled links: frames can be sent. */
  opened(): void
  /** One frame. The bytes are the handler's to keep. */
  received(frame: Bytes): void
  /**
   * A sign of life between frames, from time to time while a large one is on its way: a part of it came, or
   * the other side says that a part of ours did.
   */
  progressed(): void
  /** Once, the last call. `why`: in words for people, where more is known than the cause. */
  closed(cause: CloseCause, why?: string | null): void
}
