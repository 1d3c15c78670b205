import { CtlCommand } from './ctl-command.ts'

export default class LayoutAcceptLoss extends CtlCommand {
  static override summary = 'let a change go on from which too few owners are left'
  static override description = [
    'When so many owners of a partition were removed that acknowledged writes may be missing in what is',
    'left, the change stops, and `kvctl status` says so. With this it goes on: what only the removed',
    'peers had is lost. It cannot be undone. It is about the peers that are removed now: when one more',
    'is, it stops again.',
  ].join(' ')
  static override examples = ['<%= config.bin %> layout accept-loss']

  async run(): Promise<void> {
    const { flags } = await this.parse(LayoutAcceptLoss)
    const { acceptLoss } = await import('./layout-actions.ts')
    await this.withClient(flags, (client) => acceptLoss(client.service, flags.json))
  }
}
