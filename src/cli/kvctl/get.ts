import * as Flags from '@oclif/core/flags'
import { CtlCommand, keyArgument, keyHexFlag, keyspaceFlag } from './ctl-command.ts'

export default class Get extends CtlCommand {
  static override summary = 'read a value'
  static override description =
    'Prints the bytes of the value as they are. Several values, written at the same time: a table on a ' +
    'terminal, otherwise the newest; --json has them all. Exit code 1 when there is no such key.'
  static override args = { key: keyArgument }
  static override flags = {
    keyspace: keyspaceFlag,
    'key-hex': keyHexFlag,
    'with-context': Flags.boolean({
      default: false,
      description: 'also print the context, on standard error',
    }),
    r: Flags.string({
      char: 'r',
      description: 'owners that must answer: a number, one, quorum or all',
      helpValue: 'R',
    }),
  }
  static override examples = ['<%= config.bin %> get greeting', '<%= config.bin %> get greeting --json']

  async run(): Promise<void> {
    const { args, flags } = await this.parse(Get)
    const { get } = await import('./data-actions.ts')
    const request = {
      keyspace: flags.keyspace,
      key: args.key,
      keyIsHex: flags['key-hex'],
      r: flags.r,
      withContext: flags['with-context'],
    }
    await get(request, { json: flags.json, timeoutMs: flags.timeout }, (action) =>
      this.withClient(flags, action),
    )
  }
}
