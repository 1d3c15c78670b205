/**
 * How both programs say that something went wrong: one or two lines on standard error, what happened and what
 * to do.
 */
import { type ErrorCode, KvError } from '../base/error.ts'
import { EXIT_UNAVAILABLE, EXIT_USAGE, exitCodeOf } from './exit-code.ts'

export interface Failure {
  /** One or two lines. */
  readonly lines: readonly string[]
  readonly exitCode: number
}

/** An expected failure that brings its own advice, which replaces the general one. */
export class AdvisedError extends KvError {
  readonly advice: string

  constructor(code: ErrorCode, message: string, advice: string) {
    super(code, message)
    this.advice = advice
  }
}

const ADVICE: Partial<Record<ErrorCode, string>> = {
  OVERLOADED: 'try again in a moment, or with fewer requests at a time',
  TIMEOUT_UNKNOWN: 'it may or may not have been applied: read it back before you repeat it',
  INTERNAL: 'the log of the peer says more',
}

/** @param usage the command to ask for help, as in `kvctl put` */
export function describeFailure(thrown: unknown, usage: string): Failure {
  if (thrown instanceof KvError) {
    const general = /may or may not/.test(thrown.message) ? undefined : ADVICE[thrown.code]
    const advice = thrown instanceof AdvisedError ? thrown.advice : general
    const lines = advice === undefined ? [oneLine(thrown.message)] : [oneLine(thrown.message), advice]
    return { lines, exitCode: exitCodeOf(thrown.code) }
  }
  const message = thrown instanceof Error ? thrown.message : String(thrown)
  if (isUsageError(thrown)) {
    const lines = [missingArguments(thrown) ?? usageMessage(message), `see '${usage} --help'`]
    return { lines, exitCode: EXIT_USAGE }
  }
  return {
    lines: [`unexpected: ${oneLine(message)}`, `'--debug' shows where it comes from`],
    exitCode: EXIT_UNAVAILABLE,
  }
}

/** Errors of oclif's parser and of the checks of single flags. */
function isUsageError(thrown: unknown): boolean {
  return thrown instanceof Error && ('oclif' in thrown || thrown.message.startsWith('Parsing --'))
}

/** `missing: KEY, VALUE` instead of oclif's list. */
function missingArguments(thrown: unknown): string | null {
  const { args, message } = thrown as { readonly args?: unknown; readonly message: string }
  if (!Array.isArray(args) || !message.startsWith('Missing ')) return null
  return `missing: ${args.map(({ name }: { name: string }) => name.toUpperCase()).join(', ')}`
}

/**
 * oclif's messages have several lines: those that list what is missing are worth keeping. What it says of a
 * flag's value is put as our own checks put it.
 */
function usageMessage(message: string): string {
  const lines = message
    .replace(/^Parsing (--\S+)/, '$1:')
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => !/^(See more help|Note: |The following errors? occurred:|$)/.test(line))
  return oneLine(lines.join(' '))
    .replace(/^(--\S+): Expected an integer(.*) but received: (.*)$/, (_, flag, bounds, given) => {
      const limit = bounds
        .replace(' greater than or equal to', ', at least')
        .replace(' less than or equal to', ', at most')
      return `${flag} is '${given}'; allowed: a whole number${limit}`
    })
    .replace(/^Expected (--[\w-]+)=(.*) to be one of: (.*)$/, "$1 is '$2'; allowed: $3")
    .replace(
      /(--[\w-]+)=.* cannot also be provided when using (--[\w-]+).*/,
      '$2 and $1 exclude each other; give one of them',
    )
    .replace(/^[A-Z](?=[a-z])/, (letter) => letter.toLowerCase())
}

function oneLine(message: string): string {
  return message.replaceAll(/\s*\n\s*/g, '; ')
}
