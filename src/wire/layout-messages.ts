/** Between a client and a peer: the layout of the ring, shown, planned and changed. */
import { MAX_HISTORY, MAX_MEMBERS, STAGED_KINDS } from '../protocol/configuration.ts'
import { MAX_PARTITION_COUNT, MAX_WEIGHT, MAX_ZONE_LENGTH } from '../protocol/configuration-check.ts'
import * as field from './fields.ts'
import { LAYOUT_ACTIONS, MAX_PEER_NAME } from './layout.ts'
import { bool, float, list, type MessageTable, optional, string, struct, uint, word } from './schema.ts'

const id = field.requestId
const name = string(MAX_PEER_NAME)
const zone = string(MAX_ZONE_LENGTH)
const weight = uint(MAX_WEIGHT)
/** The reason of a decision, with addresses in place of ids. */
const MAX_SHOWN_REASON_LENGTH = 4096

const memberShape = { peer: name, peerAddress: name, zone, weight, partitions: uint() } as const

const staged = list(
  struct({
    peer: name,
    peerAddress: name,
    kind: word(STAGED_KINDS),
    zone: optional(zone),
    weight: optional(weight),
    replaces: optional(name),
    replacesAddress: optional(name),
  }),
  MAX_MEMBERS,
)

const decision = struct({
  number: field.configurationNumber,
  reason: string(MAX_SHOWN_REASON_LENGTH),
  decidedBy: name,
  decidedAtMs: uint(),
})

const plannedPeer = struct({
  ...memberShape,
  before: uint(),
  given: uint(),
  received: uint(),
  bytes: uint(),
  fair: float,
  most: uint(),
})

const layoutShape = {
  id,
  number: field.configurationNumber,
  phase: field.phase,
  manual: bool,
  partitionCount: uint(MAX_PARTITION_COUNT),
  members: list(struct(memberShape), MAX_MEMBERS),
  staged,
  history: list(decision, MAX_HISTORY + 1),
} as const

export const layoutRequests = {
  layout: [25, { id }],
  planLayout: [26, { id }],
  changeLayout: [
    27,
    {
      id,
      action: word(LAYOUT_ACTIONS),
      peer: optional(name),
      replaces: optional(name),
      weight: optional(weight),
      zone: optional(zone),
      number: optional(field.configurationNumber),
      acceptLoss: bool,
    },
  ],
} as const satisfies MessageTable

export const layoutReplies = {
  layoutDone: [25, layoutShape],
  planLayoutDone: [
    26,
    {
      id,
      number: field.configurationNumber,
      staged,
      peers: list(plannedPeer, MAX_MEMBERS),
      moves: uint(),
      idealMoves: uint(),
      bytes: uint(),
      silent: list(name, MAX_MEMBERS),
    },
  ],
  changeLayoutDone: [27, layoutShape],
} as const satisfies MessageTable
