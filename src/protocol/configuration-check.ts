/**
 * What holds of every configuration, whoever made it. Transitions assert it of what they return; the codec
 * demands it of what arrives, so that nothing behind the codec needs to doubt a table.
 */
import type { NodeId } from '../base/ids.ts'
import { ZONE, ZONE_RULE } from '../base/zone.ts'
import {
  type Configuration,
  type Keyspace,
  type Layout,
  type Level,
  MAX_ACCEPTORS,
  MAX_HISTORY,
  MAX_KEYSPACES,
  MAX_MEMBERS,
  MAX_REPLICAS,
  type Member,
  type StagedChange,
} from './configuration.ts'

export const MAX_PARTITION_COUNT = 65_536
export const MAX_WEIGHT = 1000
/** Removed peers are remembered for ever, up to this many. */
export const MAX_REMOVED = 65_536
export const MAX_ZONE_LENGTH = 64
export const MAX_REASON_LENGTH = 256
const KEYSPACE_NAME = /^[A-Za-z0-9_.-]{1,64}$/

/** Null when the configuration is sound, otherwise what is wrong with it. */
export function findFlaw(configuration: Configuration): string | null {
  return (
    findNumberFlaw(configuration) ??
    findMemberFlaw(configuration) ??
    findAcceptorFlaw(configuration) ??
    findKeyspaceFlaw(configuration) ??
    findLayoutsFlaw(configuration) ??
    findStagedFlaw(configuration) ??
    findHistoryFlaw(configuration)
  )
}

/**
 * Null when the keyspace is sound by itself, otherwise what is wrong, in words for the one who asked for it.
 */
export function findKeyspaceOptionFlaw(keyspace: Omit<Keyspace, 'id'>): string | null {
  const { name, strategy, replicas } = keyspace
  if (!KEYSPACE_NAME.test(name)) return 'a keyspace name is 1 to 64 characters of A-Z a-z 0-9 _ . -'
  if (!Number.isInteger(replicas) || replicas < 1 || replicas > MAX_REPLICAS) {
    return `the number of replicas is 1 to ${MAX_REPLICAS}; for a copy on every peer use the strategy full`
  }
  const levelMax = strategy === 'full' ? MAX_MEMBERS : replicas
  for (const [letter, level] of [['r', keyspace.r] as const, ['w', keyspace.w] as const]) {
    if (!isLevel(level, levelMax)) return `${letter} is one, quorum, all or a number from 1 to ${levelMax}`
  }
  return null
}

/** Null when the member is sound by itself, otherwise what is wrong, in words for the operator. */
export function findMemberOptionFlaw({ zone, weight }: Member): string | null {
  if (!Number.isInteger(weight) || weight < 1 || weight > MAX_WEIGHT) {
    return `a weight is a whole number from 1 to ${MAX_WEIGHT}`
  }
  return ZONE.test(zone) ? null : `a zone is ${ZONE_RULE}; '' for none`
}

/** Whether that can become of this peer: it is a member, or may be one. */
export function isStageable(
  { members, removed }: Pick<Configuration, 'members' | 'removed'>,
  { nodeId, kind, replaces }: StagedChange,
): boolean {
  const isMember = (id: NodeId): boolean => members.some((member) => member.nodeId === id)
  if (kind !== 'join') return isMember(nodeId)
  return !isMember(nodeId) && !removed.includes(nodeId) && (replaces === null || isMember(replaces))
}

function isLevel(level: Level, max: number): boolean {
  return typeof level !== 'number' || (Number.isInteger(level) && level >= 1 && level <= max)
}

function findNumberFlaw(configuration: Configuration): string | null {
  const { number, phaseNumber, changeNumber, partitionCount, phase, layouts } = configuration
  if (!Number.isSafeInteger(number) || number < 1) return 'its number is below 1'
  if (!Number.isInteger(phaseNumber) || phaseNumber < 1 || phaseNumber > number) {
    return 'its phase did not come with a number up to its own'
  }
  if (!Number.isInteger(changeNumber) || changeNumber < 1 || changeNumber > number) {
    return 'its change did not begin with a number up to its own'
  }
  const isPowerOfTwo = Number.isInteger(partitionCount) && (partitionCount & (partitionCount - 1)) === 0
  if (!isPowerOfTwo || partitionCount < 1 || partitionCount > MAX_PARTITION_COUNT) {
    return `its partition count is not a power of two up to ${MAX_PARTITION_COUNT}`
  }
  if (layouts.length !== (phase === 'stable' ? 1 : 2)) return 'its layouts do not fit its phase'
  return null
}

function findMemberFlaw({ members, excluded, removed, lossAccepted }: Configuration): string | null {
  if (members.length < 1 || members.length > MAX_MEMBERS) return `it has not 1 to ${MAX_MEMBERS} members`
  if (!isAscending(members.map((member) => member.nodeId))) return 'its members are out of order'
  for (const member of members) {
    const flaw = findMemberOptionFlaw(member)
    if (flaw !== null) return flaw
  }
  if (removed.length > MAX_REMOVED) return `it has more than ${MAX_REMOVED} removed peers`
  const memberIds = new Set(members.map((member) => member.nodeId))
  if (!isAscending(excluded) || !isAscending(removed)) return 'its excluded or removed peers are out of order'
  if (!excluded.every((nodeId) => memberIds.has(nodeId))) return 'an excluded peer is not a member'
  if (removed.some((nodeId) => memberIds.has(nodeId))) return 'a removed peer is a member'
  const isExcluded = (nodeId: NodeId): boolean => excluded.includes(nodeId)
  if (!isAscending(lossAccepted) || !lossAccepted.every(isExcluded)) {
    return 'a loss is accepted that nobody suffers'
  }
  return null
}

