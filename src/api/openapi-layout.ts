/** `/v1/layout` described in OpenAPI. */
import { ZONE } from '../base/zone.ts'
import { MAX_WEIGHT } from '../protocol/configuration-check.ts'
import { STAGE_ACTIONS } from '../wire/layout.ts'
import { json, operation } from './openapi-parts.ts'

const layout = json('The layout, what is staged, and what was decided.', { type: 'object' })
const number = { type: 'integer', minimum: 1, description: 'Of the layout that the plan was made from.' }
const acceptLoss = {
  type: 'boolean',
  description: 'Also where only peers that are removed may have what was written.',
}
const peer = { type: 'string', description: 'Address or id.' }

const staged = {
  type: 'object',
  required: ['action'],
  additionalProperties: false,
  properties: {
    action: { enum: STAGE_ACTIONS },
    peer,
    replaces: { type: 'string', description: 'Of `replace`: the member that is down for good.' },
    weight: { type: 'integer', minimum: 1, maximum: MAX_WEIGHT },
    zone: { type: 'string', pattern: ZONE.source },
  },
}

function body(schema: Readonly<Record<string, unknown>>) {
  return { requestBody: { content: { 'application/json': { schema } } } }
}

function objectOf(
  name: string,
  schema: Readonly<Record<string, unknown>>,
  more: Readonly<Record<string, unknown>> = {},
) {
  const properties = { [name]: schema, ...more }
  return { type: 'object', required: [name], additionalProperties: false, properties }
}

export const layoutPaths = {
  '/v1/layout': {
    get: operation('Who has how much of the ring, what is staged, and the last decisions.', { 200: layout }),
  },
  '/v1/layout/plan': {
    get: operation('What it would bring to apply what is staged. Nothing is changed.', {
      200: json('A row per peer; how much is streamed, and the least that would do.', { type: 'object' }),
    }),
  },
  '/v1/layout/stage': {
    post: operation('Stages what is to become of a peer, or clears that.', { 200: layout }, body(staged)),
  },
  '/v1/layout/apply': {
    post: operation(
      'Begins what is staged; 409 when anything was decided since the plan, or too few owners would be left.',
      { 202: layout },
      body(objectOf('number', number, { acceptLoss })),
    ),
  },
  '/v1/layout/accept-loss': {
    post: operation('Lets a change go on from which too few owners are left.', { 202: layout }),
  },
  '/v1/layout/mode': {
    post: operation(
      'Says whether joins, leaves and removals are staged first.',
      { 200: layout },
      body(objectOf('manual', { type: 'boolean' })),
    ),
  },
}
