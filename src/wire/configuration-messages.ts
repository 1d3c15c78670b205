/**
 * Between peers about the configuration: the Synod's questions and answers, the spreading of what was
 * decided, and joining. Every one of these is a request or the reply to one; a reply carries the id of its
 * request.
 */

import { MAX_KEYSPACES } from '../protocol/configuration.ts'
import { MAX_PARTITION_COUNT, MAX_WEIGHT, MAX_ZONE_LENGTH } from '../protocol/configuration-check.ts'
import { VOTE_REFUSALS } from '../protocol/synod.ts'
import { MAX_ACCEPTOR_ID_LENGTH, MAX_CONFIGURATION_BYTES } from './configuration-codec.ts'
import * as field from './fields.ts'
import {
  bool,
  bytes,
  list,
  type MessageOf,
  type MessageTable,
  optional,
  string,
  struct,
  uint,
  word,
} from './schema.ts'

const MAX_PENDING_LENGTH = 1024

const id = field.requestId
const number = field.configurationNumber
export const ballot = struct({ round: uint(), nodeId: field.nodeId, bootNonce: string(64) })
const configuration = bytes(MAX_CONFIGURATION_BYTES, 1)
/** Of an address or an id. */
const MAX_REPLACED_LENGTH = 300
const pending = optional(string(MAX_PENDING_LENGTH))

export const configurationRequests = {
  prepare: [40, { id, number, ballot }],
  vote: [41, { id, number, ballot, value: configuration }],
  /**
   * Take this decided configuration, and acknowledge it. Without the bytes: acknowledge `number`, which you
   * should have. `pending`: what the open change waits for, for people who ask you.
   */
  adopt: [42, { id, number, configuration: optional(configuration), pending }],
  /** Make this peer a member. `isForwarded`: do not hand the request on. */
  joinRequest: [
    43,
    {
      id,
      nodeId: field.nodeId,
      zone: string(MAX_ZONE_LENGTH),
      weight: uint(MAX_WEIGHT),
      /** Address or id of a dead member whose place it is to take. */
      replaces: optional(string(MAX_REPLACED_LENGTH)),
      /** It is to be staged, also where joins are not. */
      isStaged: bool,
      isForwarded: bool,
    },
  ],
  /** Give me your configuration if its number is above this. */
  fetchConfiguration: [44, { id, above: number }],
  /** What do you lack of what you may have acknowledged? `number`: see `lacksReply`. */
  askLacks: [51, { id, number }],
} as const satisfies MessageTable

export const configurationReplies = {
  /** `accepted`: the vote it cast last, if any. */
  promise: [45, { id, number, ballot, accepted: optional(struct({ ballot, value: configuration })) }],
  voted: [46, { id, number, ballot }],
  /**
   * `promised` goes with the reason of that name; `configuration`, the newest decided one, with the reason
   * `decided`.
   */
  voteRefused: [
    47,
    {
      id,
      number,
      ballot,
      reason: word(VOTE_REFUSALS),
      promised: optional(ballot),
      configuration: optional(configuration),
    },
  ],
  /**
   * The sender has configuration `number` on disk, has ended its requests below it and refuses such from now
   * on; 0: it has none. `waitsFor`: why it is not ready for the next step of a change of the ring, in words;
   * null: it is.
   */
  adopted: [48, { id, number, waitsFor: pending, acceptorId: string(MAX_ACCEPTOR_ID_LENGTH) }],
  /**
   * `refusal`: it will never be. Otherwise `isTaken` says whether somebody sees to it, and `pending` what
   * that waits for.
   */
  joinReply: [49, { id, isTaken: bool, refusal: optional(string(MAX_PENDING_LENGTH)), pending }],
  /** Null: nothing above the number asked about. */
  configurationReply: [50, { id, configuration: optional(configuration) }],
  /** As it is now, while the sender has acknowledged configuration `number`. See `protocol/lacks.ts`. */
  lacksReply: [
    52,
    {
      id,
      number,
      lacks: list(
        struct({ keyspaceId: field.keyspaceId, partitions: bytes(MAX_PARTITION_COUNT / 8) }),
        MAX_KEYSPACES,
      ),
    },
  ],
} as const satisfies MessageTable

export type ConfigurationRequest = MessageOf<typeof configurationRequests>
export type ConfigurationReply = MessageOf<typeof configurationReplies>

type WithoutId<M> = M extends unknown ? Omit<M, 'id'> : never
/** A request that has no id yet. */
export type ConfigurationQuestion = WithoutId<ConfigurationRequest>
/** A reply that has no id yet. */
export type ConfigurationAnswer = WithoutId<ConfigurationReply>

/** Text for people, cut to what a message carries. */
export function clip(text: string | null): string | null {
  return text === null ? null : text.slice(0, MAX_PENDING_LENGTH)
}
