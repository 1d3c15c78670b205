/** The HTTP face described in OpenAPI 3.1, for programs that make clients and documentation from it. */
import { ERROR_CODES } from '../base/error.ts'
import { MAX_REPLICAS } from '../protocol/configuration.ts'
import { MAX_FAULT_DELAY_MS } from '../wire/faults.ts'
import { DEFAULT_KEYSPACE_OPTIONS, DEFAULT_TIMEOUT_MS, MAX_KEY_BYTES } from '../wire/requests.ts'
import { TTL_HELP } from '../wire/ttl.ts'
import { layoutPaths } from './openapi-layout.ts'
import { type Json, json, operation, problem } from './openapi-parts.ts'

const text = (description: string): Json => ({ type: 'string', description })
const level = { oneOf: [{ enum: ['one', 'quorum', 'all'] }, { type: 'integer', minimum: 1 }] }
const bytes = { '*/*': { schema: { type: 'string', format: 'binary' } } }

function parameter(
  place: 'path' | 'query' | 'header',
  name: string,
  schema: Json,
  description: string,
): Json {
  return { in: place, name, required: place === 'path', schema, description }
}

const keyParameters = [
  parameter('path', 'keyspace', { type: 'string' }, 'Name of a keyspace; `default` always exists.'),
  parameter('path', 'key', { type: 'string' }, `1 to ${MAX_KEY_BYTES} bytes of any kind, percent-encoded.`),
  parameter(
    'query',
    'timeout',
    { type: 'string' },
    `Such as 500ms or 5s; by default ${DEFAULT_TIMEOUT_MS}ms.`,
  ),
]
const writeParameters = [
  ...keyParameters,
  parameter('query', 'w', level, 'How many owners must have it on disk; by default what the keyspace says.'),
  parameter(
    'query',
    'blind',
    { enum: ['0', '1'] },
    'Replace only what the coordinator holds, without asking the others.',
  ),
  parameter(
    'header',
    'X-KV-Context',
    { type: 'string' },
    'From an earlier answer about this key: replaces exactly what that saw. In place of If-Match and ' +
      'If-None-Match, with which a write is refused.',
  ),
]

const contextHeaders = {
  'X-KV-Context': {
    schema: text('Everything this answer saw or wrote; pass it to the next write of the key.'),
  },
  'X-KV-Owners': { schema: { type: 'integer' } },
  'X-KV-Stand-Ins': { schema: { type: 'integer' } },
}

const written = { 204: { description: 'On the disks of W owners.', headers: contextHeaders } }
const siblings = {
  type: 'object',
  properties: {
    context: text('As in X-KV-Context.'),
    values: {
      type: 'array',
      items: {
        type: 'object',
        properties: {
          value: { type: 'string' },
          encoding: { enum: ['utf8', 'base64'] },
          contentType: { type: ['string', 'null'] },
          timestamp: { type: 'string', format: 'date-time' },
        },
      },
    },
  },
}

const keyPath = {
  get: operation(
    'Reads a key.',
    {
      200: {
        description: 'Its value.',
        headers: { ...contextHeaders, ETag: { schema: { type: 'string' } } },
        content: bytes,
      },
      300: {
        description: 'Several values, written concurrently, the newest first.',
        headers: contextHeaders,
        content: { 'multipart/mixed': {}, 'application/json': { schema: siblings } },
      },
      304: { description: 'As If-None-Match has it.' },
      404: {
        ...problem,
        description: 'No value; with a context when it was deleted.',
        headers: contextHeaders,
      },
    },
    { parameters: [...keyParameters, parameter('query', 'r', level, 'How many owners must answer.')] },
  ),
  put: operation('Writes a key. The body is the value; its Content-Type is kept.', written, {
    parameters: [
      ...writeParameters,
      parameter('query', 'ttl', { type: 'string' }, `How long the value is to be found: ${TTL_HELP}.`),
    ],
    requestBody: { content: bytes },
  }),
  delete: operation('Deletes a key.', written, { parameters: writeParameters }),
}

const keyspaceOptions = {
  type: 'object',
  additionalProperties: false,
  properties: {
    strategy: { enum: ['ring', 'full'], default: DEFAULT_KEYSPACE_OPTIONS.strategy },
    replicas: {
      type: 'integer',
      minimum: 1,
      maximum: MAX_REPLICAS,
      default: DEFAULT_KEYSPACE_OPTIONS.replicas,
    },
    conflicts: { enum: ['siblings', 'lww'], default: DEFAULT_KEYSPACE_OPTIONS.conflicts },
    quorum: { enum: ['sloppy', 'strict'], default: DEFAULT_KEYSPACE_OPTIONS.quorum },
    r: { ...level, default: DEFAULT_KEYSPACE_OPTIONS.r },
    w: { ...level, default: DEFAULT_KEYSPACE_OPTIONS.w },
    durability: { enum: ['disk', 'os'], default: DEFAULT_KEYSPACE_OPTIONS.durability },
  },
}
const shownKeyspace = {
  ...keyspaceOptions,
  properties: {
    id: { type: 'integer' },
    name: { type: 'string' },
    ...keyspaceOptions.properties,
    replicas: {
      type: ['integer', 'null'],
      description: 'Null with strategy full: every peer has everything.',
    },
  },
}
const names = { type: 'array', items: { type: 'string' } }
const faultCommand = {
  type: 'object',
  description: 'Peers are named by port, address, id or the beginning of an id.',
  required: ['fault'],
  additionalProperties: false,
  properties: {
    fault: { enum: ['partition', 'isolate', 'one-way', 'drop', 'delay', 'fail', 'recover', 'heal'] },
    groups: { type: 'array', items: names, minItems: 2 },
    peer: { type: 'string' },
    from: { type: 'string' },
    to: { type: 'string' },
    between: { ...names, minItems: 2, maxItems: 2 },
    percent: { type: 'number', minimum: 0, maximum: 100 },
    delayMs: { type: 'number', minimum: 0, maximum: MAX_FAULT_DELAY_MS },
  },
}
const repairRequest = {
  type: 'object',
  additionalProperties: false,
  properties: {
    keyspace: text('Of which keyspace; without it of all.'),
    acceptLoss: {
      type: 'boolean',
      description: 'Peers that lost data give up what only others may have that are down or cannot read it.',
    },
    round: text('Names the round: begun once, however often it is asked for. Without it a new name.'),
  },
}
const namePath = [parameter('path', 'name', { type: 'string' }, 'Name of a keyspace.')]
const lossParameter = parameter(
  'query',
  'acceptLoss',
  { type: 'boolean' },
  'Also where only it may have what was written.',
)
const peerPath = [parameter('path', 'peer', { type: 'string' }, 'Address or id of a member.')]
const anObject = { type: 'object' }
const keyspaceShape = {
  type: 'object',
  additionalProperties: false,
  properties: {
    strategy: keyspaceOptions.properties.strategy,
    replicas: keyspaceOptions.properties.replicas,
    quorum: keyspaceOptions.properties.quorum,
    r: level,
    w: level,
  },
}

