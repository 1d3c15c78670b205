/**
 * What the partition scripts have in common: `npm run partition:NAME -- [--backend faults|namespaces]
 * [--keys 2000]`. The exit code is 1 when replicas differ in the end, or are equal too late, or something
 * acknowledged is lost.
 */
import { parseArgs } from 'node:util'
import { RECONCILED_WITHIN_MS, runExperiment, type Scenario } from './experiment.ts'
import { FaultNetwork } from './fault-network.ts'
import { missingForNamespaces, NamespaceNetwork, reenterInNamespaces } from './namespace-network.ts'
import type { PartitionNetwork } from './partition-network.ts'

export async function runScript(scenario: Scenario): Promise<void> {
  const { values } = parseArgs({
    options: {
      backend: { type: 'string', default: 'faults' },
      keys: { type: 'string', default: '2000' },
    },
  })
  const print = (line: string): void => {
    process.stdout.write(`${line}\n`)
  }
  const network = networkOf(values.backend, print)
  if (network === null) return
  const keys = Number(values.keys)
  const { unequal, faults, replicasAgreeMs } = await runExperiment(scenario, network, { keys, print })
  const isGood = unequal.length + faults.length === 0 && replicasAgreeMs <= RECONCILED_WITHIN_MS
  process.exitCode = isGood ? 0 : 1
}

/** Null: there is nothing left to do here. */
function networkOf(backend: string, print: (line: string) => void): PartitionNetwork | null {
  if (backend === 'faults') return new FaultNetwork()
  if (backend !== 'namespaces') {
    process.stderr.write('--backend is faults or namespaces\n')
    process.exitCode = 2
    return null
  }
  const missing = missingForNamespaces()
  if (missing !== null) {
    print(`skipped: ${missing}`)
    return null
  }
  return reenterInNamespaces() ? null : new NamespaceNetwork()
}
