import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { utf8 } from '../../src/base/bytes.ts'
import { KvError } from '../../src/base/error.ts'
import { type ClusterId, parseClusterId, parseNodeId } from '../../src/base/ids.ts'
import type { Done } from '../../src/coordinator/coordination.ts'
import type { Coordinator } from '../../src/coordinator/coordinator.ts'
import type { Link, LinkHandler } from '../../src/effects/network.ts'
import { ClientSession, type SessionHost } from '../../src/node/client-session.ts'
import {
  type ClientReply,
  type ClientRequest,
  clientReplyCodec,
  clientRequestCodec,
} from '../../src/wire/client-messages.ts'
import { PROTOCOL_VERSION, packFrame, unpackFrame } from '../../src/wire/frame.ts'
import {
  DEFAULT_KEYSPACE_OPTIONS,
  type GetReply,
  type GetRequest,
  type KvService,
  type PutReply,
  type PutRequest,
} from '../../src/wire/requests.ts'
import { ManualClock } from '../effects/manual-clock.ts'

const test = suite('client session')

type Asked =
  | {
      readonly type: 'put'
      readonly request: PutRequest
      readonly forwarded: boolean
      readonly done: Done<PutReply>
    }
  | { readonly type: 'get'; readonly request: GetRequest; readonly done: Done<GetReply> }

const NODE = parseNodeId('n0')
const LATER = 5

/** One session, its link's other end, and the peer behind it. */
class Bench implements Link {
  readonly remote = 'client'
  readonly clock = new ManualClock()
  readonly heard: ClientReply[] = []
  readonly asked: Asked[] = []
  readonly events: string[] = []
  readonly session: ClientSession
  bufferedBytes = 0
  /** Does what is sent leave? */
  isReading = true
  clusterId: ClusterId | null = parseClusterId('c1')
  topology: ReturnType<SessionHost['topology']> = { configuration: utf8('bytes'), peers: [] }
  service: Partial<KvService> = {}
  #handler: LinkHandler | null = null

  constructor() {
    this.session = new ClientSession(this.#host(), this)
  }

  /** Has said hello. */
  static greeted(): Bench {
    const bench = new Bench()
    bench.say({ type: 'clientHello', protocolVersion: PROTOCOL_VERSION })
    bench.heard.length = 0
    return bench
  }

  say(...requests: readonly ClientRequest[]): void {
    this.#handler?.received(packFrame(requests.map((request) => clientRequestCodec.encode(request))))
    this.clock.advance(0)
  }

  /** The coordinator is done with the first put. */
  finishPut(): void {
    const first = this.asked[0]
    if (first?.type === 'put') first.done(null, { context: 'c', owners: 1, standIns: 0 })
  }

  /** After promises were settled. */
  async turn(): Promise<void> {
    for (let i = 0; i < LATER; i++) await Promise.resolve()
    this.clock.advance(0)
  }

  turnNow(): void {
    this.clock.advance(0)
  }

  /** The client says that it has a part of what was sent. */
  progress(): void {
    this.#handler?.progressed()
  }

  setHandler(handler: LinkHandler): void {
    this.#handler = handler
  }

  send(frame: Uint8Array): void {
    if (!this.isReading) this.bufferedBytes += frame.length
    for (const raw of unpackFrame(frame)) this.heard.push(clientReplyCodec.decode(raw))
  }

  close(): void {
    this.events.push('close')
    this.#handler?.closed('closed')
  }

  terminate(): void {
    this.events.push('terminate')
    this.#handler?.closed('lost')
  }

  #host(): SessionHost {
    const coordinator: Pick<Coordinator, 'put' | 'get'> = {
      put: (request, forwarded, done) => this.asked.push({ type: 'put', request, forwarded, done }),
      get: (request, done) => this.asked.push({ type: 'get', request, done }),
    }
    return {
      coordinator: coordinator as Coordinator,
      service: new Proxy({} as KvService, {
        get: (_target, name) => this.service[name as keyof KvService],
      }),
      clock: this.clock,
      identity: () => ({ clusterId: this.clusterId, nodeId: NODE }),
      topology: () => this.topology,
      closed: () => this.events.push('gone'),
    }
  }
}

