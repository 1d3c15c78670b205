/**
 * What a reader sees of a record: a view, computed by the coordinator. Nothing here ever changes what is
 * stored: were replicas to prune by timestamp, expiry or writeId, two of them could prune each other's value
 * and leave nothing.
 */
import type { Conflicts } from './configuration.ts'
import { compareDots } from './dvv.ts'
import type { DottedValue, KeyRecord } from './record.ts'

/**
 * Live values, newest first. `lww` shows at most one: the greatest (timestamp, dot), and nothing when that is
 * a tombstone or expired.
 */
export function visibleValues(
  record: KeyRecord,
  conflicts: Conflicts,
  nowMs: number,
): readonly DottedValue[] {
  const newestFirst = record.values.slice().sort(compareNewestFirst)
  if (conflicts === 'lww') return newestFirst.slice(0, 1).filter((value) => isLive(value, nowMs))
  const writeIds = new Set<string>()
  return newestFirst.filter((value) => {
    if (!isLive(value, nowMs) || writeIds.has(value.writeId)) return false
    writeIds.add(value.writeId)
    return true
  })
}

function isLive(value: DottedValue, nowMs: number): boolean {
  return value.value !== null && (value.expiresAtMs === null || value.expiresAtMs > nowMs)
}

function compareNewestFirst(a: DottedValue, b: DottedValue): number {
  return b.timestamp - a.timestamp || compareDots(b.dot, a.dot)
}
