/**
 * What operators do to the ring while the load goes on and faults strike: peers join, one after the other or
 * together, leave, or die for good and are removed, or replaced; some are given up, and were only away; and
 * keyspaces get more copies or fewer. Now and then somebody else asks for the same at once, or for something
 * else.
 */
import type { Prng } from '../base/prng.ts'
import type { Client } from '../client/client.ts'
import type { KeyspaceShape } from '../wire/requests.ts'
import { LOAD_KEYSPACES } from './load.ts'
import { idOf, type RemovalParts, Removals, refusalOf } from './removals.ts'
import { chance, exponential, pick } from './sim-random.ts'
import type { SimPeer, Simulation } from './simulation.ts'

export const MAX_JOINS = 4
/** Between changes, of a run: they meet each other, or the cluster comes to rest in between. */
const INTERVALS_MS = [8_000, 20_000, 45_000]
const ANOTHER_AT_ONCE_CHANCE = 0.3
/** Fewer would leave keys with fewer owners. */
const MIN_PEERS = 3
/** Of runs. While there is one copy of something, hardly any disk may be taken away. */
const SINGLE_COPIES_CHANCE = 0.3
const SINGLE_COPY: Partial<KeyspaceShape> = { strategy: 'ring', replicas: 1 }
const SHAPES: readonly Partial<KeyspaceShape>[] = [
  { strategy: 'ring', replicas: 2 },
  { strategy: 'ring', replicas: 2 },
  { strategy: 'ring', replicas: 3 },
  { strategy: 'ring', replicas: 4 },
  { strategy: 'full' },
]
/** The others know of these from the beginning: somebody has to be there. */
const STAYING = ['10.0.0.1', '10.0.0.2']

export interface RingCounts {
  joins: number
  leaves: number
  removals: number
  replacements: number
  /** Removed though they were only away. */
  givenUp: number
  alterations: number
}

export class RingLoad {
  readonly counts: RingCounts = {
    joins: 0,
    leaves: 0,
    removals: 0,
    replacements: 0,
    givenUp: 0,
    alterations: 0,
  }
  readonly #simulation: Simulation
  readonly #clients: readonly Client[]
  readonly #removals: Removals
  readonly #prng: Prng
  readonly #intervalMs: number
  readonly #shapes: readonly Partial<KeyspaceShape>[]
  #isGoing = false

  constructor(parts: RemovalParts, prng: Prng) {
    this.#simulation = parts.simulation
    this.#clients = parts.clients
    this.#removals = new Removals(parts, this.counts, prng)
    this.#prng = prng
    this.#intervalMs = pick(prng, INTERVALS_MS)
    this.#shapes = chance(prng, SINGLE_COPIES_CHANCE) ? [SINGLE_COPY, ...SHAPES] : SHAPES
  }

  begin(): void {
    this.#isGoing = true
    this.#after(exponential(this.#prng, this.#intervalMs))
  }

  /** Begins nothing new. Who died is still to be removed. */
  end(): void {
    this.#isGoing = false
  }

  /** Peers that died for good, or were given up, and are not gone yet, in words; null: none. */
  get open(): string | null {
    return this.#removals.open
  }

  #after(ms: number): void {
    this.#simulation.world.scheduler.after(ms, () => {
      if (!this.#isGoing) return
      this.#change()
      const isAtOnce = chance(this.#prng, ANOTHER_AT_ONCE_CHANCE)
      this.#after(isAtOnce ? this.#prng.int(300) : exponential(this.#prng, this.#intervalMs))
    })
  }

  #change(): void {
    const kind = pick(this.#prng, ['join', 'join', 'leave', 'kill', 'giveUp', 'alter', 'alter'] as const)
    if (kind === 'join') {
      if (this.#simulation.admit() !== null) this.counts.joins += 1
      return
    }
    if (kind === 'alter') return void this.#alter()
    const peer = this.#chooseWhoGoes()
    if (peer === null) return
    if (kind === 'leave') return void this.#leave(peer)
    if (this.#removals.open !== null) return
    if (kind === 'kill') this.#removals.kill(peer)
    else this.#removals.giveUp(peer)
  }

  async #alter(): Promise<void> {
    const name = pick(this.#prng, Object.keys(LOAD_KEYSPACES))
    const shape = pick(this.#prng, this.#shapes)
    const { service } = pick(this.#prng, this.#clients)
    if ((await refusalOf(() => service.alterKeyspace(name, shape))) === null) this.counts.alterations += 1
  }

  #chooseWhoGoes(): SimPeer | null {
    const { peers } = this.#simulation
    const members = peers.filter(({ node }) => node?.configuration != null)
    const candidates = members.filter((peer) => peer.state === 'ready' && !STAYING.includes(peer.host))
    return members.length <= MIN_PEERS || candidates.length === 0 ? null : pick(this.#prng, candidates)
  }

  async #leave(peer: SimPeer): Promise<void> {
    const isTwice = chance(this.#prng, 0.2)
    const asked = [pick(this.#prng, this.#clients), ...(isTwice ? [pick(this.#prng, this.#clients)] : [])]
    const nodeId = idOf(peer)
    const done = await Promise.all(asked.map((client) => refusalOf(() => client.service.leave(nodeId))))
    if (done.includes(null)) this.counts.leaves += 1
  }
}
