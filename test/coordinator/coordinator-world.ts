/**
 * One peer's coordinator and replica over a real store and a real rpc, in virtual time. The other peers are
 * the test itself: it sees every question they are asked, and gives the answers.
 */
import * as assert from 'uvu/assert'
import { present } from '../../src/base/assert.ts'
import { type Bytes, text, utf8 } from '../../src/base/bytes.ts'
import type { KvError } from '../../src/base/error.ts'
import { hashText32 } from '../../src/base/hash.ts'
import {
  type ActorId,
  type KeyspaceId,
  makeAddress,
  type NodeId,
  parseClusterId,
  parseNodeId,
} from '../../src/base/ids.ts'
import type { Links } from '../../src/cluster/links.ts'
import type { PeerLink } from '../../src/cluster/peer-link.ts'
import { Rpc } from '../../src/cluster/rpc.ts'
import { Arrivals } from '../../src/coordinator/arrivals.ts'
import type { Coordination, Done } from '../../src/coordinator/coordination.ts'
import { Coordinator, type CoordinatorLimits } from '../../src/coordinator/coordinator.ts'
import { FenceKeeper } from '../../src/coordinator/fence-keeper.ts'
import { FenceMember } from '../../src/coordinator/fence-member.ts'
import { HintedHandoff } from '../../src/coordinator/hinted-handoff.ts'
import { LingerLimit } from '../../src/coordinator/linger-limit.ts'
import { PurgeOwner } from '../../src/coordinator/purge-owner.ts'
import { Replica } from '../../src/coordinator/replica.ts'
import { RequestBudget } from '../../src/coordinator/request-budget.ts'
import type { StallWatch } from '../../src/coordinator/stall-watch.ts'
import type { Clock } from '../../src/effects/clock.ts'
import type { Random } from '../../src/effects/random.ts'
import type { Database, Storage } from '../../src/effects/storage.ts'
import type { Configuration, Keyspace, Phase } from '../../src/protocol/configuration.ts'
import { contextSeed, decodeContext, encodeContext } from '../../src/protocol/context.ts'
import { Eras } from '../../src/protocol/eras.ts'
import { HoldLedger } from '../../src/protocol/hold-ledger.ts'
import { makeLayout } from '../../src/protocol/layout.ts'
import type { PurgeRule } from '../../src/protocol/purge.ts'
import type { Dot, DotSet, DottedValue, KeyRecord } from '../../src/protocol/record.ts'
import { createRing, type Ring } from '../../src/protocol/ring.ts'
import { createWorld, type SimWorld } from '../../src/simulator/sim-world.ts'
import { decodeRecord, encodeRecord } from '../../src/store/record-codec.ts'
import { Store } from '../../src/store/store.ts'
import { packFrame, unpackFrame } from '../../src/wire/frame.ts'
import { type PeerMessage, type PeerReply, peerCodec } from '../../src/wire/peer-messages.ts'
import type { PurgeRequest } from '../../src/wire/purge-messages.ts'
import type { GetReply, GetRequest, PutReply, PutRequest } from '../../src/wire/requests.ts'

export const CLUSTER = parseClusterId('test-cluster')
const PARTITIONS = 4
export const KEY = utf8('key')
export const PURGE_RULE: PurgeRule = { purgeAfterMs: 1000, expiryGraceMs: 100 }
export const SELF = node(0)

export function node(place: number): NodeId {
  return parseNodeId(`n${place}`)
}

export function nodes(...places: number[]): NodeId[] {
  return places.map(node)
}

function keyspace(id: number, name: string, rest: Partial<Keyspace> = {}): Keyspace {
  return {
    id: id as KeyspaceId,
    name,
    strategy: 'ring',
    replicas: 3,
    conflicts: 'siblings',
    quorum: 'strict',
    r: 'quorum',
    w: 'quorum',
    durability: 'disk',
    ...rest,
  }
}

