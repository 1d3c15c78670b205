/**
 * Carries a fault schedule out on a simulation, and counts what really struck: a crash of a peer that is down
 * strikes nobody.
 */
import { unreachable } from '../base/assert.ts'
import type { Prng } from '../base/prng.ts'
import type { StepListener } from './change-watch.ts'
import { DataLoss, type DiskLedger } from './data-loss.ts'
import { cutFault, MidChangeFaults, type Striker } from './mid-change.ts'
import type { PathFault } from './sim-paths.ts'
import { chance } from './sim-random.ts'
import type { SimPeer, Simulation } from './simulation.ts'
import { FAULT_CLASSES, type Fault, type FaultClass, type Scope } from './swarm.ts'

export interface FaultInjector {
  readonly struck: Readonly<Record<FaultClass, number>>
  /** For whoever takes disks away besides. */
  readonly dataLoss: DataLoss
  /** From now on, relative to now. */
  begin(): void
  /** A change of the ring took a step: what waits for that strikes. */
  readonly stepTaken: StepListener
  /** No new ones; what is in force ends: paths heal, everyone runs. Clocks stay as they are. */
  end(): void
}

export function createFaultInjector(
  simulation: Simulation,
  schedule: readonly Fault[],
  prng: Prng,
  ledger: DiskLedger,
): FaultInjector {
  return new Injector(simulation, schedule, prng, ledger)
}

class Injector implements FaultInjector {
  readonly struck = Object.fromEntries(FAULT_CLASSES.map((name) => [name, 0])) as Record<FaultClass, number>
  readonly #simulation: Simulation
  readonly #schedule: readonly Fault[]
  readonly #prng: Prng
  readonly dataLoss: DataLoss
  readonly #midChange: MidChangeFaults
  readonly #undos = new Set<() => void>()
  #isOver = false

  constructor(simulation: Simulation, schedule: readonly Fault[], prng: Prng, ledger: DiskLedger) {
    this.#simulation = simulation
    this.#schedule = schedule
    this.#prng = prng
    this.dataLoss = new DataLoss(simulation, ledger)
    this.#midChange = new MidChangeFaults(simulation, this.#makeStriker(), prng.fork('mid-change'))
  }

