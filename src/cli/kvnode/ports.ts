/** The ports of a local cluster: found free before anything is started. */
import { createServer } from 'node:net'
import { join } from 'node:path'
import { KvError } from '../../base/error.ts'
import { makeAddress } from '../../base/ids.ts'
import type { ClusterOptions } from '../../config/option-table.ts'
import { AdvisedError } from '../failure.ts'
import { clusterCommand } from './guide.ts'

export const HOST = '127.0.0.1'
const FIRST_PORT = 7001
const MAX_PORT = 65_535
const STEP = 100
/** So many runs of ports are tried before one is named that may be taken. */
const MAX_TRIES = 20

/** @throws INVALID_ARGUMENT: a port is taken, or there are too few above the first */
export async function choosePorts(options: ClusterOptions): Promise<number[]> {
  if (options.port === 0) return Promise.all(Array.from({ length: options.peers }, () => freePort(0)))
  if (options.port + options.peers - 1 > MAX_PORT) {
    throw new KvError(
      'INVALID_ARGUMENT',
      `--port is ${options.port}; ${options.peers} peers do not fit above it`,
    )
  }
  const ports = portsFrom(options.port, options.peers)
  const taken = await firstTaken(ports)
  if (taken === null) return ports
  const other = `${clusterCommand()} --port ${await otherPort(options)}`
  const { portUser } = await import('./port-user.ts')
  const user = await portUser(makeAddress(HOST, taken), join(options.data, String(taken)))
  throw new AdvisedError(
    'INVALID_ARGUMENT',
    `port ${taken} is taken by ${user}`,
    `if that is an earlier cluster, stop it; other ports: ${other}`,
  )
}

/** The first of as many free ports elsewhere. */
export async function otherPort({ port, peers }: ClusterOptions): Promise<number> {
  const first = port === 0 ? FIRST_PORT : port
  const bases = Array.from({ length: MAX_TRIES }, (_, index) => first + (index + 1) * STEP)
  const fitting = bases.filter((base) => base + peers - 1 <= MAX_PORT)
  for (const base of fitting) if ((await firstTaken(portsFrom(base, peers))) === null) return base
  return 0 // Takes whatever is free.
}

function portsFrom(first: number, count: number): number[] {
  return Array.from({ length: count }, (_, index) => first + index)
}

async function firstTaken(ports: readonly number[]): Promise<number | null> {
  for (const port of ports) {
    try {
      await freePort(port)
    } catch (error) {
      const { code, message } = error as NodeJS.ErrnoException
      if (code === 'EADDRINUSE') return port
      throw new AdvisedError('INVALID_ARGUMENT', message, '--port PORT chooses other ports')
    }
  }
  return null
}

/** The port, found free. */
function freePort(port: number): Promise<number> {
  return new Promise((resolve, reject) => {
    const probe = createServer()
    probe.once('error', reject)
    probe.listen({ port, host: HOST }, () => {
      const found = probe.address()
      probe.close(() => resolve(typeof found === 'object' && found !== null ? found.port : port))
    })
  })
}
