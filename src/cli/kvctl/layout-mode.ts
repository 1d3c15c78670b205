import * as Args from '@oclif/core/args'
import { CtlCommand } from './ctl-command.ts'

export default class LayoutMode extends CtlCommand {
  static override summary = 'say whether joins, leaves and removals are staged first, or show it'
  static override description = [
    'manual: they are staged until `kvctl layout apply`, as in a cluster founded with --manual-layout.',
    'automatic: they begin at once.',
  ].join(' ')
  static override args = {
    mode: Args.string({
      description: 'manual or automatic; left out: show it',
      options: ['manual', 'automatic'],
      ignoreStdin: true,
    }),
  }
  static override examples = ['<%= config.bin %> layout mode manual']

  async run(): Promise<void> {
    const { args, flags } = await this.parse(LayoutMode)
    const { setMode } = await import('./layout-actions.ts')
    await this.withClient(flags, (client) => setMode(client.service, args.mode, flags.json))
  }
}
