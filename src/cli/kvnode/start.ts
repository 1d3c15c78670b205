import { Command } from '@oclif/core/command'
import * as Flags from '@oclif/core/flags'
import { PEER_OPTIONS } from '../../config/option-table.ts'
import { flagsOf, givenOptions } from './option-flags.ts'

export default class Start extends Command {
  static override summary = 'run a peer'
  static override description =
    'Without --join and with an empty data directory: a new cluster of one. With --join: tries until one ' +
    'of the named peers answers. With the data of an earlier run: goes back to its cluster. Prints one ' +
    'line when it serves; SIGTERM and SIGINT stop it in order.'
  static override flags = {
    ...flagsOf(PEER_OPTIONS),
    config: Flags.string({
      description: 'file with options, in YAML; flags and variables beat it',
      helpValue: 'FILE',
      env: 'KVNODE_CONFIG',
    }),
    debug: Flags.boolean({ description: 'show where an error comes from' }),
  }
  static override examples = [
    '<%= config.bin %> start --port 7001 --data ./data',
    '<%= config.bin %> start --port 7002 --join 127.0.0.1:7001',
  ]

  async run(): Promise<void> {
    const { flags } = await this.parse(Start)
    const { loadOptions } = await import('./load-options.ts')
    const config = flags.config as string | undefined
    const options = await loadOptions(PEER_OPTIONS, givenOptions(PEER_OPTIONS, flags), config)
    const { runPeer } = await import('./run-peer.ts')
    await runPeer(options, {
      ready: (address) => {
        process.stdout.write(`kvnode ready on ${address}\n`)
      },
    })
  }
}
