/** The server's side of a client's link: requests in, answers out, in whatever order they come. */
import { unreachable } from '../base/assert.ts'
import { KvError, toKvError } from '../base/error.ts'
import type { ClusterId, NodeId } from '../base/ids.ts'
import type { Coordinator } from '../coordinator/coordinator.ts'
import type { Clock, Timer } from '../effects/clock.ts'
import type { Link } from '../effects/network.ts'
import { Channel, type ChannelHandler } from '../wire/channel.ts'
import {
  type ClientReply,
  type ClientRequest,
  clientReplyCodec,
  clientRequestCodec,
} from '../wire/client-messages.ts'
import { MAX_FRAME_BYTES, PROTOCOL_VERSION } from '../wire/frame.ts'
import { checkGet, checkPut } from '../wire/request-check.ts'
import type { KvService } from '../wire/requests.ts'

const HELLO_TIMEOUT_MS = 5000
/**
 * Answers on their way to one client; past it requests are OVERLOADED. The largest answer alone has room, and
 * the refusals stay below what a link is cut for.
 */
const MAX_BUFFERED_BYTES = MAX_FRAME_BYTES
/** Past that, a client that takes nothing of its answers for so long does not read them. */
const STALL_LIMIT_MS = 10_000
/** Questions about the cluster that one client may have open; its puts and gets the coordinator counts. */
const MAX_OPEN_QUESTIONS = 256
/** `changed` is said at most this often. */
const CHANGED_INTERVAL_MS = 50

export interface SessionHost {
  readonly coordinator: Coordinator
  readonly service: KvService
  readonly clock: Clock
  identity(): { readonly clusterId: ClusterId | null; readonly nodeId: NodeId }
  topology(): Omit<Extract<ClientReply, { type: 'topologyDone' }>, 'type' | 'id'> | null
  closed(session: ClientSession): void
}

type Question = Exclude<ClientRequest, { type: 'clientHello' }>
type Answer = Extract<ClientReply, { readonly id: number }>
/** About the cluster, or to change it: the service answers. */
type Inquiry = Exclude<Question, { type: 'put' | 'get' | 'topology' }>

export class ClientSession implements ChannelHandler<ClientRequest> {
  readonly #host: SessionHost
  readonly #channel: Channel<ClientReply, ClientRequest>
  #timer: Timer | null
  #isGreeted = false
  #lastId = 0
  #openQuestions = 0
  /** Runs while answers pile up. */
  #stallTimer: Timer | null = null

  constructor(host: SessionHost, link: Link) {
    this.#host = host
    this.#channel = new Channel(clientReplyCodec, clientRequestCodec, host.clock, this)
    this.#channel.attach(link)
    this.#timer = host.clock.setTimer(HELLO_TIMEOUT_MS, () => this.#channel.terminate('no hello in time'))
    link.setHandler(this.#channel)
  }

  /** Tells the client that what it knows of the ring is out of date. */
  topologyChanged(): void {
    if (!this.#isGreeted || this.#timer !== null) return
    this.#timer = this.#host.clock.setTimer(CHANGED_INTERVAL_MS, () => {
      this.#timer = null
      this.#channel.send({ type: 'changed' })
    })
  }

  /** The last words, then the end. */
  close(reason: string): void {
    this.#channel.send({ type: 'goodbye', reason })
    this.#channel.close()
  }

  opened(): void {}

