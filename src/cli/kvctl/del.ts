import * as Args from '@oclif/core/args'
import * as Flags from '@oclif/core/flags'
import { CtlCommand, keyHexFlag, keyspaceFlag } from './ctl-command.ts'

export default class Del extends CtlCommand {
  static override summary = 'delete keys'
  static override description =
    'Deleting a key that is not there is no error. Without --context it deletes what a quorum of the ' +
    'owners holds. With the context of an earlier read or write it deletes exactly what that one saw: ' +
    'what others wrote since then stays.'
  static override args = {
    keys: Args.string({ description: 'the keys', required: true, multiple: true, ignoreStdin: true }),
  }
  static override flags = {
    keyspace: keyspaceFlag,
    'key-hex': keyHexFlag,
    context: Flags.string({
      description: 'from an earlier read or write of the key; for one key',
      helpValue: 'CONTEXT',
    }),
    blind: Flags.boolean({
      default: false,
      description: 'do not ask the other owners what there is to delete',
      exclusive: ['context'],
    }),
    w: Flags.string({
      char: 'w',
      description: 'owners that must have it on disk: a number, one, quorum or all',
      helpValue: 'W',
    }),
  }
  static override examples = ['<%= config.bin %> del greeting farewell']

  async run(): Promise<void> {
    const { args, flags } = await this.parse(Del)
    const { del } = await import('./data-actions.ts')
    const words: readonly string[] = args.keys as unknown as string[]
    const { keyspace, context, blind, w } = flags
    const request = { keyspace, keys: words, keyIsHex: flags['key-hex'], context, blind, w }
    await del(request, { json: flags.json, timeoutMs: flags.timeout }, (action) =>
      this.withClient(flags, action),
    )
  }
}