const problemSchema = {
  type: 'object',
  properties: {
    type: { const: 'about:blank' },
    title: { type: 'string' },
    status: { type: 'integer' },
    detail: { type: 'string' },
    code: { enum: Object.keys(ERROR_CODES) },
    retryable: { type: 'boolean' },
  },
}

function plain(summary: string, what: string): Json {
  return { get: operation(summary, { 200: { description: what, content: { 'text/plain': {} } } }) }
}

export function openApiDocument(maxValueBytes: number): Json {
  return {
    openapi: '3.1.0',
    info: {
      title: 'kvnode',
      version: '1',
      description: `A replicated key-value store; any peer answers. Up to ${maxValueBytes} bytes a value.`,
    },
    paths: {
      '/v1/kv/{keyspace}/{key}': keyPath,
      '/v1/status': {
        get: operation('The cluster, as this peer sees it.', { 200: json('A row per peer.', anObject) }),
      },
      '/v1/hints': {
        get: operation('Writes that peers keep for others that are down.', {
          200: json('A row per peer and peer it keeps them for.', anObject),
        }),
      },
      '/v1/tasks': {
        get: operation(
          'Long operations of all peers: repairs, hash trees built anew, delivery of hints, takeovers.',
          {
            200: json('`{ tasks, silent }`: a row per task, and members that did not answer.', anObject),
          },
        ),
      },
      '/v1/repair': {
        post: operation(
          'Begins a round of repair at every member: each pair of owners compares what both own, once.',
          {
            202: json(
              'The name of the round, by which /v1/tasks tells its tasks, and a row per member.',
              anObject,
            ),
          },
          { requestBody: { required: false, content: { 'application/json': { schema: repairRequest } } } },
        ),
      },
      '/v1/peers/{peer}/leave': {
        parameters: peerPath,
        post: operation('Has a member hand over what it owns, and stop.', {
          202: json('It has begun, or is `staged`; /v1/tasks and /v1/status tell the rest.', anObject),
        }),
      },
      '/v1/peers/{peer}/remove': {
        parameters: peerPath,
        post: operation(
          'Takes a member that is down for good out of the cluster.',
          { 202: json('It has begun, or is `staged`; what it owned is rebuilt from the others.', anObject) },
          { parameters: [lossParameter] },
        ),
      },
      ...layoutPaths,
      '/v1/ring': {
        get: operation(
          'Who owns what.',
          { 200: json('All partitions, or where one key lives.', anObject) },
          {
            parameters: [
              parameter('query', 'key', { type: 'string' }, 'A key, percent-encoded.'),
              parameter('query', 'keyspace', { type: 'string' }, 'Its keyspace.'),
            ],
          },
        ),
      },
      '/v1/keyspaces': { get: operation('All keyspaces.', { 200: json('`{ keyspaces }`', anObject) }) },
      '/v1/keyspaces/{name}': {
        parameters: namePath,
        get: operation('One keyspace.', { 200: json('Its options.', shownKeyspace) }),
        put: operation(
          'Makes a keyspace; the same options again succeed.',
          { 200: json('Its options.', shownKeyspace) },
          {
            requestBody: { content: { 'application/json': { schema: keyspaceOptions } } },
          },
        ),
        patch: operation(
          'Changes how many copies there are of its keys, and how many must answer; what is left out stays.',
          { 202: json('It has begun, or there was nothing to change; /v1/status tells the rest.', anObject) },
          { requestBody: { content: { 'application/json': { schema: keyspaceShape } } } },
        ),
        delete: operation('Drops a keyspace and all its keys.', { 204: { description: 'Dropped.' } }),
      },
      '/v1/faults': {
        get: operation('What is being simulated at this peer.', {
          200: json('Its state, the members it knows, and the failures in sentences.', anObject),
        }),
        post: operation(
          "Does this peer's part of a simulated failure; only with --enable-faults.",
          { 200: json('As GET.', anObject) },
          { requestBody: { content: { 'application/json': { schema: faultCommand } } } },
        ),
      },
      '/healthz': plain('Whether the process lives.', 'ok'),
      '/readyz': plain('Whether this peer serves.', 'ready'),
      '/metrics': plain('Counts and timings for Prometheus.', 'Text format 0.0.4'),
      '/openapi.json': { get: operation('This document.', { 200: json('OpenAPI 3.1', anObject) }) },
    },
    components: { schemas: { Problem: problemSchema } },
  }
}
