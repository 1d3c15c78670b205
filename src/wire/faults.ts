/**
 * Simulated failures of running peers: what can be asked for, and how it is told, over HTTP and by `kvctl
 * fault`. Every peer that a failure touches is sent the same command and does its own part of it, so that it
 * works between peers that do not reach each other any more.
 */
import { unreachable } from '../base/assert.ts'
import { KvError } from '../base/error.ts'
import { type Address, type NodeId, splitAddress } from '../base/ids.ts'
import { MAX_MEMBERS } from '../protocol/configuration.ts'

export const MAX_FAULT_DELAY_MS = 60_000

/** Names of peers in it are ports, addresses, ids or the beginnings of ids. */
export type FaultCommand =
  /**
   * No two peers of distinct groups reach each other, those of one group do. Peers in no group stay as they
   * are.
   */
  | { readonly fault: 'partition'; readonly groups: readonly (readonly string[])[] }
  /** It and the others do not reach each other. */
  | { readonly fault: 'isolate'; readonly peer: string }
  /** What `from` sends to `to` is lost; what comes back arrives. */
  | { readonly fault: 'one-way'; readonly from: string; readonly to: string }
  /** Of the frames between the two, either way. 0: none. */
  | { readonly fault: 'drop'; readonly between: readonly [string, string]; readonly percent: number }
  /** Frames between the two take so much longer, either way. 0: no longer. */
  | { readonly fault: 'delay'; readonly between: readonly [string, string]; readonly delayMs: number }
  /** It refuses peers and clients as if it were gone. */
  | { readonly fault: 'fail'; readonly peer: string }
  /** Ends `fail`: it finds its cluster again, compares what it holds, and then serves. */
  | { readonly fault: 'recover'; readonly peer: string }
  /** Ends everything. */
  | { readonly fault: 'heal' }

export interface PeerPlace {
  readonly nodeId: NodeId
  readonly address: Address
}

/** `recovering`: it talks to peers and does not yet serve clients. */
export type FaultState = 'up' | 'failed' | 'recovering'

export interface FaultReport extends PeerPlace {
  readonly state: FaultState
  /** All members that this peer knows, itself included. */
  readonly peers: readonly PeerPlace[]
  /** What is being simulated at this peer; each is one sentence. */
  readonly faults: readonly string[]
}

/** The simulated failures of one peer. */
export interface FaultControl {
  readonly state: FaultState
  report(): FaultReport
  /**
   * Does this peer's part. @throws INVALID_ARGUMENT: it names a peer that this one does not know, or one
   * twice
   */
  apply(command: FaultCommand): FaultReport
}

const FIELDS: Readonly<Record<FaultCommand['fault'], readonly string[]>> = {
  partition: ['groups'],
  isolate: ['peer'],
  'one-way': ['from', 'to'],
  drop: ['between', 'percent'],
  delay: ['between', 'delayMs'],
  fail: ['peer'],
  recover: ['peer'],
  heal: [],
}

/** @throws INVALID_ARGUMENT */
export function parseFaultCommand(raw: unknown): FaultCommand {
  const command = fieldsOf(raw)
  const fault = faultOf(command)
  switch (fault) {
    case 'partition':
      return { fault, groups: groupsOf(command.groups) }
    case 'isolate':
    case 'fail':
    case 'recover':
      return { fault, peer: nameOf(command.peer) }
    case 'one-way':
      return { fault, from: nameOf(command.from), to: nameOf(command.to) }
    case 'drop':
      return { fault, between: pairOf(command.between), percent: numberOf(command.percent, 100, "'percent'") }
    case 'delay': {
      const delayMs = numberOf(command.delayMs, MAX_FAULT_DELAY_MS, "'delayMs'")
      return { fault, between: pairOf(command.between), delayMs }
    }
    case 'heal':
      return { fault }
    default:
      return unreachable(fault)
  }
}

/**
 * The command with the peers' ids for their names. @throws INVALID_ARGUMENT: unknown, not the only one of
 * that name, or named twice
 */
export function resolveFault(command: FaultCommand, peers: readonly PeerPlace[]): FaultCommand {
  const idOf = (name: string): NodeId => findPeer(name, peers).nodeId
  switch (command.fault) {
    case 'partition': {
      const groups = command.groups.map((group) => group.map(idOf))
      checkDistinct(groups.flat(), peers)
      return { ...command, groups }
    }
    case 'isolate':
    case 'fail':
    case 'recover':
      return { ...command, peer: idOf(command.peer) }
    case 'one-way': {
      const [from, to] = [idOf(command.from), idOf(command.to)]
      checkDistinct([from, to], peers)
      return { ...command, from, to }
    }
    case 'drop':
    case 'delay': {
      const between: readonly [NodeId, NodeId] = [idOf(command.between[0]), idOf(command.between[1])]
      checkDistinct(between, peers)
      return { ...command, between }
    }
    case 'heal':
      return command
    default:
      return unreachable(command)
  }
}

