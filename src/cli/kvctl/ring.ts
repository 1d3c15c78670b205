import * as Flags from '@oclif/core/flags'
import { CtlCommand, keyHexFlag, keyspaceFlag } from './ctl-command.ts'

export default class Ring extends CtlCommand {
  static override summary = 'show which peers own which partitions, or where a key lives'
  static override flags = {
    keyspace: keyspaceFlag,
    key: Flags.string({
      description: 'show the partition of this key and its owners, in order of preference',
      helpValue: 'KEY',
    }),
    'key-hex': keyHexFlag,
  }
  static override examples = ['<%= config.bin %> ring', '<%= config.bin %> ring --key greeting']

  async run(): Promise<void> {
    const { flags } = await this.parse(Ring)
    const { showKeyLocation, showRing } = await import('./cluster-actions.ts')
    const { key } = flags
    await this.withClient(flags, (client) =>
      key === undefined
        ? showRing(client.service, flags.json)
        : showKeyLocation(client.service, flags.keyspace, key, flags['key-hex'], flags.json),
    )
  }
}
