/**
 * Everything that is not the program under test: virtual time, hosts with their clocks, disks and the network
 * between them. A program on a host is given an `Effects` of its own for each of its lives.
 */
import type { Bytes } from '../base/bytes.ts'
import { createPrng, type Prng } from '../base/prng.ts'
import type { Effects } from '../effects/effects.ts'
import type { Log, LogFields } from '../effects/log.ts'
import type { Metrics } from '../effects/metrics.ts'
import { observeFiles } from './file-observer.ts'
import { createScheduler, type Scheduler } from './scheduler.ts'
import { createHostClock, createSimClock, type HostClock } from './sim-clock.ts'
import { type SimCrash, SimDisk, type SimDiskObserver, type SimDiskOptions } from './sim-disk.ts'
import { createSimNetwork, type SimNetwork } from './sim-network.ts'
import { createPaths, type LatencyOptions, type Paths } from './sim-paths.ts'
import { createProcess, type SimProcess } from './sim-process.ts'
import { between, createSimRandom } from './sim-random.ts'
import { createSimDelay, openSimStorage } from './sim-storage.ts'
import { createTrace, TRACE_DISK, type Trace } from './trace.ts'

export type LogLevel = 'debug' | 'info' | 'warn' | 'error'

export interface LogEntry {
  readonly timeMs: number
  readonly host: string
  readonly level: LogLevel
  readonly event: string
  readonly fields: LogFields
}

export interface FrameEntry {
  readonly timeMs: number
  readonly from: string
  readonly to: string
  readonly frame: Bytes
}

/** What checkers are told of all hosts. */
export interface WorldObserver {
  onWrite?(host: string, ...args: Parameters<NonNullable<SimDiskObserver['onWrite']>>): void
  onDurable?(host: string, ...args: Parameters<NonNullable<SimDiskObserver['onDurable']>>): void
  onLost?(host: string, ...args: Parameters<NonNullable<SimDiskObserver['onLost']>>): void
  /** A small file is on disk; null: it was removed. */
  onFile?(host: string, name: string, bytes: Uint8Array | null): void
  /** The peer on it has gone for good: nobody reads its disk any more. */
  onGone?(host: string): void
}

export interface WorldOptions {
  readonly seed: string | number
  readonly latency?: LatencyOptions
  /** Wall clocks start off by up to this, and run fast or slow by up to 100 ppm. */
  readonly clockErrorMs?: number
  readonly log?: (entry: LogEntry) => void
  /** Told of every frame that is sent; `unpackFrame` takes it apart. */
  readonly frame?: (entry: FrameEntry) => void
  readonly observer?: WorldObserver
  /** Runs each step by way of the real event loop: for tests of that way. */
  readonly slow?: boolean
}

export interface SimWorld {
  readonly seed: string
  readonly prng: Prng
  readonly scheduler: Scheduler
  readonly trace: Trace
  readonly paths: Paths
  readonly network: SimNetwork
  /** The host of that name, made when it is new. */
  host(name: string): SimHost
}

export interface SimHost {
  readonly name: string
  readonly clock: HostClock
  readonly disk: SimDisk
  /** The life that runs or ran last; null before the first. */
  readonly process: SimProcess | null
  /** The disk's work takes so many times as long as usual. */
  diskSlowness: number
  /** What becomes of each piece of the disk's work; null: it succeeds. */
  diskFailure: SimDiskOptions['fail'] | null
  /** A new life of the program. The one before must have ended. */
  boot(): Life
  /** Ends the running life. `stopped`: it said goodbye itself; otherwise what was not synced may be lost. */
  end(how: SimCrash | 'stopped'): void
}

export interface Life {
  readonly process: SimProcess
  readonly effects: Effects
}

const LAN: LatencyOptions = { minMs: 0.1, tailMs: 0.3 }

/** What a program did wrong: it threw out of an event, or nobody looked at a rejected promise of its. */
export class SimulationError extends Error {
  constructor(seed: string, timeMs: number, cause: unknown) {
    const text = cause instanceof Error ? (cause.stack ?? cause.message) : String(cause)
    super(`seed ${seed}, ${timeMs.toFixed(3)} ms: a simulated program failed: ${text}`, { cause })
    this.name = 'SimulationError'
  }
}