const put = (id: number): ClientRequest => ({
  type: 'put',
  id,
  keyspace: 'default',
  key: utf8('k'),
  value: utf8('v'),
  contentType: null,
  context: null,
  blind: false,
  w: null,
  writeId: 'w',
  timeoutMs: 1000,
  ttlMs: null,
})
const get = (id: number): ClientRequest => ({
  type: 'get',
  id,
  keyspace: 'default',
  key: utf8('k'),
  r: null,
  timeoutMs: 1000,
})

test('a client is welcomed with the cluster and the peer it reached', () => {
  const bench = new Bench()
  bench.say({ type: 'clientHello', protocolVersion: PROTOCOL_VERSION })
  assert.equal(bench.heard, [{ type: 'clientWelcome', clusterId: parseClusterId('c1'), nodeId: NODE }])
})

test('a client of another version hears which, and is let go', () => {
  const bench = new Bench()
  bench.say({ type: 'clientHello', protocolVersion: 1 })
  const [last] = bench.heard
  assert.is(last?.type, 'goodbye')
  assert.match(last?.type === 'goodbye' ? last.reason : '', /protocol version 1, here it is 3/)
  assert.equal(bench.events, ['close', 'gone'])
})

test('a peer that is in no cluster yet sends clients elsewhere', () => {
  const bench = new Bench()
  bench.clusterId = null
  bench.say({ type: 'clientHello', protocolVersion: PROTOCOL_VERSION })
  const [last] = bench.heard
  assert.match(last?.type === 'goodbye' ? last.reason : '', /has not joined its cluster yet; ask another one/)
  assert.equal(bench.events, ['close', 'gone'])
})

test('whoever asks before saying hello is cut', () => {
  const bench = new Bench()
  bench.say(put(1))
  assert.equal(bench.events, ['terminate', 'gone'])
  assert.equal(bench.asked, [])
})

test('whoever says nothing for five seconds is cut', () => {
  const bench = new Bench()
  bench.clock.advance(4_999)
  assert.equal(bench.events, [])
  bench.clock.advance(2)
  assert.equal(bench.events, ['terminate', 'gone'])
})

test('whoever said hello may be silent, and hello again changes nothing', () => {
  const bench = Bench.greeted()
  bench.say({ type: 'clientHello', protocolVersion: PROTOCOL_VERSION })
  bench.clock.advance(60_000)
  assert.equal(bench.events, [])
  assert.equal(bench.heard, [])
})

test('puts and gets go to the coordinator, not as handed on, and answers come in any order', () => {
  const bench = Bench.greeted()
  bench.say(put(1), get(2))
  const [first, second] = bench.asked
  if (first?.type !== 'put' || second?.type !== 'get') throw new Error('both were asked')
  assert.is(first.forwarded, false)
  assert.is(first.request.writeId, 'w')
  second.done(null, { values: [], context: null, owners: 2, standIns: 0 })
  first.done(null, { context: 'c', owners: 2, standIns: 0 })
  bench.clock.advance(0)
  assert.equal(bench.heard, [
    { type: 'getDone', id: 2, values: [], context: null, owners: 2, standIns: 0 },
    { type: 'putDone', id: 1, context: 'c', owners: 2, standIns: 0 },
  ])
})

test('a failure is told with its code and its words', () => {
  const bench = Bench.greeted()
  bench.say(put(1))
  bench.asked[0]?.done(new KvError('TIMEOUT_UNKNOWN', 'x'.repeat(5000)), null)
  bench.clock.advance(0)
  assert.equal(bench.heard, [{ type: 'failed', id: 1, code: 'TIMEOUT_UNKNOWN', message: 'x'.repeat(4096) }])
})

test('ids that do not rise are ignored: what comes twice or late is not done', () => {
  const bench = Bench.greeted()
  bench.say(put(5))
  bench.say(put(5))
  bench.say(put(4), get(1), put(0))
  assert.is(bench.asked.length, 1)
  bench.say(put(6))
  assert.is(bench.asked.length, 2)
  assert.equal(bench.heard, [])
})

