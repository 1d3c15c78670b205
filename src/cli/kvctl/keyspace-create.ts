import * as Args from '@oclif/core/args'
import * as Flags from '@oclif/core/flags'
import { CtlCommand } from './ctl-command.ts'

export default class KeyspaceCreate extends CtlCommand {
  static override summary = 'make a keyspace'
  static override description = 'Making it again with the same options is no error.'
  static override args = { name: Args.string({ description: 'its name', required: true, ignoreStdin: true }) }
  static override flags = {
    strategy: Flags.string({
      description: 'ring: every key on N peers; full: every peer has everything',
      options: ['ring', 'full'],
      default: 'ring',
    }),
    replicas: Flags.integer({ description: 'N, for strategy ring; 3 when left out', min: 1, max: 7 }),
    conflicts: Flags.string({
      description: 'writes at the same time: keep them all as siblings, or the last one (lww)',
      options: ['siblings', 'lww'],
      default: 'siblings',
    }),
    quorum: Flags.string({
      description: 'sloppy: other peers may stand in for dead owners; strict: owners only',
      options: ['sloppy', 'strict'],
      default: 'sloppy',
    }),
    r: Flags.string({
      char: 'r',
      description: 'owners that must answer a read',
      helpValue: 'R',
      default: 'quorum',
    }),
    w: Flags.string({
      char: 'w',
      description: 'owners that must have a write',
      helpValue: 'W',
      default: 'quorum',
    }),
    durability: Flags.string({
      description: 'disk: a write counts once it is on disk; os: once the operating system has it',
      options: ['disk', 'os'],
      default: 'disk',
    }),
  }
  static override examples = ['<%= config.bin %> keyspace create sessions --replicas 2 --conflicts lww']

  async run(): Promise<void> {
    const { args, flags } = await this.parse(KeyspaceCreate)
    const { createKeyspace } = await import('./keyspace-actions.ts')
    await this.withClient(flags, (client) => createKeyspace(client.service, args.name, flags, flags.json))
  }
}
