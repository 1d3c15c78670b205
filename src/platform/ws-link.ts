/** One link over one WebSocket, dialled or accepted. */
import type { Socket } from 'node:net'
import { WebSocket } from 'ws'
import type { Bytes } from '../base/bytes.ts'
import type { Address } from '../base/ids.ts'
import type { CloseCause, Link, LinkHandler, LinkPurpose } from '../effects/network.ts'
import type { PartialFrame, PartialFrames } from './partial-frames.ts'
import type { SystemNetworkLimits } from './ws-network.ts'

const PATHS: Readonly<Record<LinkPurpose, string>> = {
  control: '/v1/peer/control',
  data: '/v1/peer/data',
  client: '/v1/client',
}

/** Errors of an established connection that mean silence; all others mean that the other side ended it. */
const SILENCE = new Set(['ETIMEDOUT', 'EHOSTUNREACH', 'ENETUNREACH', 'EHOSTDOWN', 'ENETDOWN'])
/**
 * Closing codes (RFC 6455, section 7.4.1) of an orderly end, of none given, and of a process that went
 * without a word.
 */
const ORDERLY_CODES = new Set([1000, 1001, 1005, 1006])

/** While a frame is on its way in, both ends are told so at most this often. */
const PROGRESS_INTERVAL_MS = 250
/** Control frames (RFC 6455, section 5.5) are smaller: words about words would have no end. */
const MIN_PROGRESS_BYTES = 1024

/** What `path` asks for, or null. */
export function purposeOfPath(path: string): LinkPurpose | null {
  for (const purpose of ['control', 'data', 'client'] as const) if (PATHS[purpose] === path) return purpose
  return null
}

/** What both sides give to `ws`; the types know nothing of `closeTimeout`. */
export function webSocketOptions(limits: SystemNetworkLimits, maxFrameBytes: number): object {
  return {
    perMessageDeflate: false,
    maxPayload: maxFrameBytes,
    // Our own side sends a frame in one piece; a stranger's fragments and chunks each cost memory beyond
    // their bytes.
    maxFragments: 16,
    maxBufferedChunks: 64 * 1024,
    closeTimeout: limits.closeTimeoutMs,
  }
}

export function dialLink(
  address: Address,
  purpose: LinkPurpose,
  handler: LinkHandler,
  limits: SystemNetworkLimits,
): Link {
  const link = new WsLink(address, limits)
  link.setHandler(handler)
  link.dial(`ws://${address}${PATHS[purpose]}`)
  return link
}

export class WsLink implements Link, PartialFrame {
  readonly remote: string
  readonly #limits: SystemNetworkLimits
  readonly #partialFrames: PartialFrames | null
  #webSocket: WebSocket | null = null
  #socket: Socket | null = null
  #handler: LinkHandler | null = null
  #dialTimer: NodeJS.Timeout | null = null
  #isOpen = false
  #isCorked = false
  /** What came of a frame that is not whole yet, but for what shared a chunk with the one before. */
  #partialBytes = 0
  /** In the chunk that is being read a frame ended. */
  #frameHasEnded = false
  #progressToldMs = Number.NEGATIVE_INFINITY
  /** Known before the end itself, from an error or from what we did. */
  #cause: CloseCause | null = null
  #hasEnded = false

  /** @param partialFrames those of all links that share a bound; null: whoever is dialled has none */
  constructor(remote: string, limits: SystemNetworkLimits, partialFrames: PartialFrames | null = null) {
    this.remote = remote
    this.#limits = limits
    this.#partialFrames = partialFrames
  }

  get bufferedBytes(): number {
    return this.#webSocket?.bufferedAmount ?? 0
  }

  setHandler(handler: LinkHandler): void {
    this.#handler = handler
  }

