/**
 * How one configuration follows from another. Each function takes a decided configuration and gives the value
 * to propose for the next number; the Synod (`synod.ts`) decides which proposal becomes it.
 *
 * A change of the ring is three of them, after the joint consensus of Raft (Ongaro and Ousterhout, "In Search
 * of an Understandable Consensus Algorithm", 2014, section 6): `beginJoin` (write to both layouts, read the
 * old), `switchOver` (read the new), `finish` (the new alone). In Raft the two configurations must both agree
 * to everything; here both layouts must take every write, and the reads move in between, because data has to
 * be where reads look for it.
 *
 * Invariant. Between two successive numbers either the layouts that take writes share one, or the set that
 * reads use stays; a peer that was removed never comes back; a keyspace id never names two keyspaces. When a
 * step is safe to propose (who must have acknowledged what) is for the proposer to see to:
 * `cluster/ring-change.ts`.
 */
import { assert, present } from '../base/assert.ts'
import { KvError } from '../base/error.ts'
import type { ClusterId, KeyspaceId, NodeId, StoreId } from '../base/ids.ts'
import {
  type Acceptor,
  type Configuration,
  DEFAULT_KEYSPACE_OPTIONS,
  type Keyspace,
  type KeyspaceOptions,
  MAX_ACCEPTORS,
  MAX_KEYSPACES,
  MAX_MEMBERS,
  type Member,
  targetLayout,
} from './configuration.ts'
import {
  findFlaw,
  findKeyspaceOptionFlaw,
  findMemberOptionFlaw,
  MAX_REASON_LENGTH,
} from './configuration-check.ts'
import { planLayout } from './layout-plan.ts'

const DEFAULT_KEYSPACE_NAME = 'default'

/** Number 1: what a new cluster starts with. It is not voted on, because its one member is all there is. */
export function firstConfiguration(founder: {
  readonly clusterId: ClusterId
  readonly member: Member
  readonly acceptorId: string
  readonly partitionCount: number
  readonly nowMs: number
}): Configuration {
  const { clusterId, member, acceptorId, partitionCount, nowMs } = founder
  checkMember(member)
  return sound({
    clusterId,
    number: 1,
    partitionCount,
    phase: 'stable',
    members: [member],
    excluded: [],
    removed: [],
    acceptors: [{ nodeId: member.nodeId, acceptorId }],
    keyspaces: [{ id: 1 as KeyspaceId, name: DEFAULT_KEYSPACE_NAME, ...DEFAULT_KEYSPACE_OPTIONS }],
    nextKeyspaceId: 2 as KeyspaceId,
    layouts: [planLayout({ members: [member], previous: null, partitionCount })],
    reason: 'create',
    decidedAtMs: Math.floor(nowMs),
  })
}

/**
 * Opens a change that adds members.
 * @throws CONFLICT when a change is open, a peer is a member already, or was removed; INVALID_ARGUMENT
 */
export function beginJoin(
  configuration: Configuration,
  newMembers: readonly Member[],
  nowMs: number,
): Configuration {
  if (configuration.phase !== 'stable') {
    throw new KvError(
      'CONFLICT',
      `a change of the ring is open (${configuration.reason}); it has to finish first`,
    )
  }
  if (newMembers.length === 0) throw new KvError('INVALID_ARGUMENT', 'no peer to join')
  for (const member of newMembers) checkJoin(configuration, member)
  const members = [...configuration.members, ...newMembers].sort((a, b) => (a.nodeId < b.nodeId ? -1 : 1))
  if (members.length > MAX_MEMBERS) {
    throw new KvError('CONFLICT', `a cluster has at most ${MAX_MEMBERS} members`)
  }
  const isTwice = members.some((member, i) => member.nodeId === members[i - 1]?.nodeId)
  if (isTwice) throw new KvError('INVALID_ARGUMENT', 'a peer cannot join twice')
  const [previous] = configuration.layouts
  const planned = planLayout({ members, previous, partitionCount: configuration.partitionCount })
  return next(configuration, nowMs, {
    phase: 'begun',
    members,
    layouts: [previous, planned],
    reason: `begin join of ${newMembers.length}`,
  })
}

