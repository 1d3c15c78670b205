/** From a row to the key and the value that are written. */
import { type Bytes, isWellFormed, utf8 } from '../../base/bytes.ts'
import { MAX_KEY_BYTES } from '../../wire/requests.ts'
import type { RowContent, RowFault } from './rows.ts'

const JSON_TYPE = 'application/json'

export interface EntryRule {
  /** Fields whose text, joined, is the key. */
  readonly keyFields: readonly string[]
  readonly separator: string
  /** Null: the whole row, as JSON. */
  readonly valueField: string | null
}

export interface Entry {
  readonly keyText: string
  readonly key: Bytes
  readonly value: Bytes
  readonly contentType: string | null
}

export function makeEntry(content: RowContent, rule: EntryRule): Entry | RowFault {
  const { fields } = content
  if (typeof fields !== 'object' || fields === null || Array.isArray(fields))
    return { fault: 'the row is not an object' }
  const row = fields as Readonly<Record<string, unknown>>
  const parts: string[] = []
  for (const name of rule.keyFields) {
    const part = Object.hasOwn(row, name) ? row[name] : undefined
    if (typeof part !== 'string' && typeof part !== 'number' && typeof part !== 'boolean') {
      return {
        fault:
          part === undefined || part === null
            ? missing(name, row, '--key')
            : `field '${name}' is not a plain value`,
      }
    }
    if (typeof part === 'number' && !Number.isSafeInteger(part)) {
      const why = 'different ones would become one key'
      return {
        fault: `field '${name}' is a number that is not a whole one below 2^53: ${why}; write it as text`,
      }
    }
    parts.push(String(part))
  }
  const keyText = parts.join(rule.separator)
  if (!isWellFormed(keyText)) return { fault: 'the key has half a surrogate pair in it' }
  const key = utf8(keyText)
  if (key.length === 0) return { fault: 'the key is empty' }
  if (key.length > MAX_KEY_BYTES)
    return { fault: `the key has ${key.length} bytes; allowed: 1 to ${MAX_KEY_BYTES}` }
  const value = makeValue(content, row, rule.valueField)
  return 'fault' in value ? value : { keyText, key, ...value }
}

function makeValue(
  content: RowContent,
  row: Readonly<Record<string, unknown>>,
  field: string | null,
): Pick<Entry, 'value' | 'contentType'> | RowFault {
  if (field === null) {
    return content.text === null ? json(row) : { value: utf8(content.text), contentType: JSON_TYPE }
  }
  const value = Object.hasOwn(row, field) ? row[field] : undefined
  if (value === undefined) return { fault: missing(field, row, '--value') }
  if (typeof value !== 'string') return json(value)
  if (!isWellFormed(value)) return { fault: `field '${field}' has half a surrogate pair in it` }
  return { value: utf8(value), contentType: null }
}

function json(value: unknown): Pick<Entry, 'value' | 'contentType'> | RowFault {
  if (holdsRounded(value)) {
    const advice = 'write it as text, or import whole lines of NDJSON, which are kept as they are'
    return { fault: `it holds a whole number of 2^53 or more, which would be rounded; ${advice}` }
  }
  return { value: utf8(JSON.stringify(value)), contentType: JSON_TYPE }
}

/**
 * Whether a number in it may not be what the file says: parsing rounds whole ones of 2^53 or more. From 1e21
 * they are written with an exponent, and nobody takes them for exact.
 */
function holdsRounded(value: unknown): boolean {
  const waiting: unknown[] = [value]
  while (waiting.length > 0) {
    const next = waiting.pop()
    if (typeof next === 'number') {
      if (Number.isInteger(next) && !Number.isSafeInteger(next) && Math.abs(next) < 1e21) return true
    } else if (typeof next === 'object' && next !== null) {
      for (const part of Object.values(next)) waiting.push(part)
    }
  }
  return false
}

function missing(name: string, row: Readonly<Record<string, unknown>>, flag: '--key' | '--value'): string {
  const present = Object.keys(row).slice(0, 8).join(', ')
  // What to do first: the names may be long, and are cut off then.
  const advice = `name another with ${flag} FIELD`
  return `no field '${name}', ${advice}; the row has: ${present === '' ? 'none' : present}`
}
