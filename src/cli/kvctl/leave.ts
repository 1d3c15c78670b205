import * as Args from '@oclif/core/args'
import { CtlCommand } from './ctl-command.ts'

export default class Leave extends CtlCommand {
  static override summary = 'have a peer hand over what it owns, and stop'
  static override description = [
    'The ring changes while it serves: the other peers take over what this one owns, then it stops with exit',
    'code 0. `kvctl tasks` shows how far that is.',
  ].join(' ')
  static override args = {
    peer: Args.string({
      description: 'its address or id; left out: the peer that is asked',
      ignoreStdin: true,
    }),
  }
  static override examples = [
    '<%= config.bin %> leave 10.0.0.4:7001',
    '<%= config.bin %> leave --peer 10.0.0.4:7001',
  ]

  async run(): Promise<void> {
    const { args, flags } = await this.parse(Leave)
    const { leave } = await import('./cluster-actions.ts')
    await this.withClient(flags, (client) => leave(client.service, args.peer ?? null, flags.json))
  }
}
