/**
 * Faults that wait for a step of a change of the ring and strike whoever has a part in it, at that moment or
 * a while later: who proposes the steps, an old owner that data comes from, a new owner that it goes to, one
 * who votes. A fault that is not due when a step comes leaves it alone; one that waited in vain is given up.
 */
import { unreachable } from '../base/assert.ts'
import type { NodeId } from '../base/ids.ts'
import type { Prng } from '../base/prng.ts'
import { type Configuration, targetLayout } from '../protocol/configuration.ts'
import { membersWaitedFor } from '../protocol/ring-change.ts'
import type { ChangeMoment, ChangeStep } from './change-watch.ts'
import type { Cuts } from './partition-shape.ts'
import type { PathFault } from './sim-paths.ts'
import { pick } from './sim-random.ts'
import type { SimPeer, Simulation } from './simulation.ts'
import type { ChangeRole, Fault } from './swarm.ts'

/** After so long without such a step it does not strike. */
const MAX_WAIT_MS = 60_000

export type MidChange = Fault & { readonly class: 'midChange' }

/** What the faults that strike at fixed times do, too. */
export interface Striker {
  readonly isOver: boolean
  /** A peer that is there is crashed, paused or wiped, for a while; whether that happened. */
  strikePeer(act: 'crash' | 'powerLoss' | 'pause' | 'wipe', peer: SimPeer, forMs: number): boolean
  addPathFault(fault: PathFault, forMs: number): void
  struck(): void
}

export class MidChangeFaults {
  readonly #simulation: Simulation
  readonly #striker: Striker
  readonly #prng: Prng
  readonly #waiting: MidChange[] = []

  constructor(simulation: Simulation, striker: Striker, prng: Prng) {
    this.#simulation = simulation
    this.#striker = striker
    this.#prng = prng
  }

  arm(fault: MidChange): void {
    this.#waiting.push(fault)
    this.#simulation.world.scheduler.after(MAX_WAIT_MS, () => this.#disarm(fault))
  }

  /** Within a peer's work: what is to happen is only set down for later. */
  stepTaken(step: ChangeStep, moment: ChangeMoment, next: Configuration): void {
    const fault = this.#waiting.find((each) => each.step === step && each.moment === moment)
    if (fault === undefined) return
    this.#disarm(fault)
    this.#simulation.world.scheduler.after(fault.waitMs, () => {
      if (!this.#striker.isOver && this.#strike(fault, next)) this.#striker.struck()
    })
  }

  #disarm(fault: MidChange): void {
    const place = this.#waiting.indexOf(fault)
    if (place >= 0) this.#waiting.splice(place, 1)
  }

  #strike({ act, role, forMs, alsoCuts }: MidChange, next: Configuration): boolean {
    const peer = this.#choose(role, next)
    if (peer === null) return false
    const isStruck = this.#strikeOne(act, peer, forMs)
    if (alsoCuts.length > 0) this.#striker.addPathFault(cutFault(alsoCuts), forMs)
    return isStruck || alsoCuts.length > 0
  }

  #strikeOne(act: MidChange['act'], peer: SimPeer, forMs: number): boolean {
    switch (act) {
      case 'crash':
      case 'powerLoss':
      case 'pause':
      case 'wipe':
        return this.#striker.strikePeer(act, peer, forMs)
      case 'isolate':
      case 'deafen':
      case 'mute': {
        const others = this.#simulation.peers.flatMap((each) => (each === peer ? [] : [each.host]))
        const says: Cuts = act === 'deafen' ? [] : others.map((other) => [peer.host, other])
        const hears: Cuts = act === 'mute' ? [] : others.map((other) => [other, peer.host])
        this.#striker.addPathFault(cutFault([...says, ...hears]), forMs)
        return true
      }
      default:
        return unreachable(act)
    }
  }

  /** Null: nobody who is there has that part. */
  #choose(role: ChangeRole, next: Configuration): SimPeer | null {
    const candidates = this.#withRole(role, next)
    // Who has no configuration yet may not have read who it is.
    const known = this.#simulation.peers.filter(({ node }) => node !== null && node.configuration !== null)
    const peers = known.filter(({ node }) => node !== null && candidates.has(node.nodeId))
    return peers.length === 0 ? null : pick(this.#prng, peers)
  }

  #withRole(role: ChangeRole, next: Configuration): ReadonlySet<NodeId> {
    const before = next.layouts[0].members
    const after = targetLayout(next).members
    switch (role) {
      case 'proposer': {
        const isUp = (nodeId: NodeId): boolean =>
          this.#simulation.peers.some(({ node, state }) => state === 'ready' && node?.nodeId === nodeId)
        return new Set(membersWaitedFor(next).filter(isUp).slice(0, 1))
      }
      case 'source':
        return new Set(before)
      case 'target': {
        const gaining = after.filter((nodeId) => !before.includes(nodeId))
        return new Set(gaining.length > 0 ? gaining : after)
      }
      case 'acceptor':
        return new Set(next.acceptors.map(({ nodeId }) => nodeId))
      default:
        return unreachable(role)
    }
  }
}

/** Nothing gets through between these. */
export function cutFault(cuts: Cuts): PathFault {
  const cut = new Set(cuts.map(([from, to]) => `${from}>${to}`))
  return { touches: (from, to) => cut.has(`${from}>${to}`), cut: true }
}
