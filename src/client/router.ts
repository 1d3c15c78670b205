/**
 * Brings each request to a peer that can answer it without a hop, and to another one when that fails. What
 * may have been done is repeated only when repeating it cannot do harm.
 */
import { KvError } from '../base/error.ts'
import type { Address } from '../base/ids.ts'
import { SlotTable } from '../base/slot-table.ts'
import type { Timer } from '../effects/clock.ts'
import { Deadlines } from '../effects/deadlines.ts'
import type { Effects } from '../effects/effects.ts'
import { type Random, randomInt } from '../effects/random.ts'
import { type Answer, type Asker, Connection, type ConnectionOwner, type Question } from './connection.ts'
import { Topology } from './topology.ts'

export type ClientEffects = Pick<Effects, 'clock' | 'network' | 'random'>

/** Requests under way at once; more are OVERLOADED. */
const MAX_IN_FLIGHT = 65_536
/** What their keys and values come to; more are OVERLOADED. */
const MAX_IN_FLIGHT_BYTES = 256 * 1024 * 1024
/** How much the last answer counts for what is expected of the next one. */
const ANSWER_WEIGHT = 1 / 16
const MAX_ATTEMPTS = 4
const RETRY_AFTER_MS = 40
/** A peer that could not be connected to is left alone this long while others can. */
const AVOID_MS = 1000
const TOPOLOGY_TIMEOUT_MS = 2000
/** How much longer than the peer a client waits for the peer's own verdict. */
const GRACE_MS = 500

export interface Route {
  readonly keyspace: string
  readonly key: Uint8Array
}

export interface AskOptions {
  /** About how large the question is, when it carries a key or a value. */
  readonly payloadBytes?: number
  /** The key it is about. */
  readonly route?: Route
  /** It changes something. */
  readonly isWrite: boolean
  /** Done twice it is as if done once. */
  readonly isRepeatable: boolean
  readonly timeoutMs: number
}

/** UNAVAILABLE because of the way there: no peer has said so. */
export class NoAnswer extends KvError {
  constructor(message: string) {
    super('UNAVAILABLE', message)
  }
}

/** One request, through all its attempts. */
class Call implements Asker {
  id = 0
  readonly question: Question
  readonly options: AskOptions
  readonly payloadBytes: number
  weightBytes = 0
  sentId = 0
  readonly resolve: (answer: Answer) => void
  readonly reject: (error: KvError) => void
  readonly tried: Address[] = []
  /** A write that some peer may have taken. */
  mayBeDone = false
  isOver = false
  connection: Connection | null = null
  /** Runs between two attempts. */
  retryTimer: Timer | null = null
  readonly #router: CallOwner

  constructor(
    router: CallOwner,
    question: Question,
    options: AskOptions,
    resolve: (answer: Answer) => void,
    reject: (error: KvError) => void,
  ) {
    this.#router = router
    this.question = question
    this.options = options
    this.payloadBytes = options.payloadBytes ?? 0
    this.resolve = resolve
    this.reject = reject
  }

  answered(answer: Answer): void {
    this.#router.answered(this, answer)
  }

  disconnected(wasSent: boolean, reason: string): void {
    this.#router.disconnected(this, wasSent, reason)
  }
}

interface CallOwner {
  answered(call: Call, answer: Answer): void
  disconnected(call: Call, wasSent: boolean, reason: string): void
}

export class Router implements ConnectionOwner, CallOwner {
  readonly #effects: ClientEffects
  readonly #seeds: readonly Address[]
  readonly #isPinned: boolean
  readonly #connections = new Map<Address, Connection>()
  readonly #avoidedUntilMs = new Map<Address, number>()
  /** Ids, because an item stays until its time: a call that is over must not stay with it. */
  readonly #deadlines: Deadlines<number>
  readonly #calls = new SlotTable<Call>()
  /** What the questions of those under way come to. */
  #bytes = 0
  /** A moving average of what a get brings. */
  #answerBytes = 0
  #topology: Topology | null = null
  #topologyIsWanted = false
  #topologyIsAsked = false
  #isClosed = false

