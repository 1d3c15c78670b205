/**
 * One link to one peer, from the first word of the handshake on. Whoever dialled says hello; both know who
 * they talk to before anything else.
 */
import type { Address, NodeId } from '../base/ids.ts'
import type { Clock, Timer } from '../effects/clock.ts'
import type { CloseCause, LinkPurpose } from '../effects/network.ts'
import { Channel, type ChannelHandler } from '../wire/channel.ts'
import { MAX_FRAME_BYTES } from '../wire/frame.ts'
import type {
  Hello,
  KnownLife,
  KnownPlaces,
  PeerFacts,
  Refusal,
  Welcome,
} from '../wire/handshake-messages.ts'
import { type PeerMessage, peerCodec } from '../wire/peer-messages.ts'

const HANDSHAKE_TIMEOUT_MS = 2000
/** Messages that wait for a link to open; more are dropped, as a network would. */
const MAX_WAITING = 4096
const MAX_WAITING_BYTES = 16 * 1024 * 1024
/**
 * What has a value or a record with it is refused while more than this waits to leave: a link that overflows
 * is cut, with all that is under way on it. The largest one alone has room; what is small always passes.
 */
const MAX_BUFFERED_BYTES = MAX_FRAME_BYTES

export interface PeerLinkOwner {
  hello(expects: NodeId | null): Hello
  /** Judges a stranger: our own facts when he is welcome, otherwise why not. */
  judge(facts: PeerFacts, expects: NodeId | null, isOurDial: boolean): Welcome | { readonly refused: Refusal }
  /** The newest life of a node that is known here. */
  lifeOf(nodeId: NodeId): KnownLife
  /** Who is a member, and where. */
  places(): KnownPlaces
  opened(link: PeerLink): void
  /** The other side would have to cut the link for this message: it was not sent. */
  unsendable(link: PeerLink, message: PeerMessage, why: string): void
  received(link: PeerLink, message: PeerMessage): void
  /**
   * Once. `link.facts` says who it was, when that was ever known; `why` says more than the cause, where it is
   * known.
   */
  closed(link: PeerLink, cause: CloseCause, why: string | null): void
}

export class PeerLink implements ChannelHandler<PeerMessage> {
  readonly purpose: LinkPurpose
  readonly dialledAddress: Address | null
  /** Who was to be at the dialled address. */
  readonly expects: NodeId | null
  readonly channel: Channel<PeerMessage, PeerMessage>
  readonly #owner: PeerLinkOwner
  readonly #handshakeTimer: Timer
  #facts: PeerFacts | null = null
  #waiting: { message: PeerMessage; payloadBytes: number }[] = []
  #waitingBytes = 0
  #refusal: Refusal | null = null
  #isOpen = false
  #isClosed = false
  #awaitingSinceMs: number | null = null

  constructor(
    owner: PeerLinkOwner,
    clock: Clock,
    purpose: LinkPurpose,
    dialled: { readonly address: Address; readonly expects: NodeId | null } | null,
  ) {
    this.purpose = purpose
    this.dialledAddress = dialled?.address ?? null
    this.expects = dialled?.expects ?? null
    this.#owner = owner
    this.channel = new Channel(peerCodec, peerCodec, clock, this)
    this.#handshakeTimer = clock.setTimer(HANDSHAKE_TIMEOUT_MS, () => this.terminate('no handshake in time'))
  }

  /** Null until the handshake is over. */
  get facts(): PeerFacts | null {
    return this.#facts
  }

  /** Why the handshake failed, when one of the two refused. */
  get refusal(): Refusal | null {
    return this.#refusal
  }

  get isOpen(): boolean {
    return this.#isOpen
  }

  get isClosed(): boolean {
    return this.#isClosed
  }