export const DEFAULT = keyspace(1, 'default')
export const LWW = keyspace(2, 'newest', { conflicts: 'lww' })
export const SLOPPY = keyspace(3, 'sloppy', { quorum: 'sloppy' })
const KEYSPACES = [DEFAULT, LWW, SLOPPY]

/** Every partition of a layout has its members in the order given. */
export function makeRing(
  number: number,
  layouts: readonly NodeId[][],
  phase: Phase = 'stable',
  excluded: readonly NodeId[] = [],
): Ring {
  const members = [...new Set(layouts.flat())].sort()
  const configuration: Configuration = {
    clusterId: CLUSTER,
    number,
    partitionCount: PARTITIONS,
    phase,
    members: members.map((nodeId) => ({ nodeId, zone: '', weight: 100 })),
    excluded,
    removed: [],
    acceptors: [{ nodeId: present(members[0], 'a ring has members'), acceptorId: 'votes' }],
    keyspaces: KEYSPACES,
    nextKeyspaceId: 4 as KeyspaceId,
    layouts: layouts.map((list) => {
      const positions = Uint16Array.from({ length: PARTITIONS * list.length }, (_, i) => i % list.length)
      return makeLayout(list, list.length, positions)
    }) as unknown as Configuration['layouts'],
    reason: 'test',
    phaseNumber: number,
    changeNumber: 1,
    isManual: false,
    staged: [],
    lossAccepted: [],
    history: [],
    decidedBy: 'n0' as NodeId,
    altered: [],
    decidedAtMs: 0,
  }
  return createRing(configuration)
}

export interface Question {
  readonly to: NodeId
  readonly message: PeerMessage
  /** As its link is told: what it may keep unsent is bounded. */
  readonly payloadBytes: number
  isAnswered: boolean
}

/** What a request came to. */
export interface Outcome<T> {
  isDone: boolean
  error: KvError | null
  reply: T | null
}

/** A reply without the id, which is that of the question. */
export type ReplyBody = PeerReply extends infer R ? (R extends PeerReply ? Omit<R, 'id'> : never) : never

export interface WorldOptions {
  /** Every record may have been purged since it was written. */
  readonly isAllOld?: boolean
  /** Of every partition, by preference. Default n0, n1, n2: this peer is the first owner. */
  readonly owners?: readonly NodeId[]
  readonly limits?: Partial<CoordinatorLimits>
  /** How many bytes of records may wait for their last owners after they were acknowledged. */
  readonly maxLingeringBytes?: number
}

export class CoordinatorWorld {
  readonly sim: SimWorld
  readonly rpc: Rpc
  readonly store: Store
  readonly coordinator: Coordinator
  readonly replica: Replica
  readonly eras: Eras
  readonly arrivals: Arrivals
  readonly clock: Clock
  /** Who this peer keeps fences for, and what it answers. Nothing of it is started. */
  readonly keeper: FenceKeeper
  readonly purgeOwner: PurgeOwner
  readonly holds = new HoldLedger()
  /** Not started. */
  readonly handoff: HintedHandoff
  /** In the order in which they were asked. */
  readonly questions: Question[] = []
  /** The link to whoever asks takes no more than this in one message. */
  linkRoomBytes = Number.POSITIVE_INFINITY
  /** What the replica here answered. */
  readonly answers: PeerMessage[] = []
  readonly numbersSeen: { readonly from: NodeId; readonly number: number }[] = []
  readonly dead = new Set<NodeId>()
  /** Whether this peer had stopped until a moment ago. */
  readonly stalls = { hasJustStalled: false }
  /** No link to them can be had. */
  readonly unreachable = new Set<NodeId>()
  readonly logged: string[]
  readonly disk: FailingDisk
  /** Null: this peer has not joined yet. */
  ring: Ring | null

