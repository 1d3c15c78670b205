/** One worker process of a campaign: runs one seed after the other, as it is told. */
import { runScenario, type ScenarioReport } from '../../src/simulator/scenario.ts'
import { shrink } from '../../src/simulator/shrink.ts'
import type { LogEntry } from '../../src/simulator/sim-world.ts'
import type { Order, Result, RunSettings } from './messages.ts'

const MAX_SHRINK_RUNS = 200
/** A shortened run fails at about the same time; past this it is taken for one that does not. */
const SHRINK_PATIENCE_MS = 60_000
const STACK_FRAMES = 50

process.on('message', (order: Order) => {
  perform(order).then(
    (result) => process.send?.(result),
    (error) => {
      process.stderr.write(`seed ${order.seed}: ${error instanceof Error ? error.stack : String(error)}\n`)
      process.exitCode = 1
      process.disconnect()
    },
  )
})

// The campaign was ended: nobody waits for what this one finds.
process.on('disconnect', () => process.exit())

async function perform(order: Order): Promise<Result> {
  // A simulated peer refuses much, and nobody reads where: stacks are a twentieth of the time.
  Error.stackTraceLimit = order.type === 'run' && order.log ? STACK_FRAMES : 0
  if (order.type === 'run') {
    const before = process.cpuUsage()
    const report = await run(order.seed, order.settings, order.log ? { log: print } : {})
    const { user, system } = process.cpuUsage(before)
    return { type: 'ran', report, cpuMs: (user + system) / 1000 }
  }
  const { seed, settings, limitMs } = order
  const deadlineMs = performance.now() + limitMs
  const positions = settings.keep ?? Array.from({ length: order.scheduleLength }, (_, i) => i)
  const giveUpAtMs = order.failedAtMs + SHRINK_PATIENCE_MS
  const fails = async (keep: readonly number[]): Promise<boolean> => {
    if (performance.now() > deadlineMs) return false
    return (await run(seed, { ...settings, keep }, { giveUpAtMs })).failure !== null
  }
  const { items, isMinimal } = await shrink(positions, fails, MAX_SHRINK_RUNS)
  return { type: 'shrunk', seed, keep: items, isMinimal: isMinimal && performance.now() <= deadlineMs }
}

function run(
  seed: number,
  { peers, minutes, ring, keep }: RunSettings,
  more: { log?: (entry: LogEntry) => void; giveUpAtMs?: number },
): Promise<ScenarioReport> {
  return runScenario({ seed, peers, minutes, ring, ...(keep === null ? {} : { keep }), ...more })
}

function print({ timeMs, host, level, event, fields }: LogEntry): void {
  process.stderr.write(`${timeMs.toFixed(3)} ${host} ${level} ${event} ${JSON.stringify(fields)}\n`)
}