/** @throws CONFLICT when the peer cannot join: it was removed, or is a member; INVALID_ARGUMENT */
export function checkJoin(configuration: Configuration, member: Member): void {
  checkMember(member)
  if (configuration.removed.includes(member.nodeId)) {
    const advice = 'to join as a new peer it needs an empty data directory'
    throw new KvError('CONFLICT', `peer ${member.nodeId} was removed from this cluster; ${advice}`)
  }
  if (configuration.members.some(({ nodeId }) => nodeId === member.nodeId)) {
    throw new KvError('CONFLICT', `peer ${member.nodeId} is a member already`)
  }
}

/**
 * From now on reads use the new layout. @throws CONFLICT when no change is open or reads were switched
 * already
 */
export function switchOver(configuration: Configuration, nowMs: number): Configuration {
  if (configuration.phase !== 'begun') {
    throw new KvError('CONFLICT', `there is nothing to switch in phase ${configuration.phase}`)
  }
  return next(configuration, nowMs, { phase: 'switched', reason: 'switch' })
}

/**
 * Closes the change: the new layout alone, and new acceptors.
 * @param electable who may be an acceptor: alive, complete; peers that are not members are passed over
 * @throws CONFLICT when reads were not switched yet; UNAVAILABLE when nobody can be an acceptor
 */
export function finish(
  configuration: Configuration,
  electable: readonly Acceptor[],
  nowMs: number,
): Configuration {
  if (configuration.phase !== 'switched') {
    throw new KvError('CONFLICT', `there is nothing to finish in phase ${configuration.phase}`)
  }
  const { members, acceptors } = configuration
  return next(configuration, nowMs, {
    phase: 'stable',
    acceptors: electAcceptors(members, electable, acceptors),
    layouts: [targetLayout(configuration)],
    reason: 'finish',
  })
}

/**
 * Adds a keyspace. It holds no data yet, so this is one decision in any phase.
 * @returns the same configuration when it has that very keyspace
 * @throws CONFLICT when the name is taken with other settings, or there are too many; INVALID_ARGUMENT
 */
export function createKeyspace(
  configuration: Configuration,
  name: string,
  settings: KeyspaceOptions,
  nowMs: number,
): Configuration {
  const { strategy, replicas, conflicts, quorum, r, w, durability } = settings
  const keyspace: Omit<Keyspace, 'id'> = { name, strategy, replicas, conflicts, quorum, r, w, durability }
  const flaw = findKeyspaceOptionFlaw(keyspace)
  if (flaw !== null) throw new KvError('INVALID_ARGUMENT', flaw)
  const taken = configuration.keyspaces.find((other) => other.name === name)
  if (taken !== undefined) {
    const differences = keyspaceDifferences(taken, keyspace)
    if (differences.length === 0) return configuration
    throw new KvError('CONFLICT', `keyspace '${name}' exists with other options: ${differences.join(', ')}`)
  }
  if (configuration.keyspaces.length >= MAX_KEYSPACES) {
    throw new KvError('CONFLICT', `a cluster has at most ${MAX_KEYSPACES} keyspaces; drop one first`)
  }
  const id = configuration.nextKeyspaceId
  return next(configuration, nowMs, {
    keyspaces: [...configuration.keyspaces, { id, ...keyspace }],
    nextKeyspaceId: (id + 1) as KeyspaceId,
    reason: `create keyspace ${name}`,
  })
}

/**
 * Forgets a keyspace and, with it, its records. It is named by its id: whoever repeats this must not meet
 * another keyspace that somebody made under the same name since.
 * @returns the same configuration when there is none of that id any more
 * @throws INVALID_ARGUMENT for the default keyspace
 */
export function dropKeyspace(configuration: Configuration, id: KeyspaceId, nowMs: number): Configuration {
  const dropped = configuration.keyspaces.find((keyspace) => keyspace.id === id)
  if (dropped === undefined) return configuration
  const { name } = dropped
  if (name === DEFAULT_KEYSPACE_NAME) {
    throw new KvError(
      'INVALID_ARGUMENT',
      `keyspace '${name}' cannot be dropped: it is that of requests which name none`,
    )
  }
  const keyspaces = configuration.keyspaces.filter((keyspace) => keyspace !== dropped)
  return next(configuration, nowMs, { keyspaces, reason: `drop keyspace ${name}` })
}

/**
 * A member lost data and goes on as another life, `storeId`. Nothing changes but the number, and that is the
 * fence: answers given under an older one count for nothing under this one, so from here on nobody counts
 * what the life before acknowledged.
 * @throws CONFLICT when the peer is no member
 */
