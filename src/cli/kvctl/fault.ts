import * as Args from '@oclif/core/args'
import type { FaultCommand } from '../../wire/faults.ts'
import { CtlCommand } from './ctl-command.ts'
import { FAULT_USAGE } from './fault-usage.ts'

type Action = FaultCommand['fault'] | 'list'

interface FaultHelp {
  readonly summary: string
  /** What is particular about it. */
  readonly more?: string
  /** Words to try. */
  readonly example: string
}

const HELP: Readonly<Record<Action, FaultHelp>> = {
  partition: {
    summary: 'cut the peers into groups: no peer of one reaches one of another',
    more: 'Within a group everyone reaches everyone, and peers in no group stay as they are. ',
    example: '"7001,7002|7003"',
  },
  isolate: { summary: 'cut one peer off: it and all others do not reach each other', example: '7003' },
  'one-way': {
    summary: 'lose what the first peer sends to the second',
    more: 'What the second sends to the first arrives. ',
    example: '7001 7002',
  },
  drop: { summary: 'lose a share of what two peers send to each other', example: '7001 7002 30%' },
  delay: { summary: 'make what two peers send to each other late', example: '7001 7002 200ms' },
  fail: {
    summary: 'make a peer refuse peers and clients, as if it were gone',
    more: 'Its process goes on; recover ends it. ',
    example: '7003',
  },
  recover: { summary: 'let a peer that plays dead find its cluster again, and serve', example: '7003' },
  heal: { summary: 'end everything that is simulated, at every peer', example: '' },
  list: { summary: 'show what is being simulated where', example: '' },
}

const GENERAL =
  'For peers started with --enable-faults, as those of `kvnode cluster` are. A peer is named by its port, ' +
  'its address, its id or the beginning of its id. The command goes from here to every peer that has a ' +
  'part in it. Failures add up until `kvctl fault heal`; a restarted peer has forgotten its own. A peer ' +
  'that is cut off is called down 2 to 5 s later.'

/** By the name of the command: `fault:isolate` and so on. */
export const FAULT_COMMANDS = Object.fromEntries(
  (Object.keys(HELP) as Action[]).map((action) => [`fault:${action}`, faultCommand(action)]),
)

/** A command each: its help is about it alone. */
function faultCommand(action: Action): typeof CtlCommand {
  const { summary, more = '', example } = HELP[action]
  return class extends CtlCommand {
    static override summary = summary
    static override description = more + GENERAL
    static override usage = [`fault ${FAULT_USAGE[action]} [--peer HOST:PORT...] [--json] [--timeout MS]`]
    static override args = {
      // How many there have to be is said in words that fit the action.
      words: Args.string({ multiple: true, ignoreStdin: true, hidden: true }),
    }
    static override examples = [`<%= config.bin %> fault ${action} ${example}`.trim()]

    async run(): Promise<void> {
      const { args, flags } = await this.parse(this.constructor as typeof CtlCommand)
      const { parseFaultWords } = await import('./fault-words.ts')
      const { injectFault, listFaults } = await import('./fault-actions.ts')
      const command = parseFaultWords(action, (args.words ?? []) as unknown as readonly string[])
      const asking = { peers: flags.peer, timeoutMs: flags.timeout, json: flags.json }
      if (command === 'list') await listFaults(asking)
      else await injectFault(command, asking)
    }
  }
}
