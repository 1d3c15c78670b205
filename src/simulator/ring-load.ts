/**
 * What operators do to the ring while the load goes on and faults strike: peers join, one after the other or
 * together, leave, or die for good and are removed, or replaced; some are given up, and were only away; and
 * keyspaces get more copies or fewer. Now and then somebody else asks for the same at once, or for something
 * else.
 */
import { present } from '../base/assert.ts'
import { toKvError } from '../base/error.ts'
import type { NodeId } from '../base/ids.ts'
import type { Prng } from '../base/prng.ts'
import type { Client } from '../client/client.ts'
import type { KeyspaceShape } from '../wire/requests.ts'
import type { DataLoss } from './data-loss.ts'
import { LOAD_KEYSPACES, type Load } from './load.ts'
import { chance, exponential, pick } from './sim-random.ts'
import type { SimPeer, Simulation } from './simulation.ts'

export const MAX_JOINS = 4
/** Between changes, of a run: they meet each other, or the cluster comes to rest in between. */
const INTERVALS_MS = [8_000, 20_000, 45_000]
const ANOTHER_AT_ONCE_CHANCE = 0.3
const REPLACED_CHANCE = 0.5
/** Until who died is asked to be removed again: others must have noticed, and no change may be open. */
const REMOVE_AGAIN_MS = 2000
/**
 * Who is given up is asked nothing alone from so long before on: clients then know what became of all they
 * asked.
 */
const ONLY_QUORUMS_MS = 6000
/** Who was given up goes on so long after it was removed, on average. */
const GOES_ON_MS = 2000
/** Fewer would leave keys with fewer owners. */
const MIN_PEERS = 3
/** While there is one copy its disk cannot be taken away, so that is seldom. */
const SHAPES: readonly Partial<KeyspaceShape>[] = [
  { strategy: 'ring', replicas: 1 },
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

export interface RingLoadParts {
  readonly simulation: Simulation
  readonly clients: readonly Client[]
  readonly load: Load
  readonly dataLoss: DataLoss
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
  readonly #load: Load
  readonly #dataLoss: DataLoss
  readonly #prng: Prng
  readonly #intervalMs: number
  /** Died for good or were given up, and are members still, or do not know that they are none. */
  readonly #dead = new Set<NodeId>()
  #isGoing = false

  constructor({ simulation, clients, load, dataLoss }: RingLoadParts, prng: Prng) {
    this.#simulation = simulation
    this.#clients = clients
    this.#load = load
    this.#dataLoss = dataLoss
    this.#prng = prng
    this.#intervalMs = pick(prng, INTERVALS_MS)
  }

  begin(): void {
    this.#isGoing = true
    this.#after(exponential(this.#prng, this.#intervalMs))
  }

  /** Begins nothing new. Who died is still to be removed. */
  end(): void {
    this.#isGoing = false
  }

  /** Peers that died for good, or were given up, are not gone yet. */
  get isOpen(): boolean {
    return this.#dead.size > 0
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
    if (this.#dead.size > 0) return
    if (kind === 'kill') this.#kill(peer)
    else this.#giveUp(peer)
  }

  async #alter(): Promise<void> {
    const name = pick(this.#prng, Object.keys(LOAD_KEYSPACES))
    const shape = pick(this.#prng, SHAPES)
    const { service } = pick(this.#prng, this.#clients)
    if (await this.#ask(() => service.alterKeyspace(name, shape))) this.counts.alterations += 1
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
    const done = await Promise.all(asked.map((client) => this.#ask(() => client.service.leave(nodeId))))
    if (done.includes(true)) this.counts.leaves += 1
  }

  #kill(peer: SimPeer): void {
    const nodeId = idOf(peer)
    this.#dataLoss.retire(peer, () => {
      this.#dead.add(nodeId)
      const successor = chance(this.#prng, REPLACED_CHANCE) ? this.#simulation.admit(nodeId) : null
      if (successor === null) void this.#remove(nodeId, () => this.#dead.delete(nodeId))
      else this.#awaitReplacement(nodeId)
    })
  }

  #awaitReplacement(nodeId: NodeId): void {
    const { peers, world } = this.#simulation
    const isDone = peers.some(({ node }) => node?.configuration?.removed.includes(nodeId) === true)
    if (!isDone) return void world.scheduler.after(REMOVE_AGAIN_MS, () => this.#awaitReplacement(nodeId))
    this.counts.replacements += 1
    this.#dead.delete(nodeId)
  }

  /** Until it has heard that it is none of them any more, its clients get what it can give alone. */
  #giveUp(peer: SimPeer): void {
    const { scheduler } = this.#simulation.world
    const nodeId = idOf(peer)
    this.#dead.add(nodeId)
    this.#load.onlyQuorums = true
    scheduler.after(ONLY_QUORUMS_MS, () => {
      const struck = (goOn: () => void): void => {
        this.#awaitFarewell(peer, nodeId)
        void this.#remove(nodeId, () => {
          this.counts.givenUp += 1
          scheduler.after(exponential(this.#prng, GOES_ON_MS), goOn)
        })
      }
      this.#dataLoss.giveUp(peer, struck, () => this.#isGone(nodeId))
    })
  }

  #awaitFarewell(peer: SimPeer, nodeId: NodeId): void {
    const { peers, world } = this.#simulation
    if (!peers.includes(peer)) return this.#isGone(nodeId)
    world.scheduler.after(REMOVE_AGAIN_MS, () => this.#awaitFarewell(peer, nodeId))
  }

  #isGone(nodeId: NodeId): void {
    this.#dead.delete(nodeId)
    this.#load.onlyQuorums = false
  }

  /** By its id: who never met it does not know where it was. */
  async #remove(nodeId: NodeId, done: () => void): Promise<void> {
    const { scheduler } = this.#simulation.world
    const { service } = pick(this.#prng, this.#clients)
    if (await this.#ask(() => service.remove(nodeId))) {
      this.counts.removals += 1
      done()
    } else scheduler.after(REMOVE_AGAIN_MS, () => void this.#remove(nodeId, done))
  }

  /** Under faults, and against others who change the ring, any refusal is fair; a bug is not. */
  async #ask(work: () => Promise<unknown>): Promise<boolean> {
    try {
      await work()
      return true
    } catch (error) {
      const { code } = toKvError(error)
      if (code === 'INTERNAL') throw error
      return code === 'NOT_FOUND' // It is no member any more: an answer was lost.
    }
  }
}

function idOf({ node }: SimPeer): NodeId {
  return present(node, 'who is to go is there').nodeId
}
