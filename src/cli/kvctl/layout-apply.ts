import * as Flags from '@oclif/core/flags'
import { CtlCommand } from './ctl-command.ts'

export default class LayoutApply extends CtlCommand {
  static override summary = 'begin the change that is staged'
  static override description = [
    'The number is the one that `kvctl layout plan` named: when anything was staged, applied or decided',
    'since, this is refused, so that what begins is what you have looked at. So it is where too few owners',
    'are left beside those that are removed that are up and say that they have all that was acknowledged,',
    'unless with --accept-loss.',
  ].join(' ')
  static override flags = {
    number: Flags.integer({
      description: 'the number of the layout that the plan was made from',
      helpValue: 'N',
      required: true,
      min: 1,
    }),
    'accept-loss': Flags.boolean({
      default: false,
      description: 'also where only peers that are removed may have what was acknowledged: that is given up',
    }),
  }
  static override examples = ['<%= config.bin %> layout apply --number 7']

  async run(): Promise<void> {
    const { flags } = await this.parse(LayoutApply)
    const { applyLayout } = await import('./layout-actions.ts')
    await this.withClient(flags, (client) =>
      applyLayout(client.service, flags.number, flags['accept-loss'], flags.json),
    )
  }
}