test('a frame that comes twice is done once', () => {
  const bench = Bench.greeted()
  for (let i = 0; i < 2; i++) bench.say(put(1), put(2), get(3))
  assert.is(bench.asked.length, 3)
})

test('the topology is what the peer knows', () => {
  const bench = Bench.greeted()
  bench.say({ type: 'topology', id: 1 })
  assert.is(bench.heard[0]?.type, 'topologyDone')
  bench.topology = null
  bench.say({ type: 'topology', id: 2 })
  const last = bench.heard[1]
  assert.ok(last?.type === 'failed' && last.code === 'UNAVAILABLE')
})

test('what the client library would refuse to send is refused here too, and the link goes on', () => {
  const bench = Bench.greeted()
  const wrong: readonly ClientRequest[] = [
    { ...put(1), writeId: '' } as ClientRequest,
    { ...put(2), context: 'c', blind: true } as ClientRequest,
    { ...put(3), value: null, ttlMs: 1000 } as ClientRequest,
    { ...put(4), timeoutMs: 0 } as ClientRequest,
    { ...get(5), key: new Uint8Array(0) } as ClientRequest,
  ]
  bench.say(...wrong, put(6))
  const codes = bench.heard.map((answer) => ('code' in answer ? answer.code : answer.type))
  assert.equal(
    codes,
    wrong.map(() => 'INVALID_ARGUMENT'),
  )
  assert.equal(bench.asked.length, 1)
  assert.equal(bench.events, [])
})

test('everything else is answered by the service', async () => {
  const bench = Bench.greeted()
  const location = { partition: 1, owners: ['a'], replicas: 1 }
  const info = { ...DEFAULT_KEYSPACE_OPTIONS, id: 2 as never, name: 'new' }
  bench.service = {
    status: async () => {
      throw new KvError('UNAVAILABLE', 'no status')
    },
    ring: async () => ({ partitionCount: 4, layoutVersion: 1, partitions: [] }),
    locate: async () => location,
    keyspaces: async () => [info],
    createKeyspace: async () => info,
    dropKeyspace: async () => {
      throw new TypeError('a bug')
    },
  }
  bench.say(
    { type: 'status', id: 1 },
    { type: 'ring', id: 2 },
    { type: 'locate', id: 3, keyspace: 'default', key: utf8('k') },
    { type: 'keyspaces', id: 4 },
    { type: 'createKeyspace', id: 5, name: 'new', ...DEFAULT_KEYSPACE_OPTIONS },
    { type: 'dropKeyspace', id: 6, keyspaceId: 2 as never },
  )
  await bench.turn()
  const byId = new Map(bench.heard.map((answer) => [(answer as { id: number }).id, answer]))
  assert.equal(byId.get(1), { type: 'failed', id: 1, code: 'UNAVAILABLE', message: 'no status' })
  assert.equal(byId.get(2), { type: 'ringDone', id: 2, partitionCount: 4, layoutVersion: 1, partitions: [] })
  assert.equal(byId.get(3), { type: 'locateDone', id: 3, ...location })
  assert.equal(byId.get(4), { type: 'keyspacesDone', id: 4, keyspaces: [info] })
  assert.equal(byId.get(5), { type: 'createKeyspaceDone', id: 5, keyspace: info })
  assert.equal(byId.get(6), { type: 'failed', id: 6, code: 'INTERNAL', message: 'a bug' })
})

test('that the topology changed is told soon, and often changes once', () => {
  const bench = Bench.greeted()
  for (let i = 0; i < 10; i++) bench.session.topologyChanged()
  assert.equal(bench.heard, [])
  bench.clock.advance(51)
  assert.equal(bench.heard, [{ type: 'changed' }])
  bench.session.topologyChanged()
  bench.clock.advance(51)
  assert.is(bench.heard.length, 2)
})

test('whoever has not said hello is told nothing', () => {
  const bench = new Bench()
  bench.session.topologyChanged()
  bench.clock.advance(100)
  assert.equal(bench.heard, [])
})

