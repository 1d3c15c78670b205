/**
 * What operators do to the ring while the load goes on and faults strike: peers join, one after the other or
 * together, leave, or die for good and are removed, and keyspaces get more copies or fewer; now and then
 * somebody else asks for the same at once.
 */
import { present } from '../base/assert.ts'
import { toKvError } from '../base/error.ts'
import type { NodeId } from '../base/ids.ts'
import type { Prng } from '../base/prng.ts'
import type { Client } from '../client/client.ts'
import type { KeyspaceShape } from '../wire/requests.ts'
import type { DataLoss } from './data-loss.ts'
import { LOAD_KEYSPACES } from './load.ts'
import { chance, exponential, pick } from './sim-random.ts'
import type { SimPeer, Simulation } from './simulation.ts'

export const MAX_JOINS = 3
const INTERVAL_MS = 45_000
/** Until who died is asked to be removed again: others must have noticed, and no change may be open. */
const REMOVE_AGAIN_MS = 2000
/** Fewer would leave keys with fewer owners. */
const MIN_PEERS = 3
/** One copy would leave nothing to check: whoever is down takes it along. */
const SHAPES: readonly Partial<KeyspaceShape>[] = [
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
  alterations: number
}

export class RingLoad {
  readonly counts: RingCounts = { joins: 0, leaves: 0, removals: 0, alterations: 0 }
  readonly #simulation: Simulation
  readonly #clients: readonly Client[]
  readonly #dataLoss: DataLoss
  readonly #prng: Prng
  /** Died for good, and are members still. */
  readonly #dead = new Set<NodeId>()
  #isGoing = false

  constructor(simulation: Simulation, clients: readonly Client[], dataLoss: DataLoss, prng: Prng) {
    this.#simulation = simulation
    this.#clients = clients
    this.#dataLoss = dataLoss
    this.#prng = prng
  }

  begin(): void {
    this.#isGoing = true
    this.#after(exponential(this.#prng, INTERVAL_MS))
  }

  /** Begins nothing new. Who died is still to be removed. */
  end(): void {
    this.#isGoing = false
  }

  /** Peers that died for good are members still. */
  get isOpen(): boolean {
    return this.#dead.size > 0
  }

  #after(ms: number): void {
    this.#simulation.world.scheduler.after(ms, () => {
      if (!this.#isGoing) return
      this.#change()
      const isSoon = chance(this.#prng, 0.3)
      this.#after(isSoon ? this.#prng.int(300) : exponential(this.#prng, INTERVAL_MS))
    })
  }

  #change(): void {
    const kind = pick(this.#prng, ['join', 'join', 'leave', 'remove', 'alter'] as const)
    if (kind === 'join') {
      if (this.#simulation.admit() !== null) this.counts.joins += 1
      return
    }
    if (kind === 'alter') return void this.#alter()
    const peer = this.#chooseWhoGoes()
    if (peer === null) return
    if (kind === 'leave') void this.#leave(peer)
    else if (this.#dead.size === 0) this.#kill(peer)
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
      void this.#remove(nodeId)
    })
  }

  /** By its id: who never met it does not know where it was. */
  async #remove(nodeId: NodeId): Promise<void> {
    const { scheduler } = this.#simulation.world
    const { service } = pick(this.#prng, this.#clients)
    if (await this.#ask(() => service.remove(nodeId))) {
      this.counts.removals += 1
      this.#dead.delete(nodeId)
    } else scheduler.after(REMOVE_AGAIN_MS, () => void this.#remove(nodeId))
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
