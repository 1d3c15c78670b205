/** What all commands of `kvctl` share: whom to ask, in which keyspace, how to print. */
import * as Args from '@oclif/core/args'
import { Command } from '@oclif/core/command'
import * as Flags from '@oclif/core/flags'
import type { KvClient } from './session.ts'

export interface CommonFlags {
  readonly peer: readonly string[]
  readonly timeout: number
}

export abstract class CtlCommand extends Command {
  static override baseFlags = {
    peer: Flags.string({
      description:
        'a peer to ask, host:port; may be repeated: the next one is asked when one does not answer ' +
        '[env: KVCTL_PEER]',
      helpValue: 'HOST:PORT',
      // Not oclif's `env`: it takes the variable as it is, and here it is a list.
      default: async () => peersFromEnvironment(),
      multiple: true,
      multipleNonGreedy: true,
      delimiter: ',',
      helpGroup: 'COMMON',
    }),
    json: Flags.boolean({ default: false, description: 'print JSON', helpGroup: 'COMMON' }),
    timeout: Flags.integer({
      description:
        'ms after which a request is given up; half a second later when no peer has answered by then',
      helpValue: 'MS',
      default: 5000,
      min: 1,
      max: 600_000,
      helpGroup: 'COMMON',
    }),
    debug: Flags.boolean({
      default: false,
      description: 'show where an error comes from',
      helpGroup: 'COMMON',
    }),
  }

  /** Connects, runs, and closes whatever happens. */
  protected async withClient<T>(flags: CommonFlags, action: (client: KvClient) => Promise<T>): Promise<T> {
    const { withClient } = await import('./session.ts')
    return withClient(flags.peer, action, flags.timeout)
  }
}

export const keyspaceFlag = Flags.string({
  description: 'the keyspace',
  helpValue: 'NAME',
  default: 'default',
})

export const keyHexFlag = Flags.boolean({
  default: false,
  description: 'the key is given in hexadecimal digits',
})

export const keyArgument = Args.string({
  description: 'the key: 1 to 1,024 bytes',
  required: true,
  ignoreStdin: true,
})

/** Addresses with commas between them. */
function peersFromEnvironment(): string[] {
  const written = (process.env.KVCTL_PEER ?? '').split(',').map((part) => part.trim())
  const named = written.filter((part) => part !== '')
  return named.length > 0 ? named : ['127.0.0.1:7001']
}
