/**
 * The resources under `/v1` and their errors, served by fastify. Loaded by the first request that needs it.
 */
import type { IncomingMessage, ServerResponse } from 'node:http'
import {
  type FastifyError,
  type FastifyInstance,
  type FastifyReply,
  type FastifyRequest,
  fastify,
} from 'fastify'
import { KvError } from '../base/error.ts'
import { makeProblem, type Problem, problemOf } from '../wire/problem.ts'
import { addClusterRoutes } from './cluster-routes.ts'
import { addFaultRoutes } from './fault-routes.ts'
import { addKeyspaceRoutes } from './keyspace-routes.ts'
import { addKvRoutes, routedUrl } from './kv-routes.ts'
import { addLayoutRoutes } from './layout-routes.ts'
import { openApiDocument } from './openapi.ts'
import { Query } from './query.ts'
import { type RouteContext, resource, sendProblem } from './routes.ts'

/** Twice the longest request line there is, because keys travel through the router as hex. */
const MAX_PATH_PART_LENGTH = 32 * 1024
/** How long a refused body is read and thrown away, so that its sender sees the answer instead of a reset. */
const REFUSED_BODY_MS = 1_000
/** Of answers that nobody has taken yet, all connections together; past it nothing more is answered. */
const MAX_UNSENT_BYTES = 128 * 1024 * 1024

export async function createHttpApp(
  context: RouteContext,
): Promise<(request: IncomingMessage, response: ServerResponse) => void> {
  const { maxValueBytes } = context
  const failed = (error: unknown, request: FastifyRequest, reply: FastifyReply): FastifyReply =>
    sendFailure(context, error, request, reply)
  const app = fastify({
    logger: false,
    bodyLimit: maxValueBytes,
    routerOptions: { maxParamLength: MAX_PATH_PART_LENGTH },
    rewriteUrl: (request) => routedUrl(request.url ?? '/'),
    frameworkErrors: failed,
  })
  app.removeAllContentTypeParsers()
  app.addContentTypeParser('*', { parseAs: 'buffer' }, (_, body, done) => done(null, body))
  app.setErrorHandler(failed)
  app.setNotFoundHandler((_, reply) =>
    sendProblem(
      reply,
      makeProblem('NOT_FOUND', 'there is nothing at this path; GET /openapi.json lists what there is'),
    ),
  )
  app.addHook('preParsing', async (request, reply, payload) => {
    const length = Number(request.headers['content-length'] ?? 0)
    if (length <= maxValueBytes && waitsToContinue(request.raw)) reply.raw.writeContinue()
    return payload
  })
  boundUnsentBytes(app)
  addRoutes(app, context)
  await app.ready()
  return (request, response) => app.routing(request, response)
}

/** The sender holds its body back until it hears that it is wanted. */
function waitsToContinue({ httpVersion, headers }: IncomingMessage): boolean {
  return httpVersion === '1.1' && /100-continue/i.test(headers.expect ?? '')
}

/** What one connection can leave untaken is bounded by how many of its requests are under way. */
function boundUnsentBytes(app: FastifyInstance): void {
  let unsentBytes = 0
  app.addHook('onRequest', async () => {
    if (unsentBytes < MAX_UNSENT_BYTES) return
    throw new KvError('OVERLOADED', 'too many answers wait to be taken; try again, or ask another peer')
  })
  app.addHook('onSend', async (request, reply, payload) => {
    const bytes = Buffer.isBuffer(payload) ? payload.length : 0
    if (bytes === 0 || request.raw.socket.destroyed) return payload
    unsentBytes += bytes
    reply.raw.once('close', () => {
      unsentBytes -= bytes
    })
    return payload
  })
}

function addRoutes(app: FastifyInstance, context: RouteContext): void {
  addKvRoutes(app, context)
  addClusterRoutes(app, context)
  addLayoutRoutes(app, context)
  addKeyspaceRoutes(app, context)
  addFaultRoutes(app, context)
  resource(app, '/openapi.json', {
    async GET(request, reply) {
      new Query(request.originalUrl, [])
      return reply.send(openApiDocument(context.maxValueBytes))
    },
  })
}

function sendFailure(
  { log, maxValueBytes }: RouteContext,
  error: unknown,
  request: FastifyRequest,
  reply: FastifyReply,
): FastifyReply {
  const problem = problemOfFailure(error, maxValueBytes, request.headers['content-type'] ?? '')
  if (problem.code === 'INTERNAL') log.error('http.failed', { error })
  if (problem.status === 413) discardBody(request, reply)
  return sendProblem(reply, problem)
}

function problemOfFailure(error: unknown, maxValueBytes: number, contentType: string): Problem {
  if (error instanceof KvError && error.code !== 'INTERNAL') return problemOf(error)
  const { code, statusCode = 500, message } = error as Partial<FastifyError>
  if (code === 'FST_ERR_CTP_BODY_TOO_LARGE') {
    return makeProblem(
      'TOO_LARGE',
      `a value has at most ${maxValueBytes} bytes; --max-value of every peer raises that`,
    )
  }
  if (code === 'FST_ERR_CTP_INVALID_MEDIA_TYPE') {
    const given = `'${contentType.slice(0, 100)}'`
    const advice = 'write type/subtype, such as text/plain, or leave it out'
    return makeProblem('INVALID_ARGUMENT', `${given} is not a Content-Type: ${advice}`, 415)
  }
  if (code === 'FST_ERR_BAD_URL')
    return makeProblem('INVALID_ARGUMENT', 'the path is not properly percent-encoded')
  if (statusCode < 500) return makeProblem('INVALID_ARGUMENT', message ?? 'bad request', statusCode)
  return makeProblem('INTERNAL', 'this peer failed to answer; its log has more')
}

/**
 * Closing at once, with bytes unread, would reset the connection, and the sender might never see why. So what
 * still comes is thrown away for a moment; then the connection is cut.
 */
function discardBody(request: FastifyRequest, reply: FastifyReply): void {
  const { raw } = request
  reply.removeHeader('connection')
  raw.resume()
  const timer = setTimeout(() => raw.socket.destroy(), REFUSED_BODY_MS)
  const stop = (): void => clearTimeout(timer)
  raw.once('end', stop)
  raw.once('close', stop)
}
