/** The rows of a file, one after the other, without ever holding the file in memory. */
import type { Readable } from 'node:stream'
import { KvError } from '../../base/error.ts'

export const FORMATS = ['ndjson', 'json', 'csv', 'tsv'] as const
export type Format = (typeof FORMATS)[number]

export interface Row {
  /** For people and for resuming: the line in NDJSON, CSV and TSV, the position in a JSON array; from 1. */
  readonly number: number
  readonly content: RowContent | RowFault
}

export interface RowContent {
  /** What was parsed: most likely an object. */
  readonly fields: unknown
  /** The row's own text where the format has one a row, which keeps its bytes as they are. */
  readonly text: string | null
}

/** A row that cannot be read; the others can. */
export interface RowFault {
  readonly fault: string
}

/** No row may be longer: a file without line ends must not fill the memory. */
const MAX_ROW_BYTES = 16 * 1024 * 1024

const EXTENSIONS: Readonly<Record<string, Format>> = {
  ndjson: 'ndjson',
  jsonl: 'ndjson',
  csv: 'csv',
  tsv: 'tsv',
  tab: 'tsv',
}

/** By the name of the file, else by its first byte. @throws INVALID_ARGUMENT when neither tells */
export async function detectFormat(fileName: string, source: Readable): Promise<Format> {
  const byName = EXTENSIONS[fileName.slice(fileName.lastIndexOf('.') + 1).toLowerCase()]
  if (byName !== undefined) return byName
  const start = (await peek(source))
    .toString('latin1')
    .trimStart()
    .replace(/^\u00ef\u00bb\u00bf/, '')
  if (start.startsWith('[')) return 'json'
  if (start.startsWith('{')) return 'ndjson'
  throw new KvError(
    'INVALID_ARGUMENT',
    `cannot tell the format of ${fileName}; name it: --format ${FORMATS.join('|')}`,
  )
}

/** The marks that programs put before text of two or four bytes a character. */
const WIDE_TEXT_MARKS = [
  Buffer.from([0xff, 0xfe]),
  Buffer.from([0xfe, 0xff]),
  Buffer.from([0, 0, 0xfe, 0xff]),
]

/** Read as UTF-8 it would have no rows, or wrong ones. @throws INVALID_ARGUMENT for UTF-16 and UTF-32 */
export async function checkEncoding(fileName: string, source: Readable): Promise<void> {
  const start = (await peek(source)).subarray(0, 4)
  const isMarked = WIDE_TEXT_MARKS.some((mark) => start.subarray(0, mark.length).equals(mark))
  // Without a mark: no format begins with a character that is a zero byte.
  if (!isMarked && !start.subarray(0, 2).includes(0)) return
  const advice = `convert it first, for instance: iconv -f UTF-16 -t UTF-8 ${fileName}`
  throw new KvError('INVALID_ARGUMENT', `${fileName} is UTF-16 or UTF-32, not UTF-8; ${advice}`)
}

/** @throws INVALID_ARGUMENT when the rest of the file cannot be read as its format */
export function readRows(source: Readable, format: Format): AsyncIterable<Row> {
  switch (format) {
    case 'ndjson':
      return ndjsonRows(source)
    case 'json':
      return jsonRows(source)
    case 'csv':
      return delimitedRows(source, ',')
    case 'tsv':
      return delimitedRows(source, '\t')
  }
}

/** The first bytes, which are then read again. */
async function peek(source: Readable): Promise<Buffer> {
  for (;;) {
    const chunk: Buffer | null = source.read()
    if (chunk !== null) {
      source.unshift(chunk)
      return chunk
    }
    if (source.readableEnded || source.destroyed) return Buffer.alloc(0)
    await new Promise<void>((resolve, reject) => {
      source.once('readable', resolve)
      source.once('end', resolve)
      source.once('error', reject)
    })
  }
}

async function* ndjsonRows(source: Readable): AsyncIterable<Row> {
  let number = 0
  for await (const line of lines(source)) {
    number++
    if (line === null) {
      yield { number, content: { fault: `the line is longer than ${MAX_ROW_BYTES} bytes` } }
    } else if (line.trim() !== '') {
      yield { number, content: parseLine(line) }
    }
  }
}

function parseLine(line: string): RowContent | RowFault {
  const text = line.trim()
  try {
    return { fields: JSON.parse(text), text }
  } catch (error) {
    return { fault: `not JSON: ${(error as Error).message}` }
  }
}

/** Null for a line that is too long. A mark of the byte order at the start is dropped. */
async function* lines(source: Readable): AsyncIterable<string | null> {
  let rest: Buffer = Buffer.alloc(0)
  let isTooLong = false
  let isFirst = true
  for await (const chunk of source as AsyncIterable<Buffer>) {
    let start = 0
    for (let end = chunk.indexOf(10); end >= 0; end = chunk.indexOf(10, start)) {
      const line =
        rest.length === 0 ? chunk.subarray(start, end) : Buffer.concat([rest, chunk.subarray(start, end)])
      yield isTooLong ? null : decodeLine(line, isFirst)
      isFirst = false
      isTooLong = false
      rest = Buffer.alloc(0)
      start = end + 1
    }
    if (!isTooLong) rest = Buffer.concat([rest, chunk.subarray(start)])
    if (rest.length > MAX_ROW_BYTES) {
      isTooLong = true
      rest = Buffer.alloc(0)
    }
  }
  if (isTooLong) yield null
  else if (rest.length > 0) yield decodeLine(rest, isFirst)
}