  received(message: ClientRequest): void {
    if (message.type === 'clientHello') return this.#greet(message.protocolVersion)
    if (!this.#isGreeted) return this.#channel.terminate('spoke before saying hello')
    // Ids rise on one link: what comes twice, or late, was replayed, and a write must not be.
    if (message.id <= this.#lastId) return
    this.#lastId = message.id
    if (!this.#hasRoom(0)) return this.#overflow(message.id)
    try {
      this.#serve(message)
    } catch (error) {
      if (!(error instanceof KvError)) throw error
      this.#fail(message.id, error)
    }
  }

  closed(): void {
    this.#timer?.cancel()
    this.#timer = null
    this.#stallTimer?.cancel()
    this.#stallTimer = null
    this.#host.closed(this)
  }

  #greet(protocolVersion: number): void {
    if (this.#isGreeted) return
    this.#timer?.cancel()
    this.#timer = null
    const { clusterId, nodeId } = this.#host.identity()
    if (protocolVersion !== PROTOCOL_VERSION) {
      return this.close(
        `protocol version ${protocolVersion}, here it is ${PROTOCOL_VERSION}: use the same kvnode version`,
      )
    }
    if (clusterId === null) return this.close('this peer has not joined its cluster yet; ask another one')
    this.#isGreeted = true
    this.#channel.send({ type: 'clientWelcome', clusterId, nodeId })
  }

  /** @throws INVALID_ARGUMENT, TOO_LARGE: not every client checks what it sends */
  #serve(message: Question): void {
    const { id } = message
    const { coordinator } = this.#host
    switch (message.type) {
      case 'put':
        checkPut(message)
        return coordinator.put(message, false, (error, reply) => {
          if (reply === null) this.#fail(id, error)
          else this.#answer({ type: 'putDone', id, ...reply }, reply.context.length)
        })
      case 'get':
        checkGet(message)
        return coordinator.get(message, (error, reply) => {
          if (reply === null) return this.#fail(id, error)
          const sizeBytes = sizeOf(reply.values)
          if (!this.#hasRoom(sizeBytes)) return this.#overflow(id)
          this.#answer({ type: 'getDone', id, ...reply }, sizeBytes)
        })
      case 'topology': {
        const topology = this.#host.topology()
        if (topology === null)
          return this.#fail(id, new KvError('UNAVAILABLE', 'this peer has no configuration yet'))
        return this.#answer({ type: 'topologyDone', id, ...topology }, topology.configuration.length)
      }
      default:
        return this.#reply(message)
    }
  }

  #hasRoom(sizeBytes: number): boolean {
    const { bufferedBytes } = this.#channel
    return bufferedBytes === 0 || bufferedBytes + sizeBytes <= MAX_BUFFERED_BYTES
  }

  /** A client may ask faster than its answers leave; it is cut only when none of them do. */
  #overflow(id: number): void {
    const message = 'answers to this client pile up; wait for some of them, or ask for less at once'
    this.#fail(id, new KvError('OVERLOADED', message))
    if (this.#stallTimer === null) this.#watchStall()
  }

  #watchStall(): void {
    const { leftBytes, lastProgressMs } = this.#channel
    this.#stallTimer = this.#host.clock.setTimer(STALL_LIMIT_MS, () => {
      this.#stallTimer = null
      const now = this.#channel
      if (now.bufferedBytes === 0) return
      const isStalled = now.leftBytes <= leftBytes && now.lastProgressMs === lastProgressMs
      if (isStalled) this.#channel.terminate('does not read its answers')
      else this.#watchStall()
    })
  }

  #reply(inquiry: Inquiry): void {
    const { id } = inquiry
    if (this.#openQuestions >= MAX_OPEN_QUESTIONS) {
      const message = 'this client has too many questions about the cluster open; wait for some answers'
      return this.#fail(id, new KvError('OVERLOADED', message))
    }
    this.#openQuestions += 1
    answerTo(inquiry, this.#host.service).then(
      (answer) => {
        this.#openQuestions -= 1
        if (this.#hasRoom(0)) this.#answer(answer, 0)
        else this.#overflow(id)
      },
      (error: unknown) => {
        this.#openQuestions -= 1
        this.#fail(id, toKvError(error))
      },
    )
  }

  #answer(answer: Answer, payloadBytes: number): void {
    const why = this.#channel.send(answer, payloadBytes)
    if (why !== null) this.#fail(answer.id, new KvError('INTERNAL', `the answer cannot be sent: ${why}`))
  }

  #fail(id: number, error: KvError | null): void {
    const { code, message } = error ?? new KvError('INTERNAL', 'no result')
    this.#channel.send({ type: 'failed', id, code, message: message.slice(0, 4096) })
  }
}

async function answerTo(inquiry: Inquiry, service: KvService): Promise<Answer> {
  const { id } = inquiry
  switch (inquiry.type) {
    case 'status':
      return { type: 'statusDone', id, ...(await service.status()) }
    case 'ring':
      return { type: 'ringDone', id, ...(await service.ring()) }
    case 'locate':
      return { type: 'locateDone', id, ...(await service.locate(inquiry.keyspace, inquiry.key)) }
    case 'keyspaces':
      return { type: 'keyspacesDone', id, keyspaces: await service.keyspaces() }
    case 'hints':
      return { type: 'hintsDone', id, hints: await service.hints() }
    case 'repair': {
      const { keyspace, round, acceptLoss } = inquiry
      return { type: 'repairDone', id, ...(await service.repair({ keyspace, round, acceptLoss })) }
    }
    case 'tasks':
      return { type: 'tasksDone', id, ...(await service.tasks()) }
    case 'createKeyspace': {
      const { type: _type, id: _id, name, replicas, ...others } = inquiry
      // On its way it is always there; where every peer has a copy it means nothing.
      const options = others.strategy === 'full' ? others : { replicas, ...others }
      return { type: 'createKeyspaceDone', id, keyspace: await service.createKeyspace(name, options) }
    }
    case 'dropKeyspace':
      await service.dropKeyspace(inquiry.keyspaceId)
      return { type: 'dropKeyspaceDone', id }
    case 'alterKeyspace': {
      const { type: _type, id: _id, keyspaceId, ...shape } = inquiry
      const given = Object.entries(shape).filter(([, value]) => value !== null)
      await service.alterKeyspace(keyspaceId, Object.fromEntries(given))
      return { type: 'alterKeyspaceDone', id }
    }
    case 'changeRing':
      return {
        type: 'changeRingDone',
        id,
        ...(await service[inquiry.kind](inquiry.peer, inquiry.acceptLoss)),
      }
    case 'layout':
      return { type: 'layoutDone', id, ...(await service.layout()) }
    case 'planLayout':
      return { type: 'planLayoutDone', id, ...(await service.planLayout()) }
    case 'changeLayout': {
      const { type: _type, id: _id, ...change } = inquiry
      return { type: 'changeLayoutDone', id, ...(await service.changeLayout(change)) }
    }
    default:
      return unreachable(inquiry)
  }
}

function sizeOf(values: readonly { readonly value: Uint8Array }[]): number {
  return values.reduce((sum, { value }) => sum + value.length, 0)
}

/** Tells a client that it cannot be served here, once it has said hello. */
export function turnAway(link: Link, clock: Clock, reason: string): void {
  const timer = clock.setTimer(HELLO_TIMEOUT_MS, () => channel.terminate('no hello in time'))
  const channel: Channel<ClientReply, ClientRequest> = new Channel(
    clientReplyCodec,
    clientRequestCodec,
    clock,
    {
      opened() {},
      received() {
        channel.send({ type: 'goodbye', reason })
        channel.close()
      },
      closed: () => timer.cancel(),
    },
  )
  channel.attach(link)
  link.setHandler(channel)
}
