/**
 * `/v1/faults`: failures simulated at this peer. `kvctl fault` sends its command to every peer that has a
 * part in it.
 */
import type { FastifyInstance } from 'fastify'
import { KvError } from '../base/error.ts'
import { type FaultControl, parseFaultCommand } from '../wire/faults.ts'
import { Query } from './query.ts'
import { FAULTS_PATH, jsonOf, type RouteContext, resource } from './routes.ts'

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
