import { CtlCommand } from './ctl-command.ts'

export default class Tasks extends CtlCommand {
  static override summary = 'show long operations of all peers, and how far they are'
  static override description = [
    'repair: two peers compare what both own, as the schedule or `kvctl repair` asks. rebuild: a peer',
    'makes its hash trees anew from its disk. handoff: a peer delivers what it kept for others that',
    'were down. takeover: a peer fetches what it is to own after the open change of the ring; `kvctl',
    'status` says what that change is, how far all peers together are, and what it waits for. Those',
    'that ended last are shown too, until the next one of their kind begins.',
  ].join(' ')
  static override examples = ['<%= config.bin %> tasks', '<%= config.bin %> tasks --json']

  async run(): Promise<void> {
    const { flags } = await this.parse(Tasks)
    const { showTasks } = await import('./task-actions.ts')
    await this.withClient(flags, (client) => showTasks(client.service, flags.json))
  }
}
