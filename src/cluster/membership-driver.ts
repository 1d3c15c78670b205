/**
 * Runs the membership machine: owns its timer, feeds it what arrives, performs what it puts out, in order.
 * The links are the node's.
 */
import { unreachable } from '../base/assert.ts'
import type { Address, NodeId } from '../base/ids.ts'
import type { Timer } from '../effects/clock.ts'
import type { Effects } from '../effects/effects.ts'
import type { CloseCause } from '../effects/network.ts'
import { createMembership, type Membership } from '../protocol/membership/machine.ts'
import type { MembershipInput, MembershipMessage, MembershipOutput } from '../protocol/membership/messages.ts'
import { isUp, type PeerIdentity, type PeerView } from '../protocol/membership/peer.ts'
import type { MembershipOptions } from '../protocol/membership/timing.ts'

/** How the machine reaches others. */
export interface ControlLinks {
  /** Dials when needed; silently drops when it cannot. Only the named node may get it. */
  send(to: NodeId, address: Address, message: MembershipMessage): void
  /** The handshake reveals who is there; the driver is then told by `met`. */
  dial(address: Address): void
}

export interface MembershipHandler {
  /** A peer has a newer configuration; repeated while that holds. */
  configurationSeen(from: NodeId, number: number): void
  /** Somebody says that our nodeId runs elsewhere, or that this directory was rolled back. */
  outranked(generation: number, bootNonce: string, address: Address): void
}

/** `before` is null for a peer not known before, `after` for one that was forgotten. */
export type ChangeListener = (nodeId: NodeId, before: PeerView | null, after: PeerView | null) => void

export class MembershipDriver {
  readonly #effects: Pick<Effects, 'clock' | 'log'>
  readonly #links: ControlLinks
  readonly #handler: MembershipHandler
  readonly #machine: Membership
  readonly #listeners = new Set<ChangeListener>()
  readonly #inputs: MembershipInput[] = []
  #isRunning = false
  #isStopped = false
  #timer: Timer | null = null
  #timerAtMs = Number.POSITIVE_INFINITY

  /** Does nothing until `start`. */
  constructor(
    self: PeerIdentity,
    links: ControlLinks,
    handler: MembershipHandler,
    effects: Pick<Effects, 'clock' | 'log' | 'random'>,
    options: Partial<MembershipOptions> = {},
  ) {
    this.#effects = effects
    this.#links = links
    this.#handler = handler
    this.#machine = createMembership(self, options, effects.random.id())
  }

  /** Begins to probe whom it knows and will know: those told of by `learn` and `met`. */
  start(): void {
    this.#take({ type: 'timer' })
  }

  /** Tells the others that we go: they need not find out. Before `stop`, while there are links. */
  leave(): void {
    this.#take({ type: 'leave' })
  }

  /** Idempotent. */
  stop(): void {
    this.#isStopped = true
    this.#timer?.cancel()
    this.#timer = null
    this.#listeners.clear()
  }

  received(from: NodeId, message: MembershipMessage): void {
    this.#take({ type: 'message', from, message })
  }

  /**
   * A control link to a peer ended, or a dial to it failed.
   * @param address where we dialled it; null when the peer dialled us
   */
  linkClosed(nodeId: NodeId, cause: CloseCause, address: Address | null = null): void {
    this.#take({ type: 'linkClosed', nodeId, cause, address })
  }

  /**
   * A handshake on a control link showed who is there.
   * @param dialled the address that `ControlLinks.dial` was given, when it is that dial's handshake
   */
  met(facts: PeerIdentity, dialled: Address | null = null): void {
    this.#take({ type: 'met', facts, dialled })
  }

  /** Peers known from disk: how they are will be found out. */
  learn(peers: readonly { readonly nodeId: NodeId; readonly address: Address }[]): void {
    this.#take({ type: 'learn', peers })
  }

