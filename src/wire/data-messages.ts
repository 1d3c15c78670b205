/**
 * Between coordinator and replica. Each request carries the number of the configuration under which it was
 * routed; a replica that has another one refuses, so that no quorum ever counts answers given under different
 * numbers.
 */
import { MAX_MEMBERS } from '../protocol/configuration.ts'
import { MAX_ERA } from '../protocol/fence-round.ts'
import * as field from './fields.ts'
import {
  bool,
  list,
  type MessageOf,
  type MessageTable,
  optional,
  string,
  struct,
  uint,
  word,
} from './schema.ts'

/**
 * `failed`: its disk does not give the record, or could not store it. `catchingUp`: this peer lost data, and
 * what it has of the partition says nothing yet; or its disk is away, and nothing can be read for the moment.
 * `overfull`: what it holds of the key and what it was sent are more than one record can hold together; or
 * what it holds alone.
 */
export const REFUSALS = [
  'stale',
  'behind',
  'overloaded',
  'failed',
  'stopping',
  'notOwner',
  'catchingUp',
  'overfull',
] as const

export const dataRequests = {
  /**
   * What does your disk hold of this key? `seenOnly`: leave out the values. `asStandIn`: what it keeps for
   * owners that are away. `isDoubted`: another owner has not the same; an old record is to be compared with
   * the hash tree first. `isLost`: as in `roots` (`repair-messages.ts`).
   */
  read: [
    60,
    {
      id: field.requestId,
      number: field.configurationNumber,
      keyspaceId: field.keyspaceId,
      key: field.key,
      seenOnly: bool,
      asStandIn: optional(bool),
      isDoubted: optional(bool),
      isLost: optional(bool),
    },
  ],
  /**
   * Merge this into what you hold. `mintedBy`: the actor of its newest dot, when the record was written just
   * now. `standInFor`: you do not own the key; keep it for this owner, which is away. `era`: in which the
   * work began that this belongs to (`protocol/eras.ts`).
   */
  replicate: [
    62,
    {
      id: field.requestId,
      number: field.configurationNumber,
      keyspaceId: field.keyspaceId,
      key: field.key,
      record: field.record,
      mintedBy: optional(field.actorId),
      standInFor: optional(field.nodeId),
      era: optional(uint(MAX_ERA)),
    },
  ],
  /** A client's write, handed on once to a replica that coordinates it. */
  forwardPut: [65, { id: field.requestId, number: field.configurationNumber, ...field.putRequestShape }],
  /** What `kvctl status` shows of a peer. */
  inquire: [68, { id: field.requestId }],
} as const satisfies MessageTable

/** What a peer has copied of what it is to own after the open change of the ring. */
const takeoverReport = struct({
  /** Partitions that it copies; null: it does not know yet. */
  total: optional(uint()),
  done: uint(),
  bytes: uint(),
  expectedBytes: optional(uint()),
  ageMs: uint(),
})

export const dataReplies = {
  /** The record's bytes, null when there is none. */
  record: [61, { id: field.requestId, record: optional(field.record) }],
  /**
   * It is on disk. `seenUpTo`: how much of `mintedBy` the replica's record had seen before; 0 without a
   * `mintedBy`; the greatest number there is when a dot of it named another value.
   */
  stored: [63, { id: field.requestId, seenUpTo: uint() }],
  /** It was not done; `number` is the configuration of the one who refuses. */
  refused: [64, { id: field.requestId, reason: word(REFUSALS), number: field.configurationNumber }],
  forwardDone: [66, { id: field.requestId, ...field.putReplyShape }],
  forwardFailed: [67, { id: field.requestId, ...field.errorShape }],
  /**
   * `hints` counts the stand-in records held, `hintsFor` says for whom; a record counts for each of them.
   * `isCounting`: keys and bytes are what was found so far.
   * `catchingUp`: in words, for a peer that lost data; null: it lacks nothing. `quarantined`: records from
   * before a loss that no other owner has.
   * What the disk did not give back as it was written: records that are `damaged`, and were `restored`;
   * leaves of hash trees whose records are gone.
   * `dotClashes`: values met under a dot that names another value.
   * `outage`: why it can neither read nor write now.
   * `hintsQuarantined`: stand-in records that could not be read, or are from before a loss.
   * `purgeWaits`: why nothing has been purged for a while.
   * `overfull`: keys with more concurrent values than a record can hold.
   * `ringWaits`: why no change of the ring goes on until a person does something.
   */
  report: [
    69,
    {
      id: field.requestId,
      keys: uint(),
      bytes: uint(),
      hints: uint(),
      hintsFor: optional(list(struct({ nodeId: field.nodeId, records: uint(), bytes: uint() }), MAX_MEMBERS)),
      isCounting: optional(bool),
      catchingUp: optional(string(1024)),
      quarantined: uint(),
      damaged: optional(uint()),
      restored: optional(uint()),
      lostLeaves: optional(uint()),
      dotClashes: optional(uint()),
      outage: optional(string(1024)),
      hintsQuarantined: optional(uint()),
      purgeWaits: optional(string(1024)),
      takeover: optional(takeoverReport),
      overfull: optional(uint()),
      ringWaits: optional(string(1024)),
    },
  ],
} as const satisfies MessageTable

export type DataRequest = MessageOf<typeof dataRequests>
export type Refusal = (typeof REFUSALS)[number]
