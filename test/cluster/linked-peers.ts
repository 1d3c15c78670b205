/**
 * Peers that have links and an rpc and nothing else, on a simulated network; and strangers who say what the
 * test wants.
 */
import { type Address, makeAddress, type NodeId, parseClusterId, parseNodeId } from '../../src/base/ids.ts'
import { Links, type LinksHandler, type SelfFacts } from '../../src/cluster/links.ts'
import type { PeerLink } from '../../src/cluster/peer-link.ts'
import { Rpc } from '../../src/cluster/rpc.ts'
import type { Effects } from '../../src/effects/effects.ts'
import type { CloseCause, LinkPurpose, Network } from '../../src/effects/network.ts'
import { createWorld, type SimHost, type SimWorld } from '../../src/simulator/sim-world.ts'
import { Channel, type ChannelHandler } from '../../src/wire/channel.ts'
import { PROTOCOL_VERSION } from '../../src/wire/frame.ts'
import type { Hello, KnownLife, KnownPlaces, PeerFacts, Refusal } from '../../src/wire/handshake-messages.ts'
import { isPeerReply, type PeerMessage, peerCodec } from '../../src/wire/peer-messages.ts'

const PORT = 7000
const CLUSTER = parseClusterId('cluster-1')

/** Of a report that says nothing of its disk. */
export const NO_DAMAGE = {
  damaged: null,
  restored: null,
  lostLeaves: null,
  dotClashes: null,
  outage: null,
  hintsQuarantined: null,
  purgeWaits: null,
  ringWaits: null,
  takeover: null,
  overfull: null,
}

export class LinkedWorld {
  readonly sim: SimWorld = createWorld({ seed: 'links' })
  #hosts = 0

  /** Listens once time has passed. */
  peer(name: string, facts: Partial<SelfFacts> = {}, network = asItIs): LinkedPeer {
    return new LinkedPeer(this.#host(), name, facts, network)
  }

  stranger(name: string): Stranger {
    return new Stranger(this.#host(), name)
  }

  async pass(ms: number): Promise<void> {
    await this.sim.scheduler.run(this.sim.scheduler.nowMs + ms)
  }

  /** Both ways. The returned function heals it. */
  cut(a: { readonly host: SimHost }, b: { readonly host: SimHost }): () => void {
    const names = [a.host.name, b.host.name]
    return this.sim.paths.add({
      touches: (from, to) => names.includes(from) && names.includes(to),
      cut: true,
    })
  }

  #host(): SimHost {
    return this.sim.host(`10.0.0.${++this.#hosts}`)
  }
}

/** Two peers, the first of which has a link to the second. */
export async function linked(): Promise<{ world: LinkedWorld; a: LinkedPeer; b: LinkedPeer }> {
  const world = new LinkedWorld()
  const [a, b] = [world.peer('a'), world.peer('b')]
  await world.pass(1)
  a.to(b)
  await world.pass(10)
  return { world, a, b }
}

function asItIs({ network }: Effects): Network {
  return network
}

export class LinkedPeer implements LinksHandler {
  readonly host: SimHost
  readonly nodeId: NodeId
  readonly address: Address
  readonly links: Links
  readonly rpc: Rpc
  readonly heard: { readonly from: NodeId; readonly message: PeerMessage; readonly link: PeerLink }[] = []
  readonly meetings: { readonly nodeId: NodeId; readonly dialled: Address | null }[] = []
  readonly losses: { readonly nodeId: NodeId; readonly purpose: LinkPurpose; readonly cause: CloseCause }[] =
    []
  readonly failedDials: {
    readonly address: Address
    readonly refusal: Refusal | null
    readonly why: string
  }[] = []
  readonly barred = new Set<NodeId>()
  /** Where it believes the others to be. */
  readonly addresses = new Map<NodeId, Address>()
  /** The newest ones it has heard of. */
  readonly lives = new Map<NodeId, KnownLife>()
  /** And met. */
  readonly livesMet = new Map<NodeId, KnownLife>()
  facts: SelfFacts
  /** Does it answer what it is asked? */
  isAnswering = true

  constructor(host: SimHost, name: string, facts: Partial<SelfFacts>, network: (real: Effects) => Network) {
    const life = host.boot()
    const effects = { ...life.effects, network: network(life.effects) }
    this.host = host
    this.nodeId = parseNodeId(name)
    this.address = makeAddress(host.name, PORT)
    this.facts = { ...factsOf(this.nodeId, this.address), ...facts }
    this.links = new Links(effects, this)
    this.rpc = new Rpc(this.links, effects.clock, (nodeId) => this.addresses.get(nodeId) ?? null)
    void effects.network.listen(this.address, (link, purpose) => this.links.accept(link, purpose))
  }

