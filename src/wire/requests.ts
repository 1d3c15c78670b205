/**
 * What can be asked of any peer, and what it answers: the words shared by the client library, the node and
 * its faces. Contexts are text here (the encoded context with its checksum): opaque to everyone but
 * `protocol/context.ts`.
 */
import type { Bytes } from '../base/bytes.ts'
import type { KeyspaceId } from '../base/ids.ts'
import type { Keyspace, KeyspaceOptions, Level, Phase } from '../protocol/configuration.ts'
import type { LayoutChange, LayoutInfo, LayoutPlanInfo } from './layout.ts'
import type { RepairRequest, RepairStart, TaskList } from './tasks.ts'

export { DEFAULT_KEYSPACE_OPTIONS, type KeyspaceOptions } from '../protocol/configuration.ts'

export const MAX_KEY_BYTES = 1024
export const DEFAULT_MAX_VALUE_BYTES = 1024 * 1024
export const DEFAULT_KEYSPACE = 'default'
export const DEFAULT_TIMEOUT_MS = 5000

export interface PutRequest {
  readonly keyspace: string
  /** 1 to MAX_KEY_BYTES bytes. */
  readonly key: Bytes
  /** Null deletes: it leaves a tombstone. */
  readonly value: Bytes | null
  readonly contentType: string | null
  /**
   * From an earlier read or write of the same key: replaces exactly what that saw. Null: what a quorum holds.
   */
  readonly context: string | null
  /** Without a context: replace only what the coordinator holds, and skip asking the others. */
  readonly blind: boolean
  readonly w: Level | null
  /** Names this write: sent again under the same name it is applied once. A nanoid. */
  readonly writeId: string
  readonly timeoutMs: number
  /** Shown for so long, by the coordinator's clock at the write: 1 … MAX_TTL_MS. Null: for ever. */
  readonly ttlMs: number | null
}

export interface PutReply {
  /** The context that was replaced plus this write: pass it to the next put of the key. */
  readonly context: string
  /** How many owners, and how many stand-ins, have it on disk. */
  readonly owners: number
  readonly standIns: number
}

export interface GetRequest {
  readonly keyspace: string
  readonly key: Bytes
  readonly r: Level | null
  readonly timeoutMs: number
}

export interface FoundValue {
  readonly value: Bytes
  readonly contentType: string | null
  /** Wall-clock ms of the coordinator at the write. */
  readonly timestampMs: number
}

export interface GetReply {
  /** None: not found. More than one: siblings, written concurrently. Ordered by timestamp, newest first. */
  readonly values: readonly FoundValue[]
  /** Covers everything that was read, tombstones too; null when nothing was ever seen. */
  readonly context: string | null
  readonly owners: number
  readonly standIns: number
}

/** First letter U up, D down; second N normal, J joining, L leaving. */
export type PeerState = 'UN' | 'DN' | 'UJ' | 'DJ' | 'UL' | 'DL'

export interface PeerStatus {
  readonly id: string
  readonly address: string
  readonly zone: string
  readonly state: PeerState
  /** Of the ring: 0 … 1. */
  readonly share: number
  /** Null when the peer did not answer in time, or is counting. */
  readonly keys: number | null
  readonly bytes: number | null
  /** Stand-in records that wait for it, at all peers that answered. */
  readonly hints: number | null
  /** How far it has come since it lost data, in words; null: it lacks nothing, or did not answer in time. */
  readonly catchingUp: string | null
  /** Records from before that loss that no other owner has. Null when it did not answer in time. */
  readonly quarantined: number | null
  /** Since it was last heard of by the peer asked; 0 for itself. */
  readonly heartbeatAgeMs: number
  readonly version: string | null
  /**
   * It was not stopped in order, and counts what is on its disk; null when the peer did not answer in time.
   */
  readonly counting: boolean | null
}

/** Stand-in records that one peer keeps for another one. */
export interface HintCount {
  /** Ids of peers, and their addresses. */
  readonly holder: string
  readonly holderAddress: string
  readonly target: string
  readonly targetAddress: string
  readonly records: number
  readonly bytes: number
}

/** How far the open change of the ring is: figures of all peers that answered in time. */
export interface RingChangeStatus {
  /** With which it began. */
  readonly number: number
  /** Who comes and who goes: `2 peers join, 1 leaves`. */
  readonly what: string
  /** Partitions that new owners have copied, of all that they copy; null: they do not know yet. */
  readonly done: number
  readonly total: number | null
  readonly bytes: number
  /** Null: not known. */
  readonly expectedBytes: number | null
  /** Until the slowest has copied all, if it goes on as it did; null: nothing is known yet, or it is done. */
  readonly leftMs: number | null
}

