/**
 * A whole peer in this process: the effects of this machine, the node on them, and its HTTP face. `kvnode
 * start` is this and signals.
 */
import { existsSync } from 'node:fs'
import { KvError } from '../base/error.ts'
import { type Address, makeAddress, type NodeId, parseAddress, splitAddress } from '../base/ids.ts'
import type { Log } from '../effects/log.ts'
import type { Storage } from '../effects/storage.ts'
import { createNode, type Node } from '../node/node.ts'
import { DEFAULT_NODE_OPTIONS, type NodeOptions } from '../node/node-options.ts'
import { openLevelStorage } from '../platform/level-storage.ts'
import { createLog, type LogLevel } from '../platform/log.ts'
import { createSystemMetrics } from '../platform/metrics.ts'
import { tryPort } from '../platform/server.ts'
import { createSystemClock } from '../platform/system-clock.ts'
import { createSystemRandom } from '../platform/system-random.ts'
import { createSystemNetwork } from '../platform/ws-network.ts'
import { MAX_CLIENT_FRAME_BYTES, MAX_FRAME_BYTES } from '../wire/frame.ts'
import type { KvService } from '../wire/requests.ts'
import { advertisedHost } from './advertised-host.ts'
import { HostNames } from './host-names.ts'
import { createHttpFace, type HttpFace } from './http.ts'
import { checkPeerOptions } from './peer-options.ts'

const DEFAULT_PORT = 7001
const DEFAULT_HOST = '127.0.0.1'
/** HTTP requests in flight get this long before a stopping peer goes on without them. */
const HTTP_DRAIN_MS = 5_000

const OTHER_HOST = 'others are told this host, because it listens at all; --advertise HOST:PORT names another'

export interface CreatePeerOptions {
  /** Made when missing; held by one peer at a time. */
  readonly dataDir: string
  /** For peers, clients and HTTP; 0 takes a free one. 7001 by default. */
  readonly port?: number
  /** Where to listen; 127.0.0.1 by default. */
  readonly host?: string
  /** `host:port` under which the others reach this peer, when it is not where it listens. */
  readonly advertise?: string | null
  /**
   * `host:port` of peers of the cluster to join. Without them an empty directory makes a new cluster of one.
   */
  readonly join?: readonly string[]
  /**
   * With `join`: address or id of a member that is down for good, whose place this peer is to take. Default:
   * it is one more.
   */
  readonly replace?: string
  /**
   * A new cluster stages changes of its ring until they are applied; in one that does not, the join of this
   * peer is staged. False by default.
   */
  readonly manualLayout?: boolean
  /** Replicas of a key go to distinct zones first. */
  readonly zone?: string
  /** Share of the ring relative to the others: 1 … 1000, by default 100. */
  readonly weight?: number
  readonly maxValueBytes?: number
  /** Whoever reaches the peer may simulate failures at it (`kvctl fault`); false by default. */
  readonly enableFaults?: boolean
  /** How much to keep for owners that are away; 256 MiB by default. */
  readonly maxHintBytes?: number
  /** Names besides the listened and the advertised one that HTTP requests may call the peer by; `*`: any. */
  readonly allowHost?: readonly string[]
  /** How long owners hold deleted and expired keys at least until these are purged; 3600 by default. */
  readonly purgeAfterSeconds?: number
  /** Least level that is logged on standard error; `warn` by default. */
  readonly logLevel?: LogLevel
  /**
   * Gives up a start that takes too long, such as a join that nobody answers: it rejects with UNAVAILABLE.
   */
  readonly signal?: AbortSignal
  /**
   * The peer had to stop by itself, and has: another process runs with its name. Not called for what makes
   * `createPeer` reject.
   */
  readonly onFatal?: (error: KvError) => void
  /** It has left its cluster, as somebody wanted, and stopped. */
  readonly onLeft?: () => void
}

export interface Peer {
  /** Where others find it; the port is the real one. */
  readonly address: Address
  readonly nodeId: NodeId
  /** Whether it serves. */
  readonly ready: boolean
  /** What any client can ask of it, without a connection. */
  readonly service: KvService
  /** Takes no more requests, ends those in flight, closes the store. Idempotent. */
  stop(): Promise<void>
}

/**
 * Starts a peer; fulfils when it serves. With `join` that is when one of the named peers has taken it in,
 * however long that takes.
 * @throws INVALID_ARGUMENT: bad options, a directory or port in use, a directory of another cluster;
 * CONFLICT: the cluster will not have it; INTERNAL: the disk; UNAVAILABLE: given up
 */
