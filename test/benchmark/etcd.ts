/**
 * Durable writes of three kvnode peers beside three etcd members: N = 3, W = 2, 256 in flight, every write
 * fsynced by a majority. The two take turns within one run, because what a machine can do drifts; what counts
 * is the ratio of the medians.
 *
 * etcd is loaded by h2load, written in C, with one key, which costs it least; kvnode by its client library in
 * a process of its own, with many keys.
 *
 * Usage: npm run bench:etcd --
 *   [--rounds 5] [--seconds 5] [--value-bytes 100] [--at-least 0.8] [--directory DIR]
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { median, needProgram, Processes } from '../processes/processes.ts'
import { EtcdCluster, type LoadResult } from './etcd-cluster.ts'
import { KvnodeCluster } from './kvnode-cluster.ts'

const WARM_UP_S = 2

interface System {
  load(seconds: number, warmUpSeconds: number): Promise<LoadResult>
  stop(): Promise<void>
}

const { values: words } = parseArgs({
  options: {
    rounds: { type: 'string', default: '5' },
    seconds: { type: 'string', default: '5' },
    'value-bytes': { type: 'string', default: '100' },
    'at-least': { type: 'string', default: '0' },
    directory: { type: 'string', default: tmpdir() },
  },
})
needProgram('etcd', 'etcd-server')
needProgram('h2load', 'nghttp2-client')
const rounds = Number(words.rounds)
const seconds = Number(words.seconds)
const valueBytes = Number(words['value-bytes'])
const directory = mkdtempSync(join(words.directory, 'kvnode-bench-'))
const processes = new Processes()
process.once('exit', () => rmSync(directory, { recursive: true, force: true }))

const systems: readonly (readonly [name: string, system: System])[] = [
  ['etcd', await EtcdCluster.start(processes, join(directory, 'etcd'), valueBytes)],
  ['kvnode', await KvnodeCluster.start(processes, join(directory, 'kvnode'), valueBytes)],
]
const results = new Map<string, LoadResult[]>(systems.map(([name]) => [name, []]))
for (let round = 0; round < rounds; round++) {
  // Whoever goes second finds the disk as the first one left it: they change places.
  for (const [name, system] of round % 2 === 0 ? systems : [...systems].reverse()) {
    const result = await system.load(seconds, WARM_UP_S)
    results.get(name)?.push(result)
    process.stderr.write(`round ${round + 1}/${rounds}  ${name}: ${result.putsPerSecond.toFixed(0)} puts/s\n`)
  }
}
for (const [, system] of systems) await system.stop()
report()

function report(): void {
  const rates = (name: string): readonly number[] => results.get(name)?.map((one) => one.putsPerSecond) ?? []
  const lines = systems.map(([name]) => {
    const each = rates(name).map((rate) => rate.toFixed(0).padStart(7))
    return `${name.padEnd(8)}${median(rates(name)).toFixed(0).padStart(8)}   ${each.join(' ')}`
  })
  const p99Ms = median(results.get('kvnode')?.map((one) => one.p99Ms ?? Number.NaN) ?? [])
  const ratio = median(rates('kvnode')) / median(rates('etcd'))
  process.stdout.write(
    [
      `durable puts per second, ${valueBytes} B, 256 in flight, three members each, ${seconds} s a round`,
      `${'system'.padEnd(8)}${'median'.padStart(8)}   rounds`,
      ...lines,
      `kvnode / etcd = ${ratio.toFixed(2)}   (kvnode p99 ${p99Ms.toFixed(1)} ms)`,
      '',
    ].join('\n'),
  )
  if (ratio < Number(words['at-least'])) process.exitCode = 1
}
