/**
 * A small deterministic network of membership machines in virtual time: latency, loss, one-way cuts,
 * processes that are killed, stopped and restarted. Links behave as sockets do: they end when a process ends,
 * a host without the process refuses, a cut is silent.
 */
import type { Address, NodeId } from '../../src/base/ids.ts'
import { createPrng, type Prng } from '../../src/base/prng.ts'
import { createMembership, type Membership } from '../../src/protocol/membership/machine.ts'
import type {
  LinkEnd,
  MembershipInput,
  MembershipMessage,
  MembershipOutput,
} from '../../src/protocol/membership/messages.ts'
import type { PeerIdentity } from '../../src/protocol/membership/peer.ts'
import type { MembershipOptions } from '../../src/protocol/membership/timing.ts'

export interface NetworkOptions {
  readonly minLatencyMs: number
  readonly maxLatencyMs: number
  /** Share of the messages that get lost. */
  readonly loss: number
}

export interface Sent {
  readonly atMs: number
  readonly from: string
  readonly to: string
  readonly message: MembershipMessage
}

export class TestPeer {
  readonly identity: PeerIdentity
  readonly machine: Membership
  readonly outputs: { readonly atMs: number; readonly output: MembershipOutput }[] = []
  isKilled = false
  isStopped = false
  /** What reached the stopped process. */
  readonly mailbox: (() => void)[] = []
  scheduledMs = Number.POSITIVE_INFINITY

  constructor(identity: PeerIdentity, machine: Membership) {
    this.identity = identity
    this.machine = machine
  }

  get name(): string {
    return this.identity.nodeId
  }

  state(name: string): string {
    return this.machine.stateOf(name as NodeId) ?? 'unknown'
  }

  /** Every change to this state of anybody. */
  changesTo(state: string): readonly string[] {
    const names: string[] = []
    for (const { output } of this.outputs) {
      if (output.type === 'changed' && output.after?.state === state) names.push(output.nodeId)
    }
    return names
  }
}

export class TestNetwork {
  nowMs = 0
  sent: Sent[] = []
  onSend: (sent: Sent) => void = (sent) => this.sent.push(sent)
  readonly #options: NetworkOptions
  readonly #prng: Prng
  readonly #seed: string | number
  readonly #at = new Map<Address, TestPeer>()
  readonly #hostOf = new Map<Address, string>()
  readonly #byName = new Map<string, TestPeer>()
  readonly #links = new Set<string>()
  #cuts = new Set<string>()
  readonly #events: Event[] = []
  #eventCount = 0

  constructor(seed: string | number, options: Partial<NetworkOptions> = {}) {
    this.#seed = seed
    this.#prng = createPrng(`network/${seed}`)
    this.#options = { minLatencyMs: 0.1, maxLatencyMs: 2, loss: 0, ...options }
  }

