/**
 * Purging (`protocol/purge.ts`): the questions of a fence, and the steps that owners of a key take together.
 * Each carries the number of the configuration whose members and owners it is about; a peer that has another
 * one refuses.
 */
import { MAX_MEMBERS } from '../protocol/configuration.ts'
import { MAX_ERA } from '../protocol/fence-round.ts'
import * as field from './fields.ts'
import { digests } from './repair-messages.ts'
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

const era = uint(MAX_ERA)
/** Keys in one message. */
export const MAX_PURGED_KEYS = 256

export const FENCE_STEPS = ['survey', 'enter', 'close'] as const
export const PURGE_STEPS = ['hold', 'strip', 'bare', 'erase'] as const

const nonce = string(64)
const request = { id: field.requestId, number: field.configurationNumber } as const

export const purgeRequests = {
  /** Of every member, by the one who keeps fences. `round` names the fence, `lives` those surveyed. */
  fence: [
    120,
    {
      ...request,
      step: word(FENCE_STEPS),
      era,
      round: nonce,
      lives: list(struct({ nodeId: field.nodeId, generation: uint() }), MAX_MEMBERS),
    },
  ],
  /** To the one who keeps fences: complete one that begins after this. */
  askFence: [122, request],
  /**
   * Of a key's owners. `hold`: do you hold exactly these records, long enough, and may they be purged?
   * `strip`: then take their values. `bare`: do you hold no values of these keys? `erase`: then forget these
   * bare records. Steps name the era that was closed for them.
   */
  purge: [
    124,
    {
      ...request,
      keyspaceId: field.keyspaceId,
      step: word(PURGE_STEPS),
      era,
      keys: list(field.key, MAX_PURGED_KEYS),
      digests: digests(MAX_PURGED_KEYS),
    },
  ],
} as const satisfies MessageTable

export const purgeReplies = {
  fenceDone: [
    121,
    {
      id: field.requestId,
      nonce,
      generation: uint(),
      era,
      agrees: bool,
      kept: uint(),
      taken: uint(),
      hasLeftovers: bool,
      unfinished: uint(),
    },
  ],
  /** To a `replicate` of an era that is closed: nothing was stored. As in `EraFacts`, of who answers. */
  eraClosed: [127, { id: field.requestId, era, closedBelow: era }],
  /** Null: it could not be completed, as the text says. */
  fenced: [123, { id: field.requestId, era: optional(era), obstacle: string(1024) }],
  /**
   * In the order of the keys, what is held now, all of it on disk: a record's digest, 0 for none, and all
   * ones for what does not agree.
   */
  purgeDone: [125, { id: field.requestId, digests: digests(MAX_PURGED_KEYS) }],
} as const satisfies MessageTable

export type PurgeRequest = MessageOf<typeof purgeRequests>
