/** What `tasks` prints. */
import type { KvService } from '../../wire/requests.ts'
import type { TaskInfo } from '../../wire/tasks.ts'
import { colors, formatBytes, formatCount, formatDuration, printJson, renderTable } from '../terminal.ts'

const BAR_WIDTH = 20

export async function showTasks(service: KvService, json: boolean): Promise<void> {
  const list = await service.tasks()
  if (json) {
    printJson(list)
    return
  }
  const { tasks, silent } = list
  if (tasks.length === 0) process.stdout.write('no peer is busy with a long operation\n')
  else process.stdout.write(`${await renderTasks(tasks)}\n`)
  const { yellow } = colors(process.stderr)
  for (const address of silent) process.stderr.write(yellow(`warning: ${address} did not answer\n`))
}

function renderTasks(tasks: readonly TaskInfo[]): Promise<string> {
  const columns = [
    { title: 'task' },
    { title: 'peer' },
    { title: 'with' },
    { title: 'keyspace' },
    { title: 'state' },
    { title: 'progress' },
    { title: 'took', align: 'right' },
    { title: 'left', align: 'right' },
    { title: 'result' },
  ] as const
  const rank = ({ endedAgoMs }: TaskInfo): number => endedAgoMs ?? -1
  const rows = [...tasks]
    .sort((a, b) => rank(a) - rank(b))
    .map((task) => [
      task.kind,
      task.peerAddress,
      task.withAddress ?? '-',
      task.keyspace ?? 'all',
      stateOf(task),
      progressOf(task),
      formatDuration(task.ageMs),
      task.leftMs === null ? '-' : `about ${formatDuration(task.leftMs)}`,
      resultOf(task),
    ])
  return renderTable(columns, rows)
}

function stateOf({ state, endedAgoMs }: TaskInfo): string {
  const { green, red, yellow } = colors(process.stdout)
  const since = endedAgoMs === null ? '' : ` ${formatDuration(endedAgoMs)} ago`
  const paint = state === 'failed' ? red : state === 'done' ? green : yellow
  return paint(`${state}${since}`)
}

/** A bar on a terminal, numbers elsewhere. */
function progressOf({ state, done, total, unit }: TaskInfo): string {
  if (state === 'waiting') return '-'
  if (total === null) return `${formatCount(done)} ${unit}`
  if (process.stdout.isTTY !== true || state !== 'running') {
    return `${formatCount(done)} of ${formatCount(total)} ${unit}`
  }
  const share = total === 0 ? 1 : done / total
  const filled = Math.floor(share * BAR_WIDTH)
  return `${'█'.repeat(filled)}${'░'.repeat(BAR_WIDTH - filled)} ${Math.floor(share * 100)}%`
}

function resultOf(task: TaskInfo): string {
  const { kind, state, differing, repaired, failed, bytes, expectedBytes, failure } = task
  const parts: string[] = []
  if (kind === 'repair') parts.push(`${formatCount(differing)} differed, ${formatCount(repaired)} repaired`)
  else if (kind === 'takeover') parts.push(`${formatCount(repaired)} records`)
  else if (kind === 'handoff') parts.push(`${formatCount(repaired)} delivered`)
  else parts.push(`${formatCount(differing)} leaves differed`)
  if (failed > 0) parts.push(`${formatCount(failed)} failed`)
  const isKnown = state === 'running' && expectedBytes !== null && expectedBytes > bytes
  if (bytes > 0)
    parts.push(`${formatBytes(bytes)}${isKnown ? ` of ${formatBytes(expectedBytes)}` : ''} moved`)
  if (failure !== null) parts.push(failure)
  return parts.join(', ')
}
