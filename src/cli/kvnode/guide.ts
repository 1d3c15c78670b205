/** What a person who started a local cluster sees first. */
import { accessSync, constants } from 'node:fs'
import { delimiter, join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { ClusterOptions } from '../../config/option-table.ts'
import { colors, renderTable } from '../terminal.ts'
import type { PeerProcess } from './peer-child.ts'

const DEFAULT_PEER = '127.0.0.1:7001'

/**
 * @param otherPort the first of as many free ones
 * @param warning what is not as it should be, or null
 */
export async function renderGuide(
  peers: readonly PeerProcess[],
  options: ClusterOptions,
  otherPort: number,
  warning: string | null,
): Promise<string> {
  const { bold, dim, yellow } = colors(process.stdout)
  const columns = ['peer', 'state', 'process', 'data', 'log'].map((title) => ({ title: bold(title) }))
  const rows = peers.map(({ address, isReady, processId, dataDir, logFile }) => [
    address,
    isReady ? 'ready' : 'joining',
    String(processId),
    dataDir,
    logFile,
  ])
  const first = peers[0]?.address ?? DEFAULT_PEER
  const second = peers[1]?.address ?? first
  const kvctl = kvctlCommand()
  const at = (address: string): string => (address === DEFAULT_PEER ? '' : ` --peer ${address}`)
  const lines = [
    await renderTable(columns, rows),
    '',
    'Try, in another terminal:',
    `  ${kvctl} put greeting hello${at(first)}`,
    `  ${kvctl} get greeting${at(second)}`,
    `  ${kvctl} status${at(first)}`,
    '',
    `HTTP: http://${first}/v1/kv/default/greeting   logs: ${join(options.data, '*.log')}`,
    dim(`Ctrl-C stops it, the data stays. Other ports: ${clusterCommand()} --port ${otherPort}`),
  ]
  if (warning !== null) lines.push(yellow(`warning: ${warning}`))
  return `${lines.join('\n')}\n`
}

/** How this cluster was started, for advice that can be pasted. */
export function clusterCommand(): string {
  return process.env.npm_lifecycle_event === 'start' ? 'npm start --' : 'kvnode cluster'
}

/** `kvctl` when the shell finds it, else the path of ours. */
function kvctlCommand(): string {
  const isOnPath = (process.env.PATH ?? '')
    .split(delimiter)
    .some((directory) => isProgram(join(directory, 'kvctl')))
  if (isOnPath) return 'kvctl'
  const own = fileURLToPath(new URL('../../bin/kvctl', import.meta.url))
  return relative(process.cwd(), own)
}

function isProgram(path: string): boolean {
  try {
    accessSync(path, constants.X_OK)
    return true
  } catch {
    return false // Not there, or not for us to run: the shell would not find it either.
  }
}