  /** The processes that were not killed. */
  get peers(): readonly TestPeer[] {
    return [...this.#byName.values()].filter((peer) => !peer.isKilled)
  }

  peer(name: string): TestPeer {
    return this.#byName.get(name) as TestPeer
  }

  /** Starts a process; one that ran under this name before gets the next generation. */
  start(name: string, options: Partial<MembershipOptions> = {}, address = addressOf(name)): TestPeer {
    const before = this.#byName.get(name)
    const generation = (before?.identity.generation ?? 0) + 1
    const identity: PeerIdentity = {
      nodeId: name as NodeId,
      generation,
      bootNonce: `boot-${name}-${generation}`,
      address,
      meta: { zone: 'z1', weight: 1, version: '0.1.0' },
    }
    const peer = new TestPeer(
      identity,
      createMembership(identity, options, `${this.#seed}/${name}/${generation}`),
    )
    this.#byName.set(name, peer)
    this.#at.set(address, peer)
    this.#hostOf.set(address, name)
    this.step(peer, { type: 'timer' })
    return peer
  }

  /** Peers that all know each other: n1 … nN, joined through n1, settled. */
  static formed(
    count: number,
    seed: string | number,
    network: Partial<NetworkOptions> = {},
    options: Partial<MembershipOptions> = {},
  ): TestNetwork {
    const made = new TestNetwork(seed, network)
    for (let i = 1; i <= count; i++)
      made.start(`n${i}`, { ...options, seeds: i === 1 ? [] : [addressOf('n1')] })
    const formedMs = made.runUntil(() => made.allUp(), 30_000)
    if (formedMs === null) throw new Error('the cluster did not form')
    made.run(3000 + made.#prng.float() * 3000)
    return made
  }

  allAlive(): boolean {
    const { peers } = this
    return peers.every((one) => peers.every((other) => one.state(other.name) === 'alive'))
  }

  /** As with loss there is always somebody who suspects somebody. */
  allUp(): boolean {
    const { peers } = this
    return peers.every((one) => peers.every((other) => /^(alive|suspect)$/.test(one.state(other.name))))
  }

  /** The process ends: its sockets close, its host refuses. */
  kill(name: string): void {
    const peer = this.peer(name)
    peer.isKilled = true
    this.#at.delete(peer.identity.address)
    for (const other of this.peers) this.#endLink(peer, other, 'closed')
  }

  /** SIGSTOP. */
  stop(name: string): void {
    this.peer(name).isStopped = true
  }

  /** SIGCONT. `timersFirst`: as libuv does; otherwise what waits in the sockets comes first. */
  resume(name: string, timersFirst = true): void {
    const peer = this.peer(name)
    peer.isStopped = false
    const handleMail = (): void => {
      for (const deliver of peer.mailbox.splice(0)) deliver()
    }
    if (!timersFirst) handleMail()
    if (peer.machine.nextWakeMs <= this.nowMs) this.step(peer, { type: 'timer' })
    handleMail()
  }

  /** Nothing gets from one of the first to one of the second any more. */
  cut(from: readonly string[], to: readonly string[]): void {
    for (const a of from) for (const b of to) if (a !== b) this.#cuts.add(`${a}>${b}`)
  }

  heal(): void {
    this.#cuts = new Set()
  }

  run(forMs: number): void {
    this.runUntil(() => false, forMs)
  }

  /** How many ms it took until the condition held, checked after each event; null when it did not. */
  runUntil(condition: () => boolean, limitMs: number): number | null {
    const beganMs = this.nowMs
    const endMs = beganMs + limitMs
    for (;;) {
      if (condition()) return this.nowMs - beganMs
      const next = this.#events[0]
      if (next === undefined || next.atMs > endMs) {
        this.nowMs = endMs
        return condition() ? limitMs : null
      }
      popEvent(this.#events)
      this.nowMs = next.atMs
      next.run()
    }
  }

  step(peer: TestPeer, input: MembershipInput): void {
    if (peer.isKilled) return
    for (const output of peer.machine.step(input, this.nowMs)) {
      if (output.type !== 'send') peer.outputs.push({ atMs: this.nowMs, output })
      this.#perform(peer, output)
    }
    this.#arm(peer)
  }

  #perform(peer: TestPeer, output: MembershipOutput): void {
    if (output.type === 'send') {
      this.onSend({ atMs: this.nowMs, from: peer.name, to: output.to, message: output.message })
      this.#transmit(peer, output.address, output.to, output.message)
    } else if (output.type === 'dial') this.#transmit(peer, output.address, null, null)
    else if (output.type === 'changed' && output.after?.state === 'dead') {
      const other = this.#byName.get(output.nodeId)
      if (other !== undefined) this.#endLink(peer, other, 'closed')
    }
  }

  /** A message, or a mere handshake, to whoever is at an address. */
  #transmit(from: TestPeer, address: Address, to: NodeId | null, message: MembershipMessage | null): void {
    const host = this.#hostOf.get(address)
    if (host === undefined || this.#isCut(from.name, host)) return
    if (message !== null && this.#prng.float() < this.#options.loss) return
    this.#later(this.#latencyMs(), () => {
      const target = this.#at.get(address)
      if (target === undefined) this.#refuse(from, address, to, host)
      else this.#reach(target, () => this.#deliver(from, target, to, message))
    })
  }

  #deliver(from: TestPeer, target: TestPeer, to: NodeId | null, message: MembershipMessage | null): void {
    if (to !== null && target.identity.nodeId !== to) {
      const { address } = target.identity
      this.#reach(from, () => this.step(from, { type: 'linkClosed', nodeId: to, cause: 'lost', address }))
      return
    }
    if (!this.#links.has(linkOf(from, target))) {
      if (this.#isCut(target.name, from.name) || from.isKilled) return
      this.#links.add(linkOf(from, target))
      this.step(target, { type: 'met', facts: from.identity, dialled: null })
      const dialled = target.identity.address
      const met = (): void => this.step(from, { type: 'met', facts: target.identity, dialled })
      this.#later(this.#latencyMs(), () => this.#reach(from, met))
    }
    if (message !== null) this.step(target, { type: 'message', from: from.identity.nodeId, message })
  }

  #refuse(from: TestPeer, address: Address, to: NodeId | null, host: string): void {
    if (to === null || this.#isCut(host, from.name)) return
    const closed = { type: 'linkClosed', nodeId: to, cause: 'refused', address } as const
    this.#later(this.#latencyMs(), () => this.#reach(from, () => this.step(from, closed)))
  }

  #endLink(one: TestPeer, other: TestPeer, cause: LinkEnd): void {
    if (!this.#links.delete(linkOf(one, other)) || this.#isCut(one.name, other.name)) return
    const closed = { type: 'linkClosed', nodeId: one.identity.nodeId, cause, address: null } as const
    this.#later(this.#latencyMs(), () => this.#reach(other, () => this.step(other, closed)))
  }

  /** Runs in the process, now or when it goes on. */
  #reach(peer: TestPeer, run: () => void): void {
    if (peer.isStopped) peer.mailbox.push(run)
    else if (!peer.isKilled) run()
  }

