import { CtlCommand } from './ctl-command.ts'

export default class LayoutShow extends CtlCommand {
  static override summary = 'show who has how much of the ring, and what is staged'
  static override description =
    'Partitions are counted over all keyspaces: one for each owner of each partition of each of them.'
  static override examples = ['<%= config.bin %> layout show', '<%= config.bin %> layout show --json']

  async run(): Promise<void> {
    const { flags } = await this.parse(LayoutShow)
    const { showLayout } = await import('./layout-actions.ts')
    await this.withClient(flags, (client) => showLayout(client.service, flags.json))
  }
}
