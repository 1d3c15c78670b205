/**
 * One run of a campaign: a cluster forms, takes a load while faults strike (safety), then the faults stop and
 * everything must come right in bounded time (liveness). Whatever it finds wrong ends it.
 */

import type { Bytes } from '../base/bytes.ts'
import { toKvError } from '../base/error.ts'
import { createPrng, type Prng } from '../base/prng.ts'
import type { Client } from '../client/client.ts'
import type { Configuration, Keyspace, Level } from '../protocol/configuration.ts'
import { DEFAULT_KEYSPACE_OPTIONS } from '../wire/requests.ts'
import { ChangeWatch, type StepListener } from './change-watch.ts'
import { type ClusterChecks, createClusterChecks } from './checker/cluster-checks.ts'
import { findDisagreement, findUndelivered } from './checker/convergence.ts'
import type { PurgeCounts } from './checker/purges.ts'
import { findUnequal } from './checker/trees.ts'
import { Violation } from './checker/violation.ts'
import { createFaultInjector, type FaultInjector } from './fault-injector.ts'
import { LOAD_KEYSPACES, Load, type LoadCounts, type LoadPlace } from './load.ts'
import { MAX_JOINS, type RingCounts, RingLoad } from './ring-load.ts'
import type { NetworkCounts } from './sim-link.ts'
import { chance, exponential, pick } from './sim-random.ts'
import { type FrameEntry, type LogEntry, SimulationError } from './sim-world.ts'
import { createSimulation, type SimPeer, type Simulation } from './simulation.ts'
import { createSwarm, FAULT_CLASSES, type Fault, type FaultClass } from './swarm.ts'

export interface ScenarioOptions {
  readonly seed: string | number
  /** Default 5. */
  readonly peers?: number
  /** Virtual minutes of load and faults. */
  readonly minutes: number
  /** Positions in the seed's fault schedule to carry out; default all. */
  readonly keep?: readonly number[]
  /**
   * Ends without a verdict when the load has gone on until then: for runs that are to fail sooner or not at
   * all. Virtual ms.
   */
  readonly giveUpAtMs?: number
  /** Client operations in a virtual second. Default 20. */
  readonly ratePerSecond?: number
  readonly keyCount?: number
  readonly clients?: number
  /** Peers also join, leave, are removed and replaced, under load and faults. Default false. */
  readonly ring?: boolean
  readonly log?: (entry: LogEntry) => void
  readonly frame?: (entry: FrameEntry) => void
}

export interface ScenarioReport {
  readonly seed: string
  readonly failure: ScenarioFailure | null
  /** Equal for equal options. */
  readonly digest: string
  readonly virtualMs: number
  readonly eventCount: number
  readonly load: LoadCounts
  readonly network: NetworkCounts
  readonly struck: Readonly<Record<FaultClass, number>>
  readonly configurations: number
  /** Of peers, under load. */
  readonly ring: RingCounts
  readonly votes: number
  readonly dots: number
  readonly purges: PurgeCounts
  readonly schedule: readonly Fault[]
}

export interface ScenarioFailure {
  /** Of the list of invariants; null: a program failed or something hung. */
  readonly invariant: number | null
  readonly message: string
  readonly atMs: number
}

const TIMES_WHILE_CHANGING = 4
/** A step that none has followed for so long waits for somebody who is away. */
const BUSY_STEP_MS = 5000
/** Where the ring changes: none, or more peers than zones. */
const ZONES: readonly (readonly string[])[] = [[], ['x', 'y'], ['x', 'y', 'z']]
const FORM_LIMIT_MS = 90_000
const CONVERGE_LIMIT_MS = 90_000
/** Owners whose trees nothing else has compare them every two to three minutes. */
const EQUAL_LIMIT_MS = 240_000
/** All roots of all owners are compared each time. */
const EQUAL_LOOK_INTERVAL_MS = 250
const DRAIN_LIMIT_MS = 30_000
const READ_LIMIT_MS = 30_000
const DELIVERY_LIMIT_MS = 60_000
/** How long faults strike a forming cluster. */
const FORMING_FAULTS_MS = 20_000
const CONFIGURATION_CHANGE_INTERVAL_MS = 20_000

/**
 * The fault schedule of a seed: what strikes while the cluster forms (often nothing), then what strikes under
 * load.
 */
export function scheduleOf(options: ScenarioOptions): {
  readonly forming: readonly Fault[]
  readonly loaded: readonly Fault[]
} {
  const hosts = peerHosts(options.peers ?? 5)
  const spares = sparesOf(options)
  const clients = clientHosts(options)
  const prng = createPrng(options.seed).fork('schedule')
  const forming = chance(prng, 0.3)
    ? createSwarm({ seed: `${options.seed}/forming`, hosts, clients, durationMs: FORMING_FAULTS_MS })
    : []
  return {
    forming,
    // What strikes a peer that is not there yet strikes nobody.
    loaded: createSwarm({
      seed: options.seed,
      hosts: peerHosts(hosts.length + spares),
      clients,
      durationMs: options.minutes * 60_000,
      ring: options.ring === true,
    }),
  }
}

