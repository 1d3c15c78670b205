import * as Flags from '@oclif/core/flags'
import { KvError } from '../../base/error.ts'
import { CtlCommand, keyHexFlag, keyspaceFlag } from './ctl-command.ts'

export default class Ring extends CtlCommand {
  static override summary = 'show how many partitions each peer owns, which those are, or where a key lives'
  static override description =
    'The first owner of a partition is the one that is asked first; which peers own a key follows from its ' +
    'partition. With --json always all partitions.'
  static override flags = {
    keyspace: keyspaceFlag,
    key: Flags.string({
      description: 'show the partition of this key and its owners, in order of preference',
      helpValue: 'KEY',
    }),
    'key-hex': keyHexFlag,
    partitions: Flags.boolean({
      description: 'show every partition with its owners, in order of preference',
      default: false,
      exclusive: ['key'],
    }),
  }
  static override examples = [
    '<%= config.bin %> ring',
    '<%= config.bin %> ring --partitions',
    '<%= config.bin %> ring --key greeting',
  ]

  async run(): Promise<void> {
    const { flags, metadata } = await this.parse(Ring)
    if (flags.key === undefined && metadata.flags.keyspace?.setFromDefault !== true) {
      throw new KvError('INVALID_ARGUMENT', '--keyspace goes with --key: where that key lives')
    }
    const { showKeyLocation, showRing } = await import('./cluster-actions.ts')
    const { key } = flags
    await this.withClient(flags, (client) =>
      key === undefined
        ? showRing(client.service, flags.partitions, flags.json)
        : showKeyLocation(client.service, flags.keyspace, key, flags['key-hex'], flags.json),
    )
  }
}
