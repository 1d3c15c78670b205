/**
 * What one peer believes of another, and which of two beliefs wins.
 *
 * Beliefs about one peer are totally ordered by (generation, incarnation, state), alive < suspect < dead <
 * left. Everyone keeps the greatest it heard of, so beliefs converge whatever the order in which they arrive.
 * The peer itself alone raises its generation (by starting) and its incarnation (to refute): that is why it
 * can always outrank what is said of it.
 *
 * SWIM (Das, Gupta, Motivala 2002), section 4.2: alive(i) overrides suspect(j) and alive(j) when i > j;
 * suspect(i) overrides alive(j) when i >= j; confirm overrides both. Deviations: dead(i) is bound to its
 * incarnation, as in hashicorp/memberlist, so that a peer which was declared dead comes back by raising it;
 * the generation comes first, so that a restart outranks the life before.
 */
import type { Address, NodeId } from '../../base/ids.ts'

export const LIFE_STATES = ['alive', 'suspect', 'dead', 'left'] as const
/** `left`: it said itself that it goes. */
export type LifeState = (typeof LIFE_STATES)[number]

/** Small facts about a peer that everyone knows. */
export interface PeerMeta {
  readonly zone: string
  readonly weight: number
  /** Of the software. */
  readonly version: string
}

/** One life of one peer. */
export interface PeerIdentity {
  readonly nodeId: NodeId
  /** Boot counter, from 1. 0: never heard of alive, only that there is such a peer. */
  readonly generation: number
  /** Two running peers with one nodeId and generation differ in it: somebody cloned a directory. */
  readonly bootNonce: string
  readonly address: Address
  readonly meta: PeerMeta
}

/** What peers tell each other about a peer. Never changed, only replaced. */
export interface PeerRecord extends PeerIdentity {
  /** Raised by the peer itself, to refute. */
  readonly incarnation: number
  readonly state: LifeState
  /** Of a suspect: the distinct peers that got no answer from it, at most MAX_ACCUSERS. Otherwise empty. */
  readonly accusers: readonly NodeId[]
}

/** A record and what this peer alone knows of it. Times are monotonic ms of this peer. */
export interface PeerView extends PeerRecord {
  /** When it, or a helper for it, last answered or said anything; null: never. */
  readonly lastHeardMs: number | null
  readonly changedAtMs: number
  /** The newest configuration it said it has. */
  readonly configurationNumber: number
}

/** The first accuser and the k = 2 that confirm: more change nothing. */
export const MAX_ACCUSERS = 3

/** What a message can say at all. */
export const MAX_GENERATION = 2 ** 40
/**
 * Nobody is started so often between two news of it. Were a greater leap believed, one lie would take the
 * last number that a peer can rise to.
 */
const MAX_GENERATION_LEAP = 2 ** 32

/** @param known the newest generation that was heard of; null: none */
export function isPlausibleGeneration(generation: number, known: number | null): boolean {
  return generation <= (known === null ? MAX_GENERATION / 2 : known + MAX_GENERATION_LEAP)
}

/** Positive when `a` outranks `b`; 0 when they say the same. */
export function compareBeliefs(a: PeerRecord, b: PeerRecord): number {
  if (a.generation !== b.generation) return a.generation - b.generation
  if (a.incarnation !== b.incarnation) return a.incarnation - b.incarnation
  return LIFE_STATES.indexOf(a.state) - LIFE_STATES.indexOf(b.state)
}

/** A suspect is up until it is declared dead: SWIM, section 4.2. */
export function isUp(state: LifeState): boolean {
  return state === 'alive' || state === 'suspect'
}
