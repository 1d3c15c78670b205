/**
 * The listening side: one port for links and HTTP. Strangers can connect to it, so everything they can hold
 * is bounded in number, size and time, and whatever they send ends at worst their own connection.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse, STATUS_CODES } from 'node:http'
import type { Socket } from 'node:net'
import { WebSocketServer } from 'ws'
import { type ErrorCode, KvError } from '../base/error.ts'
import { type Address, makeAddress, splitAddress } from '../base/ids.ts'
import type { Link, LinkPurpose, Listener } from '../effects/network.ts'
import { makeProblem, PROBLEM_CONTENT_TYPE } from '../wire/problem.ts'
import { HttpRequest } from './http-request.ts'
import { HttpTurns } from './http-turns.ts'
import { PartialFrames } from './partial-frames.ts'
import { purposeOfPath, WsLink, webSocketOptions } from './ws-link.ts'
import type { RequestHandler, SystemNetworkLimits } from './ws-network.ts'

const MAX_HEADER_BYTES = 16 * 1024
const IDLE_HTTP_TIMEOUT_MS = 30_000
/** The kernel asks a host that has been silent this long whether it is still there. */
const TCP_KEEP_ALIVE_MS = 30_000

type Accept = (link: Link, purpose: LinkPurpose) => void

/** @throws INVALID_ARGUMENT when the address is in use or not ours */
export async function startServer(
  address: Address,
  accept: Accept,
  requestHandler: () => RequestHandler | null,
  limits: SystemNetworkLimits,
): Promise<Listener> {
  const { host, port } = splitAddress(address)
  const server = createServer({
    IncomingMessage: HttpRequest,
    noDelay: true,
    keepAlive: true,
    keepAliveInitialDelay: TCP_KEEP_ALIVE_MS,
    keepAliveTimeout: IDLE_HTTP_TIMEOUT_MS,
    headersTimeout: Math.min(limits.strangerTimeoutMs, limits.requestTimeoutMs),
    requestTimeout: limits.requestTimeoutMs,
    connectionsCheckingInterval: Math.min(1_000, limits.strangerTimeoutMs),
    maxHeaderSize: MAX_HEADER_BYTES,
    insecureHTTPParser: false,
    // Node would answer a missing one without saying what is wrong.
    requireHostHeader: false,
  })
  server.maxConnections = limits.maxConnections
  // Not a byte either way: whoever does not take an answer, or is gone, does not hold it for ever.
  server.timeout = limits.silentTimeoutMs
  const connections = new Connections(server, limits.maxStrangers)
  const turns = new HttpTurns()
  const links = new Links(connections, accept, limits)
  const serve = (request: IncomingMessage, response: ServerResponse): void => {
    connections.began(request, response)
    turns.take(request, response, () => answer(request, response))
  }
  const answer = (request: IncomingMessage, response: ServerResponse): void => {
    const handler = requestHandler()
    if (request.httpVersion === '1.1' && request.headers.host === undefined) {
      answerProblem(response, 'INVALID_ARGUMENT', 'not HTTP 1.1: there is no Host header')
    } else if (handler === null) answerProblem(response, 'UNAVAILABLE', 'this peer is starting; try again')
    else handler(request, response)
  }
  server.on('request', serve)
  // The handler knows what it takes and says "continue", or refuses before the body is sent.
  server.on('checkContinue', serve)
  server.on('checkExpectation', (request: IncomingMessage, response: ServerResponse) => {
    connections.began(request, response)
    turns.take(request, response, () =>
      answerProblem(response, 'INVALID_ARGUMENT', 'no expectation but 100-continue is met here', 417),
    )
  })
  server.on('upgrade', (request, socket, head) => links.upgrade(request, socket as Socket, head))
  server.on('clientError', (error, socket) => connections.failed(error, socket as Socket))
  await bind(server, host, port)
  const bound = server.address()
  const realPort = typeof bound === 'object' && bound !== null ? bound.port : port
  let closing: Promise<void> | null = null
  return {
    address: makeAddress(host, realPort),
    refuseLinks: (isRefusing) => links.refuse(isRefusing),
    close() {
      closing ??= connections.close(() => links.close(), limits.closeTimeoutMs)
      return closing
    },
  }
}

/**
 * Listens for a moment, and takes nothing: what would keep a peer from listening there shows before it has
 * made anything.
 * @throws INVALID_ARGUMENT as `startServer`
 */
