/**
 * Between a client and the peer it is connected to. Requests carry ids that rise on one link; answers come in
 * any order.
 */

import { MAX_MEMBERS, MAX_REPLICAS } from '../protocol/configuration.ts'
import { MAX_PARTITION_COUNT } from '../protocol/configuration-check.ts'
import { MAX_RECORD_VALUES } from '../protocol/record.ts'
import * as field from './fields.ts'
import { layoutReplies, layoutRequests } from './layout-messages.ts'
import { RING_CHANGES } from './requests.ts'
import {
  bool,
  bytes,
  createMessageCodec,
  float,
  list,
  type MessageOf,
  type MessageTable,
  optional,
  string,
  struct,
  uint,
  word,
} from './schema.ts'
import { MAX_TASKS, peerTaskShape, roundName } from './task-messages.ts'

const MAX_WARNINGS = 1000
const MAX_HINT_ROWS = 65_536
const MAX_TASK_ROWS = 16 * MAX_TASKS
const id = field.requestId
/** An id or an address, for people. */
const name = string(300)

const keyspaceOptionsShape = {
  strategy: field.strategy,
  replicas: uint(4096),
  conflicts: field.conflicts,
  quorum: field.quorumKind,
  r: field.level,
  w: field.level,
  durability: field.durability,
} as const

const keyspaceInfo = struct({ id: field.keyspaceId, name: field.keyspaceName, ...keyspaceOptionsShape })

const foundValue = struct({
  value: field.value,
  contentType: optional(field.contentType),
  timestampMs: float,
})

const partitionOwnersShape = {
  partition: uint(MAX_PARTITION_COUNT),
  owners: list(name, MAX_MEMBERS),
} as const

const peerStatus = struct({
  id: name,
  address: name,
  zone: string(64),
  state: word(['UN', 'DN', 'UJ', 'DJ', 'UL', 'DL']),
  share: float,
  keys: optional(uint()),
  bytes: optional(uint()),
  hints: optional(uint()),
  catchingUp: optional(string(1024)),
  quarantined: optional(uint()),
  heartbeatAgeMs: float,
  version: optional(string(64)),
  counting: optional(bool),
})

const ringChange = struct({
  number: field.configurationNumber,
  what: string(1024),
  done: uint(),
  total: optional(uint()),
  bytes: uint(),
  expectedBytes: optional(uint()),
  leftMs: optional(uint()),
})

const hintCount = struct({
  holder: name,
  holderAddress: name,
  target: name,
  targetAddress: name,
  records: uint(),
  bytes: uint(),
})

const taskInfo = struct({
  ...peerTaskShape,
  peer: name,
  peerAddress: name,
  with: optional(name),
  withAddress: optional(name),
  leftMs: optional(uint()),
})

const repairPart = struct({
  peer: name,
  peerAddress: name,
  exchanges: uint(),
  refusal: optional(string(1024)),
})

export const clientRequests = {
  clientHello: [1, { protocolVersion: uint(0xffff) }],
  put: [2, { id, ...field.putRequestShape }],
  get: [
    3,
    {
      id,
      keyspace: field.keyspaceName,
      key: field.carriedKey,
      r: optional(field.level),
      timeoutMs: field.timeoutMs,
    },
  ],
  status: [4, { id }],
  ring: [5, { id }],
  locate: [6, { id, keyspace: field.keyspaceName, key: field.carriedKey }],
  keyspaces: [7, { id }],
  createKeyspace: [8, { id, name: field.keyspaceName, ...keyspaceOptionsShape }],
  dropKeyspace: [9, { id, keyspaceId: field.keyspaceId }],
  /** The configuration and who is where, so that the client can ask a replica itself. */
  topology: [10, { id }],
  hints: [20, { id }],
  repair: [21, { id, keyspace: optional(field.keyspaceName), round: roundName, acceptLoss: bool }],
  tasks: [22, { id }],
  /** Null: as it is. */
  alterKeyspace: [
    24,
    {
      id,
      keyspaceId: field.keyspaceId,
      strategy: optional(field.strategy),
      replicas: optional(uint(MAX_REPLICAS)),
      quorum: optional(field.quorumKind),
      r: optional(field.level),
      w: optional(field.level),
    },
  ],
  /** `peer`: its address or id. */
  changeRing: [23, { id, kind: word(RING_CHANGES), peer: name, acceptLoss: bool }],
  ...layoutRequests,
} as const satisfies MessageTable

export const clientReplies = {
  clientWelcome: [1, { clusterId: field.clusterId, nodeId: field.nodeId }],
  putDone: [2, { id, ...field.putReplyShape }],
  getDone: [
    3,
    {
      id,
      values: list(foundValue, MAX_RECORD_VALUES),
      context: optional(field.context),
      owners: uint(4096),
      standIns: uint(4096),
    },
  ],
  statusDone: [
    4,
    {
      id,
      clusterId: name,
      nodeId: name,
      layout: struct({
        version: uint(),
        phase: field.phase,
        pending: optional(string(1024)),
        change: optional(ringChange),
      }),
      peers: list(peerStatus, MAX_MEMBERS),
      faults: list(string(1024), MAX_WARNINGS),
      warnings: list(string(1024), MAX_WARNINGS),
    },
  ],
  ringDone: [
    5,
    {
      id,
      partitionCount: uint(MAX_PARTITION_COUNT),
      layoutVersion: uint(),
      partitions: list(struct(partitionOwnersShape), MAX_PARTITION_COUNT),
    },
  ],
  locateDone: [6, { id, ...partitionOwnersShape, replicas: uint(4096) }],
  keyspacesDone: [7, { id, keyspaces: list(keyspaceInfo, 1024) }],
  createKeyspaceDone: [8, { id, keyspace: keyspaceInfo }],
  dropKeyspaceDone: [9, { id }],
  topologyDone: [
    10,
    {
      id,
      configuration: bytes(4 * 1024 * 1024),
      peers: list(struct({ nodeId: field.nodeId, address: field.address, alive: bool }), MAX_MEMBERS),
    },
  ],
  hintsDone: [20, { id, hints: list(hintCount, MAX_HINT_ROWS) }],
  repairDone: [21, { id, round: roundName, parts: list(repairPart, MAX_MEMBERS) }],
  tasksDone: [22, { id, tasks: list(taskInfo, MAX_TASK_ROWS), silent: list(name, MAX_MEMBERS) }],
  changeRingDone: [23, { id, staged: bool }],
  ...layoutReplies,
  alterKeyspaceDone: [24, { id }],
  /** The request was not done, or not known to be done; `code` says which. */
  failed: [11, { id, ...field.errorShape }],
  /** Unasked: the configuration or somebody's liveness changed; ask for the topology again. */
  changed: [12, {}],
  /** The last words on a link that cannot go on. */
  goodbye: [13, { reason: string(1024) }],
} as const satisfies MessageTable

export type ClientRequest = MessageOf<typeof clientRequests>
export type ClientReply = MessageOf<typeof clientReplies>

export const clientRequestCodec = createMessageCodec(clientRequests)
export const clientReplyCodec = createMessageCodec(clientReplies)
