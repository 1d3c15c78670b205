/** What `status`, `hints`, `ring`, `leave` and `remove` do and print. */

import type { Phase } from '../../protocol/configuration.ts'
import type { LayoutInfo } from '../../wire/layout.ts'
import type { ClusterStatus, KvService, PeerStatus, RingChangeStatus, RingInfo } from '../../wire/requests.ts'
import { colors, formatBytes, formatCount, formatDuration, printJson, renderTable } from '../terminal.ts'
import { parseKey } from './input.ts'
import { LOSS_HINT } from './layout-actions.ts'
import { fewOwners, warn } from './ring-warnings.ts'

const STAGED = "'kvctl layout plan' shows what that brings, 'kvctl layout apply' begins it"

export async function showStatus(service: KvService, json: boolean): Promise<void> {
  const status = await service.status()
  if (json) printJson(status)
  else process.stdout.write(await renderStatus(status, await service.layout()))
}

/** Null: nothing waits to be applied, and nothing will. */
function renderWaiting({ staged, manual }: Pick<LayoutInfo, 'staged' | 'manual'>): string | null {
  const { length } = staged
  const waits = `${length} change${length === 1 ? '' : 's'} staged ('kvctl layout plan')`
  const mode = "the layout is manual: nothing moves until 'kvctl layout apply'"
  if (length > 0) return manual ? `${waits}; ${mode}` : waits
  return manual ? mode : null
}

async function renderStatus(status: ClusterStatus, layout: LayoutInfo): Promise<string> {
  const { bold, dim, green, red, yellow } = colors(process.stdout)
  const paint = (state: PeerStatus['state']): string =>
    state === 'UN' ? green(state) : state.startsWith('D') ? red(state) : yellow(state)
  const columns = [
    { title: bold('state') },
    { title: bold('address') },
    { title: bold('zone') },
    { title: bold('share'), align: 'right' },
    { title: bold('keys'), align: 'right' },
    { title: bold('size'), align: 'right' },
    { title: bold('hints'), align: 'right' },
    { title: bold('heartbeat'), align: 'right' },
    { title: bold('version') },
    { title: bold('id') },
  ] as const
  const rows = [...status.peers]
    .sort((a, b) => a.address.localeCompare(b.address, 'en', { numeric: true }))
    .map((peer) => [
      paint(peer.state),
      peer.address,
      peer.zone === '' ? '-' : peer.zone,
      `${(peer.share * 100).toFixed(1)}%`,
      peer.keys === null ? unknown(peer) : formatCount(peer.keys),
      peer.bytes === null ? unknown(peer) : formatBytes(peer.bytes),
      peer.hints === null ? '?' : formatCount(peer.hints),
      peer.id === status.nodeId ? 'asked' : formatDuration(peer.heartbeatAgeMs),
      peer.version ?? '?',
      dim(peer.id),
    ])
  const { version, phase, pending, change } = status.layout
  const lines = [await renderTable(columns, rows), '', `cluster ${status.clusterId}, layout ${version}`]
  if (change !== null) {
    lines.push(bold(changeLine(change, phase)))
    const isStreaming = phase === 'begun' && (change.total === null || change.done < change.total)
    const isSaid = pending === null || status.warnings.includes(pending)
    if (!isStreaming && !isSaid) lines.push(dim(pending))
  }
  const waiting = renderWaiting(layout)
  if (waiting !== null) lines.push(waiting)
  for (const fault of status.faults) lines.push(yellow(`fault: ${fault}`))
  for (const warning of status.warnings) lines.push(yellow(`warning: ${warning}`))
  return `${lines.join('\n')}\n`
}

/** Such as `change 12: 1 peer joins; 41 of 128 partitions streamed, about 20 s left`. */
export function changeLine(change: RingChangeStatus, phase: Phase): string {
  const { number, what, done, total, bytes, expectedBytes, leftMs } = change
  const how = (): string => {
    if (phase === 'switched') return 'all is streamed, and compared once more with the old owners'
    if (total === null) return 'the new owners are asking what there is to stream'
    if (total === 0) return 'nothing is streamed, the new owners compare with the old ones'
    const all = `${formatCount(done)} of ${formatCount(total)} partitions streamed`
    if (done >= total) return `${all}, now compared with the old owners`
    const size = expectedBytes === null ? '' : ` (${formatBytes(bytes)} of ${formatBytes(expectedBytes)})`
    const left = leftMs === null ? '' : `, about ${formatDuration(leftMs)} left`
    return `${all}${size}${left}`
  }
  return `change ${number}: ${what}; ${how()}`
}

