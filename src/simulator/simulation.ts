/**
 * A whole cluster in one process: the real `createNode` and the real client library on simulated time,
 * network and disks. For tests of what is built here, and for users' tests of what they build on it.
 *
 * ```ts
 * const simulation = createSimulation({ seed: 1, peers: 3 })
 * await simulation.start()
 * const kv = simulation.client()
 * await simulation.settle(kv.put('greeting', 'hello'))
 * simulation.peers[0].crash()
 * const heal = simulation.partition([[simulation.peers[1]], [simulation.peers[2]]])
 * await simulation.run(5_000)
 * heal()
 * await simulation.stop()
 * ```
 *
 * Time passes only inside `run`, `until` and `settle`: a promise of the cluster's awaited by itself never
 * settles.
 */
import { KvError } from '../base/error.ts'
import { type Address, makeAddress, type NodeId } from '../base/ids.ts'
import { type Client, type ClientOptions, createClient } from '../client/client.ts'
import { DEFAULT_NODE_OPTIONS, type NodeOptions } from '../node/node-options.ts'
import { formCluster } from './formed-cluster.ts'
import { groupCuts } from './partition-shape.ts'
import type { LatencyOptions } from './sim-paths.ts'
import { createPeer, type SimPeer } from './sim-peer.ts'
import {
  createWorld,
  type FrameEntry,
  type LogEntry,
  type SimWorld,
  type WorldObserver,
} from './sim-world.ts'

export type { SimPeer, SimPeerState } from './sim-peer.ts'

export interface SimulationOptions {
  /** The same seed gives the same run. */
  readonly seed: string | number
  /** How many; they are hosts 10.0.0.1, 10.0.0.2, … */
  readonly peers: number
  /** Of further ones, which wait until `admit` starts them. Default none. */
  readonly spares?: number
  /** Default 64: enough for a handful of peers, and quick. A power of two. */
  readonly partitionCount?: number
  /** Zones of the peers, in turn. Default: none. */
  readonly zones?: readonly string[]
  readonly latency?: LatencyOptions
  /** Peers' wall clocks are wrong by up to this. Default 0. */
  readonly clockErrorMs?: number
  readonly log?: (entry: LogEntry) => void
  /** Told of every frame that is sent. */
  readonly frame?: (entry: FrameEntry) => void
  readonly observer?: WorldObserver
  /**
   * The peers start as members of one cluster, on disks that say so, instead of joining one by one. Default
   * false.
   */
  readonly formed?: boolean
  /** A peer that was ready had to end itself. Default: that fails the run. */
  readonly ended?: (host: string, error: KvError) => void
  /** For all peers, over what the simulation sets. */
  readonly node?: Partial<NodeOptions>
  /** Run every event by way of the real event loop. Same run, slower. */
  readonly slow?: boolean
}

export interface Simulation {
  readonly world: SimWorld
  readonly peers: readonly SimPeer[]
  /** Virtual ms since it was made. */
  readonly nowMs: number
  /** A hash of all that happened: equal for equal seeds. */
  readonly digest: string
  /**
   * Boots all peers and runs until they are one cluster. @throws UNAVAILABLE when they are not within
   * `limitMs` (default 60 s)
   */
  start(limitMs?: number): Promise<void>
  /** Boots all peers, and lets no time pass. */
  boot(): void
  /** All peers are ready, know the same configuration, and it has them all. */
  isFormed(): boolean
  /**
   * Starts the next spare one, which is to join: one of the peers from then on. Null: there is none.
   * @param replaces a member that is down for good, whose place it takes
   */
  admit(replaces?: NodeId | null): SimPeer | null
  /** It has gone for good: it is none of the peers any more, and is never started again. */
  retire(peer: SimPeer): void
  /** Lets so much virtual time pass. */
  run(ms: number): Promise<void>
  /**
   * Lets time pass until the predicate holds (asked every 10 ms); false when it does not within `limitMs`.
   */
  until(predicate: () => boolean, limitMs: number): Promise<boolean>
  /**
   * Lets time pass until the promise settles, and gives what it gave. @throws UNAVAILABLE when it does not
   * within `limitMs` (60 s)
   */
  settle<T>(promise: Promise<T>, limitMs?: number): Promise<T>
  /** A client on a host of its own. */
  client(options?: SimClientOptions): Client
  /**
   * Cuts groups off from each other; peers and clients in none reach everyone. The returned function heals
   * it.
   */
  partition(groups: readonly (readonly SimPeer[])[]): () => void
  /** Ends all network faults. */
  heal(): void
  /** Stops everyone cleanly. */
  stop(): Promise<void>
}

export interface SimClientOptions extends Partial<ClientOptions> {
  /** Name of its host. Default: 10.1.0.1, 10.1.0.2, … */
  readonly host?: string
}

const DEFAULT_PARTITION_COUNT = 64
const PORT = 7000
const PREDICATE_INTERVAL_MS = 10
const DEFAULT_LIMIT_MS = 60_000

