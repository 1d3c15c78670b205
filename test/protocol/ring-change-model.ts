/**
 * One key, a few peers, one change of the ring or two: writes, reads, read repairs and the comparisons of
 * new owners with old ones in any order, each message on its way for as long as it likes. Peers may die for
 * good on the way, be excluded, and the change goes on to other targets. What `protocol/ring-change.ts`
 * promises is checked of every read: it shows what was acknowledged, and what was shown, before it began. Who
 * is excluded may be up again, hear of it, or not, and go on; nobody waits for it.
 */
import type { NodeId } from '../../src/base/ids.ts'
import { createPrng, type Prng } from '../../src/base/prng.ts'
import type { Keyspace } from '../../src/protocol/configuration.ts'
import { createQuorum } from '../../src/protocol/quorum.ts'
import type { Ring } from '../../src/protocol/ring.ts'
import { sourcesNeeded } from '../../src/protocol/ring-change.ts'

/** What the model is to do wrong, to see that it can. */
export type Mistake =
  | 'reads leave the old owners at once'
  | 'no second comparison'
  | 'one source'
  | 'writes to one table'
  | 'excluded owners take writes'

export interface Change {
  /** The configurations one after the other: stable, begun, switched, stable, and what comes in between. */
  readonly rings: readonly Ring[]
  /** Of each peer that is compared under each configuration, with whom. */
  readonly sources: readonly ReadonlyMap<NodeId, readonly NodeId[]>[]
  /** Peers that are up at first. */
  readonly peers: readonly NodeId[]
  readonly coordinators: readonly NodeId[]
  /** They are up, though they were given up. */
  readonly livingOn: readonly NodeId[]
  /** What is done under lower numbers is given up with who was excluded. */
  readonly lossNumber: number
}

interface Peer {
  number: number
  readonly disk: Set<number>
}

interface Request {
  readonly coordinator: NodeId
  readonly kind: 'write' | 'read'
  /** What is to be stored: the value of a write; of a read, from its repair on, all that was found. */
  record: ReadonlySet<number> | null
  /** Under which it was begun, or begun anew. */
  number: number
  /** Answers to an earlier attempt count for nothing. */
  attempt: number
  answers: Map<NodeId, ReadonlySet<number>>
  readonly floor: Set<number>
}

/** A question, or, once it was taken, the answer to it. */
interface Message {
  readonly request: Request
  readonly attempt: number
  readonly number: number
  readonly to: NodeId
  readonly isSlow: boolean
  answer: ReadonlySet<number> | null
}

/** Of a new owner with an old one. */
interface Comparison {
  readonly target: NodeId
  readonly source: NodeId
  readonly number: number
  readonly found: ReadonlySet<number>
}

const KEY = 0
const MAX_REQUESTS = 3
const STEPS_PER_RING = 125

/**
 * What is wrong with one random schedule, in words; null: nothing.
 * @param goesAround no old owner is waited for where the others are enough
 */
export function runChange(
  change: Change,
  seed: string,
  mistake: Mistake | null,
  goesAround = false,
): string | null {
  return new Model(change, createPrng(seed), mistake, goesAround).run()
}

class Model {
  readonly #change: Change
  readonly #prng: Prng
  readonly #mistake: Mistake | null
  readonly #weights: readonly number[]
  readonly #loss: number
  readonly #peers: Map<NodeId, Peer>
  readonly #goesAround: boolean
  #decided = 0
  #messages: Message[] = []
  #comparisons: Comparison[] = []
  /** `number target source` */
  readonly #compared = new Set<string>()
  /** What every later read must show. */
  readonly #known = new Set<number>()
  readonly #requests = new Set<Request>()
  #values = 0
  #violation: string | null = null

  constructor(change: Change, prng: Prng, mistake: Mistake | null, goesAround: boolean) {
    this.#change = change
    this.#prng = prng
    this.#mistake = mistake
    // Each schedule has more of some things and less of others.
    this.#weights = [4, 16, 2, 4, 3, 2].map((weight) => weight * 4 ** (2 * prng.float() - 1))
    this.#loss = 0.5 * prng.float()
    this.#goesAround = goesAround
    this.#peers = new Map(change.peers.map((nodeId) => [nodeId, { number: 0, disk: new Set() }]))
  }