  /** Sends now, or when the handshake is over. False: dropped, for want of room or as unsendable. */
  send(message: PeerMessage, payloadBytes: number): boolean {
    if (this.#isOpen) {
      return (payloadBytes === 0 || this.#hasRoom(payloadBytes)) && this.#pass(message, payloadBytes)
    }
    if (this.#isClosed || this.#waiting.length >= MAX_WAITING) return false
    if (this.#waiting.length > 0 && this.#waitingBytes + payloadBytes > MAX_WAITING_BYTES) return false
    this.#waiting.push({ message, payloadBytes })
    this.#waitingBytes += payloadBytes
    return true
  }

  /** Something was sent that wants an answer: silence from now on counts. */
  expectAnswer(nowMs: number): void {
    if (this.#awaitingSinceMs === null || this.#hasHeardSince(this.#awaitingSinceMs)) {
      this.#awaitingSinceMs = nowMs
    }
  }

  /** How long an answer has been owed without a sign of life; null when none is owed. */
  silenceMs(nowMs: number): number | null {
    if (this.#awaitingSinceMs === null) return null
    if (this.#hasHeardSince(this.#awaitingSinceMs)) {
      this.#awaitingSinceMs = null
      return null
    }
    return nowMs - this.#awaitingSinceMs
  }

  close(): void {
    this.channel.close()
  }

  terminate(reason: string): void {
    this.channel.terminate(reason)
  }

  opened(): void {
    this.channel.send(this.#owner.hello(this.expects))
  }

  received(message: PeerMessage): void {
    if (this.#isClosed) return
    if (this.#isOpen) this.#owner.received(this, message)
    else if (this.dialledAddress === null) this.#greeted(message)
    else this.#answered(message)
  }

  closed(cause: CloseCause, why: string | null): void {
    if (this.#isClosed) return
    this.#isClosed = true
    this.#isOpen = false
    this.#waiting = []
    this.#handshakeTimer.cancel()
    this.#owner.closed(this, cause, why)
  }

  /** We were dialled: the first message must be a hello, or a question of one who starts. */
  #greeted(message: PeerMessage): void {
    if (message.type === 'askLife') {
      this.channel.send({ type: 'life', ...this.#owner.lifeOf(message.nodeId) })
      this.close()
      return
    }
    if (message.type === 'askPlaces') {
      this.channel.send({ type: 'places', ...this.#owner.places() })
      this.close()
      return
    }
    if (message.type !== 'hello') return this.terminate('spoke before saying hello')
    const verdict = this.#owner.judge(message, message.expects, false)
    if ('refused' in verdict) {
      this.#refusal = verdict.refused
      this.channel.send({ type: 'refuse', ...verdict.refused })
      this.close()
      return
    }
    this.#facts = message
    this.channel.send(verdict)
    this.#open()
  }

  /** We dialled and said hello: welcome or refuse. */
  #answered(message: PeerMessage): void {
    if (message.type === 'refuse') return this.#turnAway(message)
    if (message.type !== 'welcome') return this.terminate('did not answer our hello')
    if (this.expects !== null && this.expects !== message.nodeId) {
      const reason = `node ${this.expects} was expected there, but it is ${message.nodeId}`
      return this.#turnAway({ kind: 'somebodyElse', reason })
    }
    const verdict = this.#owner.judge(message, null, true)
    if ('refused' in verdict) return this.#turnAway(verdict.refused)
    this.#facts = message
    this.#open()
  }

  /** A frame of the same instant came before what was sent in answer to it. */
  #hasHeardSince(ms: number): boolean {
    return this.channel.lastHeardMs > ms
  }

  #hasRoom(payloadBytes: number): boolean {
    const { bufferedBytes } = this.channel
    return bufferedBytes === 0 || bufferedBytes + payloadBytes <= MAX_BUFFERED_BYTES
  }

  #turnAway({ kind, reason }: Refusal): void {
    this.#refusal = { kind, reason }
    this.terminate(reason)
  }

  #open(): void {
    this.#handshakeTimer.cancel()
    this.#isOpen = true
    this.#owner.opened(this)
    const waiting = this.#waiting
    this.#waiting = []
    for (const { message, payloadBytes } of waiting) this.#pass(message, payloadBytes)
  }

  #pass(message: PeerMessage, payloadBytes: number): boolean {
    const why = this.channel.send(message, payloadBytes)
    if (why !== null) this.#owner.unsendable(this, message, why)
    return why === null
  }
}
