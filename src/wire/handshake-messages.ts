/**
 * The first words on a link between peers. Whoever dialled says hello; the other welcomes or refuses, and
 * says why.
 */
import { MAX_MEMBERS } from '../protocol/configuration.ts'
import { MAX_PARTITION_COUNT } from '../protocol/configuration-check.ts'
import { MAX_ERA } from '../protocol/fence-round.ts'
import * as field from './fields.ts'
import {
  bool,
  list,
  type MessageOf,
  optional,
  type ShapeValue,
  string,
  struct,
  uint,
  word,
} from './schema.ts'

/** Who a peer is and what it needs to agree on with others. */
export const peerFactsShape = {
  protocolVersion: uint(0xffff),
  /** Null: not in a cluster yet. */
  clusterId: optional(field.clusterId),
  partitionCount: uint(MAX_PARTITION_COUNT),
  hashName: string(32),
  nodeId: field.nodeId,
  generation: field.generation,
  bootNonce: string(64),
  address: field.address,
  zone: string(64),
  weight: uint(1000),
  version: string(64),
} as const

/** As in `EraFacts`; null: 0. */
const eraShape = { era: optional(uint(MAX_ERA)), closedBelow: optional(uint(MAX_ERA)) } as const

export const REFUSAL_KINDS = [
  'version',
  'hash',
  'self',
  'somebodyElse',
  'otherCluster',
  'noCluster',
  'partitions',
  'removed',
  'stopping',
  'outranked',
] as const

/** Why two peers do not talk: for programs, and in words. */
export interface Refusal {
  readonly kind: (typeof REFUSAL_KINDS)[number]
  readonly reason: string
}

const knownLifeShape = {
  /** 0: none is known. */
  generation: field.generation,
  /** Empty: not known. */
  bootNonce: string(64),
  isUp: bool,
  /** It is the one who answers. */
  isSelf: bool,
  /** Where it is or was. */
  address: optional(field.address),
} as const

const placesShape = {
  /** Who answers. */
  from: field.nodeId,
  clusterId: optional(field.clusterId),
  /** Of the configuration it goes by; 0: it is no member of a cluster, and the rest says nothing. */
  number: field.configurationNumber,
  /**
   * All that are not excluded, in the newest lives that are known of them. Address null, generation 0: none.
   */
  members: list(
    struct({
      nodeId: field.nodeId,
      address: optional(field.address),
      generation: field.generation,
      isUp: bool,
    }),
    MAX_MEMBERS,
  ),
} as const

export const handshakeMessages = {
  /** `expects`: the node the dialler believes to be at this address; null when it only knows the address. */
  hello: [1, { ...peerFactsShape, expects: optional(field.nodeId), ...eraShape }],
  welcome: [2, { ...peerFactsShape, ...eraShape }],
  refuse: [3, { kind: word(REFUSAL_KINDS), reason: string(1024) }],
  /** Instead of hello, from one who is nobody yet: which life of this node is the newest that you know of? */
  askLife: [4, { nodeId: field.nodeId }],
  /** The answer, after which the link ends. */
  life: [5, knownLifeShape],
  /** Instead of hello, from one whose directory is empty: who is where? */
  askPlaces: [6, {}],
  /** The answer, after which the link ends. */
  places: [7, placesShape],
} as const

export type HandshakeMessage = MessageOf<typeof handshakeMessages>
export type Hello = Extract<HandshakeMessage, { type: 'hello' }>
export type Welcome = Extract<HandshakeMessage, { type: 'welcome' }>
export type KnownPlaces = ShapeValue<typeof placesShape>
export type KnownLife = ShapeValue<typeof knownLifeShape>
/** What `hello` and `welcome` share. */
export type PeerFacts = Omit<Welcome, 'type'>
