/** Between peers about who is there. What they mean is told in `protocol/membership/messages.ts`. */
import { MAX_MEMBERS } from '../protocol/configuration.ts'
import { MAX_WEIGHT, MAX_ZONE_LENGTH } from '../protocol/configuration-check.ts'
import type { MembershipMessage } from '../protocol/membership/messages.ts'
import { LIFE_STATES, MAX_ACCUSERS } from '../protocol/membership/peer.ts'
import * as field from './fields.ts'
import { bool, type Field, list, string, struct, uint, word } from './schema.ts'

/**
 * More news than the sender would put into one message is malformed; the margin leaves room for one more kind
 * of rider.
 */
const MAX_UPDATES = 256
/** How long a helper may be asked to wait. */
const MAX_WAIT_MS = 60_000

const seq = uint(0xffff_ffff)
const { generation } = field
const configuration = field.configurationNumber

const peerRecord = struct({
  nodeId: field.nodeId,
  generation,
  incarnation: uint(),
  state: word(LIFE_STATES),
  address: field.address,
  bootNonce: string(64),
  meta: struct({ zone: string(MAX_ZONE_LENGTH), weight: uint(MAX_WEIGHT), version: string(64) }),
  accusers: list(field.nodeId, MAX_ACCUSERS),
})
const updates = list(peerRecord, MAX_UPDATES)

/** Each message of the machine, with just its fields: a table that says anything else does not compile. */
type TableOf<M extends { readonly type: string }> = {
  readonly [K in M['type']]: readonly [tag: number, shape: ShapeOf<Extract<M, { readonly type: K }>>]
}
type ShapeOf<M> = { readonly [F in Exclude<keyof M, 'type'>]: Field<M[F]> }

export const membershipMessages = {
  ping: [10, { seq, generation, configuration, updates }],
  ack: [11, { seq, generation, configuration, updates }],
  pingReq: [12, { seq, target: field.nodeId, generation, address: field.address, waitMs: uint(MAX_WAIT_MS) }],
  nack: [13, { seq, refused: bool }],
  gossip: [14, { configuration, updates }],
  compare: [15, { configuration, digest: uint() }],
  /** The members and the sender. */
  pushPull: [16, { configuration, wantsReply: bool, peers: list(peerRecord, MAX_MEMBERS + 1) }],
} as const satisfies TableOf<MembershipMessage>
