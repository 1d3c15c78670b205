/** What the `layout` commands do and print. */

import { KvError } from '../../base/error.ts'
import type {
  LayoutChange,
  LayoutInfo,
  LayoutPlanInfo,
  PlannedPeer,
  ShownStagedChange,
} from '../../wire/layout.ts'
import { parseLayoutChange, STAGE_ACTIONS } from '../../wire/layout.ts'
import type { KvService } from '../../wire/requests.ts'
import { colors, formatBytes, formatCount, printJson, renderTable } from '../terminal.ts'
import { fewOwners, warn, warnOfPlan } from './ring-warnings.ts'

const PLAN_HINT = "'kvctl layout plan' shows what that brings"

export const LOSS_HINT = "'kvctl layout history' says how much is given up, if anything"

export async function showLayout(service: KvService, json: boolean): Promise<void> {
  const layout = await service.layout()
  if (json) printJson(layout)
  else print(await renderLayout(layout))
}

export async function showPlan(service: KvService, json: boolean): Promise<void> {
  const plan = await service.planLayout()
  if (json) {
    printJson(plan)
    return
  }
  print(await renderPlan(plan))
  await warnOfPlan(service, plan)
  const { yellow } = colors(process.stderr)
  for (const address of plan.silent) {
    process.stderr.write(yellow(`warning: ${address} did not say how much it holds; more may be streamed\n`))
  }
}

export async function showHistory(service: KvService, json: boolean): Promise<void> {
  const { history } = await service.layout()
  if (json) {
    printJson({ history })
    return
  }
  const columns = [
    { title: 'number', align: 'right' },
    { title: 'decided (UTC)' },
    { title: 'by' },
    { title: 'what changed' },
  ] as const
  const rows = history.map(({ number, reason, decidedBy, decidedAtMs }) => {
    return [String(number), formatTime(decidedAtMs), decidedBy, reason]
  })
  print(await renderTable(columns, rows))
}

/** @param words as they were typed: `leave PEER`, `weight PEER 200`, … */
export async function stageChange(
  service: KvService,
  words: readonly string[],
  json: boolean,
): Promise<void> {
  const layout = await service.changeLayout(parseStageWords(words))
  if (json) printJson(layout)
  else print(renderStaged(layout.staged))
}

/** @throws INVALID_ARGUMENT */
export function parseStageWords(words: readonly string[]): LayoutChange {
  const [action, first, second, ...more] = words
  if (!STAGE_ACTIONS.some((known) => known === action)) {
    const given = action === undefined ? 'say what is to be staged' : `'${action}' cannot be staged`
    throw new KvError('INVALID_ARGUMENT', `${given}; allowed: ${STAGE_ACTIONS.join(', ')}`)
  }
  const takesTwo = action === 'weight' || action === 'zone' || action === 'replace'
  const takesNone = action === 'clear' && first === undefined
  const isWhole = takesNone || (first !== undefined && (second !== undefined) === takesTwo)
  if (!isWhole || more.length > 0) {
    throw new KvError('INVALID_ARGUMENT', `write it as 'kvctl layout stage ${STAGE_USAGE[action ?? '']}'`)
  }
  if (action === 'replace') return parseLayoutChange({ action, replaces: first, peer: second })
  if (action === 'weight') return parseLayoutChange({ action, peer: first, weight: Number(second) })
  return parseLayoutChange({ action, peer: first, ...(action === 'zone' && { zone: second }) })
}

const STAGE_USAGE: Readonly<Record<string, string>> = {
  join: 'join PEER',
  leave: 'leave PEER',
  remove: 'remove PEER',
  weight: 'weight PEER NUMBER',
  zone: 'zone PEER ZONE',
  replace: 'replace OLD NEW',
  clear: 'clear [PEER]',
}

export async function applyLayout(
  service: KvService,
  number: number,
  mayLose: boolean,
  json: boolean,
): Promise<void> {
  const change = parseLayoutChange({ action: 'apply', number, acceptLoss: mayLose })
  const layout = await service.changeLayout(change)
  if (json) printJson(layout)
  else print(`change ${layout.number} has begun; 'kvctl status' and 'kvctl tasks' show how far it is`)
  if (mayLose && !json) print(LOSS_HINT)
  warn(await fewOwners({ keyspaces: () => service.keyspaces(), layout: async () => layout }, {}))
}

/** At once, where nothing else is staged and nobody wants to look at it first. */
export async function replace(
  service: KvService,
  old: string,
  successor: string,
  mayLose: boolean,
  json: boolean,
): Promise<void> {
  const change = parseLayoutChange({ action: 'replace', replaces: old, peer: successor })
  const layout = await service.changeLayout(change)
  const isAlone = layout.staged.length === 1
  if (isAlone && !layout.manual) return applyLayout(service, layout.number, mayLose, json)
  if (json) printJson(layout)
  else print(renderStaged(layout.staged))
}

export async function acceptLoss(service: KvService, json: boolean): Promise<void> {
  const layout = await service.changeLayout(parseLayoutChange({ action: 'acceptLoss' }))
  if (json) printJson(layout)
  else print(`the change goes on with what is left; 'kvctl status' shows how far it is\n${LOSS_HINT}`)
}

