/** Who has a port that a peer was to listen at. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Address } from '../../base/ids.ts'
import { HOLDER_FILE } from '../../platform/level-storage.ts'

/** Who has not answered by then is no peer that runs as it should. */
const ASK_MS = 500

/**
 * In words: a peer of kvnode, when it answers as one, or another program.
 * @param dataDir of the peer that was to listen there: an earlier run of it may be the one that does
 */
export async function portUser(address: Address, dataDir: string): Promise<string> {
  try {
    const response = await fetch(`http://${address}/v1/status`, { signal: AbortSignal.timeout(ASK_MS) })
    const { clusterId, code } = (await response.json()) as { clusterId?: unknown; code?: unknown }
    // One that has not joined yet refuses, as no other program would.
    if (typeof clusterId !== 'string' && code !== 'UNAVAILABLE') return 'another program'
    const processId = holderOf(dataDir)
    return `a kvnode peer that runs already${processId === null ? '' : `, process ${processId}`}`
  } catch {
    return 'another program' // It does not answer, or not as a peer does.
  }
}

/** The process that had the directory last, when it is there still. */
function holderOf(dataDir: string): number | null {
  try {
    const processId = Number(readFileSync(join(dataDir, HOLDER_FILE), 'utf8'))
    process.kill(processId, 0)
    return Number.isInteger(processId) && processId > 0 ? processId : null
  } catch {
    return null // Nobody had it, or he is gone.
  }
}
