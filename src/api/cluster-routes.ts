/** `/v1/status`, `/v1/hints` and `/v1/ring`: the cluster as the peer asked sees it. */
import type { FastifyInstance } from 'fastify'
import { DEFAULT_KEYSPACE, MAX_KEY_BYTES } from '../wire/requests.ts'
import { invalid, Query } from './query.ts'
import { type RouteContext, resource } from './routes.ts'

export function addClusterRoutes(app: FastifyInstance, { service }: RouteContext): void {
  resource(app, '/v1/status', {
    async GET(request, reply) {
      new Query(request.originalUrl, [])
      return reply.send(await service.status())
    },
  })
  resource(app, '/v1/hints', {
    async GET(request, reply) {
      new Query(request.originalUrl, [])
      return reply.send({ hints: await service.hints() })
    },
  })
  resource(app, '/v1/ring', {
    async GET(request, reply) {
      const query = new Query(request.originalUrl, ['key', 'keyspace'])
      const key = query.bytes('key')
      const keyspace = query.text('keyspace')
      if (key === null) {
        if (keyspace !== null) throw invalid('?keyspace= goes with ?key=')
        return reply.send(await service.ring())
      }
      if (key.length < 1 || key.length > MAX_KEY_BYTES) throw invalid(`a key has 1 to ${MAX_KEY_BYTES} bytes`)
      return reply.send(await service.locate(keyspace ?? DEFAULT_KEYSPACE, key))
    },
  })
}
