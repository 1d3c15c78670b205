/**
 * What `kvnode` and `kvctl` have in common: an oclif program whose commands are named one by one, so that a
 * start reads no directory and no manifest; and our way of telling errors.
 */
import { fileURLToPath } from 'node:url'
import { Config } from '@oclif/core/config'
import type { PJSON } from '@oclif/core/interfaces'
import { run } from '@oclif/core/run'
import { settings } from '@oclif/core/settings'
import { VERSION } from '../base/version.ts'
import { EXIT_USAGE } from './exit-code.ts'
import { describeFailure } from './failure.ts'
import { watchOutput } from './output.ts'
import { plainText } from './plain-text.ts'

const MAX_LINE_LENGTH = 1000

export interface Program {
  readonly name: 'kvnode' | 'kvctl'
  readonly description: string
  /** Groups of commands, such as `keyspace`. */
  readonly topics: Readonly<Record<string, { readonly description: string }>>
}

/** Runs the command that the arguments name; the exit code is set when the promise fulfils. */
export async function runProgram(program: Program, argv: readonly string[]): Promise<void> {
  settings.enableAutoTranspile = false
  watchOutput(program.name)
  const words = argv[0] === 'help' ? [...argv.slice(1), '--help'] : [...argv]
  const config = await loadConfig(program)
  const command = knownCommand(config, words)
  const usage = [program.name, ...(command?.id.split(':') ?? [])].join(' ')
  try {
    const fault = faultOf(program.name, config, words)
    if (fault !== null) {
      fail(program.name, [fault, `see '${program.name} --help'`])
      process.exitCode = EXIT_USAGE
    } else if (command === undefined || wantsHelp(words)) await run(words, config)
    // Not by `run`: it takes every word for a part of the command's name when the command has no arguments.
    else await config.runCommand(command.id, words.slice(command.id.split(':').length))
  } catch (error) {
    if (isSilentExit(error)) return
    if (words.includes('--debug'))
      process.stderr.write(`${error instanceof Error ? error.stack : String(error)}\n`)
    const { lines, exitCode } = describeFailure(error, usage)
    fail(program.name, lines)
    process.exitCode = exitCode
  }
}

function loadConfig(program: Program): Promise<Config> {
  const pjson = {
    name: 'kvnode',
    version: VERSION,
    type: 'module',
    description: program.description,
    oclif: {
      bin: program.name,
      dirname: 'kvnode',
      topicSeparator: ' ',
      additionalHelpFlags: ['-h'],
      topics: program.topics,
      // The summary is the first line of the help already.
      helpOptions: { hideCommandSummaryInDescription: true },
      commands: { strategy: 'explicit', target: `./${program.name}-commands.js`, identifier: 'COMMANDS' },
    },
  }
  // From dist/cli and dist/chunks alike.
  const root = fileURLToPath(new URL('../cli/', import.meta.url))
  return Config.load({ root, pjson: pjson as unknown as PJSON })
}

function knownCommand(config: Config, words: readonly string[]): { readonly id: string } | undefined {
  const [first = '', second = ''] = words
  return config.findCommand(`${first}:${second}`) ?? config.findCommand(first)
}

/** What is wrong with the words that should name a command; null: nothing, or they ask for help. */
function faultOf(name: string, config: Config, words: readonly string[]): string | null {
  const [first, second] = words
  if (first === undefined || knownCommand(config, words) !== undefined) return null
  if (first.startsWith('-')) {
    const isAsking = wantsHelp(words) || first === '--version'
    return isAsking ? null : `the command comes first, then its flags: ${name} COMMAND ${first} …`
  }
  const isTopic = config.findTopic(first) !== undefined
  if (isTopic && (second === undefined || wantsHelp(words))) return null
  if (isTopic && !isWord(second)) return `'${first}' is followed by one of: ${commandList(config, first)}`
  const list = commandList(config, isTopic ? first : undefined)
  return `unknown command '${named(config, words)}'; there are: ${list}`
}

function wantsHelp(words: readonly string[]): boolean {
  const end = words.indexOf('--')
  return words.slice(0, end === -1 ? undefined : end).some((word) => word === '--help' || word === '-h')
}

/** As much of a command as there is: two words only after a topic such as `keyspace`. */
function named(config: Config, words: readonly string[]): string {
  const [first = '', second] = words
  return config.findTopic(first) !== undefined && isWord(second) ? `${first} ${second}` : first
}

function isWord(argument: string | undefined): boolean {
  return argument !== undefined && !argument.startsWith('-')
}

/** @param topic only those of one group, without its name */
function commandList(config: Config, topic?: string): string {
  const prefix = topic === undefined ? '' : `${topic}:`
  const ids = config.commandIDs.filter((id) => id.startsWith(prefix)).map((id) => id.slice(prefix.length))
  return ids.map((id) => id.replaceAll(':', ' ')).join(', ')
}

/** A command that has said everything and only ends: oclif's `exit()`. */
function isSilentExit(error: unknown): boolean {
  if (!(error instanceof Error) || (error as { code?: unknown }).code !== 'EEXIT') return false
  process.exitCode = (error as { oclif?: { exit?: number } }).oclif?.exit ?? 0
  return true
}

function fail(name: string, lines: readonly string[]): void {
  // What was given is quoted, and may be anything.
  const plain = lines.map((line) => plainText(line, MAX_LINE_LENGTH))
  process.stderr.write(`${name}: ${plain.join('\n')}\n`)
}
