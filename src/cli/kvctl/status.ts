import { CtlCommand } from './ctl-command.ts'

export default class Status extends CtlCommand {
  static override summary = 'show the peers of the cluster'
  static override description =
    'As the peer that is asked sees them. The first letter: U up, D down. The second: N normal, J joining, ' +
    'L leaving. So UN is as it should be; DN, DJ and DL are down. The column hints ' +
    'counts what other peers keep for this one.'
  static override examples = ['<%= config.bin %> status', '<%= config.bin %> status --json']

  async run(): Promise<void> {
    const { flags } = await this.parse(Status)
    const { showStatus } = await import('./cluster-actions.ts')
    await this.withClient(flags, (client) => showStatus(client.service, flags.json))
  }
}