  #arm(peer: TestPeer): void {
    const atMs = peer.machine.nextWakeMs
    if (atMs === Number.POSITIVE_INFINITY || atMs === peer.scheduledMs) return
    peer.scheduledMs = atMs
    this.#later(Math.max(0, atMs - this.nowMs), () => {
      if (peer.isStopped || peer.isKilled || peer.machine.nextWakeMs > this.nowMs) return
      this.step(peer, { type: 'timer' })
    })
  }

  #isCut(from: string, to: string): boolean {
    return this.#cuts.has(`${from}>${to}`)
  }

  #latencyMs(): number {
    const { minLatencyMs, maxLatencyMs } = this.#options
    return minLatencyMs + this.#prng.float() * (maxLatencyMs - minLatencyMs)
  }

  #later(delayMs: number, run: () => void): void {
    pushEvent(this.#events, { atMs: this.nowMs + delayMs, order: this.#eventCount++, run })
  }
}

export function addressOf(name: string): Address {
  return `${name}.example:7000` as Address
}

function linkOf(one: TestPeer, other: TestPeer): string {
  const [a, b] = [one, other].map(({ identity }) => `${identity.nodeId}#${identity.generation}`).sort()
  return `${a} ${b}`
}

interface Event {
  readonly atMs: number
  readonly order: number
  readonly run: () => void
}

/** A binary heap by time, then by order of making. */
function pushEvent(heap: Event[], event: Event): void {
  let at = heap.push(event) - 1
  while (at > 0) {
    const parent = (at - 1) >> 1
    if (!isBefore(event, heap[parent] as Event)) break
    heap[at] = heap[parent] as Event
    at = parent
  }
  heap[at] = event
}

function popEvent(heap: Event[]): void {
  const last = heap.pop() as Event
  if (heap.length === 0) return
  let at = 0
  for (;;) {
    let child = 2 * at + 1
    if (child >= heap.length) break
    if (child + 1 < heap.length && isBefore(heap[child + 1] as Event, heap[child] as Event)) child++
    if (isBefore(last, heap[child] as Event)) break
    heap[at] = heap[child] as Event
    at = child
  }
  heap[at] = last
}

function isBefore(a: Event, b: Event): boolean {
  return a.atMs === b.atMs ? a.order < b.order : a.atMs < b.atMs
}
