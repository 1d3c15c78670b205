/** A cluster on this machine: starts its peers, says how to use it, and stops them in order. */
import { existsSync, mkdirSync, readdirSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { KvError } from '../../base/error.ts'
import { type Address, makeAddress } from '../../base/ids.ts'
import { CONFIGURATION_FILE } from '../../cluster/configuration-adoption.ts'
import { type ClusterOptions, PEER_OPTIONS, type PeerOptions } from '../../config/option-table.ts'
import { EXIT_UNAVAILABLE } from '../exit-code.ts'
import { AdvisedError } from '../failure.ts'
import { onStopSignals, signalExitCode } from '../stop-signals.ts'
import { clusterCommand, renderGuide } from './guide.ts'
import { PeerProcess } from './peer-child.ts'

const HOST = '127.0.0.1'
/** A peer that has not started by then never will. */
const START_TIMEOUT_MS = 60_000
const FORM_TIMEOUT_MS = 20_000
const FORM_POLL_MS = 25
const PARENT_POLL_MS = 250

export async function runCluster(options: ClusterOptions): Promise<void> {
  const ports = await choosePorts(options)
  const plans = ports.map((port) => ({
    address: makeAddress(HOST, port),
    dataDir: join(options.data, String(port)),
    logFile: join(options.data, `${port}.log`),
  }))
  if (options.clean) for (const { dataDir } of plans) rmSync(dataDir, { recursive: true, force: true })
  mkdirSync(options.data, { recursive: true })
  // One founds the cluster, or has the data of an earlier run to go back to; the others join it.
  const founder = Math.max(
    0,
    plans.findIndex(({ dataDir }) => belongsToCluster(dataDir)),
  )
  const seed = plans[founder]?.address as Address
  const peers = plans.map((plan, index) => {
    const settings: PeerOptions = {
      ...defaults(),
      host: HOST,
      port: ports[index] as number,
      data: plan.dataDir,
      join: index === founder ? [] : [seed],
      logLevel: options.logLevel,
      enableFaults: true,
    }
    return new PeerProcess(plan, settings)
  })
  await superviseCluster(peers, options)
}

async function superviseCluster(peers: readonly PeerProcess[], options: ClusterOptions): Promise<void> {
  let isStopping = false
  const stop = (): void => {
    isStopping = true
    process.stdout.write('\nstopping …\n')
    for (const peer of peers) peer.stop()
  }
  const stopListening = onStopSignals(stop, (signal) => {
    for (const peer of peers) peer.kill()
    process.exit(signalExitCode(signal))
  })
  const stopWatching = onParentGone(() => {
    if (!isStopping) stop()
  })
  try {
    await Promise.all(peers.map((peer) => peer.ready(START_TIMEOUT_MS)))
    const warning = isStopping ? null : await formed(peers)
    if (!isStopping) process.stdout.write(await renderGuide(peers, options, warning))
  } catch (error) {
    if (!isStopping) {
      for (const peer of peers) peer.stop()
      await Promise.all(peers.map((peer) => peer.ended))
      throw error
    }
  }
  for (const peer of peers) {
    void peer.ended.then((how) => {
      if (!isStopping) process.stdout.write(`${peer.address} ${how}; its log is ${peer.logFile}\n`)
    })
  }
  await Promise.all(peers.map((peer) => peer.ended))
  stopListening()
  stopWatching()
  if (!isStopping) throw new KvError('UNAVAILABLE', 'every peer has ended')
  process.exitCode = peers.every((peer) => peer.exitCode === 0) ? 0 : EXIT_UNAVAILABLE
}

/**
 * Under `npm start` a SIGTERM to npm ends the shell in between, which does not pass it on: without its parent
 * the cluster stops. Whoever runs `kvnode cluster` directly may have detached it on purpose.
 */
function onParentGone(stop: () => void): () => void {
  if (process.env.npm_lifecycle_event !== 'start') return () => {}
  const parent = process.ppid
  const timer = setInterval(() => {
    if (process.ppid === parent) return
    clearInterval(timer)
    stop()
  }, PARENT_POLL_MS)
  return () => clearInterval(timer)
}

/** Waits until all peers own their share of the ring: null, or what is missing. */
async function formed(peers: readonly PeerProcess[]): Promise<string | null> {
  const { withClient } = await import('../kvctl/session.ts')
  const deadlineMs = performance.now() + FORM_TIMEOUT_MS
  return withClient(
    peers.map((peer) => peer.address),
    async ({ service }) => {
      for (;;) {
        const status = await service.status()
        const normal = status.peers.filter((peer) => peer.state === 'UN').length
        if (status.layout.phase === 'stable' && normal >= peers.length) return null
        if (performance.now() > deadlineMs || peers.some((peer) => peer.exitCode !== null)) {
          return [`${normal} of ${peers.length} peers have joined so far`, ...status.warnings].join('; ')
        }
        await new Promise((resolve) => setTimeout(resolve, FORM_POLL_MS))
      }
    },
  )
}

async function choosePorts(options: ClusterOptions): Promise<number[]> {
  if (options.port === 0) return Promise.all(Array.from({ length: options.peers }, () => freePort(0)))
  if (options.port + options.peers - 1 > 65_535) {
    throw new KvError(
      'INVALID_ARGUMENT',
      `--port is ${options.port}; ${options.peers} peers do not fit above it`,
    )
  }
  const ports = Array.from({ length: options.peers }, (_, index) => options.port + index)
  await Promise.all(ports.map(freePort))
  return ports
}

/** The port, found free; it says which one is not, before anything was started. */
function freePort(port: number): Promise<number> {
  return new Promise((resolve, reject) => {
    const probe = createServer()
    probe.once('error', (error: NodeJS.ErrnoException) => {
      if (error.code !== 'EADDRINUSE') return reject(error)
      const advice = `if that is an earlier cluster, stop it; other ports: ${clusterCommand()} --port 7101`
      reject(new AdvisedError('INVALID_ARGUMENT', `port ${port} is taken by another program`, advice))
    })
    probe.listen({ port, host: HOST }, () => {
      const found = probe.address()
      probe.close(() => resolve(typeof found === 'object' && found !== null ? found.port : port))
    })
  })
}

function belongsToCluster(dataDir: string): boolean {
  return existsSync(dataDir) && readdirSync(dataDir).some((name) => name.startsWith(CONFIGURATION_FILE))
}

function defaults(): PeerOptions {
  return Object.fromEntries(
    Object.entries(PEER_OPTIONS).map(([name, option]) => [name, option.default]),
  ) as unknown as PeerOptions
}