const MIB = 1024 * 1024
const overloaded = (answer: ClientReply | undefined): boolean =>
  answer?.type === 'failed' && answer.code === 'OVERLOADED'

test('while answers pile up requests are refused, undone, and taken again when some have left', () => {
  const bench = Bench.greeted()
  bench.bufferedBytes = 48 * MIB + 1
  bench.say(put(1), { type: 'topology', id: 2 })
  assert.equal(bench.asked, [])
  assert.ok(bench.heard.length === 2 && bench.heard.every(overloaded))
  bench.bufferedBytes = MIB
  bench.say(put(3))
  assert.is(bench.asked.length, 1)
  assert.equal(bench.events, [])
})

test('an answer that finds no room is refused, the largest one alone is sent', () => {
  const bench = Bench.greeted()
  const values = [{ value: new Uint8Array(4 * MIB), contentType: null, timestampMs: 1 }]
  const reply = { values, context: 'c', owners: 1, standIns: 0 }
  bench.say(get(1), get(2), get(3))
  const done = bench.asked.map((asked) => (asked.type === 'get' ? asked.done : assert.unreachable()))
  bench.bufferedBytes = 47 * MIB
  done[0]?.(null, reply)
  bench.turnNow()
  assert.ok(overloaded(bench.heard[0]))
  bench.bufferedBytes = 0
  done[1]?.(null, { ...reply, values: Array.from({ length: 10 }, () => values[0] as (typeof values)[0]) })
  bench.turnNow()
  assert.is(bench.heard[1]?.type, 'getDone')
})

test('a client that takes nothing of its answers for ten seconds while they pile up is cut', () => {
  const bench = Bench.greeted()
  bench.isReading = false
  bench.bufferedBytes = 48 * MIB + 1
  bench.say(put(1))
  bench.clock.advance(9_900)
  bench.say(put(2))
  assert.equal(bench.events, [])
  bench.clock.advance(200)
  assert.equal(bench.events, ['terminate', 'gone'])
  assert.is(bench.clock.timerCount, 0)
})

test('a client that takes its answers slowly is not cut', () => {
  const bench = Bench.greeted()
  bench.isReading = false
  bench.bufferedBytes = 60 * MIB
  bench.say(put(1))
  for (let i = 0; i < 20; i++) {
    bench.clock.advance(9_000)
    if (i % 2 === 0) bench.progress()
    else bench.bufferedBytes -= MIB
  }
  assert.equal(bench.events, [])
  bench.bufferedBytes = 0
  bench.clock.advance(11_000)
  assert.is(bench.clock.timerCount, 0)
})

test('closing says why as the last word', () => {
  const bench = Bench.greeted()
  bench.say(put(1))
  bench.finishPut()
  bench.session.close('this peer is stopping; ask another one')
  assert.equal(
    bench.heard.map(({ type }) => type),
    ['putDone', 'goodbye'],
  )
  assert.equal(bench.events, ['close', 'gone'])
})

test('a session that ended leaves no timer, and late answers find nobody', () => {
  const bench = Bench.greeted()
  bench.say(put(1))
  bench.session.topologyChanged()
  bench.close()
  assert.is(bench.clock.timerCount, 0)
  assert.not.throws(() => bench.finishPut())
})

test('a client has so many questions about the cluster open, and no more', async () => {
  const bench = Bench.greeted()
  const answers: (() => void)[] = []
  bench.service = {
    keyspaces: () => new Promise((resolve) => answers.push(() => resolve([]))),
  }
  for (let id = 1; id <= 300; id++) bench.say({ type: 'keyspaces', id })
  assert.is(answers.length, 256)
  assert.is(bench.heard.length, 44)
  assert.ok(bench.heard.every((reply) => reply.type === 'failed' && reply.code === 'OVERLOADED'))
  for (const answer of answers) answer()
  await bench.turn()
  bench.say({ type: 'keyspaces', id: 301 })
  assert.is(answers.length, 257)
})

test.run()
