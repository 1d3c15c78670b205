import { CtlCommand } from './ctl-command.ts'

export default class Hints extends CtlCommand {
  static override summary = 'show what peers keep for others that are down'
  static override description =
    'Writes that a peer took in place of an owner which was away. They are delivered when it is back. With ' +
    'no more peers than replicas, such as 3 peers and N = 3, there are none: every peer is an owner, and ' +
    'nobody is left to stand in.'
  static override examples = ['<%= config.bin %> hints', '<%= config.bin %> hints --json']

  async run(): Promise<void> {
    const { flags } = await this.parse(Hints)
    const { showHints } = await import('./cluster-actions.ts')
    await this.withClient(flags, (client) => showHints(client.service, flags.json))
  }
}
