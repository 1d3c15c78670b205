/** Peers on simulated hosts, started with the options that a test wants. */
import type { KvError } from '../../src/base/error.ts'
import { type Address, makeAddress } from '../../src/base/ids.ts'
import { type Client, createClient } from '../../src/client/client.ts'
import type { Effects } from '../../src/effects/effects.ts'
import { createNode, type Node } from '../../src/node/node.ts'
import { DEFAULT_NODE_OPTIONS, type NodeOptions } from '../../src/node/node-options.ts'
import { createWorld, type SimHost, type SimWorld } from '../../src/simulator/sim-world.ts'

const PORT = 7000
const SETTLE_MS = 30_000

export class NodeWorld {
  readonly sim: SimWorld
  readonly logged: string[] = []
  #clients = 0

  constructor(seed: string | number = 'node') {
    this.sim = createWorld({ seed, log: ({ event }) => this.logged.push(event) })
  }

  /** A host and what runs there; the same place is the same disk. */
  peer(place: number, options: Partial<NodeOptions> = {}): TestPeer {
    return new TestPeer(this, this.sim.host(`10.0.0.${place}`), options)
  }

  /** A life on a host, for what needs no whole peer. */
  boot(place: number): Effects {
    return this.sim.host(`10.0.0.${place}`).boot().effects
  }

  client(...peers: readonly TestPeer[]): Client {
    const { effects } = this.sim.host(`10.1.0.${++this.#clients}`).boot()
    return createClient({ peers: peers.map(({ address }) => address), pinned: true }, effects)
  }

  async pass(ms: number): Promise<void> {
    await this.sim.scheduler.run(this.sim.scheduler.nowMs + ms)
  }

  /** What a promise gives, once enough has happened. @throws what it was rejected with */
  async settle<T>(promise: Promise<T>, limitMs = SETTLE_MS): Promise<T> {
    let isSettled = false
    const note = (): void => {
      isSettled = true
    }
    promise.then(note, note)
    const { scheduler } = this.sim
    await scheduler.run(scheduler.nowMs + limitMs, () => isSettled)
    if (!isSettled) throw new Error(`nothing came of it in ${limitMs} virtual ms`)
    return promise
  }

  async until(holds: () => boolean, limitMs = SETTLE_MS): Promise<boolean> {
    const { scheduler } = this.sim
    await scheduler.run(scheduler.nowMs + limitMs, holds)
    return holds()
  }
}

export class TestPeer {
  readonly host: SimHost
  readonly address: Address
  /** Why it ended itself, each time. */
  readonly ends: KvError[] = []
  hasLeft = false
  readonly #world: NodeWorld
  readonly #options: Partial<NodeOptions>
  #node: Node | null = null
  #effects: Effects | null = null

  constructor(world: NodeWorld, host: SimHost, options: Partial<NodeOptions>) {
    this.#world = world
    this.host = host
    this.address = makeAddress(host.name, PORT)
    this.#options = options
  }

  get node(): Node {
    if (this.#node === null) throw new Error(`${this.host.name} was not started`)
    return this.#node
  }

  /** Begins a life; `start` of the node is what it gives. */
  begin(options: Partial<NodeOptions> = {}): Promise<void> {
    const { effects } = this.host.boot()
    const rest = { ...DEFAULT_NODE_OPTIONS, listen: this.address, partitionCount: 16 }
    this.#effects = effects
    this.#node = createNode({ ...rest, ...this.#options, ...options }, effects, (error) => {
      if (error === null) this.hasLeft = true
      else this.ends.push(error)
    })
    return this.#node.start()
  }

  async start(options: Partial<NodeOptions> = {}): Promise<this> {
    await this.#world.settle(this.begin(options))
    return this
  }

  async stop(): Promise<void> {
    await this.#world.settle(this.node.stop().then(() => this.#effects?.storage.close()))
    this.host.end('stopped')
  }

  crash(how: 'power' | 'process' = 'power'): void {
    this.host.end(how)
  }
}
