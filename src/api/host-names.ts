/**
 * By which names requests may call this peer. A web page can have its own name resolve to the address of a
 * peer that only the visitor reaches ("DNS rebinding"), and the visitor's browser then lets the page read and
 * write there as if it were its own server. What gives it away is the Host header: it names the page's host.
 * So a peer answers to addresses, which no page can claim as its own, to `localhost`, and to the names that
 * its operator gave it.
 */
import { isIP } from 'node:net'

/** As an operator's name: every name is one. */
const ANY = '*'
const HOST_HEADER = /^(?:\[(?<ip6>[^\]]*)\]|(?<name>[^:]*))(?::\d*)?$/

export class HostNames {
  readonly #names: ReadonlySet<string>

  /** @param names addresses are welcome too; `*` lets every name through */
  constructor(names: readonly string[]) {
    this.#names = new Set(names.map(normalized))
  }

  /** @param header the Host header of a request; its port does not matter */
  include(header: string): boolean {
    const { ip6, name = '' } = HOST_HEADER.exec(header)?.groups ?? {}
    if (ip6 !== undefined) return isIP(ip6) === 6
    const host = normalized(name)
    const isLocal = host === 'localhost' || host.endsWith('.localhost')
    return isIP(host) === 4 || isLocal || this.#names.has(host) || this.#names.has(ANY)
  }
}

function normalized(name: string): string {
  return name.toLowerCase().replace(/\.$/, '')
}
