/**
 * The turns of the HTTP requests of one connection. Whoever sends many at once, without waiting for answers
 * (pipelining), gets all of them answered, in order, but only a few are under way at a time: the others are
 * not begun, and the connection is not read any further, so that what it can hold is bounded and the sender
 * feels it. Requests that may change something go alone, in the order in which they came (RFC 9112, section
 * 9.3.2). What has not begun when the connection closes never begins.
 */
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'

/** Answers that the other side has not taken count as under way. */
const MAX_UNDER_WAY = 4

interface Turn {
  readonly request: IncomingMessage
  readonly response: ServerResponse
  readonly begin: () => void
}

/** All connections of one server. */
export class HttpTurns {
  readonly #connections = new WeakMap<Socket, ConnectionTurns>()

  /** Calls `begin`, once, now or later; or never, when the connection ends first. */
  take(request: IncomingMessage, response: ServerResponse, begin: () => void): void {
    const { socket } = request
    let turns = this.#connections.get(socket)
    if (turns === undefined) {
      turns = new ConnectionTurns(socket)
      this.#connections.set(socket, turns)
    }
    turns.take({ request, response, begin })
  }
}

class ConnectionTurns {
  readonly #socket: Socket
  readonly #underWay = new Set<ServerResponse>()
  /** Bounded: the socket is not read while there are any, so all of them came in one piece. */
  #waiting: Turn[] = []
  /** Whether the one under way wants no other beside it. */
  #isAlone = false

  constructor(socket: Socket) {
    this.#socket = socket
    socket.on('close', () => this.#closed())
    // Node resumes when an earlier answer has left, and to read a body.
    socket.on('resume', () => {
      if (this.#waiting.length > 0) socket.pause()
    })
  }

  take(turn: Turn): void {
    if (this.#waiting.length === 0 && this.#mayBegin(turn)) return this.#begin(turn)
    this.#waiting.push(turn)
    this.#socket.pause()
  }

  #mayBegin({ request }: Turn): boolean {
    const count = this.#underWay.size
    return count === 0 || (count < MAX_UNDER_WAY && !this.#isAlone && !wantsToBeAlone(request))
  }

  #begin({ request, response, begin }: Turn): void {
    this.#underWay.add(response)
    this.#isAlone = wantsToBeAlone(request)
    response.once('close', () => {
      this.#underWay.delete(response)
      this.#next()
    })
    begin()
  }

  #next(): void {
    let begun = 0
    for (const turn of this.#waiting) {
      if (!this.#socket.writable || !this.#mayBegin(turn)) break
      begun++
      this.#begin(turn)
    }
    if (begun === 0) return
    this.#waiting = this.#waiting.slice(begun)
    // Where Node itself wants it paused, because answers are not taken, it pauses it again.
    if (this.#waiting.length === 0) this.#socket.resume()
  }

  /** Node says so only to the response whose turn it is to be sent; the others are told here. */
  #closed(): void {
    this.#waiting = []
    for (const response of [...this.#underWay]) if (response.socket === null) response.emit('close')
  }
}

function wantsToBeAlone({ method, headers }: IncomingMessage): boolean {
  if (method !== 'GET' && method !== 'HEAD') return true
  return headers['content-length'] !== undefined || headers['transfer-encoding'] !== undefined
}
