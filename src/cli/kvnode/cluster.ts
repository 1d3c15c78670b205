import { Command } from '@oclif/core/command'
import * as Flags from '@oclif/core/flags'
import { CLUSTER_OPTIONS } from '../../config/option-table.ts'
import { flagsOf, givenOptions } from './option-flags.ts'

export default class Cluster extends Command {
  static override summary = 'run a local cluster in the foreground, one process per peer'
  static override description =
    'For development: every peer listens on 127.0.0.1. The data stays between runs. Ctrl-C stops all of them.'
  static override flags = {
    ...flagsOf(CLUSTER_OPTIONS),
    debug: Flags.boolean({ description: 'show where an error comes from' }),
  }
  static override examples = [
    '<%= config.bin %> cluster',
    '<%= config.bin %> cluster --peers 5 --port 7101 --clean',
  ]

  async run(): Promise<void> {
    const { flags } = await this.parse(Cluster)
    const { loadOptions } = await import('./load-options.ts')
    const options = await loadOptions(CLUSTER_OPTIONS, givenOptions(CLUSTER_OPTIONS, flags), undefined)
    const { runCluster } = await import('./run-cluster.ts')
    await runCluster(options)
  }
}
