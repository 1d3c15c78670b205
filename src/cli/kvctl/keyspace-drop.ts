import * as Args from '@oclif/core/args'
import { CtlCommand } from './ctl-command.ts'

export default class KeyspaceDrop extends CtlCommand {
  static override summary = 'drop a keyspace and everything in it'
  static override args = { name: Args.string({ description: 'its name', required: true, ignoreStdin: true }) }
  static override examples = ['<%= config.bin %> keyspace drop sessions']

  async run(): Promise<void> {
    const { args, flags } = await this.parse(KeyspaceDrop)
    const { dropKeyspace } = await import('./keyspace-actions.ts')
    await this.withClient(flags, (client) => dropKeyspace(client.service, args.name, flags.json))
  }
}
