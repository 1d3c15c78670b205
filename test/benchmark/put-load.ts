/**
 * The load on kvnode: 256 lanes, each of which puts its next value when the last one is acknowledged. Prints
 * a LoadResult.
 */
import { randomBytes } from 'node:crypto'
import { Histogram } from '../../src/cli/bench/histogram.ts'

const IN_FLIGHT = 256
const KEYS = 100_000

interface Setting {
  readonly addresses: readonly string[]
  readonly keyspace: string
  readonly valueBytes: number
  readonly seconds: number
  readonly warmUpSeconds: number
}

// As users have it: built.
const { connect } = (await import('kvnode' as string)) as typeof import('../../src/index.ts')
const setting = JSON.parse(process.argv[2] ?? '') as Setting
const client = await connect(setting.addresses, { keyspace: setting.keyspace })
const value = randomBytes(setting.valueBytes)
await run(setting.warmUpSeconds)
const { count, elapsedS, latencies } = await run(setting.seconds)
client.close()
process.stdout.write(
  JSON.stringify({ putsPerSecond: count / elapsedS, p99Ms: latencies.percentileUs(99) / 1000 }),
)

async function run(seconds: number): Promise<{ count: number; elapsedS: number; latencies: Histogram }> {
  const latencies = new Histogram()
  const startMs = performance.now()
  const endMs = startMs + seconds * 1000
  const lane = async (): Promise<void> => {
    let nowMs = performance.now()
    while (nowMs < endMs) {
      const beganMs = nowMs
      // A failed put ends the benchmark: rates with errors among them mean nothing.
      await client.put(`key${Math.floor(Math.random() * KEYS)}`, value)
      nowMs = performance.now()
      latencies.record((nowMs - beganMs) * 1000)
    }
  }
  await Promise.all(Array.from({ length: IN_FLIGHT }, lane))
  return { count: latencies.count, elapsedS: (performance.now() - startMs) / 1000, latencies }
}
