import { CtlCommand } from './ctl-command.ts'

export default class LayoutHistory extends CtlCommand {
  static override summary = 'show what was decided about the cluster: when, by which peer, what changed'
  static override description =
    'The last 50 numbers, the newest first. A change of the ring is three of them: begin, switch, finish.'
  static override examples = ['<%= config.bin %> layout history', '<%= config.bin %> layout history --json']

  async run(): Promise<void> {
    const { flags } = await this.parse(LayoutHistory)
    const { showHistory } = await import('./layout-actions.ts')
    await this.withClient(flags, (client) => showHistory(client.service, flags.json))
  }
}
