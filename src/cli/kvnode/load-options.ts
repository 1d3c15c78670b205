/** The options of a command, from everywhere they can come from. */
import { readFileSync } from 'node:fs'
import { KvError } from '../../base/error.ts'
import type { OptionTable, OptionValues } from '../../config/option.ts'
import { CLUSTER_OPTIONS, PEER_OPTIONS } from '../../config/option-table.ts'
import { type OptionSources, resolveOptions, unknownVariables } from '../../config/resolve.ts'
import { AdvisedError } from '../failure.ts'

/** Variables that are not options: of the config file, and those oclif itself reads. */
const OTHER_VARIABLES = ['KVNODE_CONFIG', 'KVNODE_DEBUG', 'KVNODE_DISABLE_THEME']

/** @throws INVALID_ARGUMENT */
export async function loadOptions<T extends OptionTable>(
  table: T,
  given: Readonly<Record<string, unknown>>,
  configFile: string | undefined,
): Promise<OptionValues<T>> {
  const [unknown] = unknownVariables([PEER_OPTIONS, CLUSTER_OPTIONS], process.env, OTHER_VARIABLES)
  if (unknown !== undefined) {
    process.stderr.write(`kvnode: warning: there is no option for the variable ${unknown}; it is ignored\n`)
  }
  const file = configFile === undefined || configFile === '' ? null : await readConfigFile(configFile)
  return resolveOptions(table, { flags: given, environment: process.env, file })
}

async function readConfigFile(name: string): Promise<OptionSources['file']> {
  let text: string
  try {
    text = readFileSync(name, 'utf8')
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException
    const words = { ENOENT: 'there is none', EISDIR: 'it is a directory', EACCES: 'no permission' }
    const why = words[code as keyof typeof words] ?? message
    throw new AdvisedError(
      'INVALID_ARGUMENT',
      `cannot read the config file ${name}: ${why}`,
      '--config FILE, or KVNODE_CONFIG, names a YAML file; config/kvnode.yaml has all options, with comments',
    )
  }
  // The default export, because a bundle of CommonJS has no other.
  const { default: yaml } = await import('yaml')
  const document = yaml.parseDocument(text, { uniqueKeys: true })
  const [fault] = document.errors
  if (fault !== undefined) {
    throw new KvError(
      'INVALID_ARGUMENT',
      `${name} is not YAML: ${fault.message.split('\n')[0]?.replace(/:$/, '')}`,
    )
  }
  return { name, content: document.toJS() as unknown }
}