export async function tryPort(address: Address): Promise<void> {
  const { host, port } = splitAddress(address)
  const server = createServer((_, response) => response.destroy())
  await bind(server, host, port)
  server.closeAllConnections()
  await new Promise((resolve) => server.close(resolve))
}

async function bind(server: Server, host: string, port: number): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => reject(bindError(error, host, port)))
    server.listen({ host, port, backlog: 1024 }, () => {
      server.removeAllListeners('error')
      // An error of accept(), such as too many open files, concerns the connection that did not come to be.
      server.on('error', () => {})
      resolve()
    })
  })
}

function bindError(error: NodeJS.ErrnoException, host: string, port: number): KvError {
  const fail = (message: string): KvError => new KvError('INVALID_ARGUMENT', message, { cause: error })
  switch (error.code) {
    case 'EADDRINUSE':
      return fail(`port ${port} on ${host} is taken; choose another one, or stop what uses it`)
    case 'EADDRNOTAVAIL':
    case 'EINVAL':
      return fail(`${host} is not an address of this machine; listen at one that is, or at 0.0.0.0 for all`)
    case 'ENOTFOUND':
    case 'EAI_AGAIN':
      return fail(`the host name ${host} does not resolve; listen at an address of this machine`)
    case 'EACCES':
      return fail(`no permission to listen at port ${port} on ${host}; choose one above 1023`)
    case 'EAFNOSUPPORT':
      return fail(`this machine does not speak the protocol of ${host}; listen at another address`)
    default:
      return fail(`cannot listen at port ${port} on ${host}: ${error.message}`)
  }
}

/** Every open socket, and which of them have not yet said what they want. */
class Connections {
  readonly #server: Server
  readonly #open = new Set<Socket>()
  /** The oldest first. */
  readonly #strangers = new Set<Socket>()
  readonly #answering = new Map<Socket, ServerResponse>()
  #isClosing = false

