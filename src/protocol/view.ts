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
  const newestFirst = ruling(record, conflicts).slice().sort(compareNewestFirst)
  const writeIds = new Set<string>()
  return newestFirst.filter((value) => {
    if (!isLive(value, nowMs) || writeIds.has(value.writeId)) return false
    writeIds.add(value.writeId)
    return true
  })
}

/** Those that decide what is seen: all, or in `lww` the newest one. In no order. */
export function ruling({ values }: KeyRecord, conflicts: Conflicts): readonly DottedValue[] {
  if (conflicts !== 'lww' || values.length < 2) return values
  return values.slice().sort(compareNewestFirst).slice(0, 1)
}

function isLive(value: DottedValue, nowMs: number): boolean {
  return value.value !== null && (value.expiresAtMs === null || value.expiresAtMs > nowMs)
}

function compareNewestFirst(a: DottedValue, b: DottedValue): number {
  return b.timestamp - a.timestamp || compareDots(b.dot, a.dot)
}
