import * as Args from '@oclif/core/args'
import * as Flags from '@oclif/core/flags'
import { CtlCommand } from './ctl-command.ts'

export default class KeyspaceAlter extends CtlCommand {
  static override summary = 'change how many copies of its keys a keyspace has, and how many must answer'
  static override description = [
    'Where the number of copies changes, data moves while the cluster serves; `kvctl tasks` shows how far',
    'that is. The rest holds for requests from then on. What is left out stays as it is.',
  ].join(' ')
  static override args = { name: Args.string({ description: 'its name', required: true, ignoreStdin: true }) }
  static override flags = {
    strategy: Flags.option({
      description: 'ring: so many replicas of each key; full: every peer holds everything',
      options: ['ring', 'full'] as const,
    })(),
    replicas: Flags.integer({ description: 'copies of each key, for strategy ring', min: 1 }),
    quorum: Flags.option({
      description: 'sloppy: other peers may stand in for dead owners; strict: owners only',
      options: ['sloppy', 'strict'] as const,
    })(),
    r: Flags.string({ char: 'r', description: 'owners that must answer a read', helpValue: 'R' }),
    w: Flags.string({ char: 'w', description: 'owners that must have a write', helpValue: 'W' }),
  }
  static override examples = [
    '<%= config.bin %> keyspace alter sessions --replicas 2',
    '<%= config.bin %> keyspace alter settings --strategy full',
  ]

  async run(): Promise<void> {
    const { args, flags } = await this.parse(KeyspaceAlter)
    const { alterKeyspace } = await import('./keyspace-actions.ts')
    await this.withClient(flags, (client) => alterKeyspace(client.service, args.name, flags, flags.json))
  }
}
