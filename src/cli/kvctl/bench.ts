import * as Flags from '@oclif/core/flags'
import { WORKLOAD_TABLE, WORKLOADS, type WorkloadName } from '../bench/workload.ts'
import { CtlCommand } from './ctl-command.ts'

export default class Bench extends CtlCommand {
  static override summary = 'measure how fast the cluster answers'
  static override description =
    'Each client keeps its requests in flight: the next one starts when one is answered. ' +
    `Workloads of YCSB: ${workloadHelp()}.`
  static override flags = {
    workload: Flags.string({ description: 'what is asked', options: [...WORKLOADS], default: 'a' }),
    clients: Flags.integer({ description: 'connections', default: 4, min: 1, max: 256 }),
    'in-flight': Flags.integer({
      description: 'requests in flight on each of them',
      default: 16,
      min: 1,
      max: 4096,
    }),
    seconds: Flags.integer({ description: 'how long', default: 10, min: 1, max: 86_400 }),
    'value-size': Flags.integer({ description: 'bytes', default: 100, min: 0, max: 1024 * 1024 }),
    keys: Flags.integer({ description: 'how many different keys', default: 10_000, min: 1, max: 10_000_000 }),
    keyspace: Flags.string({ description: 'made when missing', helpValue: 'NAME', default: 'bench' }),
    load: Flags.boolean({ description: 'write all keys before', default: true, allowNo: true }),
  }
  static override examples = ['<%= config.bin %> bench --workload b --clients 8 --seconds 30']

  async run(): Promise<void> {
    const { flags } = await this.parse(Bench)
    const { runBench } = await import('../bench/run-bench.ts')
    const { withClients } = await import('./session.ts')
    const words = {
      workload: flags.workload as WorkloadName,
      clients: flags.clients,
      inFlight: flags['in-flight'],
      seconds: flags.seconds,
      valueBytes: flags['value-size'],
      keys: flags.keys,
      keyspace: flags.keyspace,
      load: flags.load,
      timeoutMs: flags.timeout,
      json: flags.json,
    }
    await withClients(flags.peer, words.clients, (clients) => runBench(words, clients), flags.timeout)
  }
}

function workloadHelp(): string {
  return Object.entries(WORKLOAD_TABLE)
    .map(([name, { help }]) => `${name}: ${help}`)
    .join('; ')
}
