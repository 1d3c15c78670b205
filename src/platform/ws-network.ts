/**
 * The network of this machine: WebSockets over TCP. One listening port carries the links of peers and clients
 * and plain HTTP. The server's side is in `server.ts`, one link in `ws-link.ts`.
 */
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Network } from '../effects/network.ts'
import { dialLink } from './ws-link.ts'

export type RequestHandler = (request: IncomingMessage, response: ServerResponse) => void

export interface SystemNetworkOptions {
  /** A link that brings a larger frame is cut. */
  readonly maxFrameBytes: number
  /** The same for links that clients dialled: they ask for little, compared with what peers bring. */
  readonly maxClientFrameBytes?: number
  /** From its first bytes until it is whole: a link whose frame takes longer is cut. */
  readonly frameTimeoutMs?: number
  /**
   * Of frames that are not whole yet, on all accepted links of clients, and of peers; past it the link with
   * the oldest one is cut.
   */
  readonly maxPartialBytes?: number
  /** A link that has more than this waiting to leave is cut: nobody reads at the other end. */
  readonly maxBufferedBytes?: number
  /** A dialled link that is not open by then is lost. */
  readonly dialTimeoutMs?: number
  /**
   * How long the other side has to agree to the end of a link, and HTTP requests to finish, before they are
   * cut.
   */
  readonly closeTimeoutMs?: number
  /** Of all kinds together. */
  readonly maxConnections?: number
  /** Connections that have not said what they want; past it the oldest of them is dropped. */
  readonly maxStrangers?: number
  /** For a stranger to say what it wants. */
  readonly strangerTimeoutMs?: number
  /** For a whole HTTP request, its body included, to arrive. */
  readonly requestTimeoutMs?: number
  /** For which an HTTP connection with an answer to come may carry no byte, in either direction. */
  readonly silentTimeoutMs?: number
}

export type SystemNetworkLimits = Required<SystemNetworkOptions>

export interface SystemNetwork extends Network {
  /** Who answers plain HTTP; until then everyone is told to come later. */
  setRequestHandler(handler: RequestHandler): void
}

const DEFAULTS: Omit<SystemNetworkLimits, 'maxFrameBytes' | 'maxClientFrameBytes'> = {
  frameTimeoutMs: 60_000,
  maxPartialBytes: 256 * 1024 * 1024,
  maxBufferedBytes: 64 * 1024 * 1024,
  dialTimeoutMs: 3_000,
  closeTimeoutMs: 2_000,
  maxConnections: 10_000,
  maxStrangers: 256,
  strangerTimeoutMs: 10_000,
  requestTimeoutMs: 60_000,
  // Longer than any request may take.
  silentTimeoutMs: 75_000,
}

export function createSystemNetwork(options: SystemNetworkOptions): SystemNetwork {
  const limits = { ...DEFAULTS, maxClientFrameBytes: options.maxFrameBytes, ...options }
  let handler: RequestHandler | null = null
  return {
    // Loaded here because programs that only dial, such as a client, do without the server.
    listen: async (address, accept) =>
      (await import('./server.ts')).startServer(address, accept, () => handler, limits),
    dial: (address, purpose, linkHandler) => dialLink(address, purpose, linkHandler, limits),
    setRequestHandler(next) {
      handler = next
    },
  }
}