  dial(url: string): void {
    let webSocket: WebSocket
    try {
      const options = webSocketOptions(this.#limits, this.#limits.maxFrameBytes)
      webSocket = new WebSocket(url, { ...options, generateMask: writeNoMask })
    } catch {
      this.#endSoon('lost') // Not an address that a URL can hold: nobody is ever reached there.
      return
    }
    this.#dialTimer = setTimeout(() => this.#end('lost', 'no answer in time'), this.#limits.dialTimeoutMs)
    webSocket.on('upgrade', (response) => this.#watch(response.socket))
    webSocket.on('unexpected-response', () => this.#end('closed', 'what answers there is no kvnode peer'))
    webSocket.on('open', () => {
      if (this.#hasEnded) return
      this.#stopDialTimer()
      this.#isOpen = true
      this.#socket?.on('data', this.#arrived)
      this.#handler?.opened()
    })
    this.#attach(webSocket)
  }

  /** Takes over an accepted connection. */
  adopt(webSocket: WebSocket, socket: Socket): void {
    this.#watch(socket)
    this.#isOpen = true
    this.#attach(webSocket)
    socket.on('data', this.#arrived)
  }

  send(frame: Bytes): void {
    const webSocket = this.#webSocket
    if (!this.#isOpen || webSocket === null || webSocket.readyState !== WebSocket.OPEN) return
    // What is sent in one turn leaves in one system call.
    if (!this.#isCorked) {
      this.#isCorked = true
      this.#socket?.cork()
      process.nextTick(uncork, this)
    }
    webSocket.send(frame)
    if (webSocket.bufferedAmount > this.#limits.maxBufferedBytes) this.terminate()
  }

  close(): void {
    if (this.#hasEnded || this.#cause !== null) return
    this.#cause = 'closed'
    if (this.#isOpen) this.#webSocket?.close(1000)
    else this.#endSoon('closed')
  }

  terminate(): void {
    this.#endSoon('lost')
  }

  abandon(): void {
    this.terminate()
  }

  /** Called at the end of a turn in which something was sent. */
  uncork(): void {
    this.#isCorked = false
    this.#socket?.uncork()
  }

  #watch(socket: Socket): void {
    this.#socket = socket
    socket.on('error', (error: NodeJS.ErrnoException) => {
      this.#cause ??= SILENCE.has(error.code ?? '') ? 'lost' : 'closed'
    })
  }

  #attach(webSocket: WebSocket): void {
    this.#webSocket = webSocket
    webSocket.on('message', (frame: Buffer, isBinary: boolean) => {
      this.#frameHasEnded = true
      this.#forgetPartial()
      if (this.#hasEnded) return
      if (isBinary && this.#handler !== null) this.#handler.received(frame)
      else this.#end('lost')
    })
    webSocket.on('ping', () => this.#controlFrameEnded())
    webSocket.on('pong', () => {
      this.#controlFrameEnded()
      this.#handler?.progressed()
    })
    // On an open link only the other side's bytes can be wrong; before that, the way there.
    webSocket.on('error', (error) => {
      if (this.#isOpen) this.#end('lost')
      else this.#end(causeOfDialError(error), wordsOfDialError(error))
    })
    webSocket.on('close', (code) => this.#end(ORDERLY_CODES.has(code) ? 'closed' : 'lost'))
  }

  /** Between the fragments of a frame it does not end that one. */
  #controlFrameEnded(): void {
    if (this.#partialBytes >= MIN_PROGRESS_BYTES) return
    this.#frameHasEnded = true
    this.#forgetPartial()
  }

  #forgetPartial(): void {
    if (this.#partialBytes === 0) return
    this.#partialFrames?.ended(this, this.#partialBytes)
    this.#partialBytes = 0
  }

  /**
   * A large frame is long on a slow way, and neither side hears anything until all of it is there. So whoever
   * receives it says that it comes, by a pong that nobody asked for (RFC 6455, section 5.5.3). `ws` has read
   * the chunk already, and told of every frame that ended in it.
   */
  readonly #arrived = (chunk: Buffer): void => {
    if (this.#frameHasEnded) {
      this.#frameHasEnded = false
      return
    }
    if (this.#hasEnded) return
    this.#partialBytes += chunk.length
    this.#partialFrames?.grew(this, chunk.length)
    if (this.#partialBytes < MIN_PROGRESS_BYTES) return
    const nowMs = performance.now()
    if (nowMs - this.#progressToldMs < PROGRESS_INTERVAL_MS) return
    this.#progressToldMs = nowMs
    if (this.#webSocket?.readyState === WebSocket.OPEN) this.#webSocket.pong()
    this.#handler?.progressed()
  }

  /** The handler hears of an end that it asked for later, not in the midst of its call. */
  #endSoon(cause: CloseCause): void {
    if (this.#hasEnded) return
    this.#cause = cause
    this.#shut()
    process.nextTick(() => this.#tell(cause))
  }

  #end(cause: CloseCause, why: string | null = null): void {
    if (this.#hasEnded) return
    this.#shut()
    this.#tell(this.#cause ?? cause, why)
  }

  #shut(): void {
    this.#hasEnded = true
    this.#isOpen = false
    this.#forgetPartial()
    this.#stopDialTimer()
    this.#webSocket?.terminate()
  }

  #tell(cause: CloseCause, why: string | null = null): void {
    this.#handler?.closed(cause, why)
    this.#handler = null
  }

  #stopDialTimer(): void {
    if (this.#dialTimer !== null) clearTimeout(this.#dialTimer)
    this.#dialTimer = null
  }
}

function uncork(link: WsLink): void {
  link.uncork()
}

/**
 * A mask of zeros, which both sides of `ws` skip. Masks keep a web page's script from writing what a proxy
 * takes for HTTP (RFC 6455, section 10.3); no script chooses our bytes.
 */
function writeNoMask(mask: Buffer): void {
  mask.fill(0)
}

/**
 * Only the other host's own word counts as refused: its reset, of the attempt or of the handshake. Silence,
 * however it shows, and a name that does not resolve are losses.
 */
function causeOfDialError(error: unknown): CloseCause {
  if (error instanceof AggregateError && error.errors.length > 0) {
    // One name, several addresses, all of them tried.
    const causes = new Set(error.errors.map(causeOfDialError))
    return causes.size === 1 ? ([...causes][0] as CloseCause) : 'lost'
  }
  const { code, syscall } = error as NodeJS.ErrnoException
  if (code === 'ECONNREFUSED') return 'refused'
  if (code !== 'ECONNRESET') return 'lost'
  // Without a system call it is Node's word for an orderly end before the handshake was done.
  return syscall === undefined ? 'closed' : 'refused'
}

/** For people; null where the cause says it all. */
function wordsOfDialError(error: unknown): string | null {
  if (error instanceof AggregateError) return wordsOfDialError(error.errors[0])
  const { code = '' } = error as NodeJS.ErrnoException
  if (code === 'ENOTFOUND' || code === 'EAI_AGAIN') return 'the host name does not resolve'
  if (SILENCE.has(code)) return 'the host cannot be reached'
  return code.startsWith('HPE_') ? 'what answers there does not speak HTTP' : null
}
