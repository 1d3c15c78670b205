/** A cluster on this machine: starts its peers, says how to use it, and stops them in order. */
import { existsSync, readdirSync, rmSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { KvError } from '../../base/error.ts'
import { type Address, makeAddress } from '../../base/ids.ts'
import { CONFIGURATION_FILE } from '../../cluster/configuration-adoption.ts'
import { type ClusterOptions, PEER_OPTIONS, type PeerOptions } from '../../config/option-table.ts'
import { makeDirectory } from '../../platform/directories.ts'
import { fail } from '../../platform/disk-failure.ts'
import type { ClusterStatus } from '../../wire/requests.ts'
import { EXIT_UNAVAILABLE } from '../exit-code.ts'
import { AdvisedError } from '../failure.ts'
import { onStopSignals, signalExitCode } from '../stop-signals.ts'
import { findDeparted, knowsThatItDeparted, tellWhoDeparted } from './departed.ts'
import { renderGuide } from './guide.ts'
import { PeerProcess } from './peer-child.ts'
import { choosePorts, HOST, otherPort } from './ports.ts'

/** A peer that has not started by then never will. */
const START_TIMEOUT_MS = 60_000
const FORM_TIMEOUT_MS = 20_000
const FORM_POLL_MS = 25
/** Whoever waits longer than this is told for what. */
const PATIENCE_MS = 2_000
/** What has stood in the way this long will not go away by itself. */
const STUCK_MS = 8_000
const PARENT_POLL_MS = 250

export async function runCluster(options: ClusterOptions): Promise<void> {
  const ports = await choosePorts(options)
  const all = ports.map((port) => ({
    ...{ address: makeAddress(HOST, port), port },
    dataDir: join(options.data, String(port)),
    logFile: join(options.data, `${port}.log`),
  }))
  if (options.clean) for (const { dataDir } of all) rmSync(dataDir, { recursive: true, force: true })
  await makeDirectory(resolve(options.data)).catch((error) => fail(`cannot use ${options.data}`, error))
  const departed = findDeparted(all.map(({ dataDir }) => dataDir))
  const plans = all.filter(({ dataDir }) => !departed.has(dataDir))
  for (const plan of all) if (departed.has(plan.dataDir)) tellWhoDeparted(plan)
  if (plans.length === 0) {
    const what = 'none of these peers is a member of its cluster any more'
    throw new AdvisedError('INVALID_ARGUMENT', what, `--clean deletes their data in ${options.data}`)
  }
  // One founds the cluster, or has the data of an earlier run to go back to; the others join it.
  const founder = Math.max(
    0,
    plans.findIndex(({ dataDir }) => belongsToCluster(dataDir)),
  )
  const seed = plans[founder]?.address as Address
  tellWhoIsNew(plans, options, departed.size === 0)
  const peers = plans.map((plan, index) => {
    const settings: PeerOptions = {
      ...defaults(),
      host: HOST,
      port: plan.port,
      data: plan.dataDir,
      join: index === founder ? [] : [seed],
      logLevel: options.logLevel,
      enableFaults: true,
    }
    return new PeerProcess(plan, settings)
  })
  await superviseCluster(peers, founder, options)
}

/**
 * Data of an earlier run with fewer peers: what is going to happen, before there is anything to wait for.
 * @param isComplete these are the first ports, with none left out
 */
function tellWhoIsNew(
  plans: readonly { readonly address: Address; readonly dataDir: string }[],
  options: ClusterOptions,
  isComplete: boolean,
): void {
  const old = plans.filter(({ dataDir }) => belongsToCluster(dataDir)).length
  if (old === 0 || old === plans.length) return
  const fresh = plans.filter(({ dataDir }) => !belongsToCluster(dataDir)).map(({ address }) => address)
  const joiners = fresh.join(', ')
  const what = `${options.data} has the data of ${old} of these peers; ${joiners} will join their cluster`
  const isFirst = isComplete && plans.slice(0, old).every(({ dataDir }) => belongsToCluster(dataDir))
  const others = isFirst ? `--peers ${old} runs those there are, ` : ''
  const advice = `${others}--clean deletes their data first`
  process.stderr.write(`${what}\n(${advice})\n`)
}

async function superviseCluster(
  peers: readonly PeerProcess[],
  founder: number,
  options: ClusterOptions,
): Promise<void> {
  let stopped: readonly PeerProcess[] | null = null
  const stop = (): void => {
    stopped = peers.filter((peer) => peer.exitCode === null)
    process.stdout.write('\nstopping …\n')
    for (const peer of peers) peer.stop()
  }
  const stopListening = onStopSignals(stop, (signal) => {
    for (const peer of peers) peer.kill()
    process.exit(signalExitCode(signal))
  })
  const stopWatching = onParentGone(() => {
    if (stopped === null) stop()
  })
  try {
    await guideUntilEnded(peers, founder, options, () => stopped !== null)
  } finally {
    stopListening()
    stopWatching()
  }
  // Of those that had ended before it was said when they did; this is about the stop.
  const isInOrder = (stopped ?? []).every((peer: PeerProcess) => peer.exitCode === 0)
  process.exitCode = isInOrder ? 0 : EXIT_UNAVAILABLE
}

/** @throws why the cluster did not start, or that it ended, unless it is stopping: then none of them runs */
async function guideUntilEnded(
  peers: readonly PeerProcess[],
  founder: number,
  options: ClusterOptions,
  isStopping: () => boolean,
): Promise<void> {
  try {
    const departed = new Set<PeerProcess>()
    const warning = await started(peers, founder, departed)
    const other = await otherPort(options)
    const members = peers.filter((peer) => !departed.has(peer))
    if (!isStopping()) process.stdout.write(await renderGuide(members, options, other, warning))
    for (const peer of members) {
      void peer.ended.then((how) => {
        if (!isStopping()) process.stdout.write(`${peer.address} ${how}; its log is ${peer.logFile}\n`)
      })
    }
  } catch (error) {
    if (!isStopping()) {
      for (const peer of peers) peer.stop()
      await Promise.all(peers.map((peer) => peer.ended))
      throw error
    }
  }
  await Promise.all(peers.map((peer) => peer.ended))
  if (!isStopping()) throw new KvError('UNAVAILABLE', 'every peer has ended')
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

/**
 * Waits until all peers own their share of the ring: null, or what is missing.
 * @param departed gets those that find themselves members no more, and are not waited for
 * @throws what a peer said that could not start
 */
async function started(
  peers: readonly PeerProcess[],
  founder: number,
  departed: Set<PeerProcess>,
): Promise<string | null> {
  const each = peers.map(async (peer) => {
    try {
      await peer.ready(START_TIMEOUT_MS)
    } catch (error) {
      if (!knowsThatItDeparted(peer.dataDir)) throw error
      departed.add(peer)
      tellWhoDeparted(peer)
    }
  })
  const ready = Promise.all(each)
  ready.catch(() => {}) // It is looked at below, unless the founder's own failure comes first.
  await each[founder]
  const forming = formed(peers, departed)
  forming.catch(() => {}) // Likewise.
  const warning = await Promise.race([forming, ready.then(() => forming)])
  if (warning === null) await ready
  return warning
}

async function formed(
  peers: readonly PeerProcess[],
  departed: ReadonlySet<PeerProcess>,
): Promise<string | null> {
  const { withClient } = await import('../kvctl/session.ts')
  const startedMs = performance.now()
  let obstacle = { text: '', sinceMs: startedMs, isTold: false }
  return withClient(
    peers.map((peer) => peer.address),
    async ({ service }) => {
      for (;;) {
        const status = await service.status()
        const normal = status.peers.filter((peer) => peer.state === 'UN').length
        const expected = peers.length - departed.size
        if (status.layout.phase === 'stable' && normal >= expected) return absentees(status)
        const nowMs = performance.now()
        const isShort = normal < expected
        const joined = `${normal} of ${expected} peers have joined so far`
        const counted = isShort ? joined : `all ${normal} peers are there, and the ring still changes`
        const text = [counted, ...status.warnings].join('; ')
        if (text !== obstacle.text) obstacle = { text, sinceMs: nowMs, isTold: false }
        const isStuck = nowMs - obstacle.sinceMs > STUCK_MS || nowMs - startedMs > FORM_TIMEOUT_MS
        const hasEnded = peers.some((peer) => peer.exitCode !== null && !departed.has(peer))
        if (isStuck || hasEnded) return text
        if (!obstacle.isTold && nowMs - startedMs > PATIENCE_MS) {
          process.stderr.write(`waiting: ${text}\n`)
          obstacle.isTold = true
        }
        await new Promise((resolve) => setTimeout(resolve, FORM_POLL_MS))
      }
    },
  )
}

/** Peers of an earlier run with more of them: their share of the keys has fewer copies. */
function absentees({ peers }: ClusterStatus): string | null {
  const members = peers.filter(({ state }) => state === 'UN' || state === 'DN')
  const down = members.filter(({ state }) => state === 'DN').map(({ address }) => address)
  if (down.length === 0) return null
  const verb = down.length === 1 ? 'belongs' : 'belong'
  return `${down.join(', ')} ${verb} to this cluster too; --peers ${members.length} runs all of it`
}

function belongsToCluster(dataDir: string): boolean {
  return existsSync(dataDir) && readdirSync(dataDir).some((name) => name.startsWith(CONFIGURATION_FILE))
}

function defaults(): PeerOptions {
  return Object.fromEntries(
    Object.entries(PEER_OPTIONS).map(([name, option]) => [name, option.default]),
  ) as unknown as PeerOptions
}
