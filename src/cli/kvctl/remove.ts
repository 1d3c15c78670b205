import * as Args from '@oclif/core/args'
import * as Flags from '@oclif/core/flags'
import { CtlCommand } from './ctl-command.ts'

export default class Remove extends CtlCommand {
  static override summary = 'take a peer that is down for good out of the cluster'
  static override description = [
    'What it owned is rebuilt from the other owners, and it cannot come back but with an empty data',
    'directory, as a new peer. That is possible at any time, also in the middle of a change. Where too few',
    'other owners are left that are up and say that they have all that was acknowledged, it is refused,',
    'unless with --accept-loss.',
    'A peer that is up is to `kvctl leave`.',
  ].join(' ')
  static override args = {
    peer: Args.string({ description: 'its address or id', required: true, ignoreStdin: true }),
  }
  static override flags = {
    'accept-loss': Flags.boolean({
      default: false,
      description: 'also where only it may have what was acknowledged: that is given up',
    }),
  }
  static override examples = ['<%= config.bin %> remove 10.0.0.4:7001']

  async run(): Promise<void> {
    const { args, flags } = await this.parse(Remove)
    const { remove } = await import('./cluster-actions.ts')
    const acceptLoss = flags['accept-loss']
    await this.withClient(flags, (client) => remove(client.service, args.peer, acceptLoss, flags.json))
  }
}