export async function runScenario(options: ScenarioOptions): Promise<ScenarioReport> {
  const scenario = new Scenario(options)
  let failure: ScenarioFailure | null = null
  try {
    await scenario.run()
  } catch (error) {
    const cause = error instanceof SimulationError && error.cause instanceof Violation ? error.cause : error
    failure = {
      invariant: cause instanceof Violation ? cause.invariant : null,
      message: cause instanceof Error ? cause.message : String(cause),
      atMs: scenario.simulation.nowMs,
    }
  }
  return scenario.report(failure)
}

class Scenario {
  readonly simulation: Simulation
  readonly #options: ScenarioOptions
  readonly #checks: ClusterChecks
  readonly #prng: Prng
  readonly #forming: readonly Fault[]
  readonly #loaded: readonly Fault[]
  readonly #injectors: FaultInjector[] = []
  #load: Load | null = null
  #ringLoad: RingLoad | null = null
  #lastStep: Configuration | null = null
  readonly #changes = new ChangeWatch((...step) => this.#changeStepTaken(...step))

  constructor(options: ScenarioOptions) {
    this.#options = options
    this.#prng = createPrng(options.seed).fork('scenario')
    const { forming, loaded } = scheduleOf(options)
    const kept = (fault: Fault, position: number): boolean => options.keep?.includes(position) ?? !!fault
    this.#forming = forming.filter((fault, i) => kept(fault, i))
    this.#loaded = loaded.filter((fault, i) => kept(fault, forming.length + i))
    this.#checks = createClusterChecks()
    this.simulation = createSimulation({
      seed: options.seed,
      peers: options.peers ?? 5,
      spares: sparesOf(options),
      // With few partitions a hash tree has many keys, with many it has one or none.
      partitionCount: pick(this.#prng, [8, 64]),
      clockErrorMs: pick(this.#prng, [0, 50, 5_000]),
      ...(options.ring === true ? { zones: pick(this.#prng.fork('zones'), ZONES) } : {}),
      observer: { ...this.#checks.disks, onFile: this.#wroteFile },
      node: {
        // Often enough that trees are made anew in every phase of a run.
        treeRebuildIntervalMs: 40_000,
        purge: { purgeAfterMs: pick(this.#prng, [1, 4000, 10_000]), expiryGraceMs: 1000 },
      },
      ...(options.log === undefined ? {} : { log: options.log }),
      frame: (entry) => {
        options.frame?.(entry)
        this.#checks.frames(entry)
      },
    })
    this.#checks.watch(this.simulation)
  }

  readonly #wroteFile = (host: string, file: string, bytes: Bytes | null): void => {
    this.#checks.disks.onFile?.(host, file, bytes)
    if (this.#options.ring === true) this.#changes.wrote(file, bytes)
  }

  readonly #changeStepTaken: StepListener = (step, moment, next) => {
    this.#injectors.at(-1)?.stepTaken(step, moment, next)
    const load = this.#load
    if (load === null) return
    // What an open change may do wrong it does to what is asked meanwhile.
    load.times = next.phase === 'stable' ? 1 : TIMES_WHILE_CHANGING
    this.#lastStep = next
    this.simulation.world.scheduler.after(BUSY_STEP_MS, () => {
      if (this.#lastStep === next) load.times = 1
    })
  }

  async run(): Promise<void> {
    await this.#form()
    const clients = clientHosts(this.#options).map((host) => this.simulation.client({ host }))
    const keyspaces = await this.#makeKeyspaces(clients[0] as Client)
    this.#load = this.#makeLoad(clients, keyspaces)
    const injector = this.#inject(this.#loaded)
    this.#load.begin()
    const stopChanging = this.#changeConfigurations(clients)
    if (this.#options.ring === true) {
      const parts = { simulation: this.simulation, clients, load: this.#load, dataLoss: injector.dataLoss }
      this.#ringLoad = new RingLoad(parts, this.#prng.fork('ring'))
      this.#ringLoad.begin()
    }
    const loadMs = this.#options.minutes * 60_000
    const patienceMs = (this.#options.giveUpAtMs ?? Number.POSITIVE_INFINITY) - this.simulation.nowMs
    await this.simulation.run(Math.max(0, Math.min(loadMs, patienceMs)))
    if (patienceMs < loadMs) return
    this.#load.end()
    stopChanging()
    this.#ringLoad?.end()
    const spared = this.#endFaults(injector)
    await this.#converge(spared)
    await this.#awaitDeliveries(spared)
    // Reads repair what they find: owners must become equal without them, and be right without waiting.
    const readsFirst = chance(this.#prng, 0.5)
    if (readsFirst) await this.#readEverything(spared)
    await this.#becomeEqual(spared)
    if (!readsFirst) await this.#readEverything(spared)
    for (const client of clients) client.close()
    await this.simulation.stop()
  }

  report(failure: ScenarioFailure | null): ScenarioReport {
    const { world, digest, nowMs } = this.simulation
    const struck = Object.fromEntries(
      FAULT_CLASSES.map((name) => [name, this.#injectors.reduce((sum, each) => sum + each.struck[name], 0)]),
    ) as Record<FaultClass, number>
    return {
      seed: world.seed,
      failure,
      digest,
      virtualMs: nowMs,
      eventCount: world.scheduler.eventCount,
      load: this.#load?.counts ?? NO_LOAD,
      network: world.network.counts,
      struck,
      configurations: this.#checks.configurations.highest,
      ring: this.#ringLoad?.counts ?? NO_RING_CHANGES,
      votes: this.#checks.votes.voteCount,
      dots: this.#checks.dots.dotCount,
      purges: this.#checks.purges.counts,
      schedule: [...this.#forming, ...this.#loaded],
    }
  }

  async #form(): Promise<void> {
    const { simulation } = this
    simulation.boot()
    if (this.#forming.length > 0) {
      const injector = this.#inject(this.#forming)
      await simulation.run(FORMING_FAULTS_MS)
      injector.end()
    }
    if (await simulation.until(simulation.isFormed, FORM_LIMIT_MS)) return
    throw new Violation(
      5,
      `no cluster was formed within ${FORM_LIMIT_MS} ms: ${describePeers(simulation.peers)}`,
    )
  }

  #inject(schedule: readonly Fault[]): FaultInjector {
    const prng = this.#prng.fork(`faults ${this.#injectors.length}`)
    const injector = createFaultInjector(this.simulation, schedule, prng, this.#checks.ledger)
    this.#injectors.push(injector)
    injector.begin()
    return injector
  }

  async #makeKeyspaces(client: Client): Promise<readonly Keyspace[]> {
    const keyspaces: Keyspace[] = []
    for (const [name, options] of Object.entries(LOAD_KEYSPACES)) {
      keyspaces.push(await this.simulation.settle(client.service.createKeyspace(name, options)))
    }
    this.#checks.learnKeyspaces(keyspaces)
    return keyspaces
  }

  #makeLoad(clients: readonly Client[], keyspaces: readonly Keyspace[]): Load {
    const configuration = this.simulation.peers[0]?.node?.configuration
    return new Load({
      scheduler: this.simulation.world.scheduler,
      clients,
      clusterId: configuration?.clusterId ?? '',
      keyspaces,
      peerCount: this.simulation.peers.length,
      copiesVary: this.#options.ring === true,
      observers: this.#checks.history,
      prng: this.#prng.fork('load'),
      ratePerSecond: this.#options.ratePerSecond ?? 20,
      keyCount: this.#options.keyCount ?? 200,
    })
  }

  /** Makes and drops keyspaces nobody uses, so that numbers are decided while faults strike. */
  #changeConfigurations(clients: readonly Client[]): () => void {
    const prng = this.#prng.fork('changes')
    const { scheduler } = this.simulation.world
    let going = true
    const change = async (): Promise<void> => {
      const { service } = pick(prng, clients)
      const name = `spare-${prng.int(3)}`
      try {
        if (chance(prng, 0.5)) await service.createKeyspace(name, DEFAULT_KEYSPACE_OPTIONS)
        else await service.dropKeyspace(name)
      } catch (error) {
        // Under faults, and against others who change the same, any refusal is fair; a bug is not.
        if (toKvError(error).code === 'INTERNAL') throw error
      }
    }
    const next = (): void => {
      if (!going) return
      void change()
      scheduler.after(exponential(prng, CONFIGURATION_CHANGE_INTERVAL_MS), next)
    }
    scheduler.after(exponential(prng, CONFIGURATION_CHANGE_INTERVAL_MS), next)
    return () => {
      going = false
    }
  }

  /** Everyone gets well; in some runs one peer, which is returned, stays down. */
  #endFaults(injector: FaultInjector): SimPeer | null {
    injector.end()
    this.simulation.heal()
    const { peers } = this.simulation
    if (peers.length < 4 || !chance(this.#prng, 0.25)) return null
    // A disk that was lost is made good by all the others.
    if (!peers.every((peer) => peer.node?.isWhole === true)) return null
    // Who is given up stays away until it is removed, for which somebody else must not be down.
    if (this.#ringLoad !== null && this.#ringLoad.open !== null) return null
    // An open change waits for all members.
    if (!this.simulation.isFormed()) return null
    // Without one of two owners there is no quorum.
    const keyspaces = peers[0]?.node?.configuration?.keyspaces ?? []
    if (keyspaces.some(({ strategy, replicas }) => strategy === 'ring' && replicas < 3)) return null
    // One that is being stopped is about to be started again.
    const ready = peers.filter((peer) => peer.state === 'ready')
    if (ready.length === 0) return null
    const spared = pick(this.#prng, ready)
    spared.crash(pick(this.#prng, ['process', 'power']))
    return spared
  }

  async #converge(down: SimPeer | null): Promise<void> {
    const { simulation } = this
    // Peers may leave until then.
    const up = (): readonly SimPeer[] => simulation.peers.filter((peer) => peer !== down)
    const open = (): string | null => this.#ringLoad?.open ?? findDisagreement(up(), down)
    if (!(await simulation.until(() => open() === null, CONVERGE_LIMIT_MS))) {
      throw new Violation(5, `${CONVERGE_LIMIT_MS} ms after all faults ended, ${open()}`)
    }
    const load = this.#load as Load
    if (!(await simulation.until(() => load.underWay === 0, DRAIN_LIMIT_MS))) {
      throw new Violation(5, `${load.underWay} client operations have not ended after ${DRAIN_LIMIT_MS} ms`)
    }
  }

  /** Whatever is kept for somebody who is up reaches him soon. */
  async #awaitDeliveries(down: SimPeer | null): Promise<void> {
    const { simulation } = this
    const up = simulation.peers.filter((peer) => peer !== down)
    const isDone = (): boolean => findUndelivered(up, down) === null
    if (!(await simulation.until(isDone, DELIVERY_LIMIT_MS))) {
      throw new Violation(2, `${DELIVERY_LIMIT_MS} ms after all were up, ${findUndelivered(up, down)}`)
    }
    ;(this.#load as Load).delivered()
  }

  async #becomeEqual(down: SimPeer | null): Promise<void> {
    const { simulation } = this
    const up = simulation.peers.filter((peer) => peer !== down)
    const unequal = (): string | null =>
      findUnequal(up, (peer) => simulation.world.host(peer.host).disk.newest)
    const endMs = simulation.nowMs + EQUAL_LIMIT_MS
    while (simulation.nowMs < endMs) {
      if (unequal() === null) return
      await simulation.run(EQUAL_LOOK_INTERVAL_MS)
    }
    throw new Violation(4, `${EQUAL_LIMIT_MS} ms after all faults ended owners do not agree: ${unequal()}`)
  }

  /** With everyone up, every owner must have every acknowledged write after one read of each key. */
  async #readEverything(down: SimPeer | null): Promise<void> {
    const load = this.#load as Load
    for (const place of load.places) {
      await this.#readUntilAnswered(place, down === null ? 'all' : 'quorum')
      if (down === null) this.#checks.checkEveryOwner(place.keyspace, place.key)
    }
  }

  /** A client may still wait on links to a peer that fell silent, but not for long. */
  async #readUntilAnswered(place: LoadPlace, level: Level): Promise<void> {
    const { simulation } = this
    const deadlineMs = simulation.nowMs + READ_LIMIT_MS
    for (;;) {
      const error = await simulation.settle((this.#load as Load).read(place, level))
      if (error === null) return
      if (simulation.nowMs < deadlineMs) continue
      throw new Violation(
        2,
        `${place.keyspace.name}/${place.key} cannot be read though all is well: ${error.message}`,
      )
    }
  }
}

const NO_LOAD: LoadCounts = {
  reads: 0,
  readsAnswered: 0,
  writes: 0,
  writesAcknowledged: 0,
  writesUnknown: 0,
  writesByStandIns: 0,
  siblingReads: 0,
}

const NO_RING_CHANGES: RingCounts = {
  joins: 0,
  leaves: 0,
  removals: 0,
  replacements: 0,
  givenUp: 0,
  alterations: 0,
}

function sparesOf({ ring }: ScenarioOptions): number {
  return ring === true ? MAX_JOINS : 0
}

function peerHosts(count: number): readonly string[] {
  return Array.from({ length: count }, (_, i) => `10.0.0.${i + 1}`)
}

function clientHosts(options: ScenarioOptions): readonly string[] {
  return Array.from({ length: options.clients ?? 6 }, (_, i) => `10.1.0.${i + 1}`)
}

function describePeers(peers: readonly SimPeer[]): string {
  return peers
    .map((peer) => {
      const current = peer.node?.configuration
      const number = current === null || current === undefined ? 'none' : `${current.number} ${current.phase}`
      return `${peer.host} ${peer.state}, configuration ${number}`
    })
    .join('; ')
}
