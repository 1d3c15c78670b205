/** One connection between two simulated programs: two ends, and what travels each way between them. */
import { type Bytes, copyBytes } from '../base/bytes.ts'
import { type Address, splitAddress } from '../base/ids.ts'
import type { Prng } from '../base/prng.ts'
import type { CloseCause, Link, LinkHandler, LinkPurpose } from '../effects/network.ts'
import type { Scheduler } from './scheduler.ts'
import type { Paths } from './sim-paths.ts'
import type { SimProcess } from './sim-process.ts'
import { between, chance } from './sim-random.ts'
import type { TrafficMeter } from './sim-traffic.ts'
import { TRACE_MESSAGE, type Trace } from './trace.ts'

/** What connections need of the network they are in. */
export interface ConnectionWorld {
  readonly scheduler: Scheduler
  readonly paths: Paths
  readonly prng: Prng
  readonly trace: Trace
  readonly meter: TrafficMeter
  readonly counts: NetworkCounts
  isPowered(host: string): boolean
  /** A frame was sent. */
  sent(from: string, to: string, frame: Bytes): void
  /** Both ends are closed. */
  ended(connection: Connection): void
}

/** What faults did to frames and links. */
export interface NetworkCounts {
  frames: number
  lost: number
  duplicated: number
  reordered: number
  /** Frames that met a cut. */
  stalled: number
  broken: number
}

export interface DialOptions {
  readonly process: SimProcess
  readonly handler: LinkHandler
  readonly address: Address
  readonly purpose: LinkPurpose
}

/** What a kernel takes off a program's hands before the program sees bytes pile up. */
const KERNEL_BUFFER_BYTES = 256 * 1024
const FIRST_RETRANSMIT_MS = 200
const MAX_RETRANSMIT_MS = 3_000
/** How long an end that closed waits for the other one to agree. */
const CLOSE_TIMEOUT_MS = 2_000
const REORDER_DELAY_MS = 20

/**
 * `closing`: said so, still hears what was on its way. `ended`: hears nothing more, its handler is told in an
 * event of its own.
 */
type EndState = 'opening' | 'open' | 'closing' | 'ended' | 'closed'
type Item =
  | { readonly kind: 'frame'; readonly bytes: Bytes }
  | { readonly kind: 'opened' }
  | { readonly kind: 'close' }
  | { readonly kind: 'closeReply' }

export class Connection {
  readonly #world: ConnectionWorld
  readonly #dial: DialOptions
  readonly #dialler: End
  /** Names it in the trace. */
  readonly #place: number
  #acceptor: End | null = null

  constructor(world: ConnectionWorld, dial: DialOptions, place: number) {
    this.#world = world
    this.#dial = dial
    this.#place = place
    this.#dialler = new End(this, dial.process, dial.handler, dial.address, 'opening')
  }

  /** The dialler's end. */
  get dialled(): Link {
    return this.#dialler
  }

  /** Nobody has answered the dial yet. */
  get isUnanswered(): boolean {
    return this.#dialler.state === 'opening' && this.#acceptor === null
  }

  get isOpen(): boolean {
    return this.#dialler.state === 'open' && this.#acceptor?.state === 'open'
  }

