/** One membership machine that is fed by hand, its clock, and everything it put out. */
import type { Address, NodeId } from '../../src/base/ids.ts'
import { createMembership, type Membership } from '../../src/protocol/membership/machine.ts'
import type {
  MembershipInput,
  MembershipMessage,
  MembershipOutput,
} from '../../src/protocol/membership/messages.ts'
import type { LifeState, PeerIdentity, PeerRecord } from '../../src/protocol/membership/peer.ts'

export const id = (name: string): NodeId => name as NodeId
export const at = (name: string): Address => `${name}.example:7000` as Address

export function facts(name: string, generation = 1, address = at(name)): PeerIdentity {
  const meta = { zone: '', weight: 1, version: '0.1.0' }
  return { nodeId: id(name), generation, bootNonce: `boot-${name}-${generation}`, address, meta }
}

export function belief(
  name: string,
  state: LifeState,
  incarnation = 0,
  extra: Partial<PeerRecord> = {},
): PeerRecord {
  return { ...facts(name), incarnation, state, accusers: state === 'suspect' ? [id('b')] : [], ...extra }
}

/** Its name is `me`; it has met the others in generation 1. */
export class Lone {
  readonly machine: Membership
  nowMs = 0
  outputs: MembershipOutput[] = []

  constructor(others: readonly string[]) {
    this.machine = createMembership(facts('me'), {}, 'lone')
    this.step({ type: 'timer' })
    for (const name of others) this.step({ type: 'met', facts: facts(name), dialled: null })
    this.outputs = []
  }

  step(input: MembershipInput): readonly MembershipOutput[] {
    const outputs = this.machine.step(input, this.nowMs)
    this.outputs.push(...outputs)
    return outputs
  }

  message(from: string, message: MembershipMessage): readonly MembershipOutput[] {
    return this.step({ type: 'message', from: id(from), message })
  }

  gossip(from: string, ...updates: readonly PeerRecord[]): readonly MembershipOutput[] {
    return this.message(from, { type: 'gossip', configuration: 0, updates })
  }

  /** Runs its timers for a while; `reply` may answer what it sends. */
  run(forMs: number, reply: (to: string, message: MembershipMessage) => void = () => {}): void {
    const endMs = this.nowMs + forMs
    while (this.machine.nextWakeMs <= endMs) {
      this.nowMs = Math.max(this.nowMs, this.machine.nextWakeMs)
      for (const output of this.step({ type: 'timer' }))
        if (output.type === 'send') reply(output.to, output.message)
    }
    this.nowMs = endMs
  }

  /** Acks every ping but those to the silent. */
  answering(...silent: readonly string[]): (to: string, message: MembershipMessage) => void {
    return (to, message) => {
      if (message.type === 'ping' && !silent.includes(to)) this.ack(to, message.seq)
    }
  }

  ack(from: string, seq: number, generation = 1): void {
    this.message(from, { type: 'ack', seq, generation, configuration: 0, updates: [] })
  }

  state(name: string): LifeState | null {
    return this.machine.stateOf(id(name))
  }

  sent<T extends MembershipMessage['type']>(
    type: T,
  ): { to: string; message: Extract<MembershipMessage, { type: T }> }[] {
    const found: { to: string; message: Extract<MembershipMessage, { type: T }> }[] = []
    for (const output of this.outputs) {
      if (output.type !== 'send' || output.message.type !== type) continue
      found.push({ to: output.to, message: output.message as Extract<MembershipMessage, { type: T }> })
    }
    return found
  }
}
