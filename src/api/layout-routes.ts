/** `/v1/layout`: who has what and what is staged; the plan of that; and staging, applying and so on. */
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { type LayoutAction, type LayoutChange, parseLayoutChange, STAGE_ACTIONS } from '../wire/layout.ts'
import { invalid, Query } from './query.ts'
import { jsonOf, type RouteContext, resource } from './routes.ts'

export function addLayoutRoutes(app: FastifyInstance, { service }: RouteContext): void {
  resource(app, '/v1/layout', {
    async GET(request, reply) {
      new Query(request.originalUrl, [])
      return reply.send(await service.layout())
    },
  })
  resource(app, '/v1/layout/plan', {
    async GET(request, reply) {
      new Query(request.originalUrl, [])
      return reply.send(await service.planLayout())
    },
  })
  resource(app, '/v1/layout/stage', {
    async POST(request, reply) {
      const change = parseLayoutChange(bodyOf(request))
      if (!STAGE_ACTIONS.some((action) => action === change.action)) {
        throw invalid(`what is staged has an action of ${STAGE_ACTIONS.join(', ')}`)
      }
      return reply.send(await service.changeLayout(change))
    },
  })
  resource(app, '/v1/layout/apply', {
    async POST(request, reply) {
      return reply.code(202).send(await service.changeLayout(changeOf('apply', bodyOf(request))))
    },
  })
  resource(app, '/v1/layout/accept-loss', {
    async POST(request, reply) {
      return reply.code(202).send(await service.changeLayout(changeOf('acceptLoss', bodyOf(request, {}))))
    },
  })
  resource(app, '/v1/layout/mode', {
    async POST(request, reply) {
      const { manual } = objectOf(bodyOf(request))
      if (typeof manual !== 'boolean') throw invalid('manual is true or false')
      return reply.send(await service.changeLayout(changeOf(manual ? 'manual' : 'automatic', {})))
    },
  })
}

function bodyOf(request: FastifyRequest, whenEmpty?: unknown): unknown {
  new Query(request.originalUrl, [])
  return jsonOf(request, whenEmpty)
}

/** @throws INVALID_ARGUMENT */
function changeOf(action: LayoutAction, body: unknown): LayoutChange {
  return parseLayoutChange({ ...objectOf(body), action })
}

/** @throws INVALID_ARGUMENT */
function objectOf(body: unknown): Readonly<Record<string, unknown>> {
  if (typeof body === 'object' && body !== null && !Array.isArray(body))
    return body as Record<string, unknown>
  throw invalid('the body is a JSON object')
}
