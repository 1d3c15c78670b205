/**
 * How one configuration follows from another. Each function takes a decided configuration and gives the value
 * to propose for the next number; the Synod (`synod.ts`) decides which proposal becomes it.
 *
 * A change of the ring is three of them, begin, switch and finish; what has to be true before each is in
 * `ring-change.ts`, and it is for the proposer to see to.
 *
 * Invariant. Between two successive numbers either the layouts that take writes share one, or the set that
 * reads use stays; a peer that was removed never comes back; a keyspace id never names two keyspaces.
 */
import { assert, present } from '../base/assert.ts'
import { KvError } from '../base/error.ts'
import { firstFew } from '../base/first-few.ts'
import type { ClusterId, KeyspaceId, NodeId, StoreId } from '../base/ids.ts'
import {
  type Acceptor,
  type AlteredKeyspace,
  alteredKeyspace,
  type Configuration,
  DEFAULT_KEYSPACE_OPTIONS,
  type Keyspace,
  type KeyspaceOptions,
  MAX_ACCEPTORS,
  MAX_HISTORY,
  MAX_KEYSPACES,
  MAX_MEMBERS,
  type Member,
  targetLayout,
} from './configuration.ts'
import {
  findFlaw,
  findKeyspaceOptionFlaw,
  findMemberOptionFlaw,
  isStageable,
  MAX_REASON_LENGTH,
} from './configuration-check.ts'
import { planLayout } from './layout-plan.ts'

const DEFAULT_KEYSPACE_NAME = 'default'
const MAX_NAMES = 3

/** Number 1: what a new cluster starts with. It is not voted on, because its one member is all there is. */
export function firstConfiguration(founder: {
  readonly clusterId: ClusterId
  readonly member: Member
  readonly acceptorId: string
  readonly partitionCount: number
  /** Changes of the ring are staged until they are applied. */
  readonly isManual?: boolean
  readonly nowMs: number
}): Configuration {
  const { clusterId, member, acceptorId, partitionCount, isManual = false, nowMs } = founder
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
    phaseNumber: 1,
    altered: [],
    changeNumber: 1,
    isManual,
    staged: [],
    lossAccepted: [],
    reason: 'create',
    decidedBy: member.nodeId,
    decidedAtMs: Math.floor(nowMs),
    history: [],
  })
}

/** What a change of the ring is to bring; what is left out stays. */
export interface Alteration {
  readonly joining?: readonly Member[]
  /** They hand over what they own and are no members afterwards. */
  readonly leaving?: readonly NodeId[]
  /** They leave too, but nobody waits for them, and they hand over nothing. */
  readonly dead?: readonly NodeId[]
  /** Members as they are to be: another zone, another weight. */
  readonly altering?: readonly Member[]
  /** Strategies and numbers of replicas. */
  readonly keyspaces?: readonly AlteredKeyspace[]
}

/**
 * Opens a change of the ring. Who is excluded goes with it.
 * @throws CONFLICT when a change is open, a peer is a member already, was removed, or is none;
 * INVALID_ARGUMENT
 */
export function begin(configuration: Configuration, alteration: Alteration, nowMs: number): Configuration {
  if (configuration.phase !== 'stable') {
    const which = describeOpenChange(configuration)
    throw new KvError(
      'CONFLICT',
      `a change of the ring is open (${which}); it has to finish first: see 'kvctl status'`,
    )
  }
  const { joining = [], altering = [], keyspaces = [] } = alteration
  const dead = union(configuration.excluded, alteration.dead ?? [])
  const leaving = union(alteration.leaving ?? [], dead)
  if (joining.length + leaving.length + altering.length + keyspaces.length === 0) {
    throw new KvError('INVALID_ARGUMENT', 'there is nothing to change')
  }
  const members = withMembers(configuration, joining).map((member) => {
    return altering.find(({ nodeId }) => nodeId === member.nodeId) ?? member
  })
  altering.forEach(checkMember)
  for (const nodeId of leaving) checkLeave(configuration, nodeId)
  for (const altered of keyspaces) checkAltered(configuration, altered)
  const [previous] = configuration.layouts
  const { partitionCount } = configuration
  const staying = members.filter(({ nodeId }) => !leaving.includes(nodeId))
  if (staying.length === 0) throw new KvError('INVALID_ARGUMENT', 'the last peer cannot leave')
  return next(configuration, nowMs, {
    phase: 'begun',
    phaseNumber: configuration.number + 1,
    changeNumber: configuration.number + 1,
    members,
    excluded: dead,
    layouts: [previous, planLayout({ members: staying, previous, partitionCount })],
    altered: keyspaces.toSorted((a, b) => a.id - b.id),
    reason: `begin ${describe(configuration, { joining, leaving, dead, altering, keyspaces })}`,
  })
}

