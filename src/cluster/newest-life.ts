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
import type { Clock } from '../effects/clock.ts'
import type { Effects } from '../effects/effects.ts'
import type { Link } from '../effects/network.ts'
import { Channel } from '../wire/channel.ts'
import type { KnownLife } from '../wire/handshake-messages.ts'
import { type PeerMessage, peerCodec } from '../wire/peer-messages.ts'
import { inquire, type Question } from './inquiry.ts'

/** A start takes so much longer when somebody is silent; where nobody listens the answer comes at once. */
const ASK_MS = 400
/** The same news is everywhere: in a large cluster not everyone is asked. */
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
  const question: Question<KnownLife> = {
    message: { type: 'askLife', nodeId },
    answerIn: (message) => (message.type === 'life' ? message : null),
    enoughAnswers: ENOUGH_ANSWERS,
  }
  const asked = new Set(addresses)
  asked.delete(self)
  const lives = await inquire(effects, question, [...asked], untilMs)
  const places = lives.flatMap(({ isUp, address }) => {
    return !isUp || address === null || address === self || asked.has(address) ? [] : [address]
  })
  const there = await inquire(effects, question, [...new Set(places)], untilMs)
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