  readonly stepTaken: StepListener = (...step) => {
    if (!this.#isOver) this.#midChange.stepTaken(...step)
  }

  begin(): void {
    const { scheduler, trace } = this.#simulation.world
    for (const fault of this.#schedule) {
      scheduler.after(fault.atMs, () => {
        if (this.#isOver || this.dataLoss.isFragile) return
        trace.text(fault.class)
        if (this.#strike(fault)) this.struck[fault.class]++
      })
    }
  }

  end(): void {
    this.#isOver = true
    this.dataLoss.end()
    for (const undo of [...this.#undos]) undo()
  }

  /** Peers come and go. */
  #peerOn(host: string): SimPeer | undefined {
    return this.#simulation.peers.find((peer) => peer.host === host)
  }

  /** Undone after a while, or when all faults end, whichever comes first. */
  readonly #undoAfter = (forMs: number, undo: () => void): void => {
    if (this.#isOver) return undo()
    const once = (): void => {
      if (this.#undos.delete(once)) undo()
    }
    this.#undos.add(once)
    this.#simulation.world.scheduler.after(forMs, once)
  }

  /** True: it struck at once. */
  #strike(fault: Fault): boolean {
    const { world } = this.#simulation
    switch (fault.class) {
      case 'crash':
      case 'powerLoss':
      case 'restart':
      case 'pause':
        return this.#strikePeer(fault.class, this.#peerOn(fault.host), fault.forMs)
      case 'loss':
      case 'duplication':
      case 'reordering':
      case 'delay':
      case 'partition':
        this.#undoAfter(fault.forMs, world.paths.add(pathFault(fault)))
        return true
      case 'linkBreak':
        return world.network.breakLink(this.#prng)
      case 'clockJump':
        world.host(fault.host).clock.jump(fault.byMs)
        return true
      case 'slowDisk': {
        const host = world.host(fault.host)
        host.diskSlowness = fault.times
        this.#undoAfter(fault.forMs, () => {
          host.diskSlowness = 1
        })
        return true
      }
      case 'diskError':
        return this.#strikeDisk(fault)
      case 'wipe':
      case 'restore': {
        const peer = this.#peerOn(fault.host)
        // It strikes when it may, and counts itself.
        if (peer !== undefined) {
          this.dataLoss[fault.class](peer, fault.forMs, () => this.struck[fault.class]++)
        }
        return false
      }
      case 'midChange':
        this.#midChange.arm(fault)
        return false
      default:
        return unreachable(fault)
    }
  }

  #makeStriker(): Striker {
    const isOver = (): boolean => this.#isOver || this.dataLoss.isFragile
    const struck = (): void => {
      this.struck.midChange++
    }
    return {
      get isOver() {
        return isOver()
      },
      struck,
      strikePeer: (act, peer, forMs) => {
        if (act !== 'wipe') return this.#strikePeer(act, peer, forMs)
        this.dataLoss.wipe(peer, forMs, struck)
        return false
      },
      addPathFault: (fault, forMs) => this.#undoAfter(forMs, this.#simulation.world.paths.add(fault)),
    }
  }

  #strikePeer(how: PeerFault, peer: SimPeer | undefined, forMs: number): boolean {
    if (peer === undefined || this.dataLoss.isGivenUp(peer)) return false
    return strikePeer(how, forMs, peer, this.#undoAfter)
  }

  /** While it is ready: one that cannot start on its disk is another matter. */
  #strikeDisk(fault: Fault & { readonly class: 'diskError' }): boolean {
    const host = this.#simulation.world.host(fault.host)
    const peer = this.#peerOn(fault.host)
    if (peer?.state !== 'ready') return false
    host.diskFailure = (work) => {
      const strikes = (work === 'write' || work === 'sync') && peer.state === 'ready'
      if (!strikes || !chance(this.#prng, fault.chance)) return null
      return { message: 'input/output error', kept: chance(this.#prng, fault.keptChance) }
    }
    this.#undoAfter(fault.forMs, () => {
      host.diskFailure = null
    })
    return true
  }
}

type PeerFault = 'crash' | 'powerLoss' | 'restart' | 'pause'

function strikePeer(
  how: PeerFault,
  forMs: number,
  peer: SimPeer,
  undoAfter: (forMs: number, undo: () => void) => void,
): boolean {
  if (peer.state !== 'ready' && peer.state !== 'starting') return false
  switch (how) {
    case 'pause':
      undoAfter(forMs, peer.pause())
      return true
    case 'restart':
      if (peer.state !== 'ready') return false
      void peer.stop().then(() => undoAfter(forMs, () => peer.start()))
      return true
    case 'crash':
    case 'powerLoss':
      peer.crash(how === 'crash' ? 'process' : 'power')
      undoAfter(forMs, () => peer.start())
      return true
  }
}

type NetworkFault = Fault & { readonly class: 'loss' | 'duplication' | 'reordering' | 'delay' | 'partition' }

function pathFault(fault: NetworkFault): PathFault {
  switch (fault.class) {
    case 'loss':
      return { touches: touches(fault.scope), loss: fault.chance }
    case 'duplication':
      return { touches: touches(fault.scope), duplication: fault.chance }
    case 'reordering':
      return { touches: touches(fault.scope), reordering: fault.chance }
    case 'delay':
      return { touches: touches(fault.scope), delayMs: fault.delayMs, clogMs: fault.clogMs }
    case 'partition':
      return cutFault(fault.cuts)
    default:
      return unreachable(fault)
  }
}

function touches(scope: Scope): PathFault['touches'] {
  switch (scope.kind) {
    case 'everywhere':
      return () => true
    case 'host':
      return (from, to) => from === scope.host || to === scope.host
    case 'path':
      return (from, to) => from === scope.from && to === scope.to
    default:
      return unreachable(scope)
  }
}