/** What began it, which other decisions may have followed; peers by their ids. */
function describeOpenChange({ number, reason, changeNumber, history }: Configuration): string {
  const began = [...history, { number, reason }].find((past) => past.number === changeNumber)
  return began?.reason.replace(/^begin /, '') ?? `number ${changeNumber}`
}

function union(some: readonly NodeId[], more: readonly NodeId[]): readonly NodeId[] {
  return [...new Set([...some, ...more])].sort()
}

function describe(configuration: Configuration, alteration: Required<Alteration>): string {
  const { joining, leaving, dead, altering, keyspaces } = alteration
  const parts: string[] = []
  const add = (what: string, nodeIds: readonly NodeId[]): void => {
    if (nodeIds.length > 0) parts.push(`${what} of ${firstFew(nodeIds)}`)
  }
  add(
    'join',
    joining.map(({ nodeId }) => nodeId),
  )
  add(
    'leave',
    leaving.filter((nodeId) => !dead.includes(nodeId)),
  )
  add('removal', dead)
  add(
    'alteration',
    altering.map(({ nodeId }) => nodeId),
  )
  for (const { id, strategy, replicas } of keyspaces.slice(0, MAX_NAMES)) {
    const keyspace = configuration.keyspaces.find((one) => one.id === id)
    const shape = strategy === 'full' ? 'a copy on every peer' : `${replicas} replicas`
    parts.push(`alteration of keyspace ${keyspace?.name} to ${shape}`)
  }
  return parts.join(', ')
}

/** @throws CONFLICT, INVALID_ARGUMENT */
function withMembers(configuration: Configuration, joining: readonly Member[]): readonly Member[] {
  for (const member of joining) checkJoin(configuration, member)
  const members = [...configuration.members, ...joining].sort((a, b) => (a.nodeId < b.nodeId ? -1 : 1))
  if (members.length > MAX_MEMBERS) {
    throw new KvError('CONFLICT', `a cluster has at most ${MAX_MEMBERS} members`)
  }
  const isTwice = members.some((member, i) => member.nodeId === members[i - 1]?.nodeId)
  if (isTwice) throw new KvError('INVALID_ARGUMENT', 'a peer cannot join twice')
  return members
}

function checkLeave(configuration: Configuration, nodeId: NodeId): void {
  if (configuration.members.some((member) => member.nodeId === nodeId)) return
  throw new KvError('CONFLICT', `peer ${nodeId} is not a member of this cluster`)
}

function checkAltered(configuration: Configuration, { id, ...shape }: AlteredKeyspace): void {
  const keyspace = requireKeyspace(configuration, id)
  const flaw = findKeyspaceOptionFlaw({ ...keyspace, ...shape })
  if (flaw !== null) throw new KvError('INVALID_ARGUMENT', flaw)
}

/** @throws NOT_FOUND */
export function requireKeyspace({ keyspaces }: Configuration, id: KeyspaceId): Keyspace {
  const keyspace = keyspaces.find((one) => one.id === id)
  if (keyspace !== undefined) return keyspace
  throw new KvError('NOT_FOUND', 'the keyspace was dropped meanwhile')
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
  if (configuration.members.length >= MAX_MEMBERS) {
    throw new KvError('CONFLICT', `a cluster has at most ${MAX_MEMBERS} members`)
  }
}

/**
 * The open change goes on without the excluded peers as owners, in *begun* again (`ring-change.ts` says why
 * that can be after the switch). One that was to join never will. When nobody is left of those it was to go
 * to, who was to leave stays.
 * @throws CONFLICT when there is no change
 */
export function retarget(configuration: Configuration, nowMs: number): Configuration {
  const { partitionCount, layouts, phase, excluded, lossAccepted } = configuration
  if (phase === 'stable') throw new KvError('CONFLICT', 'no change of the ring is open')
  const [previous] = layouts
  const wasOwner = (nodeId: NodeId): boolean => previous.members.includes(nodeId)
  const isLeft = (nodeId: NodeId): boolean => !excluded.includes(nodeId)
  const members = configuration.members.filter(({ nodeId }) => wasOwner(nodeId) || isLeft(nodeId))
  const targets = targetLayout(configuration).members.filter(isLeft)
  const wanted = targets.length > 0 ? targets : previous.members.filter(isLeft)
  const staying = members.filter(({ nodeId }) => wanted.includes(nodeId))
  assert(staying.length > 0, 'somebody asks for it')
  const given = targetLayout(configuration).members.filter((nodeId) => !isLeft(nodeId))
  return next(configuration, nowMs, {
    phase: 'begun',
    phaseNumber: configuration.number + 1,
    members,
    excluded: excluded.filter(wasOwner),
    lossAccepted: lossAccepted.filter(wasOwner),
    removed: [...configuration.removed, ...excluded.filter((nodeId) => !wasOwner(nodeId))].sort(),
    layouts: [previous, planLayout({ members: staying, previous, partitionCount })],
    reason: `retarget without ${firstFew(given)}`,
  })
}

