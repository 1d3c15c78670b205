/**
 * Long operations: starting a round of repair at a peer, and asking it what it is busy with. Of people's
 * making, so they travel on control links, beside what `kvctl status` asks.
 */
import * as field from './fields.ts'
import {
  bool,
  list,
  type MessageOf,
  type MessageTable,
  optional,
  parsed,
  string,
  struct,
  uint,
  word,
} from './schema.ts'
import { MAX_ROUND_NAME, parseRoundName, TASK_KINDS, TASK_STATES, TASK_UNITS } from './tasks.ts'

/** Of one peer. */
export const MAX_TASKS = 4096

export const roundName = parsed(parseRoundName)

/** What a peer says of one of its tasks: `PeerTask`. */
export const peerTaskShape = {
  kind: word(TASK_KINDS),
  state: word(TASK_STATES),
  round: optional(string(MAX_ROUND_NAME)),
  keyspace: optional(field.keyspaceName),
  unit: word(TASK_UNITS),
  done: uint(),
  total: optional(uint()),
  ageMs: uint(),
  endedAgoMs: optional(uint()),
  failure: optional(string(1024)),
  differing: uint(),
  repaired: uint(),
  failed: uint(),
  bytes: uint(),
  expectedBytes: optional(uint()),
} as const

export const taskRequests = {
  /** Compare now with all with whom you begin. Without a keyspace: in all of them. */
  beginRepair: [
    108,
    {
      id: field.requestId,
      number: field.configurationNumber,
      round: roundName,
      keyspaceId: optional(field.keyspaceId),
      acceptLoss: bool,
    },
  ],
  listTasks: [110, { id: field.requestId }],
} as const satisfies MessageTable

export const taskReplies = {
  repairBegun: [109, { id: field.requestId, exchanges: uint() }],
  tasksListed: [
    111,
    {
      id: field.requestId,
      tasks: list(struct({ ...peerTaskShape, with: optional(field.nodeId) }), MAX_TASKS),
    },
  ],
} as const satisfies MessageTable

export type TaskRequest = MessageOf<typeof taskRequests>