  /** The generation of this life is another one from now on: what others say of a newer life is not so. */
  rise(generation: number): void {
    this.#take({ type: 'rise', generation })
  }

  /** Removed from the cluster: they never come back. */
  forget(nodeIds: readonly NodeId[]): void {
    this.#take({ type: 'forget', nodeIds })
  }

  /**
   * The newest configuration this peer has: others that are behind notice by its number, and who is no member
   * is not remembered for long once it is down.
   */
  setConfiguration(number: number, members: readonly NodeId[]): void {
    this.#take({ type: 'configuration', number, members })
  }

  /** @returns ends the subscription */
  onChange(listener: ChangeListener): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  /** Up, as far as we know: alive or only suspected. */
  isAlive(nodeId: NodeId): boolean {
    return isUp(this.#machine.stateOf(nodeId) ?? 'dead')
  }

  addressOf(nodeId: NodeId): Address | null {
    return this.#machine.addressOf(nodeId)
  }

  /** Everyone we know of except ourselves. */
  peers(): readonly PeerView[] {
    return this.#machine.peers()
  }

  view(nodeId: NodeId): PeerView | null {
    return this.#machine.get(nodeId)
  }

  /** Since the peer was last heard of; since we began to wait when it never was; 0 for ourselves. */
  heartbeatAgeMs(nodeId: NodeId): number {
    const view = this.#machine.get(nodeId)
    if (view === null) return 0
    return this.#effects.clock.monotonic() - (view.lastHeardMs ?? view.changedAtMs)
  }

  /** How much this peer trusts itself: 0 (healthy) … 7. */
  get healthScore(): number {
    return this.#machine.healthScore
  }

  /** Links may report back while an output is performed: that waits its turn. */
  #take(input: MembershipInput): void {
    if (this.#isStopped) return
    this.#inputs.push(input)
    if (this.#isRunning) return
    this.#isRunning = true
    try {
      for (let next = this.#inputs.shift(); next !== undefined; next = this.#inputs.shift()) {
        for (const output of this.#machine.step(next, this.#effects.clock.monotonic())) this.#perform(output)
      }
    } finally {
      this.#isRunning = false
    }
    this.#arm()
  }

  #perform(output: MembershipOutput): void {
    switch (output.type) {
      case 'send':
        this.#links.send(output.to, output.address, output.message)
        break
      case 'dial':
        this.#links.dial(output.address)
        break
      case 'changed':
        this.#changed(output)
        break
      case 'configurationSeen':
        this.#handler.configurationSeen(output.from, output.number)
        break
      case 'outranked':
        this.#handler.outranked(output.generation, output.bootNonce, output.address)
        break
      default:
        unreachable(output)
    }
  }

  #changed(output: Extract<MembershipOutput, { type: 'changed' }>): void {
    const { nodeId, before, after } = output
    const state = after?.state ?? 'forgotten'
    const fields = {
      nodeId,
      state,
      before: before?.state ?? null,
      address: (after ?? before)?.address ?? null,
    }
    this.#effects.log.info('membership.changed', { ...fields, health: this.#machine.healthScore })
    for (const listener of [...this.#listeners]) listener(nodeId, before, after)
  }

  /** One timer, for the next thing due; how late it fires tells the machine how late our event loop is. */
  #arm(): void {
    const dueMs = this.#machine.nextWakeMs
    if (this.#isStopped || dueMs === this.#timerAtMs) return
    this.#timer?.cancel()
    this.#timer = null
    this.#timerAtMs = dueMs
    if (dueMs === Number.POSITIVE_INFINITY) return
    const delayMs = Math.max(0, dueMs - this.#effects.clock.monotonic())
    this.#timer = this.#effects.clock.setTimer(delayMs, this.#fire)
  }

  readonly #fire = (): void => {
    this.#timer = null
    this.#timerAtMs = Number.POSITIVE_INFINITY
    this.#take({ type: 'timer' })
  }
}
