import * as Args from '@oclif/core/args'
import * as Flags from '@oclif/core/flags'
import { CtlCommand } from './ctl-command.ts'

export default class Replace extends CtlCommand {
  static override summary = 'have a peer that waits take the place of one that is down for good'
  static override description = [
    'Both go with one change. The new peer is one that was started with --join and --manual-layout; `kvnode',
    'start --replace` does all of it from there. With a manual layout it is staged, as other changes are.',
  ].join(' ')
  static override args = {
    old: Args.string({
      description: 'the member that is down: address or id',
      required: true,
      ignoreStdin: true,
    }),
    new: Args.string({
      description: 'the peer that waits: address or id',
      required: true,
      ignoreStdin: true,
    }),
  }
  static override flags = {
    'accept-loss': Flags.boolean({
      default: false,
      description: 'also where only the old one may have what was acknowledged: that is given up',
    }),
  }
  static override examples = ['<%= config.bin %> replace 10.0.0.4:7001 10.0.0.9:7001']

  async run(): Promise<void> {
    const { args, flags } = await this.parse(Replace)
    const { replace } = await import('./layout-actions.ts')
    const mayLose = flags['accept-loss']
    await this.withClient(flags, (client) => replace(client.service, args.old, args.new, mayLose, flags.json))
  }
}
