/**
 * `/v1/faults`: failures simulated at this peer. `kvctl fault` sends its command to every peer that has a
 * part in it.
 */
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { strictText } from '../base/bytes.ts'
import { KvError } from '../base/error.ts'
import { type FaultControl, parseFaultCommand } from '../wire/faults.ts'
import { invalid, Query } from './query.ts'
import { FAULTS_PATH, type RouteContext, resource } from './routes.ts'

export function addFaultRoutes(app: FastifyInstance, { faults }: RouteContext): void {
  resource(app, FAULTS_PATH, {
    async GET(request, reply) {
      new Query(request.originalUrl, [])
      return reply.send(enabled(faults).report())
    },
    async POST(request, reply) {
      new Query(request.originalUrl, [])
      const control = enabled(faults)
      return reply.send(control.apply(parseFaultCommand(jsonOf(request))))
    },
  })
}

/** @throws FORBIDDEN */
function enabled(faults: FaultControl | null): FaultControl {
  if (faults !== null) return faults
  throw new KvError('FORBIDDEN', 'failures are simulated only at peers started with --enable-faults')
}

/** @throws INVALID_ARGUMENT */
function jsonOf(request: FastifyRequest): unknown {
  // Browsers let any web page post text to any host, but ask first before they send JSON: nobody here says
  // yes.
  const type = request.headers['content-type'] ?? ''
  if (!/^application\/json\b/i.test(type))
    throw invalid('the body is application/json; say so in Content-Type')
  const text = strictText((request.body as Buffer | undefined) ?? Buffer.alloc(0))
  try {
    return JSON.parse(text ?? '')
  } catch {
    throw invalid('the body is not JSON')
  }
}
