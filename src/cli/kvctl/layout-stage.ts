import * as Args from '@oclif/core/args'
import { CtlCommand } from './ctl-command.ts'

export default class LayoutStage extends CtlCommand {
  static override summary = 'collect changes of the ring, to be applied as one'
  static override description = [
    'join PEER: one that waits to join. leave PEER: it hands over what it owns, and stops. remove PEER:',
    "it is down for good. weight PEER NUMBER and zone PEER ZONE ('' for none): of a member, or of one",
    'that is to join. replace OLD NEW: a peer that waits takes the place of one that is down for good. clear',
    '[PEER]: forget what is staged of it, or everything. A peer is named by its address or id. What is',
    'staged is seen by all peers, and moves nothing.',
  ].join(' ')
  static override usage = ['layout stage ACTION [PEER] [VALUE] [--peer HOST:PORT...] [--json]']
  static override args = {
    // How many there have to be is said in words that fit the action.
    words: Args.string({ multiple: true, ignoreStdin: true, hidden: true }),
  }
  static override examples = [
    '<%= config.bin %> layout stage leave 10.0.0.2:7001',
    '<%= config.bin %> layout stage weight 10.0.0.3:7001 200',
    '<%= config.bin %> layout stage replace 10.0.0.4:7001 10.0.0.9:7001',
    '<%= config.bin %> layout stage clear',
  ]

  async run(): Promise<void> {
    const { args, flags } = await this.parse(LayoutStage)
    const { stageChange } = await import('./layout-actions.ts')
    const words = (args.words ?? []) as unknown as readonly string[]
    await this.withClient(flags, (client) => stageChange(client.service, words, flags.json))
  }
}
