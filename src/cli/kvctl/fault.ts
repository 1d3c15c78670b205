import * as Args from '@oclif/core/args'
import { CtlCommand } from './ctl-command.ts'

export default class Fault extends CtlCommand {
  static override summary = 'simulate failures of running peers'
  static override description = [
    'For peers started with --enable-faults, as those of `kvnode cluster` are. A peer is named by its port,',
    'its address, its id or the beginning of its id. The command goes from here to every peer that has a',
    'part in it.',
    'Failures add up until `heal`; a restarted peer has forgotten its own.',
    '\n\npartition "A,B|C": no peer of one group reaches one of another',
    '\nisolate A: A and all others do not reach each other',
    '\none-way A B: what A sends to B is lost',
    '\ndrop A B 30%, delay A B 200ms: what the two send to each other is lost, or late',
    '\nfail A: it refuses everything as if it were gone, until recover A',
    '\nheal: ends everything',
    '\nlist: what is being simulated where',
  ].join(' ')
  static override args = {
    action: Args.string({
      description: 'what to simulate',
      required: true,
      options: ['partition', 'isolate', 'one-way', 'drop', 'delay', 'fail', 'recover', 'heal', 'list'],
      ignoreStdin: true,
    }),
    words: Args.string({
      description: 'whom, and how much',
      required: false,
      multiple: true,
      ignoreStdin: true,
    }),
  }
  static override examples = [
    '<%= config.bin %> fault partition "7001,7002|7003"',
    '<%= config.bin %> fault drop 7001 7002 30%',
    '<%= config.bin %> fault heal',
  ]

  async run(): Promise<void> {
    const { args, flags } = await this.parse(Fault)
    const { parseFaultWords } = await import('./fault-words.ts')
    const { injectFault, listFaults } = await import('./fault-actions.ts')
    const words = (args.words ?? []) as unknown as readonly string[]
    const command = parseFaultWords(args.action, words)
    const asking = { peers: flags.peer, timeoutMs: flags.timeout, json: flags.json }
    if (command === 'list') await listFaults(asking)
    else await injectFault(command, asking)
  }
}