  /** @param isPinned asks the seeds and nobody else: what the ring is, it never learns */
  constructor(seeds: readonly Address[], effects: ClientEffects, isPinned = false) {
    this.#effects = effects
    this.#seeds = seeds
    this.#isPinned = isPinned
    this.#deadlines = new Deadlines(effects.clock, (id) => {
      const call = this.#calls.get(id)
      if (call !== null) this.#giveUp(call, 'no answer in time; try again')
    })
  }

  /** Resolves with the answer, `failed` excepted: that rejects with what it says. */
  ask(question: Question, options: AskOptions): Promise<Answer> {
    return new Promise((resolve, reject) => {
      if (this.#isClosed) return reject(new KvError('UNAVAILABLE', 'this client is closed'))
      const call = new Call(this, question, options, resolve, reject)
      if (!this.#hasRoom(call.payloadBytes)) {
        const advice = 'wait for some answers, or use several clients'
        return reject(new KvError('OVERLOADED', `too many requests under way in this client; ${advice}`))
      }
      this.#bytes += call.payloadBytes
      call.id = this.#calls.add(call)
      this.#deadlines.add(call.id, options.timeoutMs + GRACE_MS)
      this.#attempt(call)
    })
  }

  /** Ends every request, and the connections. */
  close(): void {
    this.#isClosed = true
    this.#deadlines.stop()
    for (const call of this.#calls.values()) this.#giveUp(call, 'this client was closed')
    for (const connection of [...this.#connections.values()]) connection.close()
  }

  welcomed(connection: Connection): void {
    this.#avoidedUntilMs.delete(connection.address)
    // What changed while we were told nothing we would never hear of.
    if (this.#topology === null || this.#topologyIsWanted) this.changed()
  }

  changed(): void {
    this.#topologyIsWanted = true
    if (this.#isPinned || this.#topologyIsAsked || this.#isClosed) return
    const open = [...this.#connections.values()].filter((each) => each.isOpen)
    const connection = open[randomInt(this.#effects.random, open.length)]
    if (connection === undefined) return
    this.#topologyIsAsked = true
    this.#topologyIsWanted = false
    let isOver = false
    const finish = (): void => {
      if (isOver) return
      isOver = true
      timer.cancel()
      this.#topologyIsAsked = false
      if (this.#topologyIsWanted) this.changed()
    }
    const answered = (answer: Answer): void => {
      try {
        if (answer.type === 'topologyDone') {
          this.#topology = new Topology(answer.configuration, answer.peers, this.#topology)
        }
      } finally {
        finish()
      }
    }
    const question = { type: 'topology', id: 0 } as const
    const weightless = { payloadBytes: 0, weightBytes: 0, sentId: 0 }
    const asker: Asker = { question, ...weightless, answered, disconnected: finish }
    connection.ask(asker)
    // Another one may know.
    const timer = this.#effects.clock.setTimer(TOPOLOGY_TIMEOUT_MS, () => {
      connection.forget(asker)
      this.#topologyIsWanted = true
      finish()
    })
  }

  closed(connection: Connection): void {
    if (this.#connections.get(connection.address) === connection) this.#connections.delete(connection.address)
    this.#topologyIsWanted = true
    this.#avoidedUntilMs.set(connection.address, this.#effects.clock.monotonic() + AVOID_MS)
  }

  #attempt(call: Call): void {
    const address = this.#choose(call)
    call.tried.push(address)
    const connection = this.#connect(address)
    call.connection = connection
    call.weightBytes = call.payloadBytes + (call.question.type === 'get' ? Math.ceil(this.#answerBytes) : 0)
    connection.ask(call)
  }

  #hasRoom(payloadBytes: number): boolean {
    if (this.#calls.size >= MAX_IN_FLIGHT) return false
    return this.#bytes === 0 || this.#bytes + payloadBytes <= MAX_IN_FLIGHT_BYTES
  }

  /**
   * An owner of the key that is up, else a peer we are connected to, else any peer; not one that was tried,
   * while there are others.
   */
  #choose(call: Call): Address {
    const now = this.#effects.clock.monotonic()
    const usable = (address: Address): boolean => (this.#avoidedUntilMs.get(address) ?? 0) <= now
    const { route } = call.options
    const owners = route === undefined ? [] : (this.#topology?.ownersOf(route.keyspace, route.key) ?? [])
    const isFresh = (owner: Address): boolean => usable(owner) && !call.tried.includes(owner)
    // The first owner coordinates writes, so that a key's writes meet in one place; reads spread.
    const fresh = call.options.isWrite
      ? owners.find(isFresh)
      : pick(owners.filter(isFresh), this.#effects.random)
    if (fresh !== undefined) return fresh
    const open = [...this.#connections.values()].filter((each) => each.isOpen).map((each) => each.address)
    const everybody = [...open, ...this.#seeds, ...(this.#topology?.addresses() ?? [])]
    const untried = everybody.filter((address) => !call.tried.includes(address))
    return (untried.find(usable) ?? untried[0] ?? everybody[call.tried.length % everybody.length]) as Address
  }

  #connect(address: Address): Connection {
    const existing = this.#connections.get(address)
    if (existing !== undefined && !existing.isClosed) return existing
    const connection = new Connection(address, this.#effects, this)
    this.#connections.set(address, connection)
    return connection
  }

  answered(call: Call, answer: Answer): void {
    if (answer.type !== 'failed') {
      if (answer.type === 'getDone') this.#expect(answer.values)
      this.#settle(call)
      return call.resolve(answer)
    }
    if (answer.code === 'TIMEOUT_UNKNOWN') call.mayBeDone = true
    const error = new KvError(answer.code, answer.message)
    this.#retry(
      call,
      error.retryable || (answer.code === 'TIMEOUT_UNKNOWN' && call.options.isRepeatable),
      error,
    )
  }

  disconnected(call: Call, wasSent: boolean, reason: string): void {
    if (wasSent && call.options.isWrite) call.mayBeDone = true
    const error = new NoAnswer(`no peer answered; ${reason}`)
    this.#retry(call, !wasSent || call.options.isRepeatable, error)
  }

  #expect(values: readonly { readonly value: Uint8Array }[]): void {
    let bytes = 0
    for (let i = 0; i < values.length; i++) bytes += values[i]?.value.length ?? 0
    this.#answerBytes += (bytes - this.#answerBytes) * ANSWER_WEIGHT
  }

  #retry(call: Call, again: boolean, error: KvError): void {
    if (call.isOver) return
    const peers = new Set([...this.#seeds, ...(this.#topology?.addresses() ?? [])]).size
    if (!again || this.#isClosed || call.tried.length >= Math.max(MAX_ATTEMPTS, peers + 1))
      return this.#fail(call, error)
    call.connection = null
    const delayMs = RETRY_AFTER_MS * call.tried.length * (0.5 + this.#effects.random.float())
    call.retryTimer = this.#effects.clock.setTimer(delayMs, () => {
      call.retryTimer = null
      this.#attempt(call)
    })
  }

  #giveUp(call: Call, why: string): void {
    if (call.isOver) return
    const wasSent = call.connection?.forget(call) ?? false
    if (wasSent && call.options.isWrite) call.mayBeDone = true
    this.#fail(call, new NoAnswer(why))
  }

  /** What may have been done is never called undone, whatever the last attempt met with. */
  #fail(call: Call, error: KvError): void {
    if (call.isOver) return
    this.#settle(call)
    if (!call.mayBeDone || error.code === 'TIMEOUT_UNKNOWN') return call.reject(error)
    const last = error.message.replace(/^nothing was written[^:]*: /, '').replace(/; try again$/, '')
    const advice = 'it may or may not have been done: look before trying again'
    call.reject(new KvError('TIMEOUT_UNKNOWN', `${advice} (last try: ${last})`, { cause: error }))
  }

  #settle(call: Call): void {
    call.isOver = true
    call.retryTimer?.cancel()
    call.retryTimer = null
    this.#bytes -= call.payloadBytes
    this.#calls.take(call.id)
  }
}

function pick(addresses: readonly Address[], random: Random): Address | undefined {
  return addresses[randomInt(random, addresses.length)]
}
