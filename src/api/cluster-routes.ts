/**
 * `/v1/status`, `/v1/hints`, `/v1/tasks` and `/v1/ring`: the cluster as the peer asked sees it. `/v1/repair`,
 * and what is to become of members.
 */
import type { FastifyInstance } from 'fastify'
import { checkOptionNames } from '../wire/request-check.ts'
import { DEFAULT_KEYSPACE, MAX_KEY_BYTES, RING_CHANGES } from '../wire/requests.ts'
import type { RepairRequest } from '../wire/tasks.ts'
import { invalid, Query } from './query.ts'
import { jsonOf, type RouteContext, resource } from './routes.ts'

export function addClusterRoutes(app: FastifyInstance, { service, random }: RouteContext): void {
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
  resource(app, '/v1/tasks', {
    async GET(request, reply) {
      new Query(request.originalUrl, [])
      return reply.send(await service.tasks())
    },
  })
  resource(app, '/v1/repair', {
    async POST(request, reply) {
      new Query(request.originalUrl, [])
      const start = await service.repair(completeRepair(jsonOf(request, {}), random.id()))
      return reply.code(202).send(start)
    },
  })
  for (const kind of RING_CHANGES) {
    resource(app, `/v1/peers/:peer/${kind}`, {
      async POST(request, reply) {
        const query = new Query(request.originalUrl, kind === 'remove' ? ['acceptLoss'] : [])
        const { peer } = request.params as { readonly peer: string }
        const changed = await service[kind](peer, query.flag('acceptLoss'))
        return reply.code(202).send(changed)
      },
    })
  }
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

/** What is left out: all keyspaces, and a name chosen here. @throws INVALID_ARGUMENT */
function completeRepair(given: unknown, round: string): RepairRequest {
  checkOptionNames(given as object, ['keyspace', 'round', 'acceptLoss'], 'a repair')
  return { keyspace: null, round, ...(given as Partial<RepairRequest>) }
}
