import { CtlCommand } from './ctl-command.ts'

export default class Hints extends CtlCommand {
  static override summary = 'show what peers keep for others that are down'
  static override description =
    'Writes that a peer took in place of an owner which was away. They are delivered when it is back.'
  static override examples = ['<%= config.bin %> hints', '<%= config.bin %> hints --json']

  async run(): Promise<void> {
    const { flags } = await this.parse(Hints)
    const { showHints } = await import('./cluster-actions.ts')
    await this.withClient(flags, (client) => showHints(client.service, flags.json))
  }
}
