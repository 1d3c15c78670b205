/**
 * One link to another peer, with failures. What is cut off or dropped is whole frames, each of which stands
 * for itself, so that what does arrive makes sense; to both ends it looks like silence, and their own rules
 * for silence end the link.
 *
 * Beyond a cut one does not hear that the other side ended the link either: such a link stays open, mute,
 * until whoever holds it ends it or the cut heals. A dial into a cut gets no answer: it waits, as a SYN does
 * that is sent again and again.
 */
import type { Bytes } from '../../base/bytes.ts'
import type { Address, NodeId } from '../../base/ids.ts'
import type { Timer } from '../../effects/clock.ts'
import type { Effects } from '../../effects/effects.ts'
import type { CloseCause, Link, LinkHandler, LinkPurpose } from '../../effects/network.ts'
import { unpackFrame } from '../../wire/frame.ts'
import { peerCodec } from '../../wire/peer-messages.ts'
import { MalformedMessage } from '../../wire/schema.ts'
import type { PeerFaults, WayFaults } from './peer-faults.ts'

const DIAL_TIMEOUT_MS = 3000
/** More waiting to be late than this, and the link is lost. */
const MAX_LATE_BYTES = 64 * 1024 * 1024

export interface FaultyLinkOwner {
  readonly faults: PeerFaults
  /** With the real network. */
  readonly effects: Pick<Effects, 'clock' | 'random' | 'network'>
  ended(link: FaultyLink): void
}

interface Dial {
  readonly address: Address
  readonly purpose: LinkPurpose
  readonly handler: LinkHandler
}

interface LateFrame {
  readonly frame: Bytes
  readonly dueMs: number
}

export class FaultyLink implements Link, LinkHandler {
  readonly #owner: FaultyLinkOwner
  readonly #dial: Dial | null
  /** Null: a dial that waits for a cut to heal. */
  #link: Link | null = null
  #handler: LinkHandler | null
  /** Who is at the other end; null until the first frame from there says. */
  #nodeId: NodeId | null = null
  #address: Address | null
  #late: LateFrame[] = []
  #lateBytes = 0
  /** Of a dial that waits, or of the first late frame. */
  #timer: Timer | null = null
  /** We ended it; `closing`: once what is late has left. */
  #ending: 'no' | 'closing' | 'ended' = 'no'
  /** The other side ended it behind a cut; how. */
  #unheardEnd: CloseCause | null = null
  #isClosed = false

  /** @param dial null: it was accepted; `wrap` follows */
  constructor(owner: FaultyLinkOwner, dial: Dial | null) {
    this.#owner = owner
    this.#dial = dial
    this.#handler = dial?.handler ?? null
    this.#address = dial?.address ?? null
  }

  get remote(): string {
    return this.#link?.remote ?? this.#address ?? 'nowhere'
  }

  get bufferedBytes(): number {
    return this.#lateBytes + (this.#link?.bufferedBytes ?? 0)
  }

  wrap(link: Link): void {
    this.#link = link
    link.setHandler(this)
  }