function unknown({ counting }: PeerStatus): string {
  return counting === true ? 'counting' : '?'
}

export async function showHints(service: KvService, json: boolean): Promise<void> {
  const hints = await service.hints()
  if (json) {
    printJson({ hints })
    return
  }
  if (hints.length === 0) {
    process.stdout.write('no peer keeps anything for another one\n')
    return
  }
  const columns = [
    { title: 'kept by' },
    { title: 'for' },
    { title: 'records', align: 'right' },
    { title: 'size', align: 'right' },
  ] as const
  const rows = hints.map(({ holderAddress, targetAddress, records, bytes }) => {
    return [holderAddress, targetAddress, formatCount(records), formatBytes(bytes)]
  })
  process.stdout.write(`${await renderTable(columns, rows)}\n`)
}

export async function showRing(service: KvService, everyPartition: boolean, json: boolean): Promise<void> {
  const ring = await service.ring()
  if (json) {
    printJson(ring)
    return
  }
  const table = everyPartition ? await renderPartitions(ring) : await renderShares(ring)
  const more = everyPartition ? '' : '; --partitions shows each, --key KEY where a key lives'
  process.stdout.write(`${table}\n\n${ring.partitionCount} partitions, layout ${ring.layoutVersion}${more}\n`)
}

/** How many partitions each peer owns, and of how many it is the first owner. */
function renderShares(ring: RingInfo): Promise<string> {
  const shares = new Map<string, { owned: number; first: number }>()
  for (const { owners } of ring.partitions) {
    for (const [place, owner] of owners.entries()) {
      const { owned, first } = shares.get(owner) ?? { owned: 0, first: 0 }
      shares.set(owner, { owned: owned + 1, first: first + (place === 0 ? 1 : 0) })
    }
  }
  const columns = [
    { title: 'peer' },
    { title: 'partitions', align: 'right' },
    { title: 'first owner of', align: 'right' },
  ] as const
  const rows = [...shares]
    .sort(([a], [b]) => a.localeCompare(b, 'en', { numeric: true }))
    .map(([owner, { owned, first }]) => [owner, formatCount(owned), formatCount(first)])
  return renderTable(columns, rows)
}

function renderPartitions(ring: RingInfo): Promise<string> {
  const rows = ring.partitions.map(({ partition, owners }) => [String(partition), ...owners])
  const depth = Math.max(0, ...rows.map((row) => row.length - 1))
  const places = Array.from({ length: depth }, (_, place) => ({ title: `owner ${place + 1}` }))
  return renderTable(
    [{ title: 'partition', align: 'right' }, ...places],
    rows.map((row) => [...row, ...Array<string>(depth + 1 - row.length).fill('-')]),
  )
}

export async function showKeyLocation(
  service: KvService,
  keyspace: string,
  key: string,
  keyIsHex: boolean,
  json: boolean,
): Promise<void> {
  const location = await service.locate(keyspace, parseKey(key, keyIsHex))
  if (json) {
    printJson(location)
    return
  }
  const owners = location.owners.slice(0, location.replicas)
  process.stdout.write(`partition ${location.partition}\nowners    ${owners.join(' ')}\n`)
}

/** @param peer null: the one that is asked */
export async function leave(service: KvService, peer: string | null, json: boolean): Promise<void> {
  const who = peer ?? (await ownAddress(service))
  // Before: afterwards it may be gone.
  const few = await fewOwners(service, { without: who })
  const { staged } = await service.leave(who)
  if (json) printJson({ peer: who, leaving: !staged, staged })
  else if (staged) process.stdout.write(`${who} is staged to leave: ${STAGED}\n`)
  else {
    process.stdout.write(`${who} hands over what it owns, then stops; 'kvctl tasks' shows how far that is\n`)
  }
  if (!staged) warn(few)
}

export async function remove(
  service: KvService,
  peer: string,
  acceptLoss: boolean,
  json: boolean,
): Promise<void> {
  const { staged } = await service.remove(peer, acceptLoss)
  if (json) printJson({ peer, removed: !staged, staged })
  else if (staged) process.stdout.write(`${peer} is staged to be removed: ${STAGED}\n`)
  else {
    const rest = "what it owned is rebuilt from the other owners; 'kvctl tasks' shows how far that is"
    process.stdout.write(`${peer} is being removed: ${rest}\n`)
    if (acceptLoss) process.stdout.write(`${LOSS_HINT}\n`)
  }
}

async function ownAddress(service: KvService): Promise<string> {
  const { nodeId, peers } = await service.status()
  return peers.find(({ id }) => id === nodeId)?.address ?? nodeId
}
