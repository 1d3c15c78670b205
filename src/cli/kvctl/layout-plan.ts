import { CtlCommand } from './ctl-command.ts'

export default class LayoutPlan extends CtlCommand {
  static override summary = 'show what it would bring to apply what is staged'
  static override description = [
    'For each peer its partitions before and after, how many it receives and gives; how much is',
    'streamed; how far the moves are from the fewest that would do, and the balance from a fair one.',
    'Nothing is changed.',
  ].join(' ')
  static override examples = ['<%= config.bin %> layout plan', '<%= config.bin %> layout plan --json']

  async run(): Promise<void> {
    const { flags } = await this.parse(LayoutPlan)
    const { showPlan } = await import('./layout-actions.ts')
    await this.withClient(flags, (client) => showPlan(client.service, flags.json))
  }
}