function decodeLine(line: Buffer, isFirst: boolean): string {
  const text = line.toString('utf8')
  return isFirst ? text.replace(/^\ufeff/, '') : text
}

async function* jsonRows(source: Readable): AsyncIterable<Row> {
  const [{ streamArray }, { none }] = await Promise.all([
    import('stream-json/streamers/stream-array.js'),
    import('stream-chain/core'),
  ])
  const parse = streamArray.withParser() as unknown as (
    input: unknown,
  ) => AsyncIterable<{ readonly value: unknown }>
  const decoder = new TextDecoder()
  let number = 0
  try {
    for await (const chunk of source as AsyncIterable<Buffer>) {
      for (const piece of pieces(decoder.decode(chunk, { stream: true }))) {
        for await (const { value } of parse(piece))
          yield { number: ++number, content: { fields: value, text: null } }
      }
    }
    for await (const { value } of parse(none))
      yield { number: ++number, content: { fields: value, text: null } }
  } catch (error) {
    if (isSystemError(error)) throw error
    const message = `the JSON array breaks off after ${number} rows: ${(error as Error).message}`
    throw new KvError('INVALID_ARGUMENT', message, { cause: error })
  }
}

/**
 * Cut after every closing brace: what the parser is given in one piece it gives back only when all of it is
 * in order.
 */
function* pieces(text: string): Iterable<string> {
  for (let start = 0, end = 0; start < text.length; start = end) {
    end = text.indexOf('}', start) + 1
    if (end === 0) end = text.length
    yield text.slice(start, end)
  }
}

async function* delimitedRows(source: Readable, delimiter: string): AsyncIterable<Row> {
  const { parse } = await import('csv-parse')
  const faults: Row[] = []
  let lastFault = -1
  const parser = parse({
    columns: distinctColumns,
    delimiter,
    bom: true,
    info: true,
    skip_empty_lines: true,
    skip_records_with_error: true,
    max_record_size: MAX_ROW_BYTES,
    on_skip: (error) => {
      const number = Number((error as unknown as { lines?: number } | undefined)?.lines ?? 0)
      // It tells each quote that is wrong in a row.
      if (number === lastFault) return
      lastFault = number
      faults.push({ number, content: { fault: csvFault(error) } })
    },
  })
  source.once('error', (error) => parser.destroy(error))
  source.pipe(parser)
  try {
    for await (const { info, record } of parser as AsyncIterable<DelimitedRecord>) {
      yield* faults.splice(0)
      yield { number: info.lines, content: { fields: record, text: null } }
    }
  } catch (error) {
    if (isSystemError(error) || error instanceof KvError) throw error
    throw new KvError('INVALID_ARGUMENT', `the rest cannot be read: ${csvFault(error)}`, { cause: error })
  }
  yield* faults
}

/** Columns without a name are those that spreadsheets leave behind. @throws INVALID_ARGUMENT */
function distinctColumns(header: readonly string[]): string[] {
  const twice = header.find((name, index) => name !== '' && header.indexOf(name) !== index)
  if (twice === undefined) return [...header]
  const advice = 'give each column a name of its own'
  throw new KvError('INVALID_ARGUMENT', `the first line names '${twice}' twice; ${advice}`)
}

const QUOTE_ADVICE = 'a field with quotes in it is put in quotes, and each of its own is written twice'

/** In our words: the parser's quote what was read of the row. */
function csvFault(error: unknown): string {
  const { code, message, columns, record } = error as Partial<CsvFault>
  switch (code) {
    case 'INVALID_OPENING_QUOTE':
      return `a quote in a field that does not begin with one; ${QUOTE_ADVICE}`
    case 'CSV_INVALID_CLOSING_QUOTE':
      return `something follows the quote that ends a field; ${QUOTE_ADVICE}`
    case 'CSV_QUOTE_NOT_CLOSED':
      return 'a quoted field does not end'
    case 'CSV_RECORD_INCONSISTENT_COLUMNS':
      return `the row has ${record?.length} fields, the first line has ${columns?.length}`
    case 'CSV_MAX_RECORD_SIZE':
      return `the row is longer than ${MAX_ROW_BYTES} bytes`
    default:
      return message ?? 'not readable'
  }
}

interface CsvFault {
  readonly code: string
  readonly message: string
  readonly columns: readonly unknown[]
  readonly record: readonly unknown[]
}

interface DelimitedRecord {
  readonly info: { readonly lines: number }
  readonly record: Readonly<Record<string, string>>
}

function isSystemError(error: unknown): boolean {
  return error instanceof Error && 'syscall' in error
}
