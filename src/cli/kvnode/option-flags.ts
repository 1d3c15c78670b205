/** Flags of oclif, and their values, from the option table. */
import * as Flags from '@oclif/core/flags'
import { formatSize, type Option, type OptionTable } from '../../config/option.ts'
import { flagName, variableName } from '../../config/resolve.ts'

/** No flag has a default here: what was not given may be given by a variable or the config file. */
export function flagsOf(table: OptionTable): Readonly<Record<string, FlagDefinition>> {
  return Object.fromEntries(
    Object.entries(table).map(([name, option]) => [flagName(name), flagOf(name, option)]),
  )
}

type FlagDefinition = ReturnType<typeof flagOf>

function flagOf(name: string, option: Option<unknown>) {
  const description = describe(name, option)
  if (option.shape === 'switch') return Flags.boolean({ description, allowNo: false })
  const helpValue = option.placeholder
  if (option.shape === 'single') return Flags.string({ description, helpValue })
  return Flags.string({ description, helpValue, multiple: true, multipleNonGreedy: true })
}

/** By option name, only those that were given. */
export function givenOptions(
  table: OptionTable,
  flags: Readonly<Record<string, unknown>>,
): Record<string, unknown> {
  const names = Object.keys(table).filter((name) => flags[flagName(name)] !== undefined)
  return Object.fromEntries(names.map((name) => [name, flags[flagName(name)]]))
}

function describe(name: string, option: Option<unknown>): string {
  const value = option.default
  const isPlain = value !== '' && value !== false && !Array.isArray(value)
  const shown = option.unit === 'bytes' ? formatSize(value as number) : String(value)
  return `${option.help} [${isPlain ? `default: ${shown}, ` : ''}env: ${variableName(name)}]`
}
