/**
 * The HTTP face of a peer. Health and metrics are answered by this file alone; the framework that serves the
 * rest is loaded by the first request that needs it, so that it costs a starting peer nothing.
 */
import type { IncomingMessage, ServerResponse } from 'node:http'
import { type ErrorCode, toKvError } from '../base/error.ts'
import type { Log } from '../effects/log.ts'
import type { Histogram, Metrics } from '../effects/metrics.ts'
import type { Random } from '../effects/random.ts'
import type { FaultControl } from '../wire/faults.ts'
import { makeProblem, PROBLEM_CONTENT_TYPE } from '../wire/problem.ts'
import type { KvService } from '../wire/requests.ts'
import type { HostNames } from './host-names.ts'
import { splitTarget, splitUrl } from './percent.ts'
import { FAULTS_PATH, type RouteContext } from './routes.ts'

export interface HttpFaceOptions {
  /** @throws UNAVAILABLE: it has not read its disk yet */
  service(): KvService
  /** Null: failures cannot be simulated at this peer. */
  readonly faults: FaultControl | null
  /** Why this peer does not serve, in words; null: it knows its cluster, and its store is open. */
  obstacle(): string | null
  readonly maxValueBytes: number
  /** Requests that call this peer by another name are refused, those for its health excepted. */
  readonly hostNames: HostNames
  readonly random: Random
  readonly log: Log
  readonly metrics: Metrics
  /** Every metric in Prometheus' text format. */
  renderMetrics(): Promise<{ readonly contentType: string; readonly body: string }>
}

export interface HttpFace {
  /** For every request of the port. Never throws. */
  handle(request: IncomingMessage, response: ServerResponse): void
  /**
   * Takes no more requests; resolves when those in flight are answered, after `timeoutMs` at the latest.
   * Idempotent.
   */
  stop(timeoutMs: number): Promise<void>
}

/** They tell nothing that anybody could misuse, and balancers ask for them under names of their own. */
const OPEN_PATHS: ReadonlySet<string> = new Set(['/healthz', '/readyz'])
const MAX_SHOWN_HOST_LENGTH = 100

type Page = (response: ServerResponse, withBody: boolean) => Promise<void> | void
type App = (request: IncomingMessage, response: ServerResponse) => void

export function createHttpFace(options: HttpFaceOptions): HttpFace {
  return new LazyHttpFace(options)
}

class LazyHttpFace implements HttpFace {
  readonly #options: HttpFaceOptions
  readonly #pages: ReadonlyMap<string, Page>
  readonly #seconds: Histogram
  #app: Promise<App> | null = null
  #inFlight = 0
  #isStopping = false
  #onIdle: () => void = () => {}

