/** How far the open change of the ring is: what each peer says of it, and all of them together. */
import type { TakeoverProgress } from '../coordinator/takeover.ts'
import type { Configuration } from '../protocol/configuration.ts'
import type { RingChangeStatus } from '../wire/requests.ts'
import type { TaskFigures } from '../wire/tasks.ts'
import type { PeerReport } from './peer-reports.ts'

/** For an estimate: less of a task than this says nothing about the rest. */
const MIN_SHARE = 0.01
/** Or this many bytes, which come within a second. */
const MIN_BYTES = 4 * 1024 * 1024

type Report = NonNullable<PeerReport['takeover']>

/** What this peer copies; null: it has nothing to take over in this change. */
export function takeoverReport(progress: TakeoverProgress | null, nowMs: number): Report | null {
  if (progress === null) return null
  const { copied } = progress
  const { partitions, done, bytes, expectedBytes } = copied
  const ageMs = Math.max(0, Math.round(nowMs - (copied.startedMs ?? nowMs)))
  return { total: expectedBytes === null ? null : partitions, done, bytes, expectedBytes, ageMs }
}

/** Null: no change is open. */
export function changeStatus(
  configuration: Configuration,
  reports: Iterable<Pick<PeerReport, 'takeover'> | null>,
): RingChangeStatus | null {
  if (configuration.phase === 'stable') return null
  const answers = [...reports]
  const takeovers = answers.flatMap((report) => report?.takeover ?? [])
  const sum = (of: (report: Report) => number): number => takeovers.reduce((all, one) => all + of(one), 0)
  const total = sum((report) => report.total ?? 0)
  // That nothing is streamed is known when all have said so.
  const isKnown = total > 0 || (!answers.includes(null) && takeovers.every((report) => report.total !== null))
  const left = takeovers.flatMap((report) => leftMsOf(report) ?? [])
  return {
    number: configuration.changeNumber,
    what: describeChange(configuration),
    done: sum(({ done }) => done),
    total: isKnown ? total : null,
    bytes: sum(({ bytes }) => bytes),
    expectedBytes: isKnown ? sum(({ expectedBytes }) => expectedBytes ?? 0) : null,
    leftMs: left.length === 0 ? null : Math.max(...left),
  }
}

function leftMsOf(report: Report): number | null {
  if (report.total === null || report.done >= report.total) return null
  return leftMs({ state: 'running', ...report })
}

/** By the bytes, where it is known how many there are. Null: it does not run, or too little of it is done. */
export function leftMs(
  figures: Pick<TaskFigures, 'state' | 'done' | 'total' | 'bytes' | 'expectedBytes' | 'ageMs'>,
): number | null {
  const { state, done, total, bytes, expectedBytes, ageMs } = figures
  if (state !== 'running' || total === null || total === 0) return null
  const isByBytes = expectedBytes !== null && bytes > 0 && bytes < expectedBytes
  if (isByBytes && (bytes >= MIN_BYTES || bytes / expectedBytes >= MIN_SHARE)) {
    return Math.round((ageMs * (expectedBytes - bytes)) / bytes)
  }
  if (done / total < MIN_SHARE) return null
  return Math.round((ageMs * (total - done)) / done)
}

/** `2 peers join, 1 leaves`. */
function describeChange(configuration: Configuration): string {
  const { layouts, excluded, altered, keyspaces } = configuration
  const [before, after = before] = layouts.map(({ members }) => members)
  const joining = (after ?? []).filter((nodeId) => before?.includes(nodeId) !== true)
  const going = (before ?? []).filter((nodeId) => after?.includes(nodeId) !== true)
  const dead = going.filter((nodeId) => excluded.includes(nodeId))
  const parts: string[] = []
  const add = (count: number, one: string, more: string): void => {
    if (count === 0) return
    const noun = parts.length > 0 ? '' : count === 1 ? ' peer' : ' peers'
    parts.push(`${count}${noun} ${count === 1 ? one : more}`)
  }
  add(joining.length, 'joins', 'join')
  add(going.length - dead.length, 'leaves', 'leave')
  add(dead.length, 'is removed', 'are removed')
  for (const { id, strategy, replicas } of altered) {
    const name = keyspaces.find((keyspace) => keyspace.id === id)?.name
    const copies = strategy === 'full' ? 'a copy on every peer' : `${replicas} replicas`
    parts.push(`keyspace ${name} gets ${copies}`)
  }
  return parts.length === 0 ? 'shares of the ring change' : parts.slice(0, 8).join(', ')
}