/**
 * Nobody waits for this member any more, in any phase. Who owns what stays as it is; that it is no owner is
 * for the next change, or a `retarget` of the open one. Who votes in its place: `acceptor-seats.ts`.
 * @returns the same configuration when nobody does
 * @throws CONFLICT when it is no member, or the last that somebody waits for
 */
export function exclude(configuration: Configuration, nodeId: NodeId, nowMs: number): Configuration {
  checkLeave(configuration, nodeId)
  if (configuration.excluded.includes(nodeId)) return configuration
  const excluded = union(configuration.excluded, [nodeId])
  if (excluded.length === configuration.members.length) {
    throw new KvError('CONFLICT', `peer ${nodeId} is the last member that is not given up`)
  }
  return next(configuration, nowMs, { excluded, reason: `exclude ${nodeId}` })
}

/**
 * From now on reads need both layouts. @throws CONFLICT when no change is open or reads were switched already
 */
export function switchOver(configuration: Configuration, nowMs: number): Configuration {
  if (configuration.phase !== 'begun') {
    throw new KvError('CONFLICT', `there is nothing to switch in phase ${configuration.phase}`)
  }
  const phaseNumber = configuration.number + 1
  return next(configuration, nowMs, { phase: 'switched', phaseNumber, reason: 'switch' })
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
  const layout = targetLayout(configuration)
  const isStaying = (nodeId: NodeId): boolean => layout.members.includes(nodeId)
  const members = configuration.members.filter(({ nodeId }) => isStaying(nodeId))
  const gone = configuration.members.flatMap(({ nodeId }) => (isStaying(nodeId) ? [] : [nodeId]))
  return next(configuration, nowMs, {
    phase: 'stable',
    phaseNumber: configuration.number + 1,
    members,
    excluded: configuration.excluded.filter(isStaying),
    removed: [...configuration.removed, ...gone].sort(),
    acceptors: electAcceptors(members, electable, configuration.acceptors),
    keyspaces: configuration.keyspaces.map((keyspace) => alteredKeyspace(configuration, keyspace)),
    altered: [],
    lossAccepted: configuration.lossAccepted.filter(isStaying),
    layouts: [layout],
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
 * How many owners have to answer requests that do not say it, and whether others stand in for them. It moves
 * no data, so this is one decision in any phase.
 * @returns the same configuration when it is so already
 * @throws NOT_FOUND; INVALID_ARGUMENT when there are not so many owners, or will not be after an open change
 */
export function alterLevels(
  configuration: Configuration,
  id: KeyspaceId,
  levels: Partial<Pick<KeyspaceOptions, 'quorum' | 'r' | 'w'>>,
  nowMs: number,
): Configuration {
  const before = requireKeyspace(configuration, id)
  const after: Keyspace = { ...before, ...levels }
  if (keyspaceDifferences(before, after).length === 0) return configuration
  for (const keyspace of [after, alteredKeyspace(configuration, after)]) {
    const flaw = findKeyspaceOptionFlaw(keyspace)
    if (flaw !== null) throw new KvError('INVALID_ARGUMENT', flaw)
  }
  const keyspaces = configuration.keyspaces.map((keyspace) => (keyspace === before ? after : keyspace))
  return next(configuration, nowMs, { keyspaces, reason: `alter keyspace ${before.name}` })
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
  const altered = configuration.altered.filter((keyspace) => keyspace.id !== id)
  return next(configuration, nowMs, { keyspaces, altered, reason: `drop keyspace ${name}` })
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

/**
 * What is staged of peers that it can no more become of is dropped. Who proposes it is for the proposer to
 * say.
 */
export function next(
  configuration: Configuration,
  nowMs: number,
  change: Partial<Configuration>,
): Configuration {
  const { number, reason, decidedBy, decidedAtMs } = configuration
  const history = [...configuration.history, { number, reason, decidedBy, decidedAtMs }].slice(-MAX_HISTORY)
  const successor = { ...configuration, ...change, number: number + 1, history }
  return sound({
    ...successor,
    staged: successor.staged.filter((staged) => isStageable(successor, staged)),
    reason: successor.reason.slice(0, MAX_REASON_LENGTH),
    decidedAtMs: Math.floor(nowMs),
  })
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
