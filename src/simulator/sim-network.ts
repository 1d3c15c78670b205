/**
 * The network between simulated hosts: listeners, dials, and links that behave as WebSockets over TCP do —
 * and worse, when a fault says so.
 *
 * In order, a link delivers what was sent, in order. Across a cut nothing arrives and nothing ends: frames
 * wait and are sent again at growing intervals, as TCP does, so a cut that heals sooner than somebody loses
 * patience costs time only. A killed program's host resets its links; a host that lost its power says nothing
 * until it is back. Loss, duplication and reordering of single frames, which TCP would hide, are there to
 * test that nothing depends on TCP to hide them.
 */
import { KvError } from '../base/error.ts'
import { type Address, makeAddress, splitAddress } from '../base/ids.ts'
import type { Prng } from '../base/prng.ts'
import type { Link, LinkHandler, LinkPurpose, Listener, Network } from '../effects/network.ts'
import type { Scheduler } from './scheduler.ts'
import { Connection, type ConnectionWorld, type NetworkCounts } from './sim-link.ts'
import type { Paths } from './sim-paths.ts'
import type { SimProcess } from './sim-process.ts'
import { createTrafficMeter, type Traffic, type TrafficMeter } from './sim-traffic.ts'
import type { Trace } from './trace.ts'

export interface SimNetwork {
  /** The network as one life of a program on a host sees it. */
  attach(process: SimProcess): Network
  /** A program ended: its host resets its links (`reset`), or fell silent with it (`silent`). */
  detach(process: SimProcess, how: 'reset' | 'silent'): void
  /** Ends one open link chosen by chance, both sides see it lost; false when there is none. */
  breakLink(prng: Prng): boolean
  traffic(host: string): Traffic
  readonly counts: NetworkCounts
}

interface Listening {
  readonly process: SimProcess
  readonly accept: (link: Link, purpose: LinkPurpose) => void
  isRefusing: boolean
}

interface Host {
  readonly listeners: Map<number, Listening>
  /** A host whose program ended has power still. */
  isPowered: boolean
  nextPort: number
}

/** TCP sends an unanswered SYN again after 1 s; a WebSocket library gives up sooner than TCP. */
const SYN_RETRY_MS = 1_000
const DIAL_TIMEOUT_MS = 3_000
const FIRST_FREE_PORT = 40_000

export interface SimNetworkOptions {
  readonly scheduler: Scheduler
  readonly paths: Paths
  readonly prng: Prng
  readonly trace: Trace
  readonly sent?: ConnectionWorld['sent']
}

/** What hosts, listeners and dials share. */
class Internet {
  readonly hosts = new Map<string, Host>()
  readonly connections = new Set<Connection>()
  readonly #scheduler: Scheduler
  readonly #paths: Paths
  readonly #world: ConnectionWorld
  #nextPlace = 0

  constructor(options: SimNetworkOptions, meter: TrafficMeter, counts: NetworkCounts) {
    this.#scheduler = options.scheduler
    this.#paths = options.paths
    this.#world = {
      ...options,
      meter,
      counts,
      sent: options.sent ?? (() => undefined),
      isPowered: (host) => this.hosts.get(host)?.isPowered ?? false,
      ended: (connection) => this.connections.delete(connection),
    }
  }

  hostOf(name: string): Host {
    let host = this.hosts.get(name)
    if (host === undefined) {
      host = { listeners: new Map(), isPowered: true, nextPort: FIRST_FREE_PORT }
      this.hosts.set(name, host)
    }
    return host
  }

  listen(process: SimProcess, address: Address, accept: Listening['accept']): Listener {
    const host = this.hostOf(process.host)
    const port = splitAddress(address).port || host.nextPort++
    if (host.listeners.has(port)) {
      throw new KvError('INVALID_ARGUMENT', `port ${port} of ${process.host} is in use`)
    }
    const listening: Listening = { process, accept, isRefusing: false }
    host.listeners.set(port, listening)
    const { connections } = this
    return {
      address: makeAddress(process.host, port),
      refuseLinks(isRefusing: boolean) {
        listening.isRefusing = isRefusing
        if (isRefusing) for (const connection of connections) connection.terminateAccepted(process)
      },
      async close() {
        if (host.listeners.get(port)?.process === process) host.listeners.delete(port)
        for (const connection of connections) connection.closeAccepted(process)
      },
    }
  }

  dial(process: SimProcess, address: Address, purpose: LinkPurpose, handler: LinkHandler): Link {
    const target = splitAddress(address)
    const dialled = { process, handler, address, purpose }
    const connection = new Connection(this.#world, dialled, this.#nextPlace++)
    this.connections.add(connection)
    this.#scheduler.after(DIAL_TIMEOUT_MS, () => connection.giveUp())
    // The kernel of the other side answers, even while its program is stopped.
    const lookForListener = (): void => {
      const host = this.hosts.get(target.host)
      if (host === undefined || !host.isPowered) return
      const listening = host.listeners.get(target.port)
      if (listening === undefined || listening.isRefusing) connection.refuse()
      else connection.establish(listening.process, listening.accept)
    }
    const sendSyn = (): void => {
      if (!connection.isUnanswered) return
      const way = this.#paths.between(process.host, target.host)
      if (!way.isCut) this.#scheduler.after(way.latencyMs(this.#scheduler.nowMs), lookForListener)
      this.#scheduler.after(SYN_RETRY_MS, sendSyn)
    }
    sendSyn()
    return connection.dialled
  }
}

export function createSimNetwork(options: SimNetworkOptions): SimNetwork {
  const meter = createTrafficMeter()
  const counts: NetworkCounts = { frames: 0, lost: 0, duplicated: 0, reordered: 0, stalled: 0, broken: 0 }
  const internet = new Internet(options, meter, counts)
  const { connections } = internet
  return {
    counts,
    attach(process) {
      internet.hostOf(process.host).isPowered = true
      return {
        listen: async (address, accept) => internet.listen(process, address, accept),
        dial: (address, purpose, handler) => internet.dial(process, address, purpose, handler),
      }
    },
    detach(process, how) {
      const host = internet.hostOf(process.host)
      for (const [port, listening] of host.listeners) {
        if (listening.process === process) host.listeners.delete(port)
      }
      host.isPowered = how === 'reset'
      for (const connection of [...connections]) connection.processDied(process, how)
    },
    breakLink(prng) {
      const open = [...connections].filter((connection) => connection.isOpen)
      if (open.length === 0) return false
      counts.broken++
      open[prng.int(open.length)]?.breakOff()
      return true
    },
    traffic: (host) => meter.of(host),
  }
}
