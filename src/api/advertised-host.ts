/**
 * By which address a peer that listens at every address of its machine is found. To tell others 0.0.0.0 would
 * send each of them to itself.
 */
import { type NetworkInterfaceInfo, networkInterfaces } from 'node:os'
import { KvError } from '../base/error.ts'

type Interfaces = Readonly<Record<string, readonly NetworkInterfaceInfo[] | undefined>>

/** As people write all addresses, of IPv4 or of both. */
const WILDCARD = /^(?:0(?:\.0){0,3}|[0:]*:[0:]*)$/
const MAX_NAMES = 5

/**
 * The machine's only address beyond itself, or the loopback one where there is none.
 * @returns null when the host is an address that others can be told
 * @throws INVALID_ARGUMENT when there are several: only a person knows which one the others reach
 */
export function advertisedHost(host: string, interfaces: Interfaces = networkInterfaces()): string | null {
  if (!WILDCARD.test(host)) return null
  const all = Object.values(interfaces).flatMap((addresses) => addresses ?? [])
  const outer = all.filter(({ internal, address }) => !internal && !/^fe80:/i.test(address))
  const four = outer.filter(({ family }) => family === 'IPv4')
  const candidates = four.length > 0 || !host.includes(':') ? four : outer
  const [only, ...others] = candidates.map(({ address }) => address)
  if (only === undefined) return '127.0.0.1'
  if (others.length === 0) return only
  const shown = [only, ...others].slice(0, MAX_NAMES).join(', ')
  throw new KvError(
    'INVALID_ARGUMENT',
    `${host} is every address of this machine, which has several (${shown}); ` +
      'give the one by which others reach this peer: --advertise HOST:PORT',
  )
}
