/**
 * Carries a fault schedule out on a simulation, and counts what really struck: a crash of a peer that is down
 * strikes nobody.
 */
import { unreachable } from '../base/assert.ts'
import type { Prng } from '../base/prng.ts'
import { DataLoss, type DiskLedger } from './data-loss.ts'
import type { PathFault } from './sim-paths.ts'
import { chance } from './sim-random.ts'
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
  ledger: DiskLedger,
): FaultInjector {
  const dataLoss = new DataLoss(simulation, ledger)
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

  /** While it is ready: one that cannot start on its disk is another matter. */
  const strikeDisk = (fault: Fault & { readonly class: 'diskError' }): boolean => {
    const host = simulation.world.host(fault.host)
    const peer = peers.get(fault.host)
    if (peer?.state !== 'ready') return false
    host.diskFailure = (work) => {
      const strikes = (work === 'write' || work === 'sync') && peer.state === 'ready'
      if (!strikes || !chance(prng, fault.chance)) return null
      return { message: 'input/output error', kept: chance(prng, fault.keptChance) }
    }
    undoAfter(fault.forMs, () => {
      host.diskFailure = null
    })
    return true
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
      case 'diskError':
        return strikeDisk(fault)
      case 'wipe':
      case 'restore': {
        const peer = peers.get(fault.host)
        // It strikes when it may, and counts itself.
        if (peer !== undefined) dataLoss[fault.class](peer, fault.forMs, () => struck[fault.class]++)
        return false
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
          if (over || dataLoss.isFragile) return
          trace.text(fault.class)
          if (strike(fault)) struck[fault.class]++
        })
      }
    },
    end() {
      over = true
      dataLoss.end()
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
