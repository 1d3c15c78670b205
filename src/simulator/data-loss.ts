/**
 * Faults that take data away, and when they may strike.
 *
 * Intuition: a store that keeps W copies of what it acknowledged cannot bear to lose W of them, so a fault
 * that takes the last copy shows nothing (the "fault atlas" of TigerBeetle's simulator). With majorities of
 * three that is one disk at a time, and the next one when the one before has been made good: not before every
 * peer is whole again, and never one that has something alone. Nor one without which those who vote about the
 * next configuration have no majority: a founder has the only vote until the first others have joined.
 *
 * A copy of a disk is brought back as the manual says: one peer at a time, while the others run and can be
 * reached. So nothing else strikes while the peer asks them whether its directory is the newest.
 */
import type { NodeId } from '../base/ids.ts'
import { majority } from '../protocol/synod.ts'
import type { SimDiskImage } from './sim-disk.ts'
import type { SimPeer, Simulation } from './simulation.ts'

const TRY_AGAIN_MS = 250
/** A fault that may not strike for so long does not. */
const MAX_WAIT_MS = 30_000

/** What the checkers know of disks. */
export interface DiskLedger {
  /**
   * Nothing that this host's disk ever had for good is there alone. @param isForGood its peer does not come
   * back either, so that the change of the ring goes on without it
   */
  isElsewhere(host: string, isForGood: boolean): boolean
  /** The disk holds something else now. */
  replaced(host: string): void
}

/** A peer that is away, and is to be taken out of the cluster meanwhile. */
export interface Absence {
  /** It runs again, with what it had: goes on where it was, or is started again. */
  end(how: 'resume' | 'start'): void
  /** It runs again, and is a member as before. */
  callOff(): void
}

interface Strike {
  readonly isForGood: boolean
  struck(): void
  missed?(): void
}

export class DataLoss {
  readonly #simulation: Simulation
  readonly #ledger: DiskLedger
  /** One that was brought back from a copy, until it knows. */
  #asking: SimPeer | null = null
  /** Nothing else brings it back. */
  #givenUp: SimPeer | null = null
  /** What they had is not made good before they are no members any more. */
  readonly #retired = new Set<NodeId>()
  #isOver = false

  constructor(simulation: Simulation, ledger: DiskLedger) {
    this.#simulation = simulation
    this.#ledger = ledger
  }

  /** No new ones. Disks that are away come back. */
  end(): void {
    this.#isOver = true
  }

  /** Others must not strike now. */
  get isFragile(): boolean {
    return this.#asking !== null && this.#asking.state === 'starting'
  }

  /** It is away until those who gave it up have it go on. */
  isGivenUp(peer: SimPeer): boolean {
    return peer === this.#givenUp
  }

  wipe(peer: SimPeer, forMs: number, struck: () => void): void {
    const strike = (): void => {
      peer.wipe()
      this.#ledger.replaced(peer.host)
      struck()
      this.#simulation.world.scheduler.after(forMs, () => peer.start())
    }
    this.#whenAllowed(peer, { isForGood: false, struck: strike })
  }

  /** It is never started again; its place is to be taken out of the cluster. */
  retire(peer: SimPeer, struck: () => void): void {
    const strike = (): void => {
      const nodeId = peer.node?.nodeId
      peer.wipe()
      this.#simulation.retire(peer)
      this.#ledger.replaced(peer.host)
      if (nodeId !== undefined) this.#retired.add(nodeId)
      struck()
    }
    this.#whenAllowed(peer, { isForGood: true, struck: strike })
  }

  /**
   * It is away for so long that operators give it up: what they take out of the cluster is alive, and goes on
   * one day with what it had.
   * @param missed it could not be
   */
  giveUp(peer: SimPeer, struck: (absence: Absence) => void, missed: () => void): void {
    const strike = (): void => {
      if (peer.node === null) return missed() // It has left meanwhile.
      const { nodeId } = peer.node
      const resume = peer.pause()
      this.#retired.add(nodeId)
      this.#givenUp = peer
      const end: Absence['end'] = (how) => {
        this.#givenUp = null
        if (how === 'resume') return resume()
        peer.crash('power')
        peer.start()
      }
      const callOff = (): void => {
        this.#retired.delete(nodeId)
        end('resume')
      }
      struck({ end, callOff })
    }
    this.#whenAllowed(peer, { isForGood: true, struck: strike, missed })
  }

  /** Stop, copy, start; later it is put back. */
  restore(peer: SimPeer, forMs: number, struck: () => void): void {
    const { scheduler } = this.#simulation.world
    if (peer.state !== 'ready' || peer.isPaused) return
    const { disk } = this.#simulation.world.host(peer.host)
    void peer.stop().then(() => {
      if (peer.state !== 'down') return // It was killed instead, and somebody else starts it again.
      const image = disk.image()
      const putBack = (): void => this.#putBack(peer, image, struck)
      peer.start()
      scheduler.after(forMs, () => this.#whenAllowed(peer, { isForGood: false, struck: putBack }))
    })
  }

  #putBack(peer: SimPeer, image: SimDiskImage, struck: () => void): void {
    peer.crash('process')
    this.#simulation.world.host(peer.host).disk.restore(image)
    this.#ledger.replaced(peer.host)
    struck()
    this.#startWhenCalm(peer)
  }

  #startWhenCalm(peer: SimPeer): void {
    const { world, peers } = this.#simulation
    // Who wants to join waits for all members, this one too.
    const isCalm =
      world.paths.isClear && peers.every((other) => other === peer || isUp(other) || isNew(other))
    if (!isCalm) {
      world.scheduler.after(TRY_AGAIN_MS, () => this.#startWhenCalm(peer))
      return
    }
    this.#asking = peer
    peer.start()
  }

  #whenAllowed(peer: SimPeer, strike: Strike, waitedMs = 0): void {
    const { isForGood, missed, struck } = strike
    if (this.#isOver || waitedMs > MAX_WAIT_MS) return missed?.()
    const again = (): void => this.#whenAllowed(peer, strike, waitedMs + TRY_AGAIN_MS)
    if (this.#isAllowed(peer, isForGood)) struck()
    else this.#simulation.world.scheduler.after(TRY_AGAIN_MS, again)
  }

  #isAllowed(peer: SimPeer, isForGood: boolean): boolean {
    const { peers } = this.#simulation
    const isWhole = peers.every((each) => isUp(each) && each.node?.isWhole === true)
    const configuration = peers[0]?.node?.configuration
    for (const nodeId of this.#retired) {
      if (configuration?.removed.includes(nodeId) === true) this.#retired.delete(nodeId)
    }
    if (!isWhole || this.#retired.size > 0 || !this.#ledger.isElsewhere(peer.host, isForGood)) return false
    return peers.every((each) => hasSpareVote(each, peer))
  }
}

/** By the configuration that `each` knows, the others that vote are a majority without `peer`. */
function hasSpareVote(each: SimPeer, peer: SimPeer): boolean {
  const acceptors = each.node?.configuration?.acceptors ?? []
  const isVoter = acceptors.some(({ nodeId }) => nodeId === peer.node?.nodeId)
  return !isVoter || acceptors.length - 1 >= majority(acceptors.length)
}

/** It has not been a member yet. */
function isNew({ node }: SimPeer): boolean {
  return node !== null && node.configuration === null
}

function isUp({ state, isPaused }: SimPeer): boolean {
  return state === 'ready' && !isPaused
}
