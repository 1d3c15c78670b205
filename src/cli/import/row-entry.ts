/** From a row to the key and the value that are written. */
import { type Bytes, isWellFormed, utf8 } from '../../base/bytes.ts'
import { MAX_KEY_BYTES } from '../../wire/requests.ts'
import type { RowContent, RowFault } from './rows.ts'

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
          part === undefined || part === null ? missing(name, row) : `field '${name}' is not a plain value`,
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
    return { value: utf8(content.text ?? JSON.stringify(row)), contentType: 'application/json' }
  }
  const value = Object.hasOwn(row, field) ? row[field] : undefined
  if (value === undefined) return { fault: missing(field, row) }
  if (typeof value === 'string') {
    if (!isWellFormed(value)) return { fault: `field '${field}' has half a surrogate pair in it` }
    return { value: utf8(value), contentType: null }
  }
  return { value: utf8(JSON.stringify(value)), contentType: 'application/json' }
}

function missing(name: string, row: Readonly<Record<string, unknown>>): string {
  const present = Object.keys(row).slice(0, 8).join(', ')
  return `no field '${name}'; the row has: ${present === '' ? 'none' : present}`
}
