/** Clients on a simulated network, and peers that answer what the test says. */
import { KvError } from '../../src/base/error.ts'
import {
  type Address,
  type KeyspaceId,
  makeAddress,
  type NodeId,
  parseClusterId,
  parseNodeId,
} from '../../src/base/ids.ts'
import { type Client, type ClientOptions, createClient } from '../../src/client/client.ts'
import type { Effects } from '../../src/effects/effects.ts'
import type { Link } from '../../src/effects/network.ts'
import type { Configuration, Keyspace } from '../../src/protocol/configuration.ts'
import { makeLayout } from '../../src/protocol/layout.ts'
import { createWorld, type SimHost, type SimWorld } from '../../src/simulator/sim-world.ts'
import { Channel, type ChannelHandler } from '../../src/wire/channel.ts'
import {
  type ClientReply,
  type ClientRequest,
  clientReplyCodec,
  clientRequestCodec,
} from '../../src/wire/client-messages.ts'
import { encodeConfiguration } from '../../src/wire/configuration-codec.ts'

const PORT = 7000
const PARTITIONS = 4
const CLUSTER = parseClusterId('test-cluster')
export const DEFAULT: Keyspace = {
  id: 1 as KeyspaceId,
  name: 'default',
  strategy: 'ring',
  replicas: 2,
  conflicts: 'siblings',
  quorum: 'strict',
  r: 'quorum',
  w: 'quorum',
  durability: 'disk',
}

export type Question = Exclude<ClientRequest, { type: 'clientHello' }>
/** An answer without the id, which is that of the question. */
export type AnswerBody = ClientReply extends infer R ? (R extends ClientReply ? Omit<R, 'id'> : never) : never

export const PUT_DONE: AnswerBody = { type: 'putDone', context: 'c', owners: 2, standIns: 0 }
export const NOT_FOUND: AnswerBody = { type: 'getDone', values: [], context: null, owners: 2, standIns: 0 }

export function failed(code: Extract<ClientReply, { type: 'failed' }>['code']): AnswerBody {
  return { type: 'failed', code, message: `it is ${code}` }
}

export class ClientWorld {
  readonly sim: SimWorld = createWorld({ seed: 'client' })
  readonly peers: FakePeer[]
  readonly effects: Effects
  /** Where the client runs. */
  readonly host: SimHost

  /** Peers n0, n1, …: of every key the first two own it, in this order. */
  constructor(peerCount = 3) {
    this.host = this.sim.host('10.1.0.1')
    this.effects = this.host.boot().effects
    this.peers = Array.from(
      { length: peerCount },
      (_, i) => new FakePeer(this, this.sim.host(`10.0.0.${i + 1}`), i),
    )
  }

  client(options: Partial<ClientOptions> = {}): Client {
    return createClient({ peers: this.peers.map(({ address }) => address), ...options }, this.effects)
  }

  async pass(ms: number): Promise<void> {
    await this.sim.scheduler.run(this.sim.scheduler.nowMs + ms)
  }

  /** What a promise gives within that time: its value, or the error it was rejected with. */
  async outcome<T>(promise: Promise<T>, ms = 500): Promise<T | KvError | 'nothing yet'> {
    let result: T | KvError | 'nothing yet' = 'nothing yet'
    promise.then(
      (value) => {
        result = value
      },
      (error: unknown) => {
        if (!(error instanceof KvError)) throw error
        result = error
      },
    )
    await this.pass(ms)
    return result
  }

  /** The code with which it was rejected within that time. */
  async code(promise: Promise<unknown>, ms = 500): Promise<string> {
    const result = await this.outcome(promise, ms)
    return result instanceof KvError ? result.code : result === 'nothing yet' ? result : 'fulfilled'
  }

  /** The client and this peer do not hear each other until the returned function is called. */
  cut(peer: FakePeer): () => void {
    const names = [this.host.name, peer.host.name]
    return this.sim.paths.add({
      touches: (from, to) => names.includes(from) && names.includes(to),
      cut: true,
    })
  }
}

