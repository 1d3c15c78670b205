/**
 * Carries a fault schedule out on a simulation, and counts what really struck: a crash of a peer that is down
 * strikes nobody.
 */
import { unreachable } from '../base/assert.ts'
import type { Prng } from '../base/prng.ts'
import type { PathFault } from './sim-paths.ts'
import type { SimPeer, Simulation } from './simulation.ts'
import { FAULT_CLASSES, type Fault, type FaultClass, type Scope } from './swarm.ts'

export interface FaultInjector {
  readonly struck: Readonly<Record<FaultClass, number>>
  /** From now on, relative to now. */
  begin(): void
  /** No new ones; what is in force ends: paths heal, everyone runs. Clocks stay as they are. */
  end(): void
}

export function createFaultInjector(
  simulation: Simulation,
  schedule: readonly Fault[],
  prng: Prng,
): FaultInjector {
  const struck = Object.fromEntries(FAULT_CLASSES.map((name) => [name, 0])) as Record<FaultClass, number>
  const { scheduler, paths, network, trace } = simulation.world
  const peers = new Map(simulation.peers.map((peer) => [peer.host, peer]))
  const undos = new Set<() => void>()
  let over = false

  /** Undone after a while, or when all faults end, whichever comes first. */
  const undoAfter = (forMs: number, undo: () => void): void => {
    if (over) return undo()
    const once = (): void => {
      if (undos.delete(once)) undo()
    }
    undos.add(once)
    scheduler.after(forMs, once)
  }

  const strike = (fault: Fault): boolean => {
    switch (fault.class) {
      case 'crash':
      case 'powerLoss':
      case 'restart':
      case 'pause':
        return strikePeer(fault, peers.get(fault.host), undoAfter)
      case 'loss':
      case 'duplication':
      case 'reordering':
      case 'delay':
      case 'partition':
        undoAfter(fault.forMs, paths.add(pathFault(fault)))
        return true
      case 'linkBreak':
        return network.breakLink(prng)
      case 'clockJump':
        simulation.world.host(fault.host).clock.jump(fault.byMs)
        return true
      case 'slowDisk': {
        const host = simulation.world.host(fault.host)
        host.diskSlowness = fault.times
        undoAfter(fault.forMs, () => {
          host.diskSlowness = 1
        })
        return true
      }
      default:
        return unreachable(fault)
    }
  }

  return {
    struck,
    begin() {
      for (const fault of schedule) {
        scheduler.after(fault.atMs, () => {
          if (over) return
          trace.text(fault.class)
          if (strike(fault)) struck[fault.class]++
        })
      }
    },
    end() {
      over = true
      for (const undo of [...undos]) undo()
    },
  }
}

function strikePeer(
  fault: Fault & { readonly class: 'crash' | 'powerLoss' | 'restart' | 'pause' },
  peer: SimPeer | undefined,
  undoAfter: (forMs: number, undo: () => void) => void,
): boolean {
  if (peer === undefined || (peer.state !== 'ready' && peer.state !== 'starting')) return false
  switch (fault.class) {
    case 'pause':
      undoAfter(fault.forMs, peer.pause())
      return true
    case 'restart':
      if (peer.state !== 'ready') return false
      void peer.stop().then(() => undoAfter(fault.forMs, () => peer.start()))
      return true
    case 'crash':
    case 'powerLoss':
      peer.crash(fault.class === 'crash' ? 'process' : 'power')
      undoAfter(fault.forMs, () => peer.start())
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
    case 'partition': {
      const cut = new Set(fault.cuts.map(([from, to]) => `${from}>${to}`))
      return { touches: (from, to) => cut.has(`${from}>${to}`), cut: true }
    }
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