  private constructor(
    sim: SimWorld,
    parts: {
      store: Store
      disk: FailingDisk
      logged: string[]
      random: Random
      coordination: Omit<Coordination, OwnParts>
    },
    { owners = nodes(0, 1, 2), limits = {} }: WorldOptions,
  ) {
    this.sim = sim
    this.store = parts.store
    this.disk = parts.disk
    this.logged = parts.logged
    this.ring = makeRing(1, [[...owners]])
    this.store.ownership.takeOnly((...place) => this.ring?.isLeftOver(SELF, ...place) !== true)
    const links: Pick<Links, 'to' | 'ask'> = {
      to: (to) => (this.unreachable.has(to) ? null : ({ to } as unknown as PeerLink)),
      ask: (link, message, payloadBytes) => {
        const { to } = link as unknown as { to: NodeId }
        this.questions.push({ to, message: transported(message), payloadBytes, isAnswered: false })
        return true
      },
    }
    this.rpc = new Rpc(links as Links, parts.coordination.clock, () => makeAddress('10.0.0.1', 1))
    const coordination: Coordination = {
      ...parts.coordination,
      rpc: this.rpc,
      clusterSeed: () => hashText32(CLUSTER),
      hasRing: () => this.ring !== null,
      ring: () => present(this.ring, 'the test gives this peer a ring first'),
      stalls: this.stalls as StallWatch,
      isAlive: (nodeId) => !this.dead.has(nodeId),
      sawNumber: (from, number) => this.numbersSeen.push({ from, number }),
    }
    this.coordinator = new Coordinator(coordination, {
      maxInFlight: 100,
      maxInFlightBytes: 1_000_000,
      maxValueBytes: 1000,
      ...limits,
    })
    this.replica = new Replica(coordination)
    this.eras = coordination.eras
    this.arrivals = coordination.arrivals
    this.clock = coordination.clock
    const member = new FenceMember(coordination, { nonce: 'life', generation: 1 }, () => false)
    this.keeper = new FenceKeeper(coordination, parts.random, member)
    this.purgeOwner = new PurgeOwner(coordination, PURGE_RULE, this.holds, member, this.keeper)
    this.handoff = new HintedHandoff(coordination, (peer) => peer)
  }

  static async open(options: WorldOptions = {}): Promise<CoordinatorWorld> {
    const logged: string[] = []
    const sim = createWorld({ seed: 'coordinator', log: ({ event }) => logged.push(event) })
    const { effects } = sim.host('10.0.0.1').boot()
    const disk = new FailingDisk()
    let store: Store | null = null
    // What tests write is as old as their clock says.
    const purge = { ...PURGE_RULE, purgeAfterMs: options.isAllOld === true ? 0 : Number.POSITIVE_INFINITY }
    const open = Store.open({ ...effects, storage: disk.over(effects.storage) }, { limits: { purge } })
    const opening = open.then((opened) => {
      store = opened
    })
    await sim.scheduler.run(1_000)
    await opening
    const { clock, log } = effects
    const coordination = {
      selfId: SELF,
      clock,
      log,
      hedges: new RequestBudget(0.05),
      lingers: new LingerLimit(options.maxLingeringBytes),
      eras: new Eras(),
      store: present<Store>(store, 'the store is open'),
      arrivals: new Arrivals(),
      isComplete: (keyspaceId: KeyspaceId, partition: number): boolean =>
        coordination.store.completeness.isComplete(keyspaceId, partition) &&
        !coordination.arrivals.has(keyspaceId, partition),
    }
    const { random } = effects
    return new CoordinatorWorld(
      sim,
      { store: coordination.store, disk, logged, random, coordination },
      options,
    )
  }

  /** Enough for a disk; not for a hedge, or for asking again. */
  async settle(): Promise<void> {
    await this.pass(20)
  }

  async pass(ms: number): Promise<void> {
    await this.sim.scheduler.run(this.sim.scheduler.nowMs + ms)
  }

  put(request: Partial<PutRequest> = {}, forwarded = false): Outcome<PutReply> {
    const told = outcome<PutReply>()
    this.coordinator.put({ ...PUT, writeId: nextWriteId(), ...request }, forwarded, told.done)
    return told
  }