  constructor(server: Server, maxStrangers: number) {
    this.#server = server
    server.on('connection', (socket: Socket) => {
      this.#open.add(socket)
      this.#strangers.add(socket)
      socket.on('error', ignoreError)
      socket.on('close', () => {
        this.#open.delete(socket)
        this.#strangers.delete(socket)
        this.#answering.delete(socket)
      })
      const [oldest] = this.#strangers
      if (this.#strangers.size > maxStrangers) oldest?.destroy()
    })
  }

  /** It is no stranger any more. */
  introduce(socket: Socket): void {
    this.#strangers.delete(socket)
  }

  began(request: IncomingMessage, response: ServerResponse): void {
    const { socket } = request
    this.introduce(socket)
    this.#answering.set(socket, response)
    response.on('close', () => {
      if (this.#answering.get(socket) === response) this.#answering.delete(socket)
    })
    response.on('error', ignoreError)
    request.on('error', ignoreError)
    // Node's parser loses what came in one piece with an offer of another protocol that was not taken.
    const isLast = this.#isClosing || request.headers.upgrade !== undefined
    if (isLast) response.setHeader('connection', 'close')
  }

  isAnswering(socket: Socket): boolean {
    return this.#answering.has(socket)
  }

  /** What came is not HTTP, or too slow, or too long. */
  failed(error: Error, socket: Socket): void {
    const { code } = error as NodeJS.ErrnoException
    // An answer under way cannot be told from a second one: the connection ends as it is.
    if (!socket.writable || code === 'ECONNRESET' || this.#answering.has(socket)) socket.destroy()
    else if (code === 'HPE_HEADER_OVERFLOW') {
      refuse(socket, 'TOO_LARGE', `the request line and headers may have ${MAX_HEADER_BYTES} bytes`, 431)
    } else if (code === 'ERR_HTTP_REQUEST_TIMEOUT') {
      refuse(socket, 'INVALID_ARGUMENT', 'the request did not arrive in time', 408)
    } else refuse(socket, 'INVALID_ARGUMENT', `not HTTP: ${error.message}`)
  }

  /** Resolves when every socket is closed, `timeoutMs` from now at the latest. */
  async close(closeLinks: () => void, timeoutMs: number): Promise<void> {
    this.#isClosing = true
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()))
    closeLinks()
    for (const socket of this.#strangers) socket.destroy()
    for (const response of this.#answering.values()) {
      if (!response.headersSent) response.setHeader('connection', 'close')
    }
    this.#server.closeIdleConnections()
    const timer = setTimeout(() => {
      for (const socket of this.#open) socket.destroy()
    }, timeoutMs)
    await closed
    clearTimeout(timer)
  }
}

/** The WebSockets of one kind. */
class LinkServer {
  readonly webSockets: WebSocketServer
  readonly partialFrames: PartialFrames

  constructor(limits: SystemNetworkLimits, maxFrameBytes: number) {
    const options = webSocketOptions(limits, maxFrameBytes)
    this.webSockets = new WebSocketServer({ ...options, noServer: true, clientTracking: false })
    this.partialFrames = new PartialFrames(limits.maxPartialBytes, limits.frameTimeoutMs)
    this.webSockets.on('wsClientError', (error, socket) => {
      refuse(socket as Socket, 'INVALID_ARGUMENT', `not a WebSocket handshake: ${error.message}`)
    })
  }
}

/** The WebSockets among the connections. */
class Links {
  readonly #connections: Connections
  readonly #accept: Accept
  readonly #limits: SystemNetworkLimits
  /** Peers bring records, clients values: what one of them may hold of our memory differs. */
  readonly #peers: LinkServer
  readonly #clients: LinkServer
  readonly #links = new Set<Link>()
  #isRefusing = false

  constructor(connections: Connections, accept: Accept, limits: SystemNetworkLimits) {
    this.#connections = connections
    this.#accept = accept
    this.#limits = limits
    this.#peers = new LinkServer(limits, limits.maxFrameBytes)
    this.#clients = new LinkServer(limits, limits.maxClientFrameBytes)
  }

  upgrade(request: IncomingMessage, socket: Socket, head: Buffer): void {
    this.#connections.introduce(socket)
    const purpose = purposeOfPath(request.url ?? '')
    if (this.#isRefusing) {
      socket.resetAndDestroy()
    } else if (this.#connections.isAnswering(socket)) {
      socket.destroy() // Answers that are still to come and frames would mix.
    } else if (purpose === null) {
      refuse(socket, 'NOT_FOUND', 'no WebSocket is served at this path')
    } else if (request.headers.origin !== undefined) {
      // Browsers let any web page open a WebSocket to any host, and name the page here: none is meant to be a
      // client.
      refuse(socket, 'FORBIDDEN', 'web pages cannot connect here; use HTTP')
    } else {
      const { webSockets, partialFrames } = purpose === 'client' ? this.#clients : this.#peers
      webSockets.handleUpgrade(request, socket, head, (webSocket) => {
        const remote = `${socket.remoteAddress}:${socket.remotePort}`
        const link = new WsLink(remote, this.#limits, partialFrames)
        this.#links.add(link)
        webSocket.on('close', () => this.#links.delete(link))
        link.adopt(webSocket, socket)
        this.#accept(link, purpose)
      })
    }
  }

  refuse(isRefusing: boolean): void {
    this.#isRefusing = isRefusing
    if (isRefusing) for (const link of [...this.#links]) link.terminate()
  }

  close(): void {
    for (const { partialFrames } of [this.#peers, this.#clients]) partialFrames.stop()
    for (const link of this.#links) link.close()
  }
}

function ignoreError(): void {
  // What a socket's error means shows in its 'close'; unheard it would end the process.
}

function problemBody(
  code: ErrorCode,
  detail: string,
  status: number | undefined,
): { status: number; body: string } {
  const problem = makeProblem(code, detail, status)
  return { status: problem.status, body: JSON.stringify(problem) }
}

function answerProblem(response: ServerResponse, code: ErrorCode, detail: string, as?: number): void {
  const { status, body } = problemBody(code, detail, as)
  response.writeHead(status, { 'content-type': PROBLEM_CONTENT_TYPE, connection: 'close' })
  response.end(body)
}

/** Answers on a socket that has no HTTP response object, and ends it. */
function refuse(socket: Socket, code: ErrorCode, detail: string, as?: number): void {
  const { status, body } = problemBody(code, detail, as)
  const head = [
    `HTTP/1.1 ${status} ${STATUS_CODES[status]}`,
    `Content-Type: ${PROBLEM_CONTENT_TYPE}`,
    `Content-Length: ${Buffer.byteLength(body)}`,
    'Connection: close',
  ]
  socket.once('finish', () => socket.destroy())
  socket.end(`${head.join('\r\n')}\r\n\r\n${body}`)
}
