/**
 * Changes of the ring that are collected first, looked at, and then applied as one.
 *
 * What is staged is part of the decided configuration: everybody sees the same list, it outlives every peer,
 * and two operators who stage at once have both staged. Staging moves no data: it is one decision, in any
 * phase.
 *
 * Invariant: what is applied is what was looked at. The plan names the number that it was made from, and
 * `applyStaged` takes nothing but the successor of that number; whatever was staged, applied or decided
 * meanwhile has made another number. From the same configuration everybody plans the same table
 * (`layout-plan.ts`).
 */
import { KvError } from '../base/error.ts'
import { firstFew } from '../base/first-few.ts'
import type { NodeId } from '../base/ids.ts'
import type { Configuration, Member, StagedChange } from './configuration.ts'
import { type Alteration, begin, checkJoin, next } from './configuration-change.ts'
import { findMemberOptionFlaw, isStageable } from './configuration-check.ts'

/**
 * Says what is to become of a peer, in place of what was staged for it before; a zone and a weight add up.
 * @returns the same configuration when that is staged already
 * @throws CONFLICT when it cannot become of this peer; INVALID_ARGUMENT
 */
export function stage(configuration: Configuration, wanted: StagedChange, nowMs: number): Configuration {
  const { nodeId } = wanted
  const before = configuration.staged.find((one) => one.nodeId === nodeId)
  const change = wanted.kind === 'alter' ? alteration(configuration, wanted, before) : wanted
  checkStaged(configuration, change)
  if (before !== undefined && isSame(before, change)) return configuration
  const others = configuration.staged.filter((one) => one.nodeId !== nodeId)
  const staged = [...others, change].sort((a, b) => (a.nodeId < b.nodeId ? -1 : 1))
  return next(configuration, nowMs, { staged, reason: `stage ${change.kind} of ${nodeId}` })
}

/**
 * Forgets what is staged for a peer; null: for all.
 * @returns the same configuration when nothing is
 */
export function unstage(configuration: Configuration, nodeId: NodeId | null, nowMs: number): Configuration {
  const staged = configuration.staged.filter((one) => nodeId !== null && one.nodeId !== nodeId)
  if (staged.length === configuration.staged.length) return configuration
  const whose = nodeId === null ? '' : ` of ${nodeId}`
  return next(configuration, nowMs, { staged, reason: `clear what was staged${whose}` })
}

/** Whether joins, leaves and removals are staged first. @returns the same configuration when it is so */
export function setManual(configuration: Configuration, isManual: boolean, nowMs: number): Configuration {
  if (configuration.isManual === isManual) return configuration
  return next(configuration, nowMs, { isManual, reason: `layout ${isManual ? 'manual' : 'automatic'}` })
}

/** What is staged, as one change. Who was left out of the change before goes too. */
export function stagedAlteration({ staged, members, excluded }: Configuration): Alteration {
  const of = (kind: StagedChange['kind']) => staged.filter((change) => change.kind === kind)
  const joins = of('join')
  const replaced = joins.flatMap(({ replaces }) => replaces ?? [])
  const dead = [...new Set([...excluded, ...of('remove').map(({ nodeId }) => nodeId), ...replaced])]
  const leaving = of('leave').flatMap(({ nodeId }) => (dead.includes(nodeId) ? [] : [nodeId]))
  const altering = of('alter').flatMap(({ nodeId, zone, weight }): Member[] => {
    const member = members.find((one) => one.nodeId === nodeId)
    if (member === undefined || dead.includes(nodeId)) return []
    return [{ nodeId, zone: zone ?? member.zone, weight: weight ?? member.weight }]
  })
  const joining = joins.map(({ nodeId, zone, weight }): Member => {
    return { nodeId, zone: zone ?? '', weight: weight ?? 1 }
  })
  return { joining, leaving: [...leaving, ...dead], dead, altering }
}

/**
 * Begins the change that is staged.
 * @param number of the configuration that was looked at
 * @throws CONFLICT when it is not that one any more, or a change is open; INVALID_ARGUMENT when nothing is
 * staged
 */
export function applyStaged(configuration: Configuration, number: number, nowMs: number): Configuration {
  if (configuration.number !== number) {
    const { reason } = configuration
    const advice = "look at 'kvctl layout plan' again, and apply the number it names"
    throw new KvError(
      'CONFLICT',
      `the layout has number ${configuration.number} (${reason}), not ${number}: ${advice}`,
    )
  }
  if (configuration.staged.length === 0) {
    throw new KvError('INVALID_ARGUMENT', "nothing is staged: 'kvctl layout stage' does that")
  }
  return { ...begin(configuration, stagedAlteration(configuration), nowMs), staged: [] }
}

/**
 * The change for which too few old owners are left goes on with what these have.
 * @returns the same configuration when that was said already @throws CONFLICT when nobody is given up
 */
export function acceptLoss(configuration: Configuration, nowMs: number): Configuration {
  const { excluded, lossAccepted } = configuration
  if (excluded.length === 0) throw new KvError('CONFLICT', 'no member is given up: nothing is lost with one')
  if (excluded.every((nodeId) => lossAccepted.includes(nodeId))) return configuration
  return next(configuration, nowMs, {
    lossAccepted: excluded,
    reason: `accept the loss of what only ${firstFew(excluded)} had`,
  })
}

/** A zone or weight, on top of what is staged. @throws CONFLICT */
function alteration(
  { members }: Configuration,
  wanted: StagedChange,
  before: StagedChange | undefined,
): StagedChange {
  const { nodeId } = wanted
  if (before?.kind === 'leave' || before?.kind === 'remove') {
    const what = before.kind === 'leave' ? 'leave' : 'be removed'
    const advice = `'kvctl layout stage clear ${nodeId}' forgets that`
    throw new KvError('CONFLICT', `peer ${nodeId} is staged to ${what}: ${advice}`)
  }
  const zone = wanted.zone ?? before?.zone ?? null
  const weight = wanted.weight ?? before?.weight ?? null
  const isJoining = before?.kind === 'join' && !members.some((member) => member.nodeId === nodeId)
  return isJoining ? { ...before, zone, weight } : { ...wanted, zone, weight }
}

/** @throws CONFLICT, INVALID_ARGUMENT */
function checkStaged(configuration: Configuration, change: StagedChange): void {
  const { nodeId, kind, zone, weight, replaces } = change
  const member: Member = { nodeId, zone: zone ?? '', weight: weight ?? 1 }
  const flaw = findMemberOptionFlaw(member)
  if (flaw !== null) throw new KvError('INVALID_ARGUMENT', flaw)
  if (kind === 'join') checkJoin(configuration, member)
  if (isStageable(configuration, change)) return
  const who = kind === 'join' ? replaces : nodeId
  throw new KvError('CONFLICT', `peer ${who} is not a member of this cluster`)
}

function isSame(a: StagedChange, b: StagedChange): boolean {
  return a.kind === b.kind && a.zone === b.zone && a.weight === b.weight && a.replaces === b.replaces
}
