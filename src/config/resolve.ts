/**
 * From what flags, environment variables and the config file say to one checked value per option: flag beats
 * variable beats file beats default. Whatever is wrong is named together with what is allowed.
 */
import { KvError } from '../base/error.ts'
import type { Option, OptionTable, OptionValues } from './option.ts'

export interface OptionSources {
  /** By option name, as in the table. Undefined: not given. */
  readonly flags: Readonly<Record<string, unknown>>
  readonly environment: Readonly<Record<string, string | undefined>>
  /** Content of the config file, parsed; null without one. */
  readonly file: { readonly name: string; readonly content: unknown } | null
}

/** `maxValue` is `--max-value` and, in a config file, `max-value`. */
export function flagName(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)
}

/** `maxValue` is `KVNODE_MAX_VALUE`. */
export function variableName(name: string): string {
  return `KVNODE_${flagName(name).replaceAll('-', '_').toUpperCase()}`
}

/** @throws INVALID_ARGUMENT naming the flag, variable or key that is wrong, and what is allowed */
export function resolveOptions<T extends OptionTable>(table: T, sources: OptionSources): OptionValues<T> {
  const file = fileKeys(table, sources.file)
  const values: Record<string, unknown> = {}
  for (const [name, option] of Object.entries(table)) {
    const flag = sources.flags[name]
    const variable = sources.environment[variableName(name)]
    const key = flagName(name)
    if (flag !== undefined) values[name] = check(option, flag, `--${key}`)
    else if (variable !== undefined && variable !== '')
      values[name] = check(option, variable, variableName(name))
    // A default that no flag can say, such as no directory at all, stands in the files that list them.
    else if (Object.hasOwn(file, key) && file[key] !== option.default)
      values[name] = check(option, file[key], `'${key}' in ${sources.file?.name}`)
    else values[name] = option.default
  }
  return values as OptionValues<T>
}

/**
 * Variables that look like ours and are not: most likely misspelt. Those that container platforms set for a
 * service are not meant.
 */
export function unknownVariables(
  tables: readonly OptionTable[],
  environment: Readonly<Record<string, string | undefined>>,
  others: readonly string[],
): string[] {
  const known = new Set([...tables.flatMap((table) => Object.keys(table).map(variableName)), ...others])
  return Object.keys(environment).filter(
    (name) => name.startsWith('KVNODE_') && !known.has(name) && !/^KVNODE_(SERVICE_|PORT_)/.test(name),
  )
}

function fileKeys(table: OptionTable, file: OptionSources['file']): Readonly<Record<string, unknown>> {
  if (file === null || file.content === null || file.content === undefined) return {}
  if (typeof file.content !== 'object' || Array.isArray(file.content)) {
    throw new KvError('INVALID_ARGUMENT', `${file.name} is not a list of 'key: value' lines`)
  }
  const allowed = Object.keys(table).map(flagName)
  const unknown = Object.keys(file.content).find((key) => !allowed.includes(key))
  if (unknown !== undefined) {
    throw new KvError(
      'INVALID_ARGUMENT',
      `unknown key '${unknown}' in ${file.name}; allowed: ${allowed.join(', ')}`,
    )
  }
  return file.content as Readonly<Record<string, unknown>>
}

function check(option: Option<unknown>, raw: unknown, where: string): unknown {
  const result = option.schema.safeParse(raw)
  if (result.success) return result.data
  throw new KvError('INVALID_ARGUMENT', `${where} is ${shown(option, raw)}; allowed: ${option.allowed}`)
}

/** Of a list only the part that is wrong. */
function shown(option: Option<unknown>, raw: unknown): string {
  const isList = option.shape === 'list' && Array.isArray(raw)
  const wrong = isList ? raw.find((part) => !option.schema.safeParse([part]).success) : raw
  return typeof wrong === 'string' ? `'${wrong}'` : (JSON.stringify(wrong) ?? String(wrong))
}