export function createWorld(options: WorldOptions): SimWorld {
  const seed = String(options.seed)
  const prng = createPrng(seed)
  const trace = createTrace()
  const scheduler = createScheduler({
    trace,
    failed(error) {
      throw new SimulationError(seed, scheduler.nowMs, error)
    },
    slow: options.slow ?? false,
  })
  const paths = createPaths(prng.fork('paths'), options.latency ?? LAN)
  const network = createSimNetwork({
    scheduler,
    paths,
    prng: prng.fork('network'),
    trace,
    sent: (from, to, frame) => options.frame?.({ timeMs: scheduler.nowMs, from, to, frame }),
  })
  const hosts = new Map<string, SimHost>()
  const world: SimWorld = {
    seed,
    prng,
    scheduler,
    trace,
    paths,
    network,
    host(name) {
      let host = hosts.get(name)
      if (host === undefined) {
        host = createHost(world, name, hosts.size, options)
        hosts.set(name, host)
      }
      return host
    },
  }
  return world
}

function createHost(world: SimWorld, name: string, place: number, options: WorldOptions): SimHost {
  const { scheduler, trace, network } = world
  const prng = world.prng.fork(name)
  const errorMs = options.clockErrorMs ?? 0
  const clock = createHostClock(scheduler, {
    offsetMs: Math.round(between(prng, -errorMs, errorMs)),
    driftPpm: errorMs === 0 ? 0 : Math.round(between(prng, -100, 100)),
  })
  const disk = new SimDisk({
    observer: observeDisk(name, place, trace, options.observer),
    fail: (work) => host.diskFailure?.(work) ?? null,
  })
  let lives = 0
  let process: SimProcess | null = null
  const host: SimHost = {
    name,
    clock,
    disk,
    diskSlowness: 1,
    diskFailure: null,
    get process() {
      return process
    },
    boot() {
      const life = createProcess(scheduler, name, ++lives)
      process = life
      const chance = prng.fork(`life ${lives}`)
      const delay = createSimDelay(chance.fork('disk'), (delayMs, run) => {
        scheduler.after(delayMs * host.diskSlowness, () => life.deliver('input', run))
      })
      const onFile = (file: string, bytes: Uint8Array | null): void => {
        if (bytes !== null) trace.bytes(TRACE_DISK, place, bytes)
        options.observer?.onFile?.(name, file, bytes)
      }
      const effects: Effects = {
        clock: createSimClock(scheduler, life, clock, chance.fork('clock')),
        network: network.attach(life),
        storage: observeFiles(openSimStorage(disk, delay, `disk of ${name}`), onFile),
        random: createSimRandom(chance.fork('random')),
        log: createSimLog(scheduler, name, options.log),
        metrics: createSimMetrics(),
      }
      return { process: life, effects }
    },
    end(how) {
      if (process === null || process.state === 'dead') return
      process.kill()
      network.detach(process, how === 'power' ? 'silent' : 'reset')
      if (how !== 'stopped') disk.crash(prng.fork(`crash ${lives}`), how)
    },
  }
  return host
}

function observeDisk(
  host: string,
  place: number,
  trace: Trace,
  observer: WorldObserver | undefined,
): SimDiskObserver {
  return {
    onWrite(operations, sync) {
      for (const operation of operations) {
        trace.bytes(TRACE_DISK, place, operation.key)
        if (operation.type === 'put') trace.bytes(TRACE_DISK, place, operation.value)
      }
      observer?.onWrite?.(host, operations, sync)
    },
    onDurable: (operations) => observer?.onDurable?.(host, operations),
    onLost: (operations) => observer?.onLost?.(host, operations),
  }
}

function createSimLog(
  scheduler: Scheduler,
  host: string,
  sink: ((entry: LogEntry) => void) | undefined,
): Log {
  const at =
    (level: LogLevel) =>
    (event: string, fields: LogFields = {}) =>
      sink?.({ timeMs: scheduler.nowMs, host, level, event, fields })
  return { debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error') }
}

/** Nobody looks at them here. */
function createSimMetrics(): Metrics {
  return {
    counter: () => ({ add: () => undefined }),
    gauge: () => undefined,
    histogram: () => ({ observe: () => undefined }),
  }
}