  get(request: Partial<GetRequest> = {}): Outcome<GetReply> {
    const told = outcome<GetReply>()
    this.coordinator.get({ ...GET, ...request }, told.done)
    return told
  }

  /** Merges this into what the disk here holds. */
  async seed(record: KeyRecord, place: Keyspace = DEFAULT): Promise<void> {
    const partition = this.#ring.partitionOf(KEY)
    this.store.merge(place, partition, KEY, encodeRecord(KEY, record), null, (error) =>
      assert.is(error, null),
    )
    await this.settle()
  }

  /** Of one type, and to one peer when one is named. */
  asked<T extends PeerMessage['type']>(type: T, to?: NodeId): Extract<PeerMessage, { type: T }>[] {
    return this.questions
      .filter((question) => question.message.type === type && (to === undefined || question.to === to))
      .map(({ message }) => message as Extract<PeerMessage, { type: T }>)
  }

  /** Who was asked a question of this type, in order. */
  askedWhom(type: PeerMessage['type']): NodeId[] {
    return this.questions.filter(({ message }) => message.type === type).map(({ to }) => to)
  }

  /** Answers the oldest open question to a peer. */
  reply(from: NodeId, body: ReplyBody): void {
    const question = this.questions.find(({ to, isAnswered }) => to === from && !isAnswered)
    if (question === undefined) throw new Error(`${from} was asked nothing that is open`)
    question.isAnswered = true
    this.replyTo(question, body)
  }

  /** Answers this very question, whatever was answered before. */
  replyTo({ to, message }: Question, body: ReplyBody): void {
    const { id } = message as { readonly id: number }
    this.rpc.answered(to, transported({ ...body, id } as PeerMessage) as PeerReply)
  }

  /** Answers every open question as an owner would that holds this (null: nothing) and can store. */
  replyAll(held: KeyRecord | null = null): void {
    for (const question of this.questions.filter(({ isAnswered }) => !isAnswered)) {
      question.isAnswered = true
      const { type } = question.message
      if (type === 'read') this.replyTo(question, recordReply(held))
      else if (type === 'replicate') this.replyTo(question, STORED)
    }
  }

  /** Asks the replica here. */
  serve(message: Extract<PeerMessage, { type: 'read' | 'replicate' }> | PurgeRequest, from = node(1)): void {
    const send = (answer: PeerMessage, sizeBytes: number): boolean => {
      if (sizeBytes > this.linkRoomBytes) return false
      this.answers.push(answer)
      return true
    }
    const link = { send } as unknown as PeerLink
    if (message.type === 'read') this.replica.read(from, message, link)
    else if (message.type === 'replicate') this.replica.replicate(from, message, link)
    else this.purgeOwner.serve(from, message, link)
  }

  /** Another configuration is in force from now on. */
  adopt(ring: Ring): void {
    this.ring = ring
    this.coordinator.configurationChanged()
  }

  onDisk(place: Keyspace = DEFAULT): KeyRecord | null {
    return this.store.readRecord(place.id, this.#ring.partitionOf(KEY), KEY)
  }

  /** What is kept here for owners of the key. */
  kept(place: Keyspace = SLOPPY): KeyRecord | null {
    return this.store.standIns.newest(place.id, this.#ring.partitionOf(KEY), KEY)
  }

  /** How many records are kept for each owner that any are kept for. */
  keptFor(): Record<string, number> {
    return Object.fromEntries([...this.store.standIns.counts()].map(([id, { records }]) => [id, records]))
  }

  get #ring(): Ring {
    return present(this.ring, 'this peer has a ring')
  }
}

type OwnParts = 'stalls' | 'rpc' | 'clusterSeed' | 'hasRing' | 'ring' | 'isAlive' | 'sawNumber'

/** Every batch fails while the test says so. */
class FailingDisk {
  isFailing = false

