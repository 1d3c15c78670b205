/**
 * What is being simulated at this peer: for each other peer which way is cut, what share of frames is lost
 * and how late they leave; and whether the peer plays dead. `faulty-network.ts` keeps to it. Losses and
 * delays are the sender's part, cuts are that of both sides.
 */
import { unreachable } from '../../base/assert.ts'
import type { Address, NodeId } from '../../base/ids.ts'
import type { Log } from '../../effects/log.ts'
import {
  type FaultCommand,
  type FaultControl,
  type FaultReport,
  type FaultState,
  type PeerPlace,
  resolveFault,
} from '../../wire/faults.ts'

/** What is wrong with the way to one other peer and back. */
export interface WayFaults {
  /** Nothing that is sent there arrives. */
  readonly isCutTo: boolean
  /** Nothing arrives from there. */
  readonly isCutFrom: boolean
  readonly lossPercent: number
  readonly delayMs: number
}

const NONE: WayFaults = { isCutTo: false, isCutFrom: false, lossPercent: 0, delayMs: 0 }
const CUT: Partial<WayFaults> = { isCutTo: true, isCutFrom: true }
const WHOLE: Partial<WayFaults> = { isCutTo: false, isCutFrom: false }

export interface FaultsHost {
  readonly log: Log
  self(): PeerPlace
  /** The other members. */
  others(): readonly PeerPlace[]
  /** `fail` ended: who tells `recovered` when this peer may serve again. */
  recovering(): void
}

export class PeerFaults implements FaultControl {
  readonly #host: FaultsHost
  readonly #ways = new Map<NodeId, { readonly place: PeerPlace; readonly faults: WayFaults }>()
  readonly #byAddress = new Map<Address, WayFaults>()
  readonly #listeners: (() => void)[] = []
  #state: FaultState = 'up'

  constructor(host: FaultsHost) {
    this.#host = host
  }

  get state(): FaultState {
    return this.#state
  }

  /** Called after every change. */
  onChange(listener: () => void): void {
    this.#listeners.push(listener)
  }

  /** Null: nothing is wrong with the way there. Either may be unknown. */
  to(nodeId: NodeId | null, address: Address | null): WayFaults | null {
    if (this.#ways.size === 0) return null
    const known = nodeId === null ? undefined : this.#ways.get(nodeId)
    return known?.faults ?? (address === null ? null : (this.#byAddress.get(address) ?? null))
  }

  report(): FaultReport {
    const self = this.#host.self()
    return { ...self, state: this.#state, peers: [self, ...this.#host.others()], faults: this.sentences() }
  }

  apply(command: FaultCommand): FaultReport {
    const self = this.#host.self()
    const others = this.#host.others()
    const resolved = resolveFault(command, [self, ...others])
    this.#do(resolved, self.nodeId, others)
    this.#host.log.warn('faults.changed', { fault: command.fault, active: this.sentences() })
    this.#changed()
    if (this.#state === 'recovering') this.#host.recovering()
    return this.report()
  }

  /** The peer has found its cluster again. */
  recovered(): void {
    if (this.#state !== 'recovering') return
    this.#state = 'up'
    this.#host.log.warn('faults.recovered')
    this.#changed()
  }

  sentences(): readonly string[] {
    const { address } = this.#host.self()
    const all: string[] = []
    if (this.#state === 'failed') all.push(`${address} refuses everything, as if it were gone`)
    if (this.#state === 'recovering') all.push(`${address} looks for its cluster before it serves clients`)
    for (const { place, faults } of this.#ways.values()) {
      const { isCutTo, isCutFrom, lossPercent, delayMs } = faults
      const other = place.address
      // Both ends say it in the same words.
      if (isCutTo && isCutFrom) all.push(`${[address, other].sort().join(' and ')} do not reach each other`)
      else if (isCutTo) all.push(`what ${address} sends to ${other} is lost`)
      else if (isCutFrom) all.push(`what ${other} sends to ${address} is lost`)
      if (lossPercent > 0) all.push(`${lossPercent}% of what ${address} sends to ${other} is lost`)
      if (delayMs > 0) all.push(`what ${address} sends to ${other} takes ${delayMs} ms longer`)
    }
    return all
  }

  #do(command: FaultCommand, selfId: NodeId, others: readonly PeerPlace[]): void {
    switch (command.fault) {
      case 'partition':
        return this.#divide(command.groups, selfId, others)
      case 'isolate':
        for (const other of others)
          if (command.peer === selfId || command.peer === other.nodeId) this.#set(other, CUT)
        return
      case 'one-way':
        for (const other of others) {
          if (command.from === selfId && command.to === other.nodeId) this.#set(other, { isCutTo: true })
          if (command.to === selfId && command.from === other.nodeId) this.#set(other, { isCutFrom: true })
        }
        return
      case 'drop':
        return this.#setBetween(command.between, selfId, others, { lossPercent: command.percent })
      case 'delay':
        return this.#setBetween(command.between, selfId, others, { delayMs: command.delayMs })
      case 'fail':
        if (command.peer === selfId) this.#state = 'failed'
        return
      case 'recover':
        if (command.peer === selfId) this.#recover()
        return
      case 'heal':
        this.#ways.clear()
        this.#byAddress.clear()
        return this.#recover()
      default:
        unreachable(command)
    }
  }

  #divide(groups: readonly (readonly string[])[], selfId: NodeId, others: readonly PeerPlace[]): void {
    const ours = groups.find((group) => group.includes(selfId))
    if (ours === undefined) return
    for (const other of others) {
      if (ours.includes(other.nodeId)) this.#set(other, WHOLE)
      else if (groups.some((group) => group.includes(other.nodeId))) this.#set(other, CUT)
    }
  }

  #setBetween(
    pair: readonly [string, string],
    selfId: NodeId,
    others: readonly PeerPlace[],
    change: Partial<WayFaults>,
  ): void {
    if (!pair.includes(selfId)) return
    for (const other of others) if (pair.includes(other.nodeId)) this.#set(other, change)
  }

  #set(place: PeerPlace, change: Partial<WayFaults>): void {
    const { nodeId, address } = place
    const faults = { ...(this.#ways.get(nodeId)?.faults ?? NONE), ...change }
    const isNone = !faults.isCutTo && !faults.isCutFrom && faults.lossPercent === 0 && faults.delayMs === 0
    if (isNone) {
      this.#ways.delete(nodeId)
      this.#byAddress.delete(address)
    } else {
      this.#ways.set(nodeId, { place, faults })
      this.#byAddress.set(address, faults)
    }
  }

  #recover(): void {
    if (this.#state === 'failed') this.#state = 'recovering'
  }

  #changed(): void {
    for (const listener of this.#listeners) listener()
  }
}