  constructor(options: HttpFaceOptions) {
    this.#options = options
    this.#seconds = options.metrics.histogram('kv_http_request_seconds', 'Time to answer an HTTP request.')
    options.metrics.gauge('kv_http_requests_in_flight', 'HTTP requests in flight.', () => this.#inFlight)
    this.#pages = new Map<string, Page>([
      ['/healthz', (response, withBody) => answer(response, 200, 'text/plain', 'ok\n', withBody)],
      ['/readyz', (response, withBody) => this.#readyPage(response, withBody)],
      ['/metrics', (response, withBody) => this.#metricsPage(response, withBody)],
    ])
  }

  handle(request: IncomingMessage, response: ServerResponse): void {
    this.#watch(response)
    this.#answer(request, response).catch((thrown: unknown) => {
      const error = toKvError(thrown)
      if (error.code !== 'UNAVAILABLE') this.#options.log.error('http.failed', { error })
      if (response.headersSent) response.destroy()
      else if (error.code === 'UNAVAILABLE') answerProblem(response, error.code, error.message)
      else answerProblem(response, 'INTERNAL', 'this peer failed to answer; its log has more')
    })
  }

  async stop(timeoutMs: number): Promise<void> {
    this.#isStopping = true
    if (this.#inFlight === 0) return
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, timeoutMs)
      this.#onIdle = () => {
        clearTimeout(timer)
        resolve()
      }
    })
  }

  #watch(response: ServerResponse): void {
    const startedMs = performance.now()
    this.#inFlight++
    response.once('close', () => {
      this.#seconds.observe((performance.now() - startedMs) / 1000)
      if (--this.#inFlight === 0) this.#onIdle()
    })
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { authority, url } = splitTarget(request.url ?? '')
    request.url = url
    const host = authority ?? request.headers.host
    const { path } = splitUrl(url)
    const page = this.#pages.get(path)
    const state = this.#options.faults?.state ?? 'up'
    if (state === 'failed' && path !== FAULTS_PATH) {
      request.socket.destroy() // As if nobody were here.
    } else if (!this.#isMeant(host, path)) {
      answerProblem(response, 'FORBIDDEN', refusalOf(host ?? ''))
    } else if (page !== undefined) {
      if (request.method === 'GET' || request.method === 'HEAD')
        await page(response, request.method === 'GET')
      else
        answerProblem(
          response.setHeader('allow', 'GET, HEAD'),
          'INVALID_ARGUMENT',
          'this path takes GET, HEAD',
          405,
        )
    } else if (this.#isStopping) {
      answerProblem(
        response.setHeader('connection', 'close'),
        'UNAVAILABLE',
        'this peer is stopping; ask another',
      )
    } else if (state === 'recovering' && path !== FAULTS_PATH) {
      answerProblem(response, 'UNAVAILABLE', 'this peer recovers from a simulated failure; ask another')
    } else {
      const app = await this.#loaded()
      app(request, response)
    }
  }

  /** Without a host, which HTTP 1.0 allows, it comes from no browser. */
  #isMeant(host: string | undefined, path: string): boolean {
    return host === undefined || OPEN_PATHS.has(path) || this.#options.hostNames.include(host)
  }

  /** One that failed to load is loaded again by the next request. */
  #loaded(): Promise<App> {
    this.#app ??= this.#load().catch((error: unknown) => {
      this.#app = null
      throw error
    })
    return this.#app
  }

  async #load(): Promise<App> {
    const { service, faults, random, log, maxValueBytes } = this.#options
    const context: RouteContext = { service: service(), faults, random, log, maxValueBytes }
    return (await import('./http-app.ts')).createHttpApp(context)
  }

  #readyPage(response: ServerResponse, withBody: boolean): void {
    const { obstacle, faults } = this.#options
    const recovering = faults?.state === 'recovering' ? 'this peer recovers from a simulated failure' : null
    const why = this.#isStopping ? 'this peer is stopping' : (obstacle() ?? recovering)
    if (why === null) answer(response, 200, 'text/plain', 'ready\n', withBody)
    else answerProblem(response, 'UNAVAILABLE', why)
  }

  async #metricsPage(response: ServerResponse, withBody: boolean): Promise<void> {
    const { contentType, body } = await this.#options.renderMetrics()
    answer(response, 200, contentType, body, withBody)
  }
}

function refusalOf(host: string): string {
  const shown = host.length > MAX_SHOWN_HOST_LENGTH ? `${host.slice(0, MAX_SHOWN_HOST_LENGTH)}…` : host
  const ways = 'its address, localhost or the name it advertises'
  return `this peer does not go by the name '${shown}': use ${ways}, or start it with --allow-host NAME`
}

function answer(
  response: ServerResponse,
  status: number,
  contentType: string,
  body: string,
  withBody: boolean,
): void {
  response.writeHead(status, { 'content-type': contentType, 'content-length': Buffer.byteLength(body) })
  response.end(withBody ? body : undefined)
}

/** Node leaves out the body where HEAD asked. */
function answerProblem(response: ServerResponse, code: ErrorCode, detail: string, as?: number): void {
  const problem = makeProblem(code, detail, as)
  answer(response, problem.status, PROBLEM_CONTENT_TYPE, JSON.stringify(problem), true)
}
