/**
 * What can be asked of the layout of the ring, and told of it: the words of `kvctl layout` and `/v1/layout`.
 */
import { KvError } from '../base/error.ts'
import { ZONE, ZONE_RULE } from '../base/zone.ts'
import type { Phase, STAGED_KINDS } from '../protocol/configuration.ts'
import { MAX_WEIGHT } from '../protocol/configuration-check.ts'

/**
 * `join`, `leave`, `remove`, `weight`, `zone`, `replace`: stage that of a peer. `clear`: forget what is
 * staged of a peer, or all of it. `apply`: begin what is staged. `acceptLoss`: let the open change go on with
 * what is left. `manual`, `automatic`: whether joins, leaves and removals are staged.
 */
export const LAYOUT_ACTIONS = [
  'join',
  'leave',
  'remove',
  'weight',
  'zone',
  'replace',
  'clear',
  'apply',
  'acceptLoss',
  'manual',
  'automatic',
] as const
export type LayoutAction = (typeof LAYOUT_ACTIONS)[number]

export const STAGE_ACTIONS = ['join', 'leave', 'remove', 'weight', 'zone', 'replace', 'clear'] as const

/** Address or id of a peer. */
export const MAX_PEER_NAME = 300

export interface LayoutChange {
  readonly action: LayoutAction
  /** Address or id; of `replace` the new one. Null for what is about no peer, and to clear everything. */
  readonly peer: string | null
  /** Of `replace`: the member that is down for good. */
  readonly replaces: string | null
  readonly weight: number | null
  readonly zone: string | null
  /** Of `apply`: that of the layout which was looked at. */
  readonly number: number | null
  /** Of `apply`: what only peers have that are removed with it is given up. */
  readonly acceptLoss: boolean
}

export interface ShownStagedChange {
  readonly peer: string
  readonly peerAddress: string
  readonly kind: (typeof STAGED_KINDS)[number]
  /** Null: as it is. */
  readonly zone: string | null
  readonly weight: number | null
  readonly replaces: string | null
  readonly replacesAddress: string | null
}

export interface LayoutMember {
  readonly peer: string
  readonly peerAddress: string
  readonly zone: string
  readonly weight: number
  /** Of all keyspaces, under the layout that the cluster has or is moving to. */
  readonly partitions: number
}

export interface LayoutDecision {
  readonly number: number
  /** What changed; peers by their addresses where they are known, otherwise by their ids. */
  readonly reason: string
  /** Who proposed it: address, or id. */
  readonly decidedBy: string
  /** By the clock of that peer, ms. */
  readonly decidedAtMs: number
}

export interface LayoutInfo {
  readonly number: number
  readonly phase: Phase
  readonly manual: boolean
  readonly partitionCount: number
  readonly members: readonly LayoutMember[]
  readonly staged: readonly ShownStagedChange[]
  /** The newest first. */
  readonly history: readonly LayoutDecision[]
}

export interface PlannedPeer extends LayoutMember {
  /** Before and, as `partitions`, after the change. */
  readonly before: number
  readonly given: number
  readonly received: number
  /** Of what it receives, about. */
  readonly bytes: number
  /** Its fair part of all partitions, and the most that it may get. */
  readonly fair: number
  readonly most: number
}

export interface LayoutPlanInfo {
  /** To be applied under. */
  readonly number: number
  readonly staged: readonly ShownStagedChange[]
  readonly peers: readonly PlannedPeer[]
  /** Copies of partitions that are streamed, and the fewest that would do. */
  readonly moves: number
  readonly idealMoves: number
  readonly bytes: number
  /** Addresses of members that did not say how much they hold: `bytes` may be too small. */
  readonly silent: readonly string[]
}

type Given = Readonly<Record<string, unknown>>

const EMPTY: Omit<LayoutChange, 'action'> = {
  peer: null,
  replaces: null,
  weight: null,
  zone: null,
  number: null,
  acceptLoss: false,
}
/** What each action needs. */
const NEEDED: Readonly<Record<LayoutAction, readonly (keyof typeof EMPTY)[]>> = {
  join: ['peer'],
  leave: ['peer'],
  remove: ['peer'],
  weight: ['peer', 'weight'],
  zone: ['peer', 'zone'],
  replace: ['peer', 'replaces'],
  clear: [],
  apply: ['number'],
  acceptLoss: [],
  manual: [],
  automatic: [],
}

/** What some can do without. */
const ALLOWED: Partial<Record<LayoutAction, readonly (keyof typeof EMPTY)[]>> = {
  clear: ['peer'],
  apply: ['acceptLoss'],
}

/** What was handed over, complete. @throws INVALID_ARGUMENT */
export function parseLayoutChange(given: unknown): LayoutChange {
  if (typeof given !== 'object' || given === null || Array.isArray(given)) {
    throw invalid('a change of the layout is an object with an action')
  }
  const { action } = given as Given
  if (!LAYOUT_ACTIONS.some((one) => one === action)) {
    throw invalid(`action is one of ${LAYOUT_ACTIONS.join(', ')}`)
  }
  const words = presentWords(given as Given)
  const needed = NEEDED[action as LayoutAction]
  const allowed: readonly string[] = [...needed, ...(ALLOWED[action as LayoutAction] ?? [])]
  for (const name of needed) if (!(name in words)) throw invalid(`${String(action)} needs ${name}`)
  for (const name of Object.keys(words)) {
    if (!allowed.includes(name)) throw invalid(`${String(action)} takes no ${name.slice(0, 64)}`)
  }
  return { ...EMPTY, ...checkWords(words), action: action as LayoutAction }
}

function presentWords(given: Given): Given {
  const entries = Object.entries(given).filter(([name, value]) => {
    const isDefault = value === undefined || value === null || (name === 'acceptLoss' && value === false)
    return name !== 'action' && !isDefault
  })
  return Object.fromEntries(entries)
}

function checkWords(words: Given): Partial<LayoutChange> {
  const { peer, replaces, weight, zone, number, acceptLoss } = words
  for (const [name, value] of [['peer', peer] as const, ['replaces', replaces] as const]) {
    if (value === undefined) continue
    const isName = typeof value === 'string' && value.length > 0 && value.length <= MAX_PEER_NAME
    if (!isName) throw invalid(`${name} is the address or id of a peer`)
  }
  if (weight !== undefined && !isWhole(weight, 1, MAX_WEIGHT)) {
    throw invalid(`a weight is a whole number from 1 to ${MAX_WEIGHT}`)
  }
  if (zone !== undefined && !(typeof zone === 'string' && ZONE.test(zone))) {
    throw invalid(`a zone is ${ZONE_RULE}; '' for none`)
  }
  if (number !== undefined && !isWhole(number, 1, Number.MAX_SAFE_INTEGER)) {
    throw invalid("number is that of the layout which 'kvctl layout plan' named")
  }
  if (acceptLoss !== undefined && acceptLoss !== true) throw invalid('acceptLoss is true or false')
  return words as Partial<LayoutChange>
}

function isWhole(value: unknown, min: number, max: number): boolean {
  return Number.isInteger(value) && (value as number) >= min && (value as number) <= max
}

function invalid(message: string): KvError {
  return new KvError('INVALID_ARGUMENT', message)
}