  /** Dials, or waits until that makes sense. */
  tryToDial(): void {
    const dial = this.#dial
    if (dial === null || this.#link !== null || this.#ending === 'ended') return
    const { faults, effects } = this.#owner
    const way = faults.to(null, dial.address)
    if (faults.state === 'failed') this.#endSoon('lost')
    else if (way !== null && (way.isCutTo || way.isCutFrom)) {
      this.#timer ??= effects.clock.setTimer(DIAL_TIMEOUT_MS, () => this.#endSoon('lost'))
    } else {
      this.#stopTimer()
      this.#link = effects.network.dial(dial.address, dial.purpose, this)
    }
  }

  setHandler(handler: LinkHandler): void {
    this.#handler = handler
  }

  send(frame: Bytes): void {
    const link = this.#link
    if (link === null || this.#ending !== 'no' || this.#unheardEnd !== null) return
    const way = this.#way()
    if (way === null && this.#late.length === 0) return link.send(frame)
    if (way !== null && (way.isCutTo || this.#isLost(way))) return
    this.#sendLate(frame, way?.delayMs ?? 0)
  }

  close(): void {
    if (this.#ending !== 'no') return
    if (this.#link === null || this.#unheardEnd !== null) return this.#endSoon('closed')
    this.#ending = 'closing'
    if (this.#late.length === 0) this.#link.close()
  }

  terminate(): void {
    if (this.#ending === 'ended') return
    if (this.#link === null || this.#unheardEnd !== null) return this.#endSoon('lost')
    this.#ending = 'ended'
    this.#forgetLate()
    this.#link.terminate()
  }

  /** What was cut may be whole again, and the other way round. */
  faultsChanged(): void {
    if (this.#isClosed) return
    if (this.#owner.faults.state === 'failed') {
      // As when a process dies: nobody finishes anything.
      if (this.#link === null) this.#endSoon('lost')
      else this.terminate()
    } else if (this.#unheardEnd !== null) {
      if (this.#way()?.isCutFrom !== true) this.#endSoon(this.#unheardEnd)
    } else this.tryToDial()
  }

  opened(): void {
    this.#handler?.opened()
  }

  received(frame: Bytes): void {
    if (this.#nodeId === null) this.#meet(frame)
    if (this.#way()?.isCutFrom !== true) this.#handler?.received(frame)
  }

  progressed(): void {
    if (this.#way()?.isCutFrom !== true) this.#handler?.progressed()
  }

  closed(cause: CloseCause, why: string | null = null): void {
    this.#forgetLate()
    if (this.#ending === 'no' && this.#way()?.isCutFrom === true) this.#unheardEnd = cause
    else this.#tell(cause, why)
  }

  #way(): WayFaults | null {
    return this.#owner.faults.to(this.#nodeId, this.#address)
  }

  #isLost({ lossPercent }: WayFaults): boolean {
    return lossPercent > 0 && this.#owner.effects.random.float() * 100 < lossPercent
  }

  /**
   * The first words on a link between peers say who speaks. What makes no sense is for the handler to judge.
   */
  #meet(frame: Bytes): void {
    try {
      const message = peerCodec.decode(unpackFrame(frame)[0])
      if (message.type !== 'hello' && message.type !== 'welcome') return
      this.#nodeId = message.nodeId
      this.#address ??= message.address
    } catch (error) {
      if (!(error instanceof MalformedMessage)) throw error
    }
  }

  /** Frames stay in order, also when the delay shrinks. */
  #sendLate(frame: Bytes, delayMs: number): void {
    const dueMs = this.#owner.effects.clock.monotonic() + delayMs
    this.#late.push({ frame, dueMs: Math.max(dueMs, this.#late.at(-1)?.dueMs ?? 0) })
    this.#lateBytes += frame.length
    if (this.#lateBytes > MAX_LATE_BYTES) this.terminate()
    else this.#waitForLate()
  }

  #waitForLate(): void {
    const [first] = this.#late
    if (first === undefined || this.#timer !== null) return
    const { clock } = this.#owner.effects
    this.#timer = clock.setTimer(Math.max(0, first.dueMs - clock.monotonic()), this.#sendDue)
  }

  readonly #sendDue = (): void => {
    this.#timer = null
    const nowMs = this.#owner.effects.clock.monotonic()
    const count = this.#late.findIndex(({ dueMs }) => dueMs > nowMs)
    const due = this.#late.splice(0, count === -1 ? this.#late.length : count)
    const isCut = this.#way()?.isCutTo === true
    for (const { frame } of due) {
      this.#lateBytes -= frame.length
      if (!isCut) this.#link?.send(frame)
    }
    if (this.#late.length > 0) this.#waitForLate()
    else if (this.#ending === 'closing') this.#link?.close()
  }

  #forgetLate(): void {
    this.#stopTimer()
    this.#late = []
    this.#lateBytes = 0
  }

  #stopTimer(): void {
    this.#timer?.cancel()
    this.#timer = null
  }

  /** The handler hears of it later, not in the midst of its call. */
  #endSoon(cause: CloseCause): void {
    if (this.#ending === 'ended') return
    this.#ending = 'ended'
    this.#forgetLate()
    this.#owner.effects.clock.defer(() => this.#tell(cause))
  }

  #tell(cause: CloseCause, why: string | null = null): void {
    if (this.#isClosed) return
    this.#isClosed = true
    this.#owner.ended(this)
    this.#handler?.closed(cause, why)
    this.#handler = null
  }
}