/** Who has a part in a command that was resolved among these peers. */
export function peersTouched(command: FaultCommand, peers: readonly PeerPlace[]): readonly PeerPlace[] {
  const among = (ids: readonly string[]): readonly PeerPlace[] =>
    peers.filter(({ nodeId }) => ids.includes(nodeId))
  switch (command.fault) {
    case 'partition':
      return among(command.groups.flat())
    case 'one-way':
      return among([command.from, command.to])
    case 'drop':
    case 'delay':
      return among(command.between)
    case 'fail':
    case 'recover':
      return among([command.peer])
    case 'isolate':
    case 'heal':
      return peers
    default:
      return unreachable(command)
  }
}

/** @throws INVALID_ARGUMENT */
function findPeer(name: string, peers: readonly PeerPlace[]): PeerPlace {
  const byRank: readonly ((peer: PeerPlace) => boolean)[] = [
    ({ nodeId, address }) => nodeId === name || address === name,
    ({ address }) => String(splitAddress(address).port) === name,
    ({ nodeId }) => nodeId.startsWith(name),
  ]
  for (const matches of byRank) {
    const [found, second] = peers.filter(matches)
    if (found === undefined) continue
    if (second === undefined) return found
    throw invalid(`'${name}' could be ${found.address} or ${second.address}; write the address or the id`)
  }
  const known = peers.map(({ address }) => address).join(', ')
  throw invalid(`there is no peer '${name.slice(0, 64)}'; there are ${known}`)
}

function checkDistinct(ids: readonly NodeId[], peers: readonly PeerPlace[]): void {
  const twice = ids.find((nodeId, index) => ids.indexOf(nodeId) !== index)
  if (twice === undefined) return
  throw invalid(`${peers.find(({ nodeId }) => nodeId === twice)?.address} is named twice`)
}

type Fields = Readonly<Record<string, unknown>>

function fieldsOf(raw: unknown): Fields {
  if (typeof raw === 'object' && raw !== null && !Array.isArray(raw)) return raw as Fields
  throw invalid('a fault is a JSON object, such as {"fault":"isolate","peer":"7001"}')
}

/** Which fault it is; all its fields are those of that fault. */
function faultOf(command: Fields): FaultCommand['fault'] {
  const { fault } = command
  if (typeof fault !== 'string' || !Object.hasOwn(FIELDS, fault))
    throw invalid(`'fault' is one of ${Object.keys(FIELDS).join(', ')}`)
  const known = FIELDS[fault as FaultCommand['fault']]
  const unknown = Object.keys(command).find((name) => name !== 'fault' && !known.includes(name))
  if (unknown !== undefined) throw invalid(`'${fault}' has no field '${unknown.slice(0, 64)}'`)
  return fault as FaultCommand['fault']
}

function nameOf(raw: unknown): string {
  if (typeof raw === 'string' && raw.length >= 1 && raw.length <= 300) return raw
  throw invalid('a peer is named by its port, its address, its id or the beginning of its id')
}

function groupsOf(raw: unknown): readonly (readonly string[])[] {
  const groups = listOf(raw, 'groups').map((group) => listOf(group, 'the peers of a group').map(nameOf))
  if (groups.length >= 2 && groups.every((group) => group.length > 0)) return groups
  throw invalid('a partition has two groups of peers or more, as in 7001,7002|7003')
}

function pairOf(raw: unknown): readonly [string, string] {
  const [first, second, third] = listOf(raw, "'between'").map(nameOf)
  if (first !== undefined && second !== undefined && third === undefined) return [first, second]
  throw invalid("'between' is a list of two peers")
}

function listOf(raw: unknown, what: string): readonly unknown[] {
  if (Array.isArray(raw) && raw.length <= MAX_MEMBERS) return raw
  throw invalid(`${what}: a list is missing here, or too long`)
}

function numberOf(raw: unknown, max: number, what: string): number {
  if (typeof raw === 'number' && raw >= 0 && raw <= max) return raw
  throw invalid(`${what} is a number from 0 to ${max}`)
}

function invalid(message: string): KvError {
  return new KvError('INVALID_ARGUMENT', message)
}
