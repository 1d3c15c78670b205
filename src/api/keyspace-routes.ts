/** `/v1/keyspaces`: which keyspaces there are, and how each keeps its keys. */
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { strictText } from '../base/bytes.ts'
import { KvError } from '../base/error.ts'
import { checkKeyspaceShape } from '../wire/request-check.ts'
import { type KeyspaceOptions, type KeyspaceShape, shownKeyspace } from '../wire/requests.ts'
import { invalid, Query } from './query.ts'
import { jsonOf, type RouteContext, resource } from './routes.ts'

export function addKeyspaceRoutes(app: FastifyInstance, { service }: RouteContext): void {
  resource(app, '/v1/keyspaces', {
    async GET(request, reply) {
      new Query(request.originalUrl, [])
      return reply.send({ keyspaces: (await service.keyspaces()).map(shownKeyspace) })
    },
  })
  resource(app, '/v1/keyspaces/:name', {
    async GET(request, reply) {
      const name = nameOf(request)
      const found = (await service.keyspaces()).find((keyspace) => keyspace.name === name)
      if (found === undefined) throw new KvError('NOT_FOUND', `there is no keyspace '${name}'; PUT makes it`)
      return reply.send(shownKeyspace(found))
    },
    async PUT(request, reply) {
      const options = parseKeyspaceOptions(request.body)
      return reply.send(shownKeyspace(await service.createKeyspace(nameOf(request), options)))
    },
    async PATCH(request, reply) {
      const name = nameOf(request)
      const shape = jsonOf(request) as Partial<KeyspaceShape>
      checkKeyspaceShape(shape)
      await service.alterKeyspace(name, shape)
      return reply.code(202).send({})
    },
    async DELETE(request, reply) {
      await service.dropKeyspace(nameOf(request))
      return reply.code(204).send()
    },
  })
}

function nameOf(request: FastifyRequest): string {
  new Query(request.originalUrl, [])
  return (request.params as { readonly name: string }).name
}

/** An empty body is all defaults; the service knows which options there are. @throws INVALID_ARGUMENT */
function parseKeyspaceOptions(body: unknown): Partial<KeyspaceOptions> {
  const isEmpty = body === undefined || (body as Buffer).length === 0
  return isEmpty ? {} : parseJsonObject(body as Buffer)
}

function parseJsonObject(body: Buffer): Readonly<Record<string, unknown>> {
  const text = strictText(body)
  let value: unknown
  try {
    value = text === null ? null : JSON.parse(text)
  } catch {
    value = null // Not JSON at all is answered as JSON of another kind is.
  }
  if (typeof value === 'object' && value !== null && !Array.isArray(value))
    return value as Record<string, unknown>
  throw invalid('the body is a JSON object of keyspace options')
}