export function createSimulation(options: SimulationOptions): Simulation {
  const world = createWorld(options)
  const { scheduler } = world
  const { peers, addresses, retire, admit } = gather(options, world)
  let clients = 0

  const until = async (predicate: () => boolean, limitMs: number): Promise<boolean> => {
    let askAtMs = 0
    let held = false
    const ask = (): boolean => {
      if (scheduler.nowMs < askAtMs) return false
      askAtMs = scheduler.nowMs + PREDICATE_INTERVAL_MS
      held = predicate()
      return held
    }
    await scheduler.run(scheduler.nowMs + limitMs, ask)
    return held || predicate()
  }

  const settle = async <T>(promise: Promise<T>, limitMs = DEFAULT_LIMIT_MS): Promise<T> => {
    let settled = false
    const note = (): void => {
      settled = true
    }
    promise.then(note, note)
    await scheduler.run(scheduler.nowMs + limitMs, () => settled)
    if (!settled) throw new KvError('UNAVAILABLE', `nothing came of it in ${limitMs} virtual ms`)
    return promise
  }

  const simulation: Simulation = {
    world,
    peers,
    get nowMs() {
      return scheduler.nowMs
    },
    get digest() {
      return world.trace.digest()
    },
    boot() {
      for (const peer of peers) peer.start()
    },
    async start(limitMs = DEFAULT_LIMIT_MS) {
      if (options.formed === true) await formDisks(world, options, peers)
      simulation.boot()
      if (await until(simulation.isFormed, limitMs)) return
      throw new KvError('UNAVAILABLE', `the simulated peers are not one cluster after ${limitMs} virtual ms`)
    },
    isFormed: () => isFormed(peers),
    retire,
    admit,
    run: (ms) => scheduler.run(scheduler.nowMs + ms),
    until,
    settle,
    client({ host, ...rest } = {}) {
      const { effects } = world.host(host ?? `10.1.0.${++clients}`).boot()
      return createClient({ peers: addresses, ...rest }, effects)
    },
    partition(groups) {
      const cut = new Set(groupCuts(groups.map((group) => group.map((peer) => peer.host))).map(String))
      return world.paths.add({ touches: (from, to) => cut.has(`${from},${to}`), cut: true })
    },
    heal: () => world.paths.clear(),
    async stop() {
      await settle(Promise.all(peers.map((peer) => peer.stop())))
    },
  }
  return simulation
}

/** The peers of a simulation, those that come and go included. */
function gather(options: SimulationOptions, world: SimWorld) {
  const count = options.peers + (options.spares ?? 0)
  const all = Array.from({ length: count }, (_, i) => makeAddress(peerHost(i), PORT))
  const addresses = all.slice(0, options.peers)
  const retire = (peer: SimPeer): void => {
    const place = peers.indexOf(peer)
    if (place < 0) return
    peers.splice(place, 1)
    options.observer?.onGone?.(peer.host)
  }
  const make = (address: Address, i: number, replace: NodeId | null): SimPeer => {
    const own = { ...nodeOptionsOf(options, address, addresses, i), replace }
    const ended = options.ended ?? null
    return createPeer({ world, options: own, addresses, ended, present: () => peers, left: retire })
  }
  const peers = addresses.map((address, i) => make(address, i, null))
  let met = peers.length
  const admit = (replaces: NodeId | null = null): SimPeer | null => {
    const address = all[met]
    if (address === undefined) return null
    const spare = make(address, met++, replaces)
    peers.push(spare)
    spare.start()
    return spare
  }
  return { peers, addresses, retire, admit }
}

async function formDisks(
  world: SimWorld,
  options: SimulationOptions,
  peers: readonly SimPeer[],
): Promise<void> {
  const { weight } = DEFAULT_NODE_OPTIONS
  const formed = peers.map(({ host, address }, i) => ({ host, address, zone: zoneOf(options, i), weight }))
  await formCluster(world, formed, options.partitionCount ?? DEFAULT_PARTITION_COUNT)
}

function zoneOf({ zones }: SimulationOptions, index: number): string {
  return zones === undefined || zones.length === 0 ? '' : (zones[index % zones.length] as string)
}

function peerHost(index: number): string {
  return `10.0.${Math.floor(index / 250)}.${(index % 250) + 1}`
}

function isFormed(peers: readonly SimPeer[]): boolean {
  const first = peers[0]?.node?.configuration ?? null
  if (first === null || first.phase !== 'stable' || first.layouts[0].members.length !== peers.length)
    return false
  return peers.every((peer) => peer.state === 'ready' && peer.node?.configuration?.number === first.number)
}

function nodeOptionsOf(
  options: SimulationOptions,
  address: Address,
  addresses: readonly Address[],
  index: number,
): NodeOptions {
  return {
    ...DEFAULT_NODE_OPTIONS,
    listen: address,
    // Members of a cluster that was formed before know each other; who joins one has to be told of somebody.
    join: options.formed === true ? [] : addresses.slice(0, index),
    zone: zoneOf(options, index),
    partitionCount: options.partitionCount ?? DEFAULT_PARTITION_COUNT,
    ...options.node,
  }
}
