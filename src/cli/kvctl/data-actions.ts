/** What `put`, `get` and `del` do. */
import { type Bytes, strictText } from '../../base/bytes.ts'
import { KvError } from '../../base/error.ts'
import type { FoundValue, GetReply, PutReply } from '../../wire/requests.ts'
import { EXIT_NOT_FOUND } from '../exit-code.ts'
import { hasControlCharacters, plainText } from '../plain-text.ts'
import { colors, formatBytes, printJson, renderTable } from '../terminal.ts'
import { parseKey, parseLevel, parseTtlFlag, readValue } from './input.ts'
import type { KvClient } from './session.ts'

const MAX_SHOWN_KEY_LENGTH = 200

/** Connects only after the words of the command line proved right. */
type WithClient = <T>(action: (client: KvClient) => Promise<T>) => Promise<T>

interface Manner {
  readonly json: boolean
  readonly timeoutMs: number
}

interface PutWords {
  readonly keyspace: string
  readonly key: string
  readonly keyIsHex: boolean
  readonly value: string
  readonly context: string | undefined
  readonly blind: boolean
  readonly w: string | undefined
  readonly ttl: string | undefined
  readonly contentType: string | undefined
}

export async function put(words: PutWords, manner: Manner, withClient: WithClient): Promise<void> {
  const key = parseKey(words.key, words.keyIsHex)
  const w = parseLevel(words.w, '-w')
  const ttlMs = parseTtlFlag(words.ttl)
  const value = await readValue(words.value)
  const reply = await withClient((client) =>
    client.service.put({
      keyspace: words.keyspace,
      key,
      value,
      contentType: words.contentType ?? null,
      context: words.context ?? null,
      blind: words.blind,
      w,
      writeId: client.newId(),
      timeoutMs: manner.timeoutMs,
      ttlMs,
    }),
  )
  if (manner.json) printJson(reply)
  else if (process.stdout.isTTY) process.stdout.write(`ok, on disk at ${describeDisks(reply)}\n`)
}

function describeDisks({ owners, standIns }: PutReply): string {
  const text = `${owners} owner${owners === 1 ? '' : 's'}`
  return standIns === 0 ? text : `${text} and ${standIns} stand-in${standIns === 1 ? '' : 's'}`
}

interface GetWords {
  readonly keyspace: string
  readonly key: string
  readonly keyIsHex: boolean
  readonly r: string | undefined
  readonly withContext: boolean
}

export async function get(words: GetWords, manner: Manner, withClient: WithClient): Promise<void> {
  const key = parseKey(words.key, words.keyIsHex)
  const r = parseLevel(words.r, '-r')
  const reply = await withClient((client) =>
    client.service.get({ keyspace: words.keyspace, key, r, timeoutMs: manner.timeoutMs }),
  )
  if (words.withContext && !manner.json) process.stderr.write(`context: ${reply.context ?? 'none'}\n`)
  if (manner.json) printJson(jsonOf(reply))
  else await printValues(reply.values)
  if (reply.values.length > 0) return
  process.exitCode = EXIT_NOT_FOUND
  if (!manner.json)
    process.stderr.write(`kvctl: no such key: ${plainText(words.key, MAX_SHOWN_KEY_LENGTH)}\n`)
}

interface DelWords {
  readonly keyspace: string
  readonly keys: readonly string[]
  readonly keyIsHex: boolean
  /** For one key. */
  readonly context: string | undefined
  readonly blind: boolean
  readonly w: string | undefined
}

export async function del(words: DelWords, manner: Manner, withClient: WithClient): Promise<void> {
  const keys = words.keys.map((word) => parseKey(word, words.keyIsHex))
  if (words.context !== undefined && keys.length > 1) {
    const message = `--context is that of one key, and ${keys.length} are given; delete one at a time`
    throw new KvError('INVALID_ARGUMENT', message)
  }
  const w = parseLevel(words.w, '-w')
  const common = {
    keyspace: words.keyspace,
    value: null,
    contentType: null,
    context: words.context ?? null,
    blind: words.blind,
    w,
    ttlMs: null,
  }
  await withClient((client) =>
    Promise.all(
      keys.map((key) =>
        client.service.put({ ...common, key, writeId: client.newId(), timeoutMs: manner.timeoutMs }),
      ),
    ),
  )
  if (manner.json) printJson({ deleted: keys.length })
  else if (process.stdout.isTTY) process.stdout.write(`ok, ${keys.length} deleted\n`)
}

async function printValues(values: readonly FoundValue[]): Promise<void> {
  const [newest] = values
  if (newest === undefined) return
  if (values.length > 1) {
    const advice = "read with --json, then 'put --context' with the value that is to stay"
    process.stderr.write(`kvctl: ${values.length} values written at the same time; ${advice}\n`)
    if (process.stdout.isTTY) {
      process.stdout.write(`${await siblingTable(values)}\n`)
      return
    }
  }
  process.stdout.write(newest.value)
  if (process.stdout.isTTY) process.stdout.write('\n')
}

function siblingTable(values: readonly FoundValue[]): Promise<string> {
  const { dim } = colors(process.stdout)
  const columns = [
    { title: '#', align: 'right' },
    { title: 'written' },
    { title: 'type' },
    { title: 'value' },
  ] as const
  const rows = values.map((found, index) => [
    String(index + 1),
    new Date(found.timestampMs).toISOString(),
    found.contentType ?? '-',
    printable(found.value) ?? dim(`(${formatBytes(found.value.length)} of binary data)`),
  ])
  return renderTable(columns, rows)
}

/** Text that leaves a terminal as it is and fits a line; null for anything else. */
function printable(value: Bytes): string | null {
  const whole = strictText(value)
  if (whole === null || hasControlCharacters(whole)) return null
  return whole.length > 60 ? `${whole.slice(0, 59)}…` : whole
}

function jsonOf(reply: GetReply): Readonly<Record<string, unknown>> {
  return {
    context: reply.context,
    siblings: Math.max(0, reply.values.length - 1),
    values: reply.values.map((found) => {
      const text = strictText(found.value)
      return {
        value: text ?? Buffer.from(found.value).toString('base64'),
        encoding: text === null ? 'base64' : 'utf8',
        contentType: found.contentType,
        timestamp: new Date(found.timestampMs).toISOString(),
      }
    }),
    owners: reply.owners,
    standIns: reply.standIns,
  }
}
