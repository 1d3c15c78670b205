/** One peer of a simulation: what starts, stops and kills it. */
import { type KvError, toKvError } from '../base/error.ts'
import type { Address } from '../base/ids.ts'
import type { Storage } from '../effects/storage.ts'
import { createNode, type Node } from '../node/node.ts'
import type { NodeOptions } from '../node/node-options.ts'
import type { SimCrash } from './sim-disk.ts'
import type { SimProcess } from './sim-process.ts'
import type { Traffic } from './sim-traffic.ts'
import { type SimHost, SimulationError, type SimWorld } from './sim-world.ts'

export type SimPeerState = 'down' | 'starting' | 'ready' | 'stopping'

export interface SimPeer {
  readonly host: string
  readonly address: Address
  readonly state: SimPeerState
  readonly isPaused: boolean
  /** The running node, from its start on; null while it is down. */
  readonly node: Node | null
  /** Begins a new life on what the disk holds. */
  start(): void
  /** Asks it to stop, as SIGTERM does. Fulfils when it has. */
  stop(): Promise<void>
  /**
   * Ends it at once. `process` (the default): the host lives on. `power`: unsynced writes may be lost, links
   * fall silent.
   */
  crash(how?: SimCrash): void
  /**
   * Ends it, and leaves an empty disk; its next life begins with nothing but the addresses of the others.
   */
  wipe(): void
  /**
   * Stops it in its tracks, as SIGSTOP does; the returned function lets this life of it go on, once all who
   * paused it have.
   */
  pause(): () => void
  traffic(): Traffic
}

export interface PeerParts {
  readonly world: SimWorld
  readonly options: NodeOptions
  /** Of the peers that are there from the beginning. */
  readonly addresses: readonly Address[]
  /** A peer that was ready had to end itself. Null: that fails the run. */
  readonly ended: ((host: string, error: KvError) => void) | null
  /** Those that have not gone for good. */
  present(): readonly SimPeer[]
  /** It has gone for good. */
  left(peer: SimPeer): void
}

export function createPeer(parts: PeerParts): SimPeer {
  return new SimulatedPeer(parts)
}

class SimulatedPeer implements SimPeer {
  readonly address: Address
  readonly #parts: PeerParts
  readonly #host: SimHost
  #node: Node | null = null
  #state: SimPeerState = 'down'
  #storage: Storage | null = null
  /** Tells a `stop` under way that the node was killed before it had stopped. */
  #died: () => void = () => undefined
  #isWiped = false

  constructor(parts: PeerParts) {
    const { listen } = parts.options
    this.#parts = parts
    this.address = listen
    this.#host = parts.world.host(listen.slice(0, listen.lastIndexOf(':')))
  }

  get host(): string {
    return this.#host.name
  }

  get state(): SimPeerState {
    return this.#state
  }

  get isPaused(): boolean {
    return this.#host.process?.state === 'paused'
  }

  get node(): Node | null {
    return this.#node
  }

  start(): void {
    const isGone = !this.#parts.present().includes(this)
    if (this.#state !== 'down' || isGone) return
    const { options, addresses, ended } = this.#parts
    const { process, effects } = this.#host.boot()
    const join = this.#isWiped ? addresses.filter((other) => other !== this.address) : options.join
    const born = createNode({ ...options, join }, effects, (error) => {
      if (error === null) return this.#left()
      if (ended === null) this.#failed(process, error)
      else ended(this.host, error)
    })
    this.#node = born
    this.#storage = effects.storage
    this.#state = 'starting'
    born.start().then(
      () => {
        if (this.#node === born && this.#state === 'starting') this.#state = 'ready'
      },
      (error) => this.#failed(process, error),
    )
  }

  async stop(): Promise<void> {
    const stopping = this.#node
    if (stopping === null || this.#state === 'stopping') return
    this.#state = 'stopping'
    const death = new Promise<void>((resolve) => {
      this.#died = resolve
    })
    const closing = this.#storage
    await Promise.race([stopping.stop().then(() => closing?.close()), death])
    if (this.#node !== stopping) return
    this.#host.end('stopped')
    this.#node = null
    this.#state = 'down'
  }

  crash(how: SimCrash = 'process'): void {
    this.#host.end(how)
    this.#node = null
    this.#state = 'down'
    this.#died()
  }

  wipe(): void {
    this.crash('power')
    this.#host.disk.wipe()
    this.#isWiped = true
  }

  pause(): () => void {
    let { process } = this.#host
    process?.pause()
    return () => {
      process?.resume()
      process = null
    }
  }

  traffic(): Traffic {
    return this.#parts.world.network.traffic(this.host)
  }

  #left(): void {
    this.#parts.left(this)
    void this.stop()
  }

  #failed(process: SimProcess, error: unknown): void {
    if (process.state === 'dead') return
    const { world } = this.#parts
    // It was down when it was taken out of the cluster, and is told so.
    if (toKvError(error).code === 'CONFLICT' && this.#isRemoved) this.#left()
    else throw new SimulationError(world.seed, world.scheduler.nowMs, error)
  }

  /** Somebody goes by a configuration that says so. */
  get #isRemoved(): boolean {
    const nodeId = this.#node?.nodeId ?? null
    const others = this.#parts.present()
    return (
      nodeId !== null && others.some(({ node }) => node?.configuration?.removed.includes(nodeId) === true)
    )
  }
}
