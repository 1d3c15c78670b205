/**
 * The query of a request: each parameter known, given once, and of its kind, or the request is refused by
 * name.
 */
import { type Bytes, strictText } from '../base/bytes.ts'
import { KvError } from '../base/error.ts'
import type { Level } from '../protocol/configuration.ts'
import { levelOf } from '../wire/request-check.ts'
import { DEFAULT_TIMEOUT_MS } from '../wire/requests.ts'
import { parseTtl, TTL_HELP } from '../wire/ttl.ts'
import { decodePercent, splitUrl } from './percent.ts'

const MAX_TIMEOUT_MS = 60_000

export class Query {
  readonly #values = new Map<string, Bytes>()

  /** @throws INVALID_ARGUMENT */
  constructor(url: string, allowed: readonly string[]) {
    for (const pair of splitUrl(url).query.split('&')) {
      if (pair === '') continue
      const equals = pair.indexOf('=')
      const name = textOf(decodePercent(equals === -1 ? pair : pair.slice(0, equals), true))
      const value = decodePercent(equals === -1 ? '' : pair.slice(equals + 1), true)
      if (name === null || value === null) throw invalid('the query is not properly percent-encoded')
      if (!allowed.includes(name)) throw invalid(unknownParameter(name, allowed))
      if (this.#values.has(name)) throw invalid(`?${name}= is given twice`)
      this.#values.set(name, value)
    }
  }

  bytes(name: string): Bytes | null {
    return this.#values.get(name) ?? null
  }

  text(name: string): string | null {
    const value = this.#values.get(name)
    if (value === undefined) return null
    const text = textOf(value)
    if (text === null) throw invalid(`?${name}= is not UTF-8`)
    return text
  }

  flag(name: string): boolean {
    const value = this.text(name)
    if (value === null || value === '0' || value === 'false') return false
    if (value === '' || value === '1' || value === 'true') return true
    throw invalid(`?${name}= is 1 or 0`)
  }

  level(name: string): Level | null {
    const value = this.text(name)
    if (value === null) return null
    const level = levelOf(/^\d{1,4}$/.test(value) ? Number(value) : value)
    if (level === null) throw invalid(`?${name}= is one, quorum, all, or a number from 1`)
    return level
  }

  ttlMs(): number | null {
    const value = this.text('ttl')
    if (value === null) return null
    const ttlMs = parseTtl(value)
    if (ttlMs === null) throw invalid(`?ttl= is ${TTL_HELP}`)
    return ttlMs
  }

  timeoutMs(): number {
    const value = this.text('timeout')
    if (value === null) return DEFAULT_TIMEOUT_MS
    const match = /^(\d{1,8})(ms|s)?$/.exec(value)
    const timeoutMs = match === null ? 0 : Number(match[1]) * (match[2] === 's' ? 1000 : 1)
    if (timeoutMs >= 1 && timeoutMs <= MAX_TIMEOUT_MS) return timeoutMs
    throw invalid(`?timeout= is a time such as 500ms or 5s, at most ${MAX_TIMEOUT_MS / 1000}s`)
  }
}

export function invalid(message: string): KvError {
  return new KvError('INVALID_ARGUMENT', message)
}

function textOf(bytes: Bytes | null): string | null {
  return bytes === null ? null : strictText(bytes)
}

function unknownParameter(name: string, allowed: readonly string[]): string {
  const known =
    allowed.length === 0 ? 'this takes none' : `known: ${allowed.map((one) => `?${one}=`).join(' ')}`
  return `unknown query parameter '${name.slice(0, 64)}'; ${known}`
}
