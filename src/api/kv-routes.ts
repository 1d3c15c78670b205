/** `/v1/kv/{keyspace}/{key}`: one key's values. */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { type Bytes, fromHex, strictText, toHex } from '../base/bytes.ts'
import { hash64 } from '../base/hash.ts'
import { makeProblem } from '../wire/problem.ts'
import { MAX_CONTENT_TYPE_LENGTH } from '../wire/request-check.ts'
import { type FoundValue, type GetReply, MAX_KEY_BYTES, type PutReply } from '../wire/requests.ts'
import { decodePercent, splitUrl } from './percent.ts'
import { invalid, Query } from './query.ts'
import { type RouteContext, resource, sendProblem } from './routes.ts'
import { siblingsAsJson, siblingsAsMultipart, usableContentType } from './siblings.ts'

const PREFIX = '/v1/kv/'
const CONTEXT_HEADER = 'x-kv-context'
const MALFORMED = 'malformed'
/** Whoever sends one believes that the write depends on it. */
const WRITE_CONDITIONS = ['if-match', 'if-none-match', 'if-unmodified-since'] as const

/**
 * Routers decode paths as UTF-8 and refuse what is not. So the keyspace and the key, which is everything
 * after it, travel through ours as hex after an `x`.
 */
export function routedUrl(url: string): string {
  if (!url.startsWith(PREFIX)) return url
  const { path, query } = splitUrl(url)
  const rest = path.slice(PREFIX.length)
  const slash = rest.indexOf('/')
  if (slash === -1) return url
  const parts = [rest.slice(0, slash), rest.slice(slash + 1)].map((part) => {
    const bytes = decodePercent(part)
    return bytes === null ? MALFORMED : `x${toHex(bytes)}`
  })
  return `${PREFIX}${parts.join('/')}?${query}`
}

export function addKvRoutes(app: FastifyInstance, context: RouteContext): void {
  resource(app, `${PREFIX}:keyspace/:key`, {
    GET: (request, reply) => get(context, request, reply),
    PUT: (request, reply) => put(context, request, reply, bodyOf(request)),
    DELETE: (request, reply) => put(context, request, reply, null),
  })
}

async function get(
  context: RouteContext,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<FastifyReply> {
  const query = new Query(request.originalUrl, ['r', 'timeout'])
  const found = await context.service.get({
    ...target(request),
    r: query.level('r'),
    timeoutMs: query.timeoutMs(),
  })
  noteReplicas(reply, found)
  if (found.context !== null) reply.header(CONTEXT_HEADER, found.context)
  const [only, second] = found.values
  if (only === undefined)
    return sendProblem(reply, makeProblem('NOT_FOUND', 'there is no value under this key'))
  // Values are served as they came: no browser shall guess a type or run a script in this origin.
  reply.header('x-content-type-options', 'nosniff').header('content-security-policy', 'sandbox')
  if (second !== undefined) return sendSiblings(context, request, reply, found)
  const etag = etagOf(found)
  reply.header('etag', etag)
  const known = request.headers['if-none-match']
  if (known?.split(',').some((one) => one.trim() === etag || one.trim() === '*'))
    return reply.code(304).send()
  return reply.header('content-type', usableContentType(only.contentType)).send(asBuffer(only.value))
}

function sendSiblings(
  context: RouteContext,
  request: FastifyRequest,
  reply: FastifyReply,
  found: GetReply,
): FastifyReply {
  reply.code(300).header('vary', 'Accept')
  if (request.headers.accept?.includes('application/json')) {
    return reply.header('content-type', 'application/json').send(siblingsAsJson(found))
  }
  const boundary = context.random.id()
  reply.header('content-type', `multipart/mixed; boundary="${boundary}"`)
  return reply.send(siblingsAsMultipart(found, boundary))
}

async function put(
  context: RouteContext,
  request: FastifyRequest,
  reply: FastifyReply,
  value: Bytes | null,
): Promise<FastifyReply> {
  refuseConditions(request)
  const query = new Query(request.originalUrl, ['w', 'blind', 'timeout', ...(value === null ? [] : ['ttl'])])
  const contentType = value === null ? null : (request.headers['content-type'] ?? null)
  if (contentType !== null && contentType.length > MAX_CONTENT_TYPE_LENGTH) {
    throw invalid(`a Content-Type has at most ${MAX_CONTENT_TYPE_LENGTH} characters`)
  }
  const writeContext = request.headers[CONTEXT_HEADER] ?? null
  const blind = query.flag('blind')
  if (Array.isArray(writeContext) || writeContext === '')
    throw invalid('X-KV-Context is one context, as an answer gave it')
  if (blind && writeContext !== null)
    throw invalid('?blind=1 and X-KV-Context exclude each other; give one of them')
  const done = await context.service.put({
    ...target(request),
    value,
    contentType,
    context: writeContext,
    blind,
    w: query.level('w'),
    writeId: context.random.id(),
    timeoutMs: query.timeoutMs(),
    ttlMs: query.ttlMs(),
  })
  noteReplicas(reply, done)
  return reply.code(204).header(CONTEXT_HEADER, done.context).send()
}

/** No owner can tell whether a write is the first or the only one. @throws INVALID_ARGUMENT */
function refuseConditions({ headers }: FastifyRequest): void {
  const condition = WRITE_CONDITIONS.find((name) => headers[name] !== undefined)
  if (condition === undefined) return
  const advice =
    'send the X-KV-Context that you have read: it replaces exactly that, and others stay beside it'
  throw invalid(`a write with ${condition} is not possible here; ${advice}`)
}

/** @throws INVALID_ARGUMENT */
function target(request: FastifyRequest): { readonly keyspace: string; readonly key: Bytes } {
  const params = request.params as { readonly keyspace: string; readonly key: string }
  const keyspace = strictText(routedBytes(params.keyspace))
  if (keyspace === null || keyspace === '') throw invalid('the keyspace in the path is not a name')
  const key = routedBytes(params.key)
  if (key.length >= 1 && key.length <= MAX_KEY_BYTES) return { keyspace, key }
  throw invalid(`a key has 1 to ${MAX_KEY_BYTES} bytes; this one has ${key.length}`)
}

function routedBytes(part: string): Bytes {
  const bytes = part.startsWith('x') ? fromHex(part.slice(1)) : null
  if (bytes === null) throw invalid('the path is not properly percent-encoded; write % as %25')
  return bytes
}

function bodyOf(request: FastifyRequest): Bytes {
  return (request.body as Buffer | undefined) ?? Buffer.alloc(0)
}

/** Equal exactly when the same writes were seen and the same bytes are shown. */
function etagOf(found: GetReply): string {
  const digest = (bytes: Bytes): string => hash64(bytes).toString(16)
  const values = found.values.map(({ value }: FoundValue) => digest(value))
  return `"${[digest(Buffer.from(found.context ?? '')), ...values].join('-')}"`
}

function noteReplicas(reply: FastifyReply, answer: GetReply | PutReply): void {
  reply.header('x-kv-owners', answer.owners).header('x-kv-stand-ins', answer.standIns)
}

function asBuffer(bytes: Bytes): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length)
}
