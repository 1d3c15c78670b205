/**
 * Logs on standard error: one JSON line an event, or readable text when somebody watches it on a terminal.
 * Written at once, not buffered: the last line before a crash is the one that matters.
 */
import { Writable } from 'node:stream'
import type { Log, LogFields } from '../effects/log.ts'

export const LOG_LEVELS = ['debug', 'info', 'warn', 'error', 'silent'] as const
/** Of lines that could not be written yet. */
const MAX_UNWRITTEN_BYTES = 256 * 1024

export type LogLevel = (typeof LOG_LEVELS)[number]

export interface LogOptions {
  readonly level: LogLevel
  /** In every line. */
  readonly fields?: LogFields
  /** A file descriptor; standard error by default. */
  readonly fd?: number
  /** Readable text instead of JSON; by default when `fd` is a terminal. */
  readonly pretty?: boolean
}

export async function createLog(options: LogOptions): Promise<Log> {
  if (options.level === 'silent') return SILENT_LOG
  const { fd = 2, level, fields = {} } = options
  // The default export, because a bundle of CommonJS has no other.
  const {
    default: { pino },
  } = await import('pino')
  const pretty = options.pretty ?? (fd === 2 && process.stderr.isTTY === true)
  const settings = {
    level,
    base: fields,
    timestamp: pino.stdTimeFunctions.isoTime,
    messageKey: 'event',
    formatters: { level: (label: string) => ({ level: label }), log: spellErrors },
  }
  const lines = pino.destination({ fd, sync: true, maxLength: MAX_UNWRITTEN_BYTES })
  // A full disk or a terminal that was closed is no reason to end: what was kept is written when it is
  // possible again, and what is more than that is lost.
  lines.on('error', () => {})
  const logger = pino(settings, pretty ? await prettyStream((line) => lines.write(line)) : lines)
  const at =
    (name: Exclude<LogLevel, 'silent'>) =>
    (event: string, eventFields: LogFields = {}): void =>
      logger[name](eventFields, event)
  return { debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error') }
}

const ignore = (): void => {}
const SILENT_LOG: Log = { debug: ignore, info: ignore, warn: ignore, error: ignore }

async function prettyStream(write: (line: string) => void): Promise<NodeJS.WritableStream> {
  const {
    default: { PinoPretty },
  } = await import('pino-pretty')
  return PinoPretty({
    // Not the lines themselves: one that fails would be closed, and what it writes to with it.
    destination: new Writable({
      decodeStrings: false,
      write(line, _encoding, done) {
        write(String(line))
        done()
      },
    }),
    colorize: true,
    messageKey: 'event',
    translateTime: 'HH:MM:ss.l',
  })
}

/** JSON of an Error is `{}`: say what it says instead. */
function spellErrors(fields: Record<string, unknown>): Record<string, unknown> {
  if (!Object.values(fields).some((value) => value instanceof Error)) return fields
  return Object.fromEntries(Object.entries(fields).map(([name, value]) => [name, spelled(value)]))
}

function spelled(value: unknown): unknown {
  if (!(value instanceof Error)) return value
  const { name, message, stack, cause } = value
  const code = (value as { code?: unknown }).code
  return { name, message, code, stack, cause: cause === undefined ? undefined : spelled(cause) }
}
