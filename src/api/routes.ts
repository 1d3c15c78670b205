/** What the resources of the HTTP face have in common. */
import type { FastifyInstance, FastifyReply, FastifyRequest, HTTPMethods } from 'fastify'
import { strictText } from '../base/bytes.ts'
import type { Log } from '../effects/log.ts'
import type { Random } from '../effects/random.ts'
import type { FaultControl } from '../wire/faults.ts'
import { makeProblem, PROBLEM_CONTENT_TYPE, type Problem } from '../wire/problem.ts'
import type { KvService } from '../wire/requests.ts'
import { invalid } from './query.ts'

export interface RouteContext {
  readonly service: KvService
  /** Null: failures cannot be simulated here. */
  readonly faults: FaultControl | null
  readonly random: Random
  readonly log: Log
  readonly maxValueBytes: number
}

/** The one thing that a peer which plays dead still answers, or it could never be brought back. */
export const FAULTS_PATH = '/v1/faults'

export type Handler = (request: FastifyRequest, reply: FastifyReply) => Promise<FastifyReply>

/** Serves one path: the methods given (GET serves HEAD too), 405 for every other. */
export function resource(
  app: FastifyInstance,
  path: string,
  handlers: Partial<Record<'GET' | 'PUT' | 'PATCH' | 'POST' | 'DELETE', Handler>>,
): void {
  const allowed = new Set<string>('GET' in handlers ? ['HEAD'] : [])
  for (const [method, handler] of Object.entries(handlers)) {
    allowed.add(method)
    app.route({ method: method as HTTPMethods, url: path, handler })
  }
  const allow = [...allowed].sort().join(', ')
  const refuse = async (_: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> => {
    const detail = `this path takes ${allow}`
    return sendProblem(reply.header('allow', allow), makeProblem('INVALID_ARGUMENT', detail, 405))
  }
  // Refused before the body, which may be of any kind and length, is looked at.
  const method = app.supportedMethods.filter((one) => !allowed.has(one))
  app.route({ method, url: path, onRequest: refuse, handler: refuse })
}

export function sendProblem(reply: FastifyReply, problem: Problem): FastifyReply {
  // As bytes: text of a type that is not exactly JSON's would get a charset, or be encoded again.
  const body = Buffer.from(JSON.stringify(problem))
  return reply.code(problem.status).header('content-type', PROBLEM_CONTENT_TYPE).send(body)
}

/** The body of a request, which one that may be empty has a value for. @throws INVALID_ARGUMENT */
export function jsonOf(request: FastifyRequest, whenEmpty?: unknown): unknown {
  const { 'content-type': type = '', origin } = request.headers
  const bytes = (request.body as Buffer | undefined) ?? Buffer.alloc(0)
  // Browsers let any web page post text, or nothing, to any host, but ask first before they send JSON: nobody
  // here says yes. Whatever a page posts they say where it comes from.
  const isJson = /^application\/json\b/i.test(type)
  if (bytes.length === 0 && whenEmpty !== undefined && (isJson || origin === undefined)) return whenEmpty
  if (!isJson) throw invalid('the body is application/json; say so in Content-Type')
  const text = strictText(bytes)
  try {
    return JSON.parse(text ?? '')
  } catch {
    throw invalid('the body is not JSON')
  }
}
