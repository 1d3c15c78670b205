/**
 * A request whose offer to go on in another protocol is an offer. RFC 9110, 7.8: a server may ignore
 * `Upgrade` and answer in the version it was asked in. Clients that speak HTTP/2 offer `h2c` with whatever
 * they ask, and Node, once a server listens for upgrades, hands it every request that offers any.
 *
 * Node's parser sets `upgrade` and then asks it what the request is; there is no other place, before Node 24,
 * where one that goes on as HTTP keeps its body and its connection.
 */
import { IncomingMessage } from 'node:http'

export class HttpRequest extends IncomingMessage {
  /** Node's parser found an `Upgrade`, or the method is CONNECT; its base class sets it too, before us. */
  declare private isOffered: boolean

  get upgrade(): boolean {
    return this.isOffered && (this.method === 'CONNECT' || this.#offersWebSocket)
  }

  set upgrade(isOffered: boolean) {
    this.isOffered = isOffered
  }

  get #offersWebSocket(): boolean {
    return this.headers.upgrade?.trim().toLowerCase() === 'websocket'
  }
}
