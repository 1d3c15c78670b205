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
  /** How many bytes the partitions of a keyspace have at your disk. */
  askSizes: [114, { id: field.requestId, keyspaceId: field.keyspaceId }],
} as const satisfies MessageTable

export const transferReplies = {
  /** Side by side; partitions without records are left out. */
  sizes: [
    115,
    {
      id: field.requestId,
      partitions: list(uint(MAX_PARTITION_COUNT - 1), MAX_PARTITION_COUNT),
      bytes: list(uint(), MAX_PARTITION_COUNT),
    },
  ],
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

export type TransferRequest = Extract<MessageOf<typeof transferRequests>, { type: 'fetchRecords' }>
