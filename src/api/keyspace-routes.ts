/** `/v1/keyspaces`: which keyspaces there are, and how each keeps its keys. */
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { strictText } from '../base/bytes.ts'
import { KvError } from '../base/error.ts'
import { MAX_REPLICAS } from '../protocol/configuration.ts'
import { DEFAULT_KEYSPACE_OPTIONS, type KeyspaceOptions } from '../wire/requests.ts'
import { invalid, levelOf, Query } from './query.ts'
import { type RouteContext, resource } from './routes.ts'

export function addKeyspaceRoutes(app: FastifyInstance, { service }: RouteContext): void {
  resource(app, '/v1/keyspaces', {
    async GET(request, reply) {
      new Query(request.originalUrl, [])
      return reply.send({ keyspaces: await service.keyspaces() })
    },
  })
  resource(app, '/v1/keyspaces/:name', {
    async GET(request, reply) {
      const name = nameOf(request)
      const found = (await service.keyspaces()).find((keyspace) => keyspace.name === name)
      if (found === undefined) throw new KvError('NOT_FOUND', `there is no keyspace '${name}'; PUT makes it`)
      return reply.send(found)
    },
    async PUT(request, reply) {
      return reply.send(await service.createKeyspace(nameOf(request), parseKeyspaceOptions(request.body)))
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

type Check = (raw: unknown) => boolean
const oneOf =
  (...words: readonly string[]): Check =>
  (raw) =>
    words.includes(raw as string)
const isLevel: Check = (raw) => levelOf(raw) !== null

const FIELDS: Readonly<Record<keyof KeyspaceOptions, readonly [Check, allowed: string]>> = {
  strategy: [oneOf('ring', 'full'), 'ring or full'],
  replicas: [
    (raw) => Number.isInteger(raw) && Number(raw) >= 1 && Number(raw) <= MAX_REPLICAS,
    `a number from 1 to ${MAX_REPLICAS}`,
  ],
  conflicts: [oneOf('siblings', 'lww'), 'siblings or lww'],
  quorum: [oneOf('sloppy', 'strict'), 'sloppy or strict'],
  r: [isLevel, 'one, quorum, all, or a number from 1'],
  w: [isLevel, 'one, quorum, all, or a number from 1'],
  durability: [oneOf('disk', 'os'), 'disk or os'],
}

/** What is left out has its default; an empty body is all defaults. @throws INVALID_ARGUMENT */
function parseKeyspaceOptions(body: unknown): KeyspaceOptions {
  const given = body === undefined || (body as Buffer).length === 0 ? {} : parseJsonObject(body as Buffer)
  for (const [name, value] of Object.entries(given)) {
    const field = Object.hasOwn(FIELDS, name) ? FIELDS[name as keyof KeyspaceOptions] : undefined
    if (field === undefined) {
      throw invalid(
        `a keyspace has no option '${name.slice(0, 64)}'; known: ${Object.keys(FIELDS).join(', ')}`,
      )
    }
    const [check, allowed] = field
    if (!check(value)) throw invalid(`'${name}' is ${allowed}`)
  }
  return { ...DEFAULT_KEYSPACE_OPTIONS, ...given }
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