export async function setMode(service: KvService, mode: string | undefined, json: boolean): Promise<void> {
  const isSet = mode === 'manual' || mode === 'automatic'
  const layout = isSet
    ? await service.changeLayout(parseLayoutChange({ action: mode }))
    : await service.layout()
  if (json) printJson({ manual: layout.manual })
  else print(modeOf(layout))
}

async function renderLayout(layout: LayoutInfo): Promise<string> {
  const { number, phase, partitionCount, members, staged } = layout
  const columns = [
    { title: 'address' },
    { title: 'zone' },
    { title: 'weight', align: 'right' },
    { title: 'partitions', align: 'right' },
    { title: 'id' },
  ] as const
  const { dim } = colors(process.stdout)
  const rows = [...members]
    .sort(byAddress)
    .map(({ peer, peerAddress, zone, weight, partitions }) => [
      peerAddress,
      zone === '' ? '-' : zone,
      formatCount(weight),
      formatCount(partitions),
      dim(peer),
    ])
  const open = phase === 'stable' ? '' : `, a change is open (${phase})`
  const cut = `${formatCount(partitionCount)} partitions in each keyspace, layout ${number}${open}`
  return [await renderTable(columns, rows), '', cut, modeOf(layout), renderStaged(staged)].join('\n')
}

function modeOf({ manual }: LayoutInfo): string {
  if (manual) return "manual: joins, leaves and removals are staged until 'kvctl layout apply'"
  return 'automatic: joins, leaves and removals begin at once'
}

function renderStaged(staged: readonly ShownStagedChange[]): string {
  if (staged.length === 0) return 'nothing is staged'
  const lines = [...staged].sort(byAddress).map((change) => `  ${sentenceOf(change)}`)
  return ['staged, to be applied as one change:', ...lines, PLAN_HINT].join('\n')
}

function sentenceOf({ kind, peerAddress, zone, weight, replacesAddress }: ShownStagedChange): string {
  const shape = [
    ...(zone === null || (zone === '' && kind === 'join') ? [] : [zone === '' ? 'no zone' : `zone ${zone}`]),
    ...(weight === null ? [] : [`weight ${weight}`]),
  ].join(', ')
  switch (kind) {
    case 'join': {
      const place = replacesAddress === null ? 'joins' : `takes the place of ${replacesAddress}`
      return `${peerAddress} ${place}, ${shape}`
    }
    case 'leave':
      return `${peerAddress} hands over what it owns, and leaves`
    case 'remove':
      return `${peerAddress} is removed: what it owned is rebuilt from the other owners`
    default:
      return `${peerAddress} gets ${shape}`
  }
}

async function renderPlan(plan: LayoutPlanInfo): Promise<string> {
  const columns = [
    { title: 'address' },
    { title: 'zone' },
    { title: 'weight', align: 'right' },
    { title: 'before', align: 'right' },
    { title: 'after', align: 'right' },
    { title: 'receives', align: 'right' },
    { title: 'gives', align: 'right' },
    { title: 'streamed to it', align: 'right' },
    { title: 'fair share', align: 'right' },
  ] as const
  const rows = [...plan.peers]
    .sort(byAddress)
    .map((peer) => [
      peer.peerAddress,
      peer.zone === '' ? '-' : peer.zone,
      formatCount(peer.weight),
      formatCount(peer.before),
      formatCount(peer.partitions),
      formatCount(peer.received),
      formatCount(peer.given),
      formatBytes(peer.bytes),
      peer.fair === 0 ? '-' : peer.fair.toFixed(1),
    ])
  const { bold } = colors(process.stdout)
  const lines = plan.staged.map((change) => `  ${sentenceOf(change)}`)
  const table = await renderTable(columns, rows)
  const begin = bold(`kvctl layout apply --number ${plan.number}`)
  return [
    'staged:',
    ...lines,
    '',
    table,
    '',
    ...movesOf(plan),
    ...balanceOf(plan.peers),
    `begin it with: ${begin}`,
  ].join('\n')
}

function movesOf({ moves, idealMoves, bytes }: LayoutPlanInfo): readonly string[] {
  if (moves === 0) return ['moves: nothing is streamed']
  const least = idealMoves === 0 ? '' : `, ${(moves / idealMoves).toFixed(2)} times the least that would do`
  return [`moves: ${formatCount(moves)} copies of partitions, about ${formatBytes(bytes)}${least}`]
}

function balanceOf(peers: readonly PlannedPeer[]): readonly string[] {
  const [worst] = peers
    .filter(({ fair }) => fair > 0)
    .sort((a, b) => b.partitions / b.fair - a.partitions / a.fair)
  if (worst === undefined) return []
  const { peerAddress, partitions, fair, most } = worst
  const above = Math.max(0, (partitions / fair - 1) * 100).toFixed(1)
  const who = `${peerAddress}, which may get up to ${formatCount(most)}`
  return [`balance: no peer is more than ${above} % above its fair share (${who})`]
}

function formatTime(atMs: number): string {
  return new Date(atMs).toISOString().slice(0, 19).replace('T', ' ')
}

function byAddress(a: { readonly peerAddress: string }, b: { readonly peerAddress: string }): number {
  return a.peerAddress.localeCompare(b.peerAddress, 'en', { numeric: true })
}

function print(text: string): void {
  process.stdout.write(`${text}\n`)
}