export function readmit(
  configuration: Configuration,
  nodeId: NodeId,
  storeId: StoreId,
  nowMs: number,
): Configuration {
  if (!configuration.members.some((member) => member.nodeId === nodeId)) {
    throw new KvError('CONFLICT', `peer ${nodeId} is not a member of this cluster`)
  }
  return next(configuration, nowMs, { reason: `readmit ${nodeId} as ${storeId}` })
}

/**
 * An acceptor that lost its votes gets one again, under its new id: from the next number on.
 * @returns the same configuration when the peer is no acceptor, or has this id
 */
export function renewAcceptor(configuration: Configuration, renewed: Acceptor, nowMs: number): Configuration {
  const { nodeId, acceptorId } = renewed
  const known = configuration.acceptors.find((acceptor) => acceptor.nodeId === nodeId)
  if (known === undefined || known.acceptorId === acceptorId) return configuration
  const acceptors = configuration.acceptors.map((acceptor) => (acceptor === known ? renewed : acceptor))
  return next(configuration, nowMs, { acceptors, reason: `renew acceptor ${nodeId}` })
}

/**
 * An odd number of acceptors, as many as can be up to MAX_ACCEPTORS. Zones are filled evenly; within that,
 * who votes already goes on.
 * @throws UNAVAILABLE when nobody is electable
 */
export function electAcceptors(
  members: readonly Member[],
  electable: readonly Acceptor[],
  incumbents: readonly Acceptor[],
): readonly Acceptor[] {
  const zones = new Map<NodeId, string>(members.map(({ nodeId, zone }) => [nodeId, zone]))
  const votesNow = new Set(incumbents.map(({ nodeId }) => nodeId))
  const rank = ({ nodeId }: Acceptor): string => `${votesNow.has(nodeId) ? 0 : 1}${nodeId}`
  const waiting = electable
    .filter(({ nodeId }) => zones.has(nodeId))
    .sort((a, b) => (rank(a) < rank(b) ? -1 : 1))
  if (waiting.length === 0) throw new KvError('UNAVAILABLE', 'no peer can be an acceptor; try again')
  const fitting = Math.min(waiting.length, MAX_ACCEPTORS)
  const count = fitting % 2 === 1 ? fitting : fitting - 1
  const seats = new Map<string, number>()
  const elected: Acceptor[] = []
  while (elected.length < count) {
    const seatsOf = (acceptor: Acceptor): number => seats.get(zones.get(acceptor.nodeId) as string) ?? 0
    const fewest = Math.min(...waiting.map(seatsOf))
    const index = waiting.findIndex((acceptor) => seatsOf(acceptor) === fewest)
    const [acceptor] = waiting.splice(index, 1)
    const chosen = present(acceptor, 'somebody waits')
    elected.push(chosen)
    seats.set(zones.get(chosen.nodeId) as string, seatsOf(chosen) + 1)
  }
  return elected.sort((a, b) => (a.nodeId < b.nodeId ? -1 : 1))
}

function next(configuration: Configuration, nowMs: number, change: Partial<Configuration>): Configuration {
  const reason = (change.reason ?? configuration.reason).slice(0, MAX_REASON_LENGTH)
  const number = configuration.number + 1
  return sound({ ...configuration, ...change, number, reason, decidedAtMs: Math.floor(nowMs) })
}

function sound(configuration: Configuration): Configuration {
  const flaw = findFlaw(configuration)
  assert(flaw === null, `a transition gives a sound configuration, but ${flaw}`)
  return configuration
}

function checkMember(member: Member): void {
  const flaw = findMemberOptionFlaw(member)
  if (flaw !== null) throw new KvError('INVALID_ARGUMENT', flaw)
}

/** What one has and the other does not, in words. Replicas mean nothing where every peer has everything. */
export function keyspaceDifferences(has: KeyspaceOptions, wanted: KeyspaceOptions): string[] {
  const names = ['strategy', 'replicas', 'conflicts', 'quorum', 'r', 'w', 'durability'] as const
  const isFull = has.strategy === 'full' || wanted.strategy === 'full'
  return names
    .filter((name) => has[name] !== wanted[name] && !(name === 'replicas' && isFull))
    .map((name) => `${name} is ${has[name]}, not ${wanted[name]}`)
}
