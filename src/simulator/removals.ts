/**
 * Peers that are taken out of the cluster because they are down: dead for good, or given up though they are
 * only away.
 */
import { present } from '../base/assert.ts'
import { toKvError } from '../base/error.ts'
import type { NodeId } from '../base/ids.ts'
import type { Prng } from '../base/prng.ts'
import type { Client } from '../client/client.ts'
import type { Absence, DataLoss } from './data-loss.ts'
import type { Load } from './load.ts'
import type { RingCounts } from './ring-load.ts'
import { chance, exponential, pick } from './sim-random.ts'
import type { SimPeer, Simulation } from './simulation.ts'

const REPLACED_CHANCE = 0.5
/** Until who died is asked to be removed again: others must have noticed, and no change may be open. */
const REMOVE_AGAIN_MS = 2000
/** After so many who warn of a loss it is not hoped any more that others come back, or catch up. */
const WARNINGS_TO_HEED = 10
/**
 * Who is given up is asked nothing alone from so long before on: clients then know what became of all they
 * asked.
 */
const ONLY_QUORUMS_MS = 6000
/** Who was given up goes on so long after it was removed, on average. */
const GOES_ON_MS = 2000
const STARTED_AGAIN_CHANCE = 0.3

export type RemovalCounts = Pick<RingCounts, 'removals' | 'replacements' | 'givenUp'>

export interface RemovalParts {
  readonly simulation: Simulation
  readonly clients: readonly Client[]
  readonly load: Pick<Load, 'onlyQuorums'>
  readonly dataLoss: DataLoss
}

export class Removals {
  readonly #simulation: Simulation
  readonly #clients: readonly Client[]
  readonly #load: Pick<Load, 'onlyQuorums'>
  readonly #dataLoss: DataLoss
  readonly #counts: RemovalCounts
  readonly #prng: Prng
  /**
   * Died for good or were given up, and are members still, or do not know that they are none: what each of
   * them waits for, in words.
   */
  readonly #dead = new Map<NodeId, string>()

  /** @param counts told of what is done */
  constructor({ simulation, clients, load, dataLoss }: RemovalParts, counts: RemovalCounts, prng: Prng) {
    this.#simulation = simulation
    this.#clients = clients
    this.#load = load
    this.#dataLoss = dataLoss
    this.#counts = counts
    this.#prng = prng
  }

  /** Peers that died for good, or were given up, and are not gone yet, in words; null: none. */
  get open(): string | null {
    return this.#dead.size === 0 ? null : [...this.#dead.values()].join('; ')
  }

