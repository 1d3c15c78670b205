import * as Args from '@oclif/core/args'
import * as Flags from '@oclif/core/flags'
import { CtlCommand, keyArgument, keyHexFlag, keyspaceFlag } from './ctl-command.ts'

export default class Put extends CtlCommand {
  static override summary = 'write a value'
  static override description =
    'Without --context it replaces what a quorum of the owners holds. With the context of an earlier ' +
    'read or write it replaces exactly what that one saw: what others wrote since then stays, beside it.'
  static override args = {
    key: keyArgument,
    value: Args.string({
      description: "the value; '-' reads standard input",
      required: true,
      ignoreStdin: true,
    }),
  }
  static override flags = {
    keyspace: keyspaceFlag,
    'key-hex': keyHexFlag,
    context: Flags.string({ description: 'from an earlier read or write of this key', helpValue: 'CONTEXT' }),
    blind: Flags.boolean({
      default: false,
      description: 'do not ask the other owners what there is to replace',
      exclusive: ['context'],
    }),
    w: Flags.string({
      char: 'w',
      description: 'owners that must have it on disk: a number, one, quorum or all',
      helpValue: 'W',
    }),
    ttl: Flags.string({
      description: 'how long it is to be found, such as 60s, 12h or 30d',
      helpValue: 'TTL',
    }),
    'content-type': Flags.string({ description: 'kept with the value, for HTTP', helpValue: 'TYPE' }),
  }
  static override examples = [
    '<%= config.bin %> put greeting hello',
    '$ cat photo.jpg | <%= config.bin %> put photo - --content-type image/jpeg',
  ]

  async run(): Promise<void> {
    const { args, flags } = await this.parse(Put)
    const { put } = await import('./data-actions.ts')
    const request = {
      keyspace: flags.keyspace,
      key: args.key,
      keyIsHex: flags['key-hex'],
      value: args.value,
      context: flags.context,
      blind: flags.blind,
      w: flags.w,
      ttl: flags.ttl,
      contentType: flags['content-type'],
    }
    await put(request, { json: flags.json, timeoutMs: flags.timeout }, (action) =>
      this.withClient(flags, action),
    )
  }
}
