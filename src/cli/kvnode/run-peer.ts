/** One peer for as long as this process lives: from checked options to the exit code. */
import { join } from 'node:path'
import { createPeer, type Peer } from '../../api/peer.ts'
import { KvError, toKvError } from '../../base/error.ts'
import { type Address, makeAddress, splitAddress } from '../../base/ids.ts'
import type { PeerOptions } from '../../config/option-table.ts'
import { AdvisedError } from '../failure.ts'
import { onStopSignals, signalExitCode } from '../stop-signals.ts'

export interface PeerEvents {
  /** It serves. */
  ready(address: string): void
  /** Calls `stop` when whoever started this process is gone. */
  orphaned?(stop: () => void): void
}

/** Resolves when the peer has stopped. @throws what kept it from starting, or made it end by itself */
export async function runPeer(options: PeerOptions, events: PeerEvents): Promise<void> {
  let peer: Peer | null = null
  let stopped = (): void => {}
  let failed = (_error: Error): void => {}
  const end = new Promise<void>((resolve, reject) => {
    stopped = resolve
    failed = reject
  })
  const given = new AbortController()
  const stop = (): void => {
    // What it has opened it closes, or the next start would take this one for a crash.
    if (peer === null) return given.abort()
    void peer.stop().then(stopped, (error: unknown) => {
      process.stderr.write(
        `kvnode: stopping failed: ${error instanceof Error ? error.message : String(error)}\n`,
      )
      process.exit(1)
    })
  }
  const stopListening = onStopSignals(stop, (signal) => process.exit(signalExitCode(signal)))
  events.orphaned?.(stop)
  warnWhenExposed(options.host)
  const dataDir = options.data === '' ? join('.kvnode', String(options.port)) : options.data
  try {
    peer = await createPeer({
      dataDir,
      port: options.port,
      host: options.host,
      advertise: options.advertise === '' ? null : options.advertise,
      allowHost: options.allowHost,
      join: options.join,
      replace: options.replace,
      manualLayout: options.manualLayout,
      zone: options.zone,
      weight: options.weight,
      maxValueBytes: options.maxValue,
      enableFaults: options.enableFaults,
      maxHintBytes: options.maxHints,
      purgeAfterSeconds: options.purgeAfter,
      logLevel: options.logLevel,
      signal: given.signal,
      onFatal: (error) => failed(error),
      onLeft: () => stopped(),
    })
    events.ready(peer.address)
    await end
  } catch (error) {
    const wasGivenUp = given.signal.aborted && toKvError(error).code === 'UNAVAILABLE'
    if (!wasGivenUp) throw await advised(error, makeAddress(options.host, options.port), dataDir)
  } finally {
    stopListening()
  }
}

/** The library knows no flags: an address that cannot be listened at was chosen with one. */
async function advised(error: unknown, address: Address, dataDir: string): Promise<unknown> {
  const cause = (error instanceof KvError ? (error.cause ?? {}) : {}) as Readonly<Record<string, unknown>>
  if (cause.syscall !== 'listen' && cause.syscall !== 'getaddrinfo') return error
  const { code } = error as KvError
  const { host, port } = splitAddress(address)
  let { message } = error as KvError
  if (cause.code === 'EADDRINUSE') {
    const { portUser } = await import('./port-user.ts')
    message = `port ${port} on ${host} is taken by ${await portUser(address, dataDir)}`
  }
  return new AdvisedError(
    code,
    message,
    '--port PORT chooses the port (0: a free one), --host HOST the address',
  )
}

/** Nobody is asked for a password: beyond this machine that must be a decision, not an accident. */
function warnWhenExposed(host: string): void {
  if (host === 'localhost' || host === '::1' || host === '[::1]' || /^127\./.test(host)) return
  const event =
    'listening without authentication: whoever reaches this address can read and change everything'
  const isWatched = process.stderr.isTTY === true
  const line = JSON.stringify({ level: 'warn', time: new Date().toISOString(), host, event })
  process.stderr.write(isWatched ? `\u001b[1;33mWARNING: ${host}: ${event}\u001b[0m\n` : `${line}\n`)
}
