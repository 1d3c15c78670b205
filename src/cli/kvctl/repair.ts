import * as Flags from '@oclif/core/flags'
import { CtlCommand } from './ctl-command.ts'

export default class Repair extends CtlCommand {
  static override summary = 'compare what all owners hold, and bring what differs to all of them'
  static override description = [
    'One round of anti-entropy over the whole cluster, whichever peer is asked: each pair of peers compares',
    'the hash trees of all partitions that both own, once, and repairs the keys that differ. It gives way',
    'to requests, and does no harm when it is run twice, or ended: the round goes on without this command,',
    "and 'kvctl tasks' shows it. Peers that are down take no part: they compare by themselves when they are",
    'back. The cluster does the same every few minutes without being asked.',
    'Exit code 3: some of it could not be compared or repaired.',
  ].join(' ')
  static override flags = {
    keyspace: Flags.string({ description: 'only this keyspace; otherwise all', helpValue: 'NAME' }),
    'accept-loss': Flags.boolean({
      description: 'peers that lost data give up what nobody is left to be asked about; it cannot be undone',
      default: false,
    }),
    wait: Flags.boolean({ description: 'stay until the round has ended', default: true, allowNo: true }),
  }
  static override examples = ['<%= config.bin %> repair', '<%= config.bin %> repair --keyspace orders --json']

  async run(): Promise<void> {
    const { flags } = await this.parse(Repair)
    const { repair } = await import('./repair-actions.ts')
    const { wait, json } = flags
    const words = { keyspace: flags.keyspace ?? null, acceptLoss: flags['accept-loss'], wait, json }
    await this.withClient(flags, (client) => repair(client, words))
  }
}