export interface ClusterStatus {
  readonly clusterId: string
  readonly nodeId: string
  readonly layout: {
    readonly version: number
    readonly phase: Phase
    /** What the open change, or one that cannot begin yet, waits for, in words. */
    readonly pending: string | null
    /** Null: none is open. */
    readonly change: RingChangeStatus | null
  }
  readonly peers: readonly PeerStatus[]
  readonly faults: readonly string[]
  /** Each is one sentence about something that needs a person. */
  readonly warnings: readonly string[]
}

export interface PartitionOwners {
  readonly partition: number
  /** Addresses, in order of preference. */
  readonly owners: readonly string[]
}

export type KeyspaceInfo = Keyspace

/** As people are shown it: replicas are null where every peer has everything. */
export type ShownKeyspace = Omit<KeyspaceInfo, 'replicas'> & { readonly replicas: number | null }

export function shownKeyspace(keyspace: KeyspaceInfo): ShownKeyspace {
  return { ...keyspace, replicas: keyspace.strategy === 'full' ? null : keyspace.replicas }
}

export interface RingInfo {
  readonly partitionCount: number
  readonly layoutVersion: number
  readonly partitions: readonly PartitionOwners[]
}

/** Where a key lives in a keyspace: its partition and all its owners in order of preference. */
export interface KeyLocation extends PartitionOwners {
  readonly replicas: number
}

/** What can be changed of a keyspace: how many copies there are of its keys, and how many have to answer. */
export type KeyspaceShape = Pick<KeyspaceOptions, 'strategy' | 'replicas' | 'quorum' | 'r' | 'w'>

/** What can be asked to become of a member. */
export const RING_CHANGES = ['leave', 'remove'] as const
export type RingChangeKind = (typeof RING_CHANGES)[number]

export interface RingChangeReply {
  /** It is staged, as everything is here, and begins with `kvctl layout apply`. */
  readonly staged: boolean
}

/**
 * Everything a peer does for others. The node implements it for its faces; the client library implements it
 * by asking a peer. Every method rejects with a KvError.
 */
export interface KvService {
  put(request: PutRequest): Promise<PutReply>
  get(request: GetRequest): Promise<GetReply>
  status(): Promise<ClusterStatus>
  ring(): Promise<RingInfo>
  locate(keyspace: string, key: Bytes): Promise<KeyLocation>
  keyspaces(): Promise<readonly KeyspaceInfo[]>
  /** Who keeps how much for whom, of the peers that answer in time. */
  hints(): Promise<readonly HintCount[]>
  /**
   * Begins a round of repair at every member that is up: each pair of owners compares what both own, once.
   * Comes back when they have begun; `tasks` tells the rest. @throws NOT_FOUND (the keyspace)
   */
  repair(request: RepairRequest): Promise<RepairStart>
  /** Long operations of all peers that answer in time: under way, waiting, and those that ended last. */
  tasks(): Promise<TaskList>
  /**
   * Options that are left out have their defaults.
   * @throws CONFLICT when the name is taken with other options (the same ones: it succeeds)
   */
  createKeyspace(name: string, options?: Partial<KeyspaceOptions>): Promise<KeyspaceInfo>
  /**
   * @param which the keyspace that has this name now, or the one that has this id, if there still is one
   * @throws NOT_FOUND for a name; INVALID_ARGUMENT for the default keyspace
   */
  dropKeyspace(which: string | KeyspaceId): Promise<void>
  /**
   * Changes how many copies there are of a keyspace's keys, named by its name or id: what is left out stays.
   * Data moves while it serves; comes back when that has begun, or when there is nothing to change.
   * @throws NOT_FOUND; INVALID_ARGUMENT; CONFLICT: another change of the ring is open
   */
  alterKeyspace(which: string | KeyspaceId, shape: Partial<KeyspaceShape>): Promise<void>
  /** Who has what, what is staged, and what was decided. */
  layout(): Promise<LayoutInfo>
  /** What it would bring to apply what is staged. @throws INVALID_ARGUMENT: nothing is; CONFLICT */
  planLayout(): Promise<LayoutPlanInfo>
  /**
   * Stages, begins and so on. @returns the layout then
   * @throws INVALID_ARGUMENT; NOT_FOUND; CONFLICT: it cannot be, or the layout is not the one looked at
   */
  changeLayout(change: LayoutChange): Promise<LayoutInfo>
  /**
   * A member hands over what it owns and stops; comes back when that has begun, or is staged.
   * @param peer its address or id @throws NOT_FOUND; CONFLICT: it is down, or another change is open
   */
  leave(peer: string): Promise<RingChangeReply>
  /**
   * A member that is down for good is one no more, and what it owned is rebuilt from the other owners; comes
   * back when nobody waits for it any more. At any time, also in the middle of a change.
   * @param peer its address or id
   * @param acceptLoss also where only it may have acknowledged writes; not unless it is given
   * @throws NOT_FOUND; CONFLICT: it is up, or writes may be lost with it, since too few of the other owners
   * are up and say that they have everything
   */
  remove(peer: string, acceptLoss?: boolean): Promise<RingChangeReply>
}