  over(storage: Storage): Storage {
    return new Proxy(storage, {
      get: (target, name) => {
        if (name === 'openDatabase') return async () => this.#watched(await target.openDatabase())
        const found = target[name as keyof Storage] as unknown
        return typeof found === 'function' ? found.bind(target) : found
      },
    })
  }

  #watched(database: Database): Database {
    const inner = database as unknown as { _batch(...args: unknown[]): Promise<void> }
    const batch = inner._batch.bind(database)
    inner._batch = (...args) => (this.isFailing ? Promise.reject(new Error('EIO')) : batch(...args))
    return database
  }
}

const PUT: Omit<PutRequest, 'writeId'> = {
  keyspace: 'default',
  key: KEY,
  value: utf8('value'),
  contentType: null,
  context: null,
  blind: false,
  w: null,
  timeoutMs: 1000,
  ttlMs: null,
}

const GET: GetRequest = { keyspace: 'default', key: KEY, r: null, timeoutMs: 1000 }

export const STORED: ReplyBody = { type: 'stored', seenUpTo: 0 }

export function recordReply(record: KeyRecord | null): ReplyBody {
  return { type: 'record', record: record === null ? null : encodeRecord(KEY, record) }
}

export function refusal(reason: Extract<PeerReply, { type: 'refused' }>['reason'], number = 1): ReplyBody {
  return { type: 'refused', reason, number }
}

let writeIds = 0
function nextWriteId(): string {
  return `write-${++writeIds}`
}

function outcome<T>(): Outcome<T> & { readonly done: Done<T> } {
  const told = {
    isDone: false,
    error: null as KvError | null,
    reply: null as T | null,
    done: (error: KvError | null, reply: T | null): void => {
      assert.not(told.isDone, 'a request is answered once')
      assert.ok((error === null) !== (reply === null), 'with an error or a result')
      Object.assign(told, { isDone: true, error, reply })
    },
  }
  return told
}

/** Through the bytes of a real frame. */
export function transported(message: PeerMessage): PeerMessage {
  const [raw] = unpackFrame(packFrame([peerCodec.encode(message)]))
  return peerCodec.decode(raw)
}

export function dot(letter: string, n: number): Dot {
  return { actor: letter.repeat(16) as ActorId, n }
}

export function value(at: Dot, content: string | null = `${at.actor[0]}${at.n}`): DottedValue {
  return {
    dot: at,
    value: content === null ? null : utf8(content),
    contentType: null,
    writeId: `write-${at.actor[0]}${at.n}`,
    timestamp: at.n,
    expiresAtMs: null,
  }
}

/** Of values in the order of their dots; it has seen those and what `also` names. */
export function record(values: readonly DottedValue[], also: readonly Dot[] = []): KeyRecord {
  return { seen: dots(...values.map((each) => each.dot), ...also), values }
}

/** Every dot up to and with these. */
export function dots(...all: readonly Dot[]): DotSet {
  const vector = new Map<ActorId, number>()
  for (const { actor, n } of all) vector.set(actor, Math.max(n, vector.get(actor) ?? 0))
  return { vector, loose: [] }
}

export function contextOf(set: DotSet, place: Keyspace = DEFAULT, key: Bytes = KEY): string {
  return present(encodeContext(set, contextSeed(hashText32(CLUSTER), place.id, key)), 'it is short')
}

export function readContext(context: string | null | undefined, place: Keyspace = DEFAULT): DotSet {
  return decodeContext(
    present(context, 'there is a context'),
    contextSeed(hashText32(CLUSTER), place.id, KEY),
  )
}

/** What a record that travels holds. */
export function decoded(bytes: Bytes | null): KeyRecord {
  return decodeRecord(KEY, present(bytes, 'there is a record'))
}

export function contents(held: KeyRecord | null): string[] {
  return (held?.values ?? []).map((each) => (each.value === null ? 'deleted' : text(each.value))).sort()
}

export function shown(reply: GetReply | null): string[] {
  return (reply?.values ?? []).map((found) => text(found.value))
}