  knows(...others: readonly { readonly nodeId: NodeId; readonly address: Address }[]): this {
    for (const { nodeId, address } of others) this.addresses.set(nodeId, address)
    return this
  }

  self(): SelfFacts {
    return this.facts
  }

  isBarred(nodeId: NodeId): boolean {
    return this.barred.has(nodeId)
  }

  places(): KnownPlaces {
    return { from: this.nodeId, clusterId: null, number: 0, members: [] }
  }

  newestLife(nodeId: NodeId): KnownLife | null {
    return this.lives.get(nodeId) ?? null
  }

  newestMet(nodeId: NodeId): KnownLife | null {
    return this.livesMet.get(nodeId) ?? null
  }

  met(facts: PeerFacts, dialled: Address | null): void {
    this.meetings.push({ nodeId: facts.nodeId, dialled })
  }

  received(from: NodeId, message: PeerMessage, link: PeerLink): void {
    this.heard.push({ from, message, link })
    if (isPeerReply(message)) this.rpc.answered(from, message)
    else if (message.type === 'inquire' && this.isAnswering) {
      link.send(
        {
          type: 'report',
          id: message.id,
          keys: 1,
          bytes: 2,
          hints: 3,
          hintsFor: null,
          isCounting: null,
          catchingUp: null,
          quarantined: 0,
          ...NO_DAMAGE,
        },
        0,
      )
    }
  }

  lost(nodeId: NodeId, link: PeerLink, cause: CloseCause): void {
    this.losses.push({ nodeId, purpose: link.purpose, cause })
    if (link.purpose !== 'client') this.rpc.lost(nodeId, link.purpose)
  }

  dialFailed(address: Address, refusal: Refusal | null, why: string): void {
    this.failedDials.push({ address, refusal, why })
  }

  /** The link there would be used, dialled when there is none. */
  to(other: { readonly nodeId: NodeId; readonly address: Address }, purpose: 'control' | 'data' = 'control') {
    return this.links.to(other.nodeId, other.address, purpose)
  }

  heardTypes(): string[] {
    return this.heard.map(({ message }) => message.type)
  }
}

/** Speaks frames of messages, and nothing by itself. */
export class Stranger implements ChannelHandler<PeerMessage> {
  readonly host: SimHost
  readonly nodeId: NodeId
  readonly address: Address
  readonly heard: PeerMessage[] = []
  readonly causes: CloseCause[] = []
  isOpened = false
  /** What it says to whoever dials it, as soon as it hears from him. */
  answer: PeerMessage | null = null
  readonly #effects: Effects
  #channel: Channel<PeerMessage, PeerMessage> | null = null

  constructor(host: SimHost, name: string) {
    const { effects } = host.boot()
    this.host = host
    this.nodeId = parseNodeId(name)
    this.address = makeAddress(host.name, PORT)
    this.#effects = effects
    void effects.network.listen(this.address, (link) => {
      const channel = this.#newChannel()
      channel.attach(link)
      link.setHandler(channel)
    })
  }

  facts(changed: Partial<PeerFacts> = {}): PeerFacts {
    const rest = { protocolVersion: PROTOCOL_VERSION, hashName: 'xxh32' }
    return { ...factsOf(this.nodeId, this.address), ...rest, ...changed }
  }

  hello(changed: Partial<Hello> = {}): Hello {
    return { ...this.facts(), type: 'hello', expects: null, ...changed }
  }

  dial(to: Address, purpose: LinkPurpose = 'control'): void {
    const channel = this.#newChannel()
    channel.attach(this.#effects.network.dial(to, purpose, channel))
  }

  say(message: PeerMessage): void {
    this.#channel?.send(message)
  }

  opened(): void {
    this.isOpened = true
  }

  received(message: PeerMessage): void {
    this.heard.push(message)
    if (this.answer !== null) this.say(this.answer)
  }

  closed(cause: CloseCause): void {
    this.causes.push(cause)
  }

  #newChannel(): Channel<PeerMessage, PeerMessage> {
    const channel = new Channel<PeerMessage, PeerMessage>(peerCodec, peerCodec, this.#effects.clock, this)
    this.#channel = channel
    return channel
  }
}

function factsOf(nodeId: NodeId, address: Address): SelfFacts {
  return {
    clusterId: CLUSTER,
    partitionCount: 64,
    nodeId,
    generation: 1,
    bootNonce: `nonce-${nodeId}`,
    address,
    zone: '',
    weight: 100,
    era: 0,
    closedBelow: 0,
    version: '0.1.0',
  }
}
