/** From words of a command line to what a request needs. */
import { type Bytes, fromHex, utf8 } from '../../base/bytes.ts'
import { KvError } from '../../base/error.ts'
import type { Level } from '../../protocol/configuration.ts'
import { MAX_KEY_BYTES } from '../../wire/requests.ts'
import { parseTtl, TTL_HELP } from '../../wire/ttl.ts'

/** No value may be larger, whatever a peer allows: what is read from standard input is held in memory. */
const MAX_INPUT_BYTES = 16 * 1024 * 1024

/** @throws INVALID_ARGUMENT */
export function parseKey(word: string, isHex: boolean): Bytes {
  const key = isHex ? fromHex(word) : utf8(word)
  if (key === null)
    throw new KvError('INVALID_ARGUMENT', `'${word}' is not an even number of hexadecimal digits`)
  if (key.length === 0) throw new KvError('INVALID_ARGUMENT', 'a key has at least one byte')
  if (key.length > MAX_KEY_BYTES) {
    throw new KvError('INVALID_ARGUMENT', `the key has ${key.length} bytes; allowed: 1 to ${MAX_KEY_BYTES}`)
  }
  return key
}

export const LEVEL_HELP = 'a number, one, quorum or all'

/** Of `-r` and `-w`. @throws INVALID_ARGUMENT */
export function parseLevel(word: string | undefined, flag: string): Level | null {
  if (word === undefined) return null
  if (word === 'one' || word === 'quorum' || word === 'all') return word
  if (/^[1-9]\d{0,3}$/.test(word)) return Number(word)
  throw new KvError('INVALID_ARGUMENT', `${flag} is '${word}'; allowed: ${LEVEL_HELP}`)
}

/** Of `--ttl`. @throws INVALID_ARGUMENT */
export function parseTtlFlag(word: string | undefined): number | null {
  if (word === undefined) return null
  const ttlMs = parseTtl(word)
  if (ttlMs === null) throw new KvError('INVALID_ARGUMENT', `--ttl is '${word}'; allowed: ${TTL_HELP}`)
  return ttlMs
}

/** The bytes of a word; `-` is standard input, to its end. @throws TOO_LARGE */
export async function readValue(word: string): Promise<Bytes> {
  if (word !== '-') return utf8(word)
  const chunks: Buffer[] = []
  let sizeBytes = 0
  for await (const chunk of process.stdin as AsyncIterable<Buffer>) {
    chunks.push(chunk)
    sizeBytes += chunk.length
    if (sizeBytes > MAX_INPUT_BYTES)
      throw new KvError('TOO_LARGE', `a value has at most ${MAX_INPUT_BYTES} bytes`)
  }
  return Buffer.concat(chunks)
}