export async function createPeer(options: CreatePeerOptions): Promise<Peer> {
  checkPeerOptions(options)
  const nodeOptions = nodeOptionsOf(options)
  const { signal } = options
  if (signal?.aborted) throw new KvError('UNAVAILABLE', 'the start was given up before it began')
  // A directory that is there says more: it may be in use by the one who has the port.
  if (!existsSync(options.dataDir)) await tryPort(nodeOptions.listen)
  const storage = await openLevelStorage(options.dataDir)
  const log = await createLog({ level: options.logLevel ?? 'warn' })
  const { listen, advertiseHost } = nodeOptions
  if (advertiseHost !== null) log.warn('peer.advertises', { host: advertiseHost, listen, hint: OTHER_HOST })
  const peer = new SystemPeer(nodeOptions, hostNamesOf(options), storage, log, options)
  const giveUp = (): void => peer.giveUp()
  signal?.addEventListener('abort', giveUp)
  try {
    // Given up while the directory was opened.
    if (signal?.aborted) throw new KvError('UNAVAILABLE', 'the start was given up before it began')
    await peer.start()
    return peer
  } catch (error) {
    await peer.stop()
    throw error
  } finally {
    signal?.removeEventListener('abort', giveUp)
  }
}

class SystemPeer implements Peer {
  readonly #node: Node
  readonly #http: HttpFace
  readonly #storage: Storage
  readonly #log: Log
  #stopped: Promise<void> | null = null

  constructor(
    options: NodeOptions,
    hostNames: HostNames,
    storage: Storage,
    log: Log,
    { onFatal, onLeft }: Pick<CreatePeerOptions, 'onFatal' | 'onLeft'>,
  ) {
    const metrics = createSystemMetrics()
    const network = createSystemNetwork({
      maxFrameBytes: MAX_FRAME_BYTES,
      maxClientFrameBytes: MAX_CLIENT_FRAME_BYTES,
    })
    const random = createSystemRandom()
    const effects = { clock: createSystemClock(), network, storage, random, log, metrics }
    const node = createNode(options, effects, (error) =>
      this.#end(() => (error === null ? onLeft?.() : onFatal?.(error))),
    )
    this.#http = createHttpFace({
      service: () => node.service,
      obstacle: () => node.obstacle,
      faults: node.faults,
      maxValueBytes: options.maxValueBytes,
      hostNames,
      random,
      log,
      metrics,
      renderMetrics: () => metrics.render(),
    })
    network.setRequestHandler((request, response) => this.#http.handle(request, response))
    this.#node = node
    this.#storage = storage
    this.#log = log
  }

  start(): Promise<void> {
    return this.#node.start()
  }

  /** Makes a start under way reject; the directory stays open until it has. */
  giveUp(): void {
    this.#node.stop().catch((error: unknown) => this.#log.error('peer.unstopped', { error }))
  }

  get address(): Address {
    return this.#node.address
  }

  get nodeId(): NodeId {
    return this.#node.nodeId
  }

  get ready(): boolean {
    return this.#node.obstacle === null
  }

  get service(): KvService {
    return this.#node.service
  }

  stop(): Promise<void> {
    this.#stopped ??= this.#stop()
    return this.#stopped
  }

  #end(tell: () => void): void {
    this.stop()
      .catch((error: unknown) => this.#log.error('peer.unstopped', { error }))
      .then(tell, tell)
  }

  async #stop(): Promise<void> {
    await this.#http.stop(HTTP_DRAIN_MS)
    try {
      await this.#node.stop()
    } finally {
      await this.#storage.close()
    }
  }
}

function hostNamesOf({
  host = DEFAULT_HOST,
  advertise = null,
  allowHost = [],
}: CreatePeerOptions): HostNames {
  const advertised = advertise === null ? [] : [splitAddress(parseAddress(advertise)).host]
  return new HostNames([host, ...advertised, ...allowHost])
}

/** @throws INVALID_ARGUMENT */
function nodeOptionsOf(options: CreatePeerOptions): NodeOptions {
  const { advertise = null, purgeAfterSeconds } = options
  const { purge } = DEFAULT_NODE_OPTIONS
  return {
    ...DEFAULT_NODE_OPTIONS,
    listen: makeAddress(options.host ?? DEFAULT_HOST, options.port ?? DEFAULT_PORT),
    advertise: advertise === null ? null : parseAddress(advertise),
    advertiseHost: advertise === null ? advertisedHost(options.host ?? DEFAULT_HOST) : null,
    join: (options.join ?? []).map(parseAddress),
    replace: options.replace === undefined || options.replace === '' ? null : options.replace,
    manualLayout: options.manualLayout ?? DEFAULT_NODE_OPTIONS.manualLayout,
    zone: options.zone ?? DEFAULT_NODE_OPTIONS.zone,
    weight: options.weight ?? DEFAULT_NODE_OPTIONS.weight,
    maxValueBytes: options.maxValueBytes ?? DEFAULT_NODE_OPTIONS.maxValueBytes,
    enableFaults: options.enableFaults ?? DEFAULT_NODE_OPTIONS.enableFaults,
    maxHintBytes: options.maxHintBytes ?? DEFAULT_NODE_OPTIONS.maxHintBytes,
    purge: purgeAfterSeconds === undefined ? purge : { ...purge, purgeAfterMs: purgeAfterSeconds * 1000 },
  }
}
