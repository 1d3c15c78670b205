/**
 * Invariant 1: no dot ever names two values. Every record that any disk is handed goes through here, and
 * stays known for ever: also what a crash took had a name that may never be given again.
 */
import { type Bytes, equalBytes, text } from '../../base/bytes.ts'
import { hash64 } from '../../base/hash.ts'
import { covers } from '../../protocol/dvv.ts'
import type { Dot, DottedValue } from '../../protocol/record.ts'
import type { StoredRecord } from './stored-record.ts'
import { Violation } from './violation.ts'

export interface DotLedger {
  record(host: string, stored: StoredRecord): void
  /** Names that a written value has been given: more than one when a write was repeated elsewhere. */
  dotsOf(value: string): readonly Dot[]
  /** The greatest that these dots were given; 0 when none of them was ever on a disk. */
  timestampOf(dots: readonly Dot[]): number
  /** Whether the record with which `dot` first came to a disk had seen `other`, and held it no more. */
  cameInPlaceOf(dot: Dot, other: Dot): boolean
  readonly dotCount: number
}

/** What a dot names, and the record with which it first came to a disk. */
interface Meaning {
  readonly stored: StoredRecord
  readonly value: DottedValue
}

export function createDotLedger(): DotLedger {
  const meanings = new Map<string, Meaning>()
  const dots = new Map<string, Dot[]>()

  const learn = (host: string, stored: StoredRecord, value: DottedValue): void => {
    const name = nameOf(value.dot)
    const meaning = { stored, value }
    const known = meanings.get(name)
    if (known === undefined) {
      meanings.set(name, meaning)
      if (value.value === null) return
      const content = text(value.value)
      dots.set(content, [...(dots.get(content) ?? []), value.dot])
    } else if (!isSameMeaning(known, meaning)) {
      const both = `${describe(known)}, and on ${host} ${describe(meaning)}`
      throw new Violation(1, `dot ${name} names two values: ${both}`)
    }
  }

  return {
    record(host, stored) {
      for (const value of stored.record.values) learn(host, stored, value)
    },
    dotsOf: (value) => dots.get(value) ?? [],
    timestampOf: (names) =>
      Math.max(0, ...names.map((dot) => meanings.get(nameOf(dot))?.value.timestamp ?? 0)),
    cameInPlaceOf(dot, other) {
      const record = meanings.get(nameOf(dot))?.stored.record
      if (record === undefined || !covers(record.seen, other)) return false
      return !record.values.some((value) => nameOf(value.dot) === nameOf(other))
    },
    get dotCount() {
      return meanings.size
    },
  }
}

function nameOf({ actor, n }: Dot): string {
  return `${actor}.${n}`
}

function isSameMeaning(a: Meaning, b: Meaning): boolean {
  const { writeId, timestamp, value } = a.value
  const other = b.value
  if (a.stored.keyspaceId !== b.stored.keyspaceId || !equalBytes(a.stored.key, b.stored.key)) return false
  if (writeId !== other.writeId || timestamp !== other.timestamp) return false
  return value === null || other.value === null ? value === other.value : equalBytes(value, other.value)
}

function describe({ stored, value }: Meaning): string {
  const content = value.value === null ? 'tombstone' : digest(value.value)
  return [
    `keyspace ${stored.keyspaceId}`,
    `key ${text(stored.key)}`,
    `write ${value.writeId}`,
    content,
    value.timestamp,
  ].join(', ')
}

function digest(bytes: Bytes): string {
  return bytes.length <= 32 ? text(bytes) : hash64(bytes).toString(16)
}
