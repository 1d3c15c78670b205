import { CtlCommand } from './ctl-command.ts'

export default class KeyspaceList extends CtlCommand {
  static override summary = 'list the keyspaces'
  static override examples = ['<%= config.bin %> keyspace list']

  async run(): Promise<void> {
    const { flags } = await this.parse(KeyspaceList)
    const { listKeyspaces } = await import('./keyspace-actions.ts')
    await this.withClient(flags, (client) => listKeyspaces(client.service, flags.json))
  }
}
