/**
 * The cluster's configuration: one numbered value that says who is a member, who votes, which keyspaces there
 * are and which peers own which partition. Number i+1 is chosen by one instance of single-decree Paxos among
 * the acceptors that number i names (`synod.ts`), so one number never has two contents.
 *
 * A change of the ring is three decisions, begin, switch and finish: `ring-change.ts`.
 */
import type { Bytes } from '../base/bytes.ts'
import type { ClusterId, KeyspaceId, NodeId } from '../base/ids.ts'

export const DEFAULT_PARTITION_COUNT = 512
/** Longest preference list, and so the largest N of strategy `ring`. */
export const MAX_REPLICAS = 7
export const MAX_ACCEPTORS = 7
export const MAX_MEMBERS = 4096
export const MAX_KEYSPACES = 256
/** Decisions that a configuration remembers. */
export const MAX_HISTORY = 50

export interface Member {
  readonly nodeId: NodeId
  /**
   * Replicas of a partition go to distinct zones first. '' when the operator named none: then all are alike.
   */
  readonly zone: string
  /** Share of the ring relative to the others; 1 … 1000. */
  readonly weight: number
}

/**
 * A vote belongs to (nodeId, acceptorId): a peer that lost its votes has a new acceptorId and no vote until
 * it is named again.
 */
export interface Acceptor {
  readonly nodeId: NodeId
  readonly acceptorId: string
}

export type Strategy = 'ring' | 'full'
export type Conflicts = 'siblings' | 'lww'
export type QuorumKind = 'sloppy' | 'strict'
export type Durability = 'disk' | 'os'
/** How many answers: a number, or one, a majority of the owners, all owners. */
export type Level = number | 'one' | 'quorum' | 'all'

export interface Keyspace {
  readonly id: KeyspaceId
  readonly name: string
  readonly strategy: Strategy
  /** N, for strategy `ring`; with fewer peers than N, every peer holds everything. */
  readonly replicas: number
  readonly conflicts: Conflicts
  readonly quorum: QuorumKind
  /** Defaults of requests that name none. */
  readonly r: Level
  readonly w: Level
  readonly durability: Durability
}

/** Everything about a keyspace that is chosen by the one who makes it. */
export type KeyspaceOptions = Omit<Keyspace, 'id' | 'name'>

export const DEFAULT_KEYSPACE_OPTIONS: KeyspaceOptions = {
  strategy: 'ring',
  replicas: 3,
  conflicts: 'siblings',
  quorum: 'sloppy',
  r: 'quorum',
  w: 'quorum',
  durability: 'disk',
}

/**
 * Who owns what: a table computed by the proposer and shipped, so that no two versions of the code can
 * disagree about it.
 */
export interface Layout {
  /** Rows refer to positions in this list. */
  readonly members: readonly NodeId[]
  /** Length of every preference list: min(members, MAX_REPLICAS). */
  readonly depth: number
  /**
   * partitionCount × depth positions, unsigned 16-bit big-endian: partition p's list starts at byte
   * 2·p·depth.
   */
  readonly rows: Bytes
}

/** What a keyspace is to be when the open change is finished. */
export interface AlteredKeyspace {
  readonly id: KeyspaceId
  readonly strategy: Strategy
  readonly replicas: number
}

export const STAGED_KINDS = ['join', 'leave', 'remove', 'alter'] as const

/**
 * What is to become of a peer with the next change of the ring that somebody applies (`staged-changes.ts`).
 */
export interface StagedChange {
  readonly nodeId: NodeId
  /** `remove`: it is down for good, and hands over nothing. `alter`: another zone or weight. */
  readonly kind: (typeof STAGED_KINDS)[number]
  /** Of `join` and `alter`; null: as it is. */
  readonly zone: string | null
  readonly weight: number | null
  /** Of `join`: the member, down for good, whose place it takes. */
  readonly replaces: NodeId | null
}

/** A number that was decided, for people. */
export interface PastDecision {
  readonly number: number
  readonly reason: string
  /** The peer that proposed it. */
  readonly decidedBy: NodeId
  /** Wall-clock ms of that peer. */
  readonly decidedAtMs: number
}

/**
 * `stable`: one layout. `begun`: [old, new], reads use the old. `switched`: [old, new], reads use both
 * (`ring-change.ts`).
 */
export type Phase = 'stable' | 'begun' | 'switched'

export interface Configuration extends PastDecision {
  readonly clusterId: ClusterId
  /** 1 for the configuration a new cluster starts with. */
  readonly number: number
  /** Power of two; fixed for the life of the cluster. */
  readonly partitionCount: number
  readonly phase: Phase
  /** Everyone in either layout, by nodeId. */
  readonly members: readonly Member[]
  /** Members nobody waits for any more; they go with the next change. */
  readonly excluded: readonly NodeId[]
  /** Never members again. */
  readonly removed: readonly NodeId[]
  readonly acceptors: readonly Acceptor[]
  readonly keyspaces: readonly Keyspace[]
  readonly nextKeyspaceId: KeyspaceId
  /** One in phase `stable`, otherwise [old, new]. Writes go to all of them. */
  readonly layouts: readonly [Layout] | readonly [Layout, Layout]
  /** The number with which the present phase and layouts came. */
  readonly phaseNumber: number
  /** Under the new layout; those that the open change leaves as they are, are not listed. By id. */
  readonly altered: readonly AlteredKeyspace[]
  /** The number with which the open change, or the last one, began; 1 before the first. */
  readonly changeNumber: number
  /** Joins, leaves and removals are staged until somebody applies them. */
  readonly isManual: boolean
  /** One for each peer at most, by nodeId. */
  readonly staged: readonly StagedChange[]
  /**
   * The excluded members without which an operator let the open change go on, whatever they took along. None:
   * nobody had to.
   */
  readonly lossAccepted: readonly NodeId[]
  /** What made it: `create`, `begin join of …`, `switch`, … Peers are named by their ids. */
  readonly reason: string
  /** What was decided before, the last `MAX_HISTORY` numbers, in rising order without a gap. */
  readonly history: readonly PastDecision[]
}

/** The layout whose owners reads ask first. */
export function readLayout(configuration: Configuration): Layout {
  const [first, second] = configuration.layouts
  return configuration.phase === 'switched' && second !== undefined ? second : first
}

/** The layout the cluster has or is moving to. */
export function targetLayout(configuration: Configuration): Layout {
  return configuration.layouts[1] ?? configuration.layouts[0]
}

/** A keyspace as it is under the new layout. */
export function alteredKeyspace({ altered }: Configuration, keyspace: Keyspace): Keyspace {
  const found = altered.find(({ id }) => id === keyspace.id)
  return found === undefined ? keyspace : { ...keyspace, ...found }
}