  run(): string | null {
    const steps = STEPS_PER_RING * this.#change.rings.length
    for (let step = 0; step < steps && this.#violation === null; step++) this.#step()
    return this.#violation
  }

  #step(): void {
    const dice = this.#prng.float() * this.#weights.reduce((sum, weight) => sum + weight, 0)
    let sum = 0
    const action = this.#weights.findIndex((weight) => {
      sum += weight
      return dice < sum
    })
    if (action === 0) this.#begin(this.#prng.int(2) === 0 ? 'write' : 'read')
    else if (action === 1) this.#deliver()
    else if (action === 2) this.#adopt(this.#pick([...this.#peers.keys()]))
    else if (action === 3) this.#compare()
    else if (action === 4) this.#proceed()
    else this.#abandon()
  }

  #begin(kind: Request['kind']): void {
    if (this.#requests.size >= MAX_REQUESTS) return
    const request: Request = {
      coordinator: this.#pick(this.#change.coordinators.filter((nodeId) => this.#peers.has(nodeId))),
      kind,
      record: kind === 'write' ? new Set([this.#values++]) : null,
      ...{ number: 0, attempt: 0, answers: new Map(), floor: new Set(this.#known) },
    }
    this.#requests.add(request)
    this.#start(request)
  }

  #start(request: Request): void {
    request.number = this.#peer(request.coordinator).number
    request.attempt += 1
    request.answers = new Map()
    const { number, attempt } = request
    if (this.#prng.int(2) === 0)
      this.#messages = this.#messages.filter((message) => message.request !== request)
    const ring = this.#ring(number)
    const everyone = ring.allOwners(ring.configuration.keyspaces[0] as Keyspace, KEY)
    const owners = request.record === null ? this.#lists(request).flat() : everyone
    const asked = owners.filter((nodeId) => !this.#isExcluded(nodeId, number, request.kind))
    for (const to of new Set(asked)) {
      const isSlow = this.#prng.int(4) === 0
      if (this.#peers.has(to)) this.#messages.push({ request, attempt, number, to, isSlow, answer: null })
    }
  }

  #lists({ number, kind }: Request): readonly (readonly NodeId[])[] {
    const ring = this.#ring(number)
    const keyspace = ring.configuration.keyspaces[0] as Keyspace
    const lists = kind === 'write' ? ring.writeOwners(keyspace, KEY) : ring.readLists(keyspace, KEY)
    const isOnlyNew = this.#mistake === 'reads leave the old owners at once' && kind === 'read'
    if (isOnlyNew) return lists.slice(-1)
    return this.#mistake === 'writes to one table' && kind === 'write' ? lists.slice(0, 1) : lists
  }

  #deliver(): void {
    const message = this.#take(this.#messages)
    if (message === null || this.#prng.float() < this.#loss) return
    if (message.isSlow && this.#prng.int(16) > 0) return void this.#messages.push(message)
    if (message.answer !== null) return this.#answered(message)
    if (!this.#peers.has(message.to)) return
    const peer = this.#peer(message.to)
    if (message.number !== peer.number) {
      if (message.number > peer.number) this.#messages.push(message) // Asked again.
      return
    }
    if (this.#isExcluded(message.to, peer.number, message.request.kind)) return
    for (const value of message.request.record ?? []) peer.disk.add(value)
    if (this.#requests.has(message.request)) this.#messages.push({ ...message, answer: new Set(peer.disk) })
  }

  #answered({ request, attempt, to, answer }: Message): void {
    if (!this.#requests.has(request) || attempt !== request.attempt || answer === null) return
    request.answers.set(to, answer)
    const lists = this.#lists(request)
    const quorum = createQuorum(
      lists,
      lists.map(({ length }) => Math.floor(length / 2) + 1),
      this.#mistake === 'excluded owners take writes'
        ? []
        : this.#ring(request.number).configuration.excluded,
    )
    for (const nodeId of request.answers.keys()) quorum.ack(nodeId)
    if (quorum.met) this.#met(request)
  }

  #met(request: Request): void {
    if (request.record !== null) return this.#end(request, request.record)
    const answers = [...request.answers.values()]
    const found = new Set(answers.flatMap((answer) => [...answer]))
    if (answers.every(({ size }) => size === found.size)) return this.#end(request, found)
    request.record = found
    this.#start(request)
  }

  /** A write is acknowledged, a read shows what it found. */
  #end(request: Request, shown: ReadonlySet<number>): void {
    this.#requests.delete(request)
    // Some of what is still under way arrives, late.
    this.#messages = this.#messages.filter(
      (message) => message.request !== request || this.#prng.int(4) === 0,
    )
    // What those who were given up say among themselves nobody can fence.
    if (request.number < this.#change.lossNumber) return
    const missing = [...request.floor].filter((value) => !shown.has(value))
    if (request.kind === 'read' && missing.length > 0) {
      this.#violation = `a read under ${request.number} lacks ${missing}, has ${[...shown]}`
    }
    for (const value of shown) this.#known.add(value)
  }

  /** Its reads are no answers, mistake or not. */
  #isExcluded(nodeId: NodeId, number: number, kind: Request['kind']): boolean {
    const isMistaken = this.#mistake === 'excluded owners take writes' && kind === 'write'
    return !isMistaken && this.#ring(number).isExcluded(nodeId)
  }

  /** In the same turn all that was begun under an older number is begun anew. */
  #adopt(nodeId: NodeId): void {
    const peer = this.#peer(nodeId)
    if (peer.number === this.#decided) return
    peer.number = this.#decided
    if (this.#change.livingOn.includes(nodeId) && this.#wasRemoved(nodeId)) return this.#stop(nodeId)
    for (const request of this.#requests) if (request.coordinator === nodeId) this.#start(request)
  }

  #compare(): void {
    const comparison = this.#prng.int(2) === 0 ? this.#take(this.#comparisons) : null
    if (comparison === null) return this.#beginComparison()
    const { target, number, found } = comparison
    if (!this.#peers.has(target)) return
    const { disk, number: own } = this.#peer(target)
    if (own !== number) return
    for (const value of found) disk.add(value)
    this.#compared.add(this.#nameOf(comparison))
  }

  /** By phase: who is excluded meanwhile takes nothing back that was compared. */
  #nameOf({ number, target, source }: Pick<Comparison, 'number' | 'target' | 'source'>): string {
    return `${this.#ring(number).configuration.phaseNumber} ${target} ${source}`
  }

  #beginComparison(): void {
    const open = [...this.#peers].flatMap(([target, { number }]) => {
      const sources = this.#change.sources[number]?.get(target) ?? []
      const wanted = this.#mistake === 'one source' ? sources.slice(-1) : sources
      const left = wanted.map((source) => ({ target, source, number }))
      return left.filter((comparison) => !this.#compared.has(this.#nameOf(comparison)))
    })
    if (open.length === 0) return
    const { target, source, number } = this.#pick(open)
    if (this.#peers.get(source)?.number !== number) return
    this.#comparisons.push({ target, source, number, found: new Set(this.#peer(source).disk) })
  }

  /** The next configuration is decided, when it may be. */
  #proceed(): void {
    const number = this.#decided
    const next = this.#change.rings[number + 1]
    if (next === undefined || (number === 0 && this.#prng.int(4) > 0)) return
    const { excluded, phase } = this.#ring(number).configuration
    const dying = next.configuration.excluded.filter((nodeId) => !excluded.includes(nodeId))
    if (dying.length > 0) return this.#die(dying)
    const waitedFor = [...this.#peers].filter(([nodeId]) => !excluded.includes(nodeId))
    if (!waitedFor.every(([, peer]) => peer.number === number)) return
    if (phase === 'stable') this.#drop(number)
    const isRetarget = phase !== 'stable' && next.configuration.phase === 'begun'
    const isUnneeded = phase === 'stable' || isRetarget
    if (isUnneeded || this.#isCompared(number)) this.#decided += 1
    else if (phase === 'switched' && this.#mistake === 'no second comparison') this.#decided += 1
  }

  /** One after the other, each at its time; when all are dead they are excluded, which waits for nobody. */
  #die(dying: readonly NodeId[]): void {
    const { livingOn, lossNumber } = this.#change
    const [nodeId] = dying.filter((one) => this.#peers.has(one) && !livingOn.includes(one))
    if (nodeId !== undefined) {
      if (this.#prng.int(16) === 0) this.#stop(nodeId)
      return
    }
    this.#decided += 1
    if (this.#decided !== lossNumber) return
    this.#known.clear()
    for (const { floor } of this.#requests) floor.clear()
  }

  #stop(nodeId: NodeId): void {
    this.#peers.delete(nodeId)
    for (const request of this.#requests) {
      if (request.coordinator === nodeId) this.#requests.delete(request)
    }
  }

  /** It was a member before, and is told that it is none now. */
  #wasRemoved(nodeId: NodeId): boolean {
    const rings = this.#change.rings.slice(0, this.#decided + 1)
    const isMember = ({ configuration }: Ring) =>
      configuration.members.some((member) => member.nodeId === nodeId)
    return rings.some(isMember) && !isMember(this.#ring(this.#decided))
  }

  /** Who is no owner any more forgets. */
  #drop(number: number): void {
    const ring = this.#ring(number)
    for (const [nodeId, { disk }] of this.#peers) {
      if (!ring.isOwner(nodeId, ring.configuration.keyspaces[0] as Keyspace, KEY)) disk.clear()
    }
  }

  #isCompared(number: number): boolean {
    const isDone = (target: NodeId, source: NodeId): boolean =>
      this.#compared.has(this.#nameOf({ number, target, source }))
    return [...(this.#change.sources[number] ?? [])].every(([target, sources]) => {
      if (this.#mistake === 'one source') return sources.slice(-1).every((source) => isDone(target, source))
      const done = sources.filter((source) => isDone(target, source))
      if (done.length === sources.length) return true
      return this.#goesAround && areEnough(this.#ring(number), target, done)
    })
  }

  /** A coordinator dies: what it sent may arrive, or not. */
  #abandon(): void {
    const [request] = this.#requests
    if (request !== undefined && this.#prng.int(3) === 0) this.#requests.delete(request)
    else this.#take(this.#messages)
  }

  #take<T>(from: T[]): T | null {
    if (from.length === 0) return null
    return from.splice(this.#prng.int(from.length), 1)[0] ?? null
  }

  #pick<T>(from: readonly T[]): T {
    return from[this.#prng.int(from.length)] as T
  }

  #ring(number: number): Ring {
    return this.#change.rings[number] as Ring
  }

  #peer(nodeId: NodeId): Peer {
    return this.#peers.get(nodeId) as Peer
  }
}

/** Where the disks of the others cannot give what they have. */
function areEnough(ring: Ring, target: NodeId, compared: readonly NodeId[]): boolean {
  const [before = []] = ring.writeOwners(ring.configuration.keyspaces[0] as Keyspace, KEY)
  const own = before.includes(target) ? 1 : 0
  return own + compared.length >= sourcesNeeded(before.length)
}