  /** It dies for good, and is removed, or replaced. */
  kill(peer: SimPeer): void {
    const nodeId = idOf(peer)
    this.#dataLoss.retire(peer, () => {
      const who = `${peer.host} (${nodeId}), dead for good,`
      const successor = chance(this.#prng, REPLACED_CHANCE) ? this.#simulation.admit(nodeId) : null
      // Nobody takes the place of one that had the only copies before an operator says so.
      if (successor === null || hasSingleCopies(this.#simulation)) void this.#bury(nodeId, who)
      else {
        this.#dead.set(nodeId, `${who} waits for ${successor.host}, which is to replace it`)
        this.#awaitReplacement(nodeId)
      }
    })
  }

  /** It had nothing alone, so that what a refusal warns of can be accepted. */
  async #bury(nodeId: NodeId, who: string): Promise<void> {
    const isAtRisk = (await this.#remove(nodeId, who, false)) === 'at risk'
    if (isAtRisk) await this.#remove(nodeId, who, true)
    this.#dead.delete(nodeId)
  }

  #awaitReplacement(nodeId: NodeId): void {
    const { peers, world } = this.#simulation
    const isDone = peers.some(({ node }) => node?.configuration?.removed.includes(nodeId) === true)
    if (!isDone) return void world.scheduler.after(REMOVE_AGAIN_MS, () => this.#awaitReplacement(nodeId))
    this.#counts.replacements += 1
    this.#dead.delete(nodeId)
  }

  /**
   * It is away for so long that it is removed, and goes on one day. Until it has heard that it is a member no
   * more, its clients get what it can give alone.
   */
  giveUp(peer: SimPeer): void {
    const { scheduler } = this.#simulation.world
    const nodeId = idOf(peer)
    const who = `${peer.host} (${nodeId}), given up,`
    this.#dead.set(nodeId, `${who} may not be struck yet`)
    this.#load.onlyQuorums = true
    scheduler.after(ONLY_QUORUMS_MS, () => {
      const struck = (absence: Absence): void => {
        void this.#removeAway(peer, nodeId, who, absence)
      }
      this.#dataLoss.giveUp(peer, struck, () => this.#isGone(nodeId))
    })
  }

  /** What it has alone it cannot be had back with later: who is told so starts it again. */
  async #removeAway(peer: SimPeer, nodeId: NodeId, who: string, absence: Absence): Promise<void> {
    if ((await this.#remove(nodeId, who, false)) === 'at risk') {
      absence.callOff()
      return this.#isGone(nodeId)
    }
    this.#counts.givenUp += 1
    this.#dead.set(nodeId, `${who} is no member any more, and has not stopped`)
    const how = chance(this.#prng, STARTED_AGAIN_CHANCE) ? 'start' : 'resume'
    this.#simulation.world.scheduler.after(exponential(this.#prng, GOES_ON_MS), () => absence.end(how))
    this.#awaitFarewell(peer, nodeId)
  }

  #awaitFarewell(peer: SimPeer, nodeId: NodeId): void {
    const { peers, world } = this.#simulation
    // Its disk was wiped meanwhile.
    const isAnother = peer.node?.configuration != null && idOf(peer) !== nodeId
    if (isAnother || !peers.includes(peer)) return this.#isGone(nodeId)
    world.scheduler.after(REMOVE_AGAIN_MS, () => this.#awaitFarewell(peer, nodeId))
  }

  #isGone(nodeId: NodeId): void {
    this.#dead.delete(nodeId)
    this.#load.onlyQuorums = false
  }

  /**
   * By its id: who never met it does not know where it was. Asks until it is done, or until it was told often
   * that acknowledged writes may be lost with it.
   */
  async #remove(nodeId: NodeId, who: string, mayLose: boolean): Promise<'done' | 'at risk'> {
    this.#dead.set(nodeId, `${who} is being removed`)
    for (let warnings = 0; ; ) {
      const { service } = pick(this.#prng, this.#clients)
      const refusal = await refusalOf(() => service.remove(nodeId, mayLose))
      if (refusal === null && this.#isGivenUp(nodeId)) {
        this.#counts.removals += 1
        return 'done'
      }
      if (!mayLose && refusal?.includes('--accept-loss')) warnings += 1
      if (warnings === WARNINGS_TO_HEED) return 'at risk'
      this.#dead.set(nodeId, `${who} cannot be removed: ${refusal ?? 'who was asked does not know it yet'}`)
      await this.#pause(REMOVE_AGAIN_MS)
    }
  }

  /** One that has not heard of its joining says that it is no member, as others do when it is gone. */
  #isGivenUp(nodeId: NodeId): boolean {
    const known = this.#simulation.peers.flatMap(({ node }) => node?.configuration ?? [])
    return known.some(({ excluded, removed }) => excluded.includes(nodeId) || removed.includes(nodeId))
  }

  #pause(ms: number): Promise<void> {
    return new Promise((resolve) => this.#simulation.world.scheduler.after(ms, resolve))
  }
}

/**
 * Under faults, and against others who change the ring, any refusal is fair; a bug is not.
 * @returns the refusal; null: it is done
 */
export async function refusalOf(work: () => Promise<unknown>): Promise<string | null> {
  try {
    await work()
    return null
  } catch (error) {
    const { code, message } = toKvError(error)
    if (code === 'INTERNAL') throw error
    return code === 'NOT_FOUND' ? null : message // It is no member any more: an answer was lost.
  }
}

/** Somebody goes by, or changes to, keyspaces with one copy of each key. */
function hasSingleCopies({ peers }: Simulation): boolean {
  const known = peers.flatMap(({ node }) => node?.configuration ?? [])
  return known.some(({ keyspaces, altered }) => {
    return [...keyspaces, ...altered].some(({ strategy, replicas }) => strategy === 'ring' && replicas === 1)
  })
}

export function idOf({ node }: SimPeer): NodeId {
  return present(node, 'who is to go is there').nodeId
}
