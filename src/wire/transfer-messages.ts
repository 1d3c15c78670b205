/** A new owner fetches a partition from an old one (`coordinator/partition-copy.ts`). */
import { MAX_PARTITION_COUNT } from '../protocol/configuration-check.ts'
import * as field from './fields.ts'
import { list, type MessageOf, type MessageTable, optional, uint } from './schema.ts'

/** Records in one message. */
export const MAX_PAGE_RECORDS = 1000

export const transferRequests = {
  /** The records of a partition that both of us own, those behind `after` in the order of their keys. */
  fetchRecords: [
    112,
    {
      id: field.requestId,
      number: field.configurationNumber,
      keyspaceId: field.keyspaceId,
      partition: uint(MAX_PARTITION_COUNT - 1),
      after: optional(field.key),
    },
  ],
} as const satisfies MessageTable

export const transferReplies = {
  /** Side by side. `last`: to be asked again with it as `after`; null: that was all. */
  recordsFetched: [
    113,
    {
      id: field.requestId,
      keys: list(field.key, MAX_PAGE_RECORDS),
      records: list(field.record, MAX_PAGE_RECORDS),
      last: optional(field.key),
    },
  ],
} as const satisfies MessageTable

export type TransferRequest = MessageOf<typeof transferRequests>