/** One peer: it welcomes, tells the topology, and leaves everything else to the test. */
export class FakePeer {
  readonly host: SimHost
  readonly nodeId: NodeId
  readonly address: Address
  readonly sessions: FakeSession[] = []
  /** Of all sessions, but for the topology. */
  readonly asked: Question[] = []
  topologyCount = 0
  /** What it says about who is up; all others are. */
  readonly dead = new Set<FakePeer>()
  /** Keys belong to the first two of these. */
  order: FakePeer[] | null = null
  isWelcoming = true
  /** What it answers; null: nothing. */
  answer: (question: Question) => AnswerBody | null = () => null
  /** In place of the topology it would tell. */
  topology: AnswerBody | 'silence' | null = null
  readonly #world: ClientWorld

  constructor(world: ClientWorld, host: SimHost, place: number) {
    this.#world = world
    this.host = host
    this.nodeId = parseNodeId(`n${place}`)
    this.address = makeAddress(host.name, PORT)
    this.start()
  }

  start(): void {
    const { effects } = this.host.boot()
    void effects.network.listen(this.address, (link) => {
      this.sessions.push(new FakeSession(this, effects, link))
    })
  }

  /** The process is gone. */
  kill(): void {
    this.host.end('process')
  }

  askedTypes(): string[] {
    return this.asked.map(({ type }) => type)
  }

  tell(): AnswerBody {
    const all = this.order ?? this.#world.peers
    return {
      type: 'topologyDone',
      configuration: encodeConfiguration(makeConfiguration(all.map(({ nodeId }) => nodeId))),
      peers: all.map((peer) => ({
        nodeId: peer.nodeId,
        address: peer.address,
        alive: !this.dead.has(peer),
      })),
    }
  }
}

export class FakeSession implements ChannelHandler<ClientRequest> {
  readonly heard: ClientRequest[] = []
  isClosed = false
  readonly #peer: FakePeer
  readonly #channel: Channel<ClientReply, ClientRequest>

  constructor(peer: FakePeer, effects: Effects, link: Link) {
    this.#peer = peer
    this.#channel = new Channel(clientReplyCodec, clientRequestCodec, effects.clock, this)
    this.#channel.attach(link)
    link.setHandler(this.#channel)
  }

  say(message: ClientReply): void {
    this.#channel.send(message)
  }

  end(): void {
    this.#channel.close()
  }

  opened(): void {}

  received(message: ClientRequest): void {
    this.heard.push(message)
    const peer = this.#peer
    if (message.type === 'clientHello') {
      if (peer.isWelcoming) this.say({ type: 'clientWelcome', clusterId: CLUSTER, nodeId: peer.nodeId })
      return
    }
    const answer = message.type === 'topology' ? this.#topology() : this.#asked(message)
    if (answer !== null) this.say({ ...answer, id: message.id } as ClientReply)
  }

  closed(): void {
    this.isClosed = true
  }

  #asked(question: Question): AnswerBody | null {
    this.#peer.asked.push(question)
    return this.#peer.answer(question)
  }

  #topology(): AnswerBody | null {
    const peer = this.#peer
    peer.topologyCount += 1
    if (peer.topology === 'silence') return null
    return peer.topology ?? peer.tell()
  }
}

function makeConfiguration(order: readonly NodeId[]): Configuration {
  const members = order.toSorted()
  const depth = order.length
  const positions = Uint16Array.from({ length: PARTITIONS * depth }, (_, i) =>
    members.indexOf(order[i % depth] as NodeId),
  )
  return {
    clusterId: CLUSTER,
    number: 1,
    partitionCount: PARTITIONS,
    phase: 'stable',
    members: members.map((nodeId) => ({ nodeId, zone: '', weight: 100 })),
    excluded: [],
    removed: [],
    acceptors: [{ nodeId: members[0] as NodeId, acceptorId: 'votes' }],
    keyspaces: [DEFAULT],
    nextKeyspaceId: 2 as KeyspaceId,
    layouts: [makeLayout(members, depth, positions)],
    reason: 'test',
    phaseNumber: 1,
    changeNumber: 1,
    isManual: false,
    staged: [],
    lossAccepted: [],
    history: [],
    decidedBy: 'n0' as NodeId,
    altered: [],
    decidedAtMs: 0,
  }
}