function findAcceptorFlaw({ acceptors, members }: Configuration): string | null {
  if (acceptors.length % 2 !== 1 || acceptors.length > MAX_ACCEPTORS) {
    return `the number of its acceptors is not odd and up to ${MAX_ACCEPTORS}`
  }
  if (!isAscending(acceptors.map((acceptor) => acceptor.nodeId))) return 'its acceptors are out of order'
  const memberIds = new Set(members.map((member) => member.nodeId))
  return acceptors.every(({ nodeId }) => memberIds.has(nodeId)) ? null : 'an acceptor is not a member'
}

function findKeyspaceFlaw(configuration: Configuration): string | null {
  const { keyspaces, nextKeyspaceId } = configuration
  if (keyspaces.length > MAX_KEYSPACES) return `it has more than ${MAX_KEYSPACES} keyspaces`
  let previousId = 0
  for (const keyspace of keyspaces) {
    if (keyspace.id <= previousId) return 'its keyspaces are out of order'
    previousId = keyspace.id
    const flaw = findKeyspaceOptionFlaw(keyspace)
    if (flaw !== null) return flaw
  }
  if (nextKeyspaceId <= previousId) return 'its next keyspace id is in use'
  const names = new Set(keyspaces.map((keyspace) => keyspace.name))
  if (names.size !== keyspaces.length) return 'two of its keyspaces have one name'
  return findAlterationFlaw(configuration)
}

function findAlterationFlaw({ phase, keyspaces, altered }: Configuration): string | null {
  if (phase === 'stable' && altered.length > 0) return 'it alters keyspaces and no change is open'
  let previousId = 0
  for (const { id, ...shape } of altered) {
    if (id <= previousId) return 'its altered keyspaces are out of order'
    previousId = id
    const keyspace = keyspaces.find((one) => one.id === id)
    if (keyspace === undefined) return 'it alters a keyspace that it does not have'
    const flaw = findKeyspaceOptionFlaw({ ...keyspace, ...shape, r: 'one', w: 'one' })
    if (flaw !== null) return flaw
  }
  return null
}

function findLayoutsFlaw({ layouts, members, partitionCount }: Configuration): string | null {
  const memberIds = new Set(members.map((member) => member.nodeId))
  const used = new Set<NodeId>()
  for (const layout of layouts) {
    const flaw = findLayoutFlaw(layout, partitionCount)
    if (flaw !== null) return flaw
    for (const nodeId of layout.members) used.add(nodeId)
  }
  for (const nodeId of used) if (!memberIds.has(nodeId)) return 'a layout has a peer that is not a member'
  return used.size === memberIds.size ? null : 'a member is in no layout'
}

function findLayoutFlaw({ members, depth, rows }: Layout, partitionCount: number): string | null {
  if (members.length < 1 || new Set(members).size !== members.length) return 'a layout names a peer twice'
  if (depth !== Math.min(members.length, MAX_REPLICAS)) return 'a layout has a wrong depth'
  if (rows.length !== 2 * partitionCount * depth) return 'a layout has too few or too many rows'
  for (let start = 0; start < rows.length; start += 2 * depth) {
    for (let i = start; i < start + 2 * depth; i += 2) {
      const position = positionAt(rows, i)
      if (position >= members.length) return 'a layout row points beyond its members'
      for (let j = start; j < i; j += 2) {
        if (positionAt(rows, j) === position) return 'a layout row names a peer twice'
      }
    }
  }
  return null
}

function findStagedFlaw(configuration: Configuration): string | null {
  const { staged } = configuration
  if (staged.length > MAX_MEMBERS) return `more than ${MAX_MEMBERS} changes are staged`
  if (!isAscending(staged.map(({ nodeId }) => nodeId))) return 'its staged changes are out of order'
  for (const change of staged) {
    const { nodeId, kind, zone, weight, replaces } = change
    if (!isStageable(configuration, change)) return 'it stages what cannot become of a peer'
    const flaw = findMemberOptionFlaw({ nodeId, zone: zone ?? '', weight: weight ?? 1 })
    if (flaw !== null) return flaw
    const given = [zone, weight].filter((value) => value !== null).length
    const isWhole = kind === 'join' ? given === 2 : kind === 'alter' ? given > 0 : given === 0
    if (!isWhole || (replaces !== null && kind !== 'join'))
      return 'a staged change says too much or too little'
  }
  return null
}

function findHistoryFlaw({ history, number }: Configuration): string | null {
  if (history.length > MAX_HISTORY) return `it remembers more than ${MAX_HISTORY} decisions`
  const isWhole = history.every((past, i) => past.number === number - history.length + i)
  return isWhole ? null : 'its history has a gap'
}

function positionAt(rows: Uint8Array, offset: number): number {
  return ((rows[offset] as number) << 8) | (rows[offset + 1] as number)
}

function isAscending(names: readonly string[]): boolean {
  return names.every((name, i) => i === 0 || (names[i - 1] as string) < name)
}
