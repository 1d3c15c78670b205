/** How many bytes went between two processes on this machine, as the kernel counts them for each socket. */
import { execFileSync } from 'node:child_process'
import type { PeerProcess } from '../processes/peers.ts'

interface Socket {
  readonly pid: number
  readonly localPort: string
  readonly remotePort: string
  readonly received: number
}

const MAX_OUTPUT_BYTES = 64 * 1024 * 1024

/** Both ways, of the connections that are open now. */
export function bytesBetween(a: PeerProcess, b: PeerProcess): number {
  const sockets = socketsAt([a.address, b.address].map((address) => address.split(':').at(-1) ?? ''))
  const pidAt = new Map(sockets.map(({ localPort, remotePort, pid }) => [`${localPort} ${remotePort}`, pid]))
  const pids = new Set([a.pid, b.pid])
  const between = sockets.filter(({ pid, localPort, remotePort }) => {
    const other = pidAt.get(`${remotePort} ${localPort}`) ?? 0
    return pids.has(pid) && pids.has(other) && pid !== other
  })
  return between.reduce((sum, { received }) => sum + received, 0)
}

/** With one of these ports at either end. */
function socketsAt(ports: readonly string[]): Socket[] {
  const filter = ports.map((port) => `sport = :${port} or dport = :${port}`).join(' or ')
  const options = { encoding: 'utf8', maxBuffer: MAX_OUTPUT_BYTES } as const
  const lines = execFileSync('ss', ['-tinpHO', filter], options).split('\n')
  return lines.flatMap((line) => {
    const pid = Number(/pid=(\d+),/.exec(line)?.[1] ?? 0)
    const [local, remote] = [...line.matchAll(/[\d\]]:(\d+)\s/g)].map(([, port]) => port ?? '')
    if (pid === 0 || local === undefined || remote === undefined) return []
    const received = Number(/bytes_received:(\d+)/.exec(line)?.[1] ?? 0)
    return [{ pid, localPort: local, remotePort: remote, received }]
  })
}
