import * as Args from '@oclif/core/args'
import { CtlCommand } from './ctl-command.ts'

export default class Remove extends CtlCommand {
  static override summary = 'take a peer that is down for good out of the cluster'
  static override description = [
    'What it owned is rebuilt from the other owners. What only it had is lost, and it cannot come back but',
    'with an empty data directory, as a new peer. A peer that is up is to `kvctl leave`.',
  ].join(' ')
  static override args = {
    peer: Args.string({ description: 'its address or id', required: true, ignoreStdin: true }),
  }
  static override examples = ['<%= config.bin %> remove 10.0.0.4:7001']

  async run(): Promise<void> {
    const { args, flags } = await this.parse(Remove)
    const { remove } = await import('./cluster-actions.ts')
    await this.withClient(flags, (client) => remove(client.service, args.peer, flags.json))
  }
}
