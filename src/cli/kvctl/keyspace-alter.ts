import * as Args from '@oclif/core/args'
import * as Flags from '@oclif/core/flags'
import { CtlCommand } from './ctl-command.ts'

export default class KeyspaceAlter extends CtlCommand {
  static override summary = 'change how many copies there are of the keys of a keyspace'
  static override description = [
    'Data moves while the cluster serves; `kvctl tasks` shows how far that is. What is left out stays as it',
    'is.',
  ].join(' ')
  static override args = { name: Args.string({ description: 'its name', required: true, ignoreStdin: true }) }
  static override flags = {
    strategy: Flags.option({
      description: 'ring: so many replicas of each key; full: every peer holds everything',
      options: ['ring', 'full'] as const,
    })(),
    replicas: Flags.integer({ description: 'copies of each key, for strategy ring', min: 1 }),
  }
  static override examples = [
    '<%= config.bin %> keyspace alter sessions --replicas 2',
    '<%= config.bin %> keyspace alter settings --strategy full',
  ]

  async run(): Promise<void> {
    const { args, flags } = await this.parse(KeyspaceAlter)
    const { strategy, replicas, json } = flags
    const shape = { ...(strategy !== undefined && { strategy }), ...(replicas !== undefined && { replicas }) }
    const { alterKeyspace } = await import('./keyspace-actions.ts')
    await this.withClient(flags, (client) => alterKeyspace(client.service, args.name, shape, json))
  }
}
