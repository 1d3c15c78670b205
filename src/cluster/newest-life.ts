/**
 * The question of a peer that starts: which life of my node is the newest you know of?
 *
 * Intuition: a data directory does not know that it is a copy, or was brought back from one; the others
 * remember what it has forgotten. So before a peer is anybody, it asks everyone it can reach, on links of
 * their own that end with the answer and leave nothing behind. A node that others call up at another place
 * is asked there too: if it answers, it runs.
 *
 * Invariant: a directory from the past, of which one who answers knows a newer life, does not speak under a
 * name of the past: its peer does not start while the newer life runs elsewhere, and otherwise is a new actor
 * and a new acceptor. Who reaches nobody cannot know; the handshake (`links.ts`) catches it later.
 */
import type { Address, NodeId } from '../base/ids.ts'
import type { Clock, Timer } from '../effects/clock.ts'
import type { Effects } from '../effects/effects.ts'
import type { Link } from '../effects/network.ts'
import { Channel, type ChannelHandler } from '../wire/channel.ts'
import type { KnownLife } from '../wire/handshake-messages.ts'
import { type PeerMessage, peerCodec } from '../wire/peer-messages.ts'

/** A start takes so much longer when somebody is silent; where nobody listens the answer comes at once. */
const ASK_MS = 400
/** The same news is everywhere: in a large cluster not everyone is asked. */
const ASKED_AT_ONCE = 64
const ENOUGH_ANSWERS = 16
/** One who dials a starting peer and says nothing is cut. */
const SILENCE_MS = 2000

export const UNKNOWN_LIFE: KnownLife = {
  generation: 0,
  bootNonce: '',
  isUp: false,
  isSelf: false,
  address: null,
}

/** A life as its own directory knows it. A nonce of null or '' is not known, and fits any. */
export interface LifeName {
  readonly generation: number
  readonly bootNonce: string | null
}

export type LivesVerdict =
  | { readonly kind: 'newest' }
  /** It runs, and not where we start. */
  | { readonly kind: 'elsewhere'; readonly life: KnownLife }
  /** There was a newer one than the directory has seen. */
  | { readonly kind: 'rolledBack'; readonly life: KnownLife }

/** Is there a newer life than this one, or another one of the same generation? */
export function isOutranked(life: LifeName, known: LifeName): boolean {
  if (known.generation !== life.generation) return known.generation > life.generation
  return Boolean(known.bootNonce) && Boolean(life.bootNonce) && known.bootNonce !== life.bootNonce
}

/**
 * @param last the directory's last life, which has ended as far as it knows @param address where we listen:
 * nobody else runs there
 */
export function judgeLives(last: LifeName, address: Address, lives: readonly KnownLife[]): LivesVerdict {
  const elsewhere = lives.find(
    (life) => life.isUp && life.address !== address && (life.isSelf || isOutranked(last, life)),
  )
  if (elsewhere !== undefined) return { kind: 'elsewhere', life: elsewhere }
  let newest: KnownLife | null = null
  for (const life of lives) {
    if (isOutranked(last, life) && life.generation > (newest?.generation ?? 0)) newest = life
  }
  return newest === null ? { kind: 'newest' } : { kind: 'rolledBack', life: newest }
}

/** What those who answer in time know of the node. Takes no longer than `ASK_MS`. */
export async function askForLives(
  effects: Pick<Effects, 'clock' | 'network'>,
  nodeId: NodeId,
  self: Address,
  addresses: readonly Address[],
): Promise<readonly KnownLife[]> {
  const untilMs = effects.clock.monotonic() + ASK_MS
  const asked = new Set(addresses)
  asked.delete(self)
  const lives = await new Inquiry(effects, nodeId, [...asked]).run(untilMs)
  const places = lives.flatMap(({ isUp, address }) => {
    return !isUp || address === null || address === self || asked.has(address) ? [] : [address]
  })
  const there = await new Inquiry(effects, nodeId, [...new Set(places)]).run(untilMs)
  return [...lives, ...there]
}

/** Answers the question, and nothing else, on a link that was accepted. */
export function answerLife(link: Link, clock: Clock, lifeOf: (nodeId: NodeId) => KnownLife): void {
  const timer = clock.setTimer(SILENCE_MS, () => channel.terminate('said nothing'))
  const channel: Channel<PeerMessage, PeerMessage> = new Channel(peerCodec, peerCodec, clock, {
    opened() {},
    received(message) {
      if (message.type !== 'askLife') return channel.terminate('this peer is starting')
      channel.send({ type: 'life', ...lifeOf(message.nodeId) })
      channel.close()
    },
    closed: () => timer.cancel(),
  })
  channel.attach(link)
  link.setHandler(channel)
}

class Inquiry {
  readonly #effects: Pick<Effects, 'clock' | 'network'>
  readonly #nodeId: NodeId
  readonly #toAsk: Address[]
  readonly #open = new Set<Dial>()
  readonly #lives: KnownLife[] = []
  #timer: Timer | null = null
  #done: () => void = () => undefined
  #isOver = false

  constructor(effects: Pick<Effects, 'clock' | 'network'>, nodeId: NodeId, addresses: readonly Address[]) {
    this.#effects = effects
    this.#nodeId = nodeId
    this.#toAsk = [...addresses]
  }

  run(untilMs: number): Promise<readonly KnownLife[]> {
    const { clock } = this.#effects
    return new Promise((resolve) => {
      this.#done = () => resolve(this.#lives)
      this.#timer = clock.setTimer(Math.max(0, untilMs - clock.monotonic()), () => this.#end())
      this.#askMore()
    })
  }

  #askMore(): void {
    while (this.#open.size < ASKED_AT_ONCE && this.#lives.length < ENOUGH_ANSWERS) {
      const address = this.#toAsk.shift()
      if (address === undefined) break
      const dial = new Dial(this.#effects.clock, this.#nodeId, (life) => {
        this.#open.delete(dial)
        if (this.#isOver) return
        if (life !== null) this.#lives.push(life)
        this.#askMore()
      })
      this.#open.add(dial)
      dial.begin(this.#effects, address)
    }
    if (this.#open.size === 0) this.#end()
  }

  #end(): void {
    if (this.#isOver) return
    this.#isOver = true
    this.#timer?.cancel()
    for (const dial of [...this.#open]) dial.giveUp()
    this.#done()
  }
}

class Dial implements ChannelHandler<PeerMessage> {
  readonly #nodeId: NodeId
  readonly #ended: (life: KnownLife | null) => void
  readonly #channel: Channel<PeerMessage, PeerMessage>
  #life: KnownLife | null = null

  constructor(clock: Clock, nodeId: NodeId, ended: (life: KnownLife | null) => void) {
    this.#nodeId = nodeId
    this.#ended = ended
    this.#channel = new Channel(peerCodec, peerCodec, clock, this)
  }

  begin({ network }: Pick<Effects, 'network'>, address: Address): void {
    this.#channel.attach(network.dial(address, 'control', this.#channel))
  }

  giveUp(): void {
    this.#channel.terminate('no answer in time')
  }

  opened(): void {
    this.#channel.send({ type: 'askLife', nodeId: this.#nodeId })
  }

  received(message: PeerMessage): void {
    if (message.type === 'life') this.#life = message
    this.#channel.terminate('asked and answered')
  }

  closed(): void {
    this.#ended(this.#life)
  }
}
