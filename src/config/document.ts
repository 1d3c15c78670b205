/** The option table as people read it: a commented config file, and the lines of a table in Markdown. */
import { formatSize, type OptionTable } from './option.ts'
import { flagName, variableName } from './resolve.ts'

/** A YAML file with every option, its help and its default, all commented out. */
export function commentedYaml(table: OptionTable, opening: readonly string[]): string {
  const lines = opening.map((line) => `# ${line}`.trimEnd())
  for (const [name, option] of Object.entries(table)) {
    const unit = option.unit === '' ? '' : ` (${option.unit})`
    lines.push('', `# ${option.help}${unit}`, `# allowed: ${option.allowed}; variable ${variableName(name)}`)
    lines.push(`#${flagName(name)}: ${shownDefault(option.default, option.unit)}`)
  }
  return `${lines.join('\n')}\n`
}

/** Rows `| --flag | variable | default | help |`. */
export function markdownRows(table: OptionTable): string[] {
  return Object.entries(table).map(([name, option]) => {
    const { placeholder } = option
    const flag = `--${flagName(name)} ${placeholder.replaceAll('|', '\\|')}`.trimEnd()
    const fallback = shownDefault(option.default, option.unit)
    const shown = fallback === "''" || fallback === '[]' ? '' : fallback
    return `| \`${flag}\` | \`${variableName(name)}\` | ${shown} | ${option.help} |`
  })
}

function shownDefault(value: unknown, unit: string): string {
  if (value === '') return "''"
  if (Array.isArray(value)) return `[${value.join(', ')}]`
  return unit === 'bytes' ? formatSize(value as number) : String(value)
}