  /** The SYN found a host where nobody listens. */
  refuse(): void {
    const way = this.#world.paths.between(splitAddress(this.#dial.address).host, this.#dialler.process.host)
    if (way.isCut) return
    this.#after(way.latencyMs(this.#world.scheduler.nowMs), () => {
      if (this.isUnanswered) this.#close(this.#dialler, 'refused')
    })
  }

  /**
   * The SYN found a listener. TCP takes one more round trip, then the upgrade request comes and the program
   * answers it.
   */
  establish(process: SimProcess, accept: (link: Link, purpose: LinkPurpose) => void): void {
    if (!this.isUnanswered) return
    const { paths, scheduler, meter } = this.#world
    const [dialler, nowMs] = [this.#dialler, scheduler.nowMs]
    const server = new End(this, process, null, `${dialler.process.host}:0`, 'open')
    this.#acceptor = server
    meter.connected(dialler.process.host, process.host)
    const there = paths.between(dialler.process.host, process.host)
    const back = paths.between(process.host, dialler.process.host)
    this.#after(back.latencyMs(nowMs) + there.latencyMs(nowMs), () => {
      process.deliver('input', () => {
        if (server.state !== 'open') return
        this.transmit(server, { kind: 'opened' })
        accept(server, this.#dial.purpose)
      })
    })
  }

  /** The dialler lost patience. */
  giveUp(): void {
    if (this.#dialler.state === 'opening') this.terminate(this.#dialler)
  }

  /** A listener closed: its program ends what it had accepted. */
  closeAccepted(process: SimProcess): void {
    if (this.#acceptor?.process === process) this.close(this.#acceptor)
  }

  /** A listener refuses: its program cuts what it had accepted. */
  terminateAccepted(process: SimProcess): void {
    if (this.#acceptor?.process === process) this.terminate(this.#acceptor)
  }

  processDied(process: SimProcess, how: 'reset' | 'silent'): void {
    for (const end of [this.#dialler, this.#acceptor]) {
      if (end === null || end.process !== process || end.state === 'closed') continue
      if (how === 'reset') this.#reset(end)
      this.#close(end, 'lost')
    }
  }

  /** Something in between cut it: both ends see it lost. */
  breakOff(): void {
    for (const end of [this.#dialler, this.#acceptor]) if (end !== null) this.#endSoon(end, 'lost')
  }

  send(end: End, frame: Bytes): void {
    const { counts, trace, meter } = this.#world
    const isDialler = end === this.#dialler
    counts.frames++
    trace.bytes(TRACE_MESSAGE, this.#place * 2 + (isDialler ? 0 : 1), frame)
    meter.sent(end.process.host, frame.length, isDialler)
    this.#world.sent(end.process.host, this.#other(end)?.process.host ?? '', frame)
    this.transmit(end, { kind: 'frame', bytes: frame })
  }

  close(end: End): void {
    if (end.state === 'opening') this.#endSoon(end, 'closed')
    if (end.state !== 'open') return
    end.state = 'closing'
    this.transmit(end, { kind: 'close' })
    this.#after(CLOSE_TIMEOUT_MS, () => this.#close(end, 'closed'))
  }

  terminate(end: End): void {
    if (end.state === 'ended' || end.state === 'closed') return
    this.#reset(end)
    this.#endSoon(end, 'lost')
  }

  transmit(from: End, item: Item): void {
    const { paths, scheduler, counts, prng } = this.#world
    const to = this.#other(from)
    if (to === null) return
    const path = paths.between(from.process.host, to.process.host)
    if (from.stalled.length > 0 || !this.#isPassable(from, to)) {
      counts.stalled++
      from.stalled.push(item)
      if (item.kind === 'frame') from.waitingBytes += item.bytes.length
      if (from.stalled.length === 1) this.#retransmit(from, to, FIRST_RETRANSMIT_MS)
      return
    }
    const isFrame = item.kind === 'frame'
    if (isFrame && chance(prng, path.loss)) {
      counts.lost++
      return
    }
    let arrivalMs = scheduler.nowMs + path.latencyMs(scheduler.nowMs)
    if (isFrame && chance(prng, path.reordering)) {
      counts.reordered++
      arrivalMs += between(prng, 0, REORDER_DELAY_MS)
    } else {
      arrivalMs = Math.max(arrivalMs, from.lastArrivalMs)
      from.lastArrivalMs = arrivalMs
    }
    this.#after(arrivalMs - scheduler.nowMs, () => this.#arrive(from, to, item))
    if (!isFrame || !chance(prng, path.duplication)) return
    counts.duplicated++
    const copy: Item = { kind: 'frame', bytes: copyBytes(item.bytes) }
    const copyArrivalMs = arrivalMs + between(prng, 0, REORDER_DELAY_MS)
    this.#after(copyArrivalMs - scheduler.nowMs, () => this.#arrive(from, to, copy))
  }

  #after(delayMs: number, run: () => void): void {
    this.#world.scheduler.after(delayMs, run)
  }

  #other(end: End): End | null {
    return end === this.#dialler ? this.#acceptor : this.#dialler
  }

  #isPassable(from: End, to: End): boolean {
    const { paths, isPowered } = this.#world
    return !paths.between(from.process.host, to.process.host).isCut && isPowered(to.process.host)
  }

  /** Tries what waits again after a while, as TCP does, for as long as the sender's end stays. */
  #retransmit(from: End, to: End, waitMs: number): void {
    this.#after(waitMs + between(this.#world.prng, 0, 10), () => {
      if (from.stalled.length === 0) return
      if (!this.#isPassable(from, to)) {
        this.#retransmit(from, to, Math.min(2 * waitMs, MAX_RETRANSMIT_MS))
        return
      }
      const items = from.stalled
      from.stalled = []
      from.waitingBytes = 0
      for (const item of items) this.transmit(from, item)
    })
  }

  #arrive(from: End, to: End, item: Item): void {
    const { meter, isPowered } = this.#world
    if (to.process.state === 'dead' || to.state === 'closed' || to.state === 'ended') {
      // Bytes for a socket that is gone: the kernel, if there is one, answers with a reset.
      if (isPowered(to.process.host)) this.#reset(to)
      return
    }
    if (item.kind === 'frame') meter.received(to.process.host, item.bytes.length, from === this.#dialler)
    if (to.process.state === 'running' || item.kind !== 'frame') {
      to.process.deliver('input', () => this.#handle(to, item))
      return
    }
    const size = item.bytes.length
    from.waitingBytes += size
    to.process.deliver('input', () => {
      from.waitingBytes = Math.max(0, from.waitingBytes - size)
      this.#handle(to, item)
    })
  }

  #handle(end: End, item: Item): void {
    if (end.state === 'closed' || end.state === 'ended') return
    switch (item.kind) {
      case 'frame':
        if (end.state !== 'opening') end.handler?.received(item.bytes)
        return
      case 'opened':
        if (end.state !== 'opening') return
        end.state = 'open'
        end.handler?.opened()
        return
      case 'close':
        this.transmit(end, { kind: 'closeReply' })
        this.#close(end, 'closed')
        return
      case 'closeReply':
        this.#close(end, 'closed')
    }
  }

  /** Tells the other side's kernel, once and without a promise. */
  #reset(from: End): void {
    const { paths, scheduler, meter } = this.#world
    const to = this.#other(from)
    if (to === null || to.state === 'closed') return
    const way = paths.between(from.process.host, to.process.host)
    if (way.isCut) return
    meter.ended(from.process.host, to.process.host)
    const cause: CloseCause = to.state === 'opening' ? 'refused' : 'closed'
    this.#after(way.latencyMs(scheduler.nowMs), () =>
      to.process.deliver('input', () => this.#close(to, cause)),
    )
  }

  /**
   * From here on it hears nothing; its handler is told in an event of its own, not in the midst of a call.
   */
  #endSoon(end: End, cause: CloseCause): void {
    if (end.state === 'ended' || end.state === 'closed') return
    end.state = 'ended'
    this.#after(0, () => end.process.deliver('input', () => this.#close(end, cause)))
  }

  #close(end: End, cause: CloseCause): void {
    if (end.state === 'closed') return
    end.state = 'closed'
    end.stalled = []
    end.waitingBytes = 0
    const acceptor = this.#acceptor
    if (this.#dialler.state === 'closed' && (acceptor === null || acceptor.state === 'closed'))
      this.#world.ended(this)
    end.process.deliver('input', () => end.handler?.closed(cause))
  }
}

class End implements Link {
  readonly process: SimProcess
  readonly remote: string
  readonly #connection: Connection
  handler: LinkHandler | null
  state: EndState
  /** When the newest of what this end sent arrives: nothing sent later may arrive sooner. */
  lastArrivalMs = 0
  /** Sent, and waiting for a cut to heal. */
  stalled: Item[] = []
  /** Bytes in `stalled`, or waiting for a paused receiver. */
  waitingBytes = 0

  constructor(
    connection: Connection,
    process: SimProcess,
    handler: LinkHandler | null,
    remote: string,
    state: EndState,
  ) {
    this.#connection = connection
    this.process = process
    this.handler = handler
    this.remote = remote
    this.state = state
  }

  get bufferedBytes(): number {
    return Math.max(0, this.waitingBytes - KERNEL_BUFFER_BYTES)
  }

  setHandler(handler: LinkHandler): void {
    this.handler = handler
  }

  send(frame: Bytes): void {
    if (this.state === 'open' && this.process.state !== 'dead') this.#connection.send(this, frame)
  }

  close(): void {
    this.#connection.close(this)
  }

  terminate(): void {
    this.#connection.terminate(this)
  }
}
