import { connect } from 'node:net'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { ERROR_CODES, type ErrorCode, KvError } from '../../src/base/error.ts'
import { splitAddress } from '../../src/base/ids.ts'
import { exchange, type HttpServer, startHttpServer } from './http-server.ts'

const test = suite('http', {} as { server: HttpServer })
test.before.each(async (context) => {
  context.server = await startHttpServer()
})
test.after.each(async ({ server }) => {
  await server.close()
})

interface Problem {
  readonly status: number
  readonly code: string
  readonly retryable: boolean
  readonly detail: string
}

async function problemOf(response: Response, status: number, code: ErrorCode): Promise<Problem> {
  assert.is(response.status, status)
  assert.is(response.headers.get('content-type'), 'application/problem+json')
  const problem = (await response.json()) as Problem
  assert.is(problem.status, status)
  assert.is(problem.code, code)
  assert.is(problem.retryable, ERROR_CODES[code].retryable)
  assert.ok(problem.detail.length > 10)
  return problem
}

const put = (
  url: string,
  body: string | Uint8Array | null,
  headers: Record<string, string> = {},
): Promise<Response> => fetch(url, { method: 'PUT', body, headers })

test('a request that calls the peer by a strange name is refused, and told what to do', async ({
  server,
}) => {
  const head = 'Host: attacker.example:7001\r\nConnection: close\r\n\r\n'
  for (const target of ['DELETE /v1/kv/default/k', 'GET /v1/status', 'GET /metrics', 'GET /nowhere']) {
    const answer = await exchange(server.address, `${target} HTTP/1.1\r\n${head}`)
    assert.match(answer, /^HTTP\/1\.1 403 /, target)
    assert.match(answer, 'application/problem+json')
    assert.match(answer, '"code":"FORBIDDEN"')
    assert.match(answer, "'attacker.example:7001'")
    assert.match(answer, '--allow-host')
  }
  assert.equal(server.service.puts, [])
  for (const path of ['/healthz', '/readyz'])
    assert.match(await exchange(server.address, `GET ${path} HTTP/1.1\r\n${head}`), /^HTTP\/1\.1 200 /)
  assert.match(await exchange(server.address, 'GET /v1/status HTTP/1.0\r\n\r\n'), /^HTTP\/1\.1 200 /)
})

test('a value comes back with its bytes, its type, a context and an ETag', async ({ server }) => {
  const url = `${server.url}/v1/kv/default/greeting`
  const bytes = Uint8Array.from({ length: 256 }, (_, i) => i)
  const written = await put(url, bytes, { 'content-type': 'image/x-test' })
  assert.is(written.status, 204)
  assert.is(written.headers.get('x-kv-context'), 'c1')
  assert.is(written.headers.get('x-kv-owners'), '2')
  assert.is(written.headers.get('x-kv-stand-ins'), '1')
  const read = await fetch(url)
  assert.is(read.status, 200)
  assert.is(read.headers.get('content-type'), 'image/x-test')
  assert.is(read.headers.get('x-kv-context'), 'c1')
  assert.equal(new Uint8Array(await read.arrayBuffer()), bytes)
  const etag = read.headers.get('etag') ?? ''
  assert.match(etag, /^"[^"]+"$/)
  assert.is((await fetch(url, { headers: { 'if-none-match': `"x", ${etag}` } })).status, 304)
  await put(url, 'other')
  assert.not.equal((await fetch(url)).headers.get('etag'), etag)
  const head = await fetch(url, { method: 'HEAD' })
  assert.is(head.status, 200)
  assert.is(head.headers.get('content-length'), '5')
})

test('who asks before the peer has read its disk is told to come back, and is served then', async ({
  server,
}) => {
  server.hasService = false
  const url = `${server.url}/v1/kv/default/early`
  for (let i = 0; i < 2; i++) await problemOf(await put(url, 'x'), 503, 'UNAVAILABLE')
  server.hasService = true
  assert.is((await put(url, 'x')).status, 204)
})

test('a condition that cannot be kept is refused, with what there is instead', async ({ server }) => {
  const url = `${server.url}/v1/kv/default/only-once`
  for (const method of ['PUT', 'DELETE']) {
    for (const [name, value] of [
      ['If-None-Match', '*'],
      ['If-Match', '"1-2"'],
      ['If-Unmodified-Since', 'Sun, 22 Nov 2026 00:00:00 GMT'],
    ] as const) {
      const response = await fetch(url, { method, headers: { [name]: value } })
      const { detail } = await problemOf(response, 400, 'INVALID_ARGUMENT')
      assert.match(detail, name.toLowerCase())
      assert.match(detail, 'X-KV-Context')
    }
  }
  assert.is(server.service.puts.length, 0)
})

test('a value without a type is bytes, and an empty value is a value', async ({ server }) => {
  const url = `${server.url}/v1/kv/default/empty`
  assert.is((await put(url, null)).status, 204)
  const read = await fetch(url)
  assert.is(read.status, 200)
  assert.is(read.headers.get('content-type'), 'application/octet-stream')
  assert.is(read.headers.get('content-length'), '0')
})

test('deleting gives 204, then 404 with a context; a key never written has none', async ({ server }) => {
  const url = `${server.url}/v1/kv/default/gone`
  await put(url, 'x')
  const deleted = await fetch(url, { method: 'DELETE', headers: { 'x-kv-context': 'c1' } })
  assert.is(deleted.status, 204)
  assert.is(deleted.headers.get('x-kv-context'), 'c2')
  assert.is(server.service.puts[1]?.value, null)
  assert.is(server.service.puts[1]?.context, 'c1')
  const read = await fetch(url)
  assert.is(read.headers.get('x-kv-context'), 'c2')
  await problemOf(read, 404, 'NOT_FOUND')
  const never = await fetch(`${server.url}/v1/kv/default/never`)
  assert.is(never.headers.get('x-kv-context'), null)
  await problemOf(never, 404, 'NOT_FOUND')
})

test('siblings come as multipart, newest first, or as JSON where that is accepted', async ({ server }) => {
  const url = `${server.url}/v1/kv/default/cart`
  const values = ['milk', Buffer.from([0xff, 0x00]), '\ufefftext']
  await put(url, values[0] as string, { 'content-type': 'text/x-list' })
  await put(url, values[1] as Buffer, { 'x-kv-context': 'c0' })
  await put(url, values[2] as string, { 'x-kv-context': 'c0', 'content-type': 'text/plain' })
  const multipart = await fetch(url)
  assert.is(multipart.status, 300)
  assert.is(multipart.headers.get('x-kv-context'), 'c3')
  const boundary = /^multipart\/mixed; boundary="([\w-]+)"$/.exec(
    multipart.headers.get('content-type') ?? '',
  )?.[1]
  const parts = Buffer.from(await multipart.arrayBuffer())
    .toString('latin1')
    .split(`--${boundary}`)
  assert.is(parts.length, 5)
  assert.match(
    parts[1] as string,
    /^\r\nContent-Type: text\/plain\r\nLast-Modified: [^\r]+ GMT\r\n\r\n\xef\xbb\xbftext\r\n$/,
  )
  assert.match(parts[2] as string, /octet-stream\r\n[\s\S]*\r\n\r\n\xff\0\r\n$/)
  assert.match(parts[3] as string, /text\/x-list/)
  assert.is(parts[4], '--\r\n')
  const json = await fetch(url, { headers: { accept: 'application/json' } })
  assert.is(json.status, 300)
  assert.equal(await json.json(), {
    context: 'c3',
    values: [
      {
        value: '\ufefftext',
        encoding: 'utf8',
        contentType: 'text/plain',
        timestamp: '1970-01-01T00:00:03.000Z',
      },
      { value: '/wA=', encoding: 'base64', contentType: null, timestamp: '1970-01-01T00:00:02.000Z' },
      { value: 'milk', encoding: 'utf8', contentType: 'text/x-list', timestamp: '1970-01-01T00:00:01.000Z' },
    ],
  })
})

test('keys are any bytes, percent-encoded or not', async ({ server }) => {
  const spelled: readonly [path: string, hex: string][] = [
    ['a', '61'],
    ['a%2Fb', '612f62'],
    ['a/b/', '612f622f'],
    ['%00', '00'],
    ['%ff%FE%80', 'fffe80'],
    ['%C3%A9', 'c3a9'],
    ['+', '2b'],
    ['%25', '25'],
    ['a;b=c:@!$&()', '613b623d633a40212426 2829'.replace(' ', '')],
    ['__proto__', '5f5f70726f746f5f5f'],
    ['%2e%2e', '2e2e'],
    ['..', '2e2e'],
    ['//', '2f2f'],
    [`%ff`.repeat(1024), 'ff'.repeat(1024)],
  ]
  for (const [path, hex] of spelled) {
    const answer = await exchange(
      server.address,
      `PUT /v1/kv/default/${path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 1\r\n\r\nv`,
    )
    assert.match(answer, /^HTTP\/1\.1 204 /, path)
    assert.is(Buffer.from(server.service.puts.at(-1)?.key ?? []).toString('hex'), hex, path)
  }
})

test('the query, the context and a fresh writeId reach the service', async ({ server }) => {
  const url = `${server.url}/v1/kv/default/k`
  await put(`${url}?w=all&timeout=250ms`, 'v', { 'x-kv-context': 'c7' })
  await put(`${url}?blind=1&w=2&timeout=3s`, 'v')
  const [first, second] = server.service.puts
  assert.is(first?.w, 'all')
  assert.is(first?.timeoutMs, 250)
  assert.is(first?.context, 'c7')
  assert.is(first?.blind, false)
  assert.is(second?.w, 2)
  assert.is(second?.timeoutMs, 3000)
  assert.is(second?.context, null)
  assert.is(second?.blind, true)
  assert.match(first?.writeId ?? '', /^[\w-]{21}$/)
  assert.is.not(first?.writeId, second?.writeId)
  await fetch(`${url}?r=quorum`)
  await fetch(url)
  assert.is(server.service.gets[0]?.r, 'quorum')
  assert.is(server.service.gets[1]?.r, null)
  assert.is(server.service.gets[1]?.timeoutMs, 5000)
})

test('bad input is 400 and says what is allowed', async ({ server }) => {
  const bad: readonly [path: string, said: string | RegExp][] = [
    ['/v1/kv/default/', 'a key has 1 to 1024 bytes'],
    [`/v1/kv/default/${'k'.repeat(1025)}`, 'this one has 1025'],
    ['/v1/kv/default/%zz', 'percent-encoded'],
    ['/v1/kv/default/%', 'percent-encoded'],
    ['/v1/kv/%zz/k', 'percent-encoded'],
    ['/v1/kv//k', 'the keyspace in the path is not a name'],
    ['/v1/kv/%ff/k', 'the keyspace in the path is not a name'],
    ['/v1/kv/default/k?r=some', 'one, quorum, all'],
    ['/v1/kv/default/k?r=0', 'one, quorum, all'],
    ['/v1/kv/default/k?r=1&r=2', 'given twice'],
    ['/v1/kv/default/k?ttl=5', "unknown query parameter 'ttl'"],
    ['/v1/kv/default/k?r=%f', 'percent-encoded'],
    ['/v1/kv/default/k?timeout=0', '?timeout='],
    ['/v1/kv/default/k?timeout=2h', '?timeout='],
    ['/v1/kv/default/k?timeout=61s', '?timeout='],
    ['/v1/ring?keyspace=default', '?keyspace= goes with ?key='],
    ['/v1/ring?key=', 'a key has 1 to 1024 bytes'],
    ['/v1/status?x', "unknown query parameter 'x'"],
    ['/v1/keyspaces/%zz', 'percent-encoded'],
  ]
  for (const [path, said] of bad) {
    assert.match(
      (await problemOf(await fetch(server.url + path), 400, 'INVALID_ARGUMENT')).detail,
      said,
      path,
    )
  }
  const url = `${server.url}/v1/kv/default/k`
  await problemOf(await put(`${url}?blind=2`, 'v'), 400, 'INVALID_ARGUMENT')
  await problemOf(await put(`${url}?blind=1`, 'v', { 'x-kv-context': 'c1' }), 400, 'INVALID_ARGUMENT')
  await problemOf(await put(url, 'v', { 'x-kv-context': 'nonsense' }), 400, 'INVALID_ARGUMENT')
  await problemOf(await put(url, 'v', { 'content-type': `a/${'b'.repeat(300)}` }), 400, 'INVALID_ARGUMENT')
  const untyped = await put(url, 'v', { 'content-type': 'nonsense' })
  assert.match((await problemOf(untyped, 415, 'INVALID_ARGUMENT')).detail, "'nonsense' is not a Content-Type")
  assert.is((await put(url, 'v')).status, 204)
})

test('every code of the service has its status, and a surprise is INTERNAL without its text', async ({
  server,
}) => {
  const url = `${server.url}/v1/kv/default/k`
  for (const [code, { status }] of Object.entries(ERROR_CODES)) {
    server.service.failNext(new KvError(code as ErrorCode, 'a reason for the failure'))
    await problemOf(await fetch(url), status, code as ErrorCode)
  }
  server.service.failNext(new TypeError('secret'))
  assert.not.match((await problemOf(await put(url, 'v'), 500, 'INTERNAL')).detail, 'secret')
  await problemOf(await fetch(`${server.url}/v1/kv/nowhere/k`), 404, 'NOT_FOUND')
})

test('unknown paths are 404, other methods 405 with Allow', async ({ server }) => {
  for (const path of [
    '/',
    '/v1',
    '/v1/kv/default',
    '/v2/status',
    '/v1/status/',
    '/v1/STATUS',
    '/v1/client',
  ]) {
    await problemOf(await fetch(server.url + path), 404, 'NOT_FOUND')
  }
  const refused: readonly [method: string, path: string, allow: string][] = [
    ['POST', '/v1/kv/default/k', 'DELETE, GET, HEAD, PUT'],
    ['PATCH', '/v1/status', 'GET, HEAD'],
    ['DELETE', '/healthz', 'GET, HEAD'],
    ['PUT', '/v1/keyspaces', 'GET, HEAD'],
    ['OPTIONS', '/v1/kv/default/k', 'DELETE, GET, HEAD, PUT'],
  ]
  for (const [method, path, allow] of refused) {
    const body = method === 'POST' ? { body: 'x'.repeat(5000), headers: { 'content-type': 'nonsense' } } : {}
    const response = await fetch(server.url + path, { method, ...body })
    assert.is(response.headers.get('allow'), allow)
    await problemOf(response, 405, 'INVALID_ARGUMENT')
  }
})

test('a value too large is 413 before its bytes are read, announced or not', async ({ server }) => {
  const url = `${server.url}/v1/kv/default/big`
  await problemOf(await put(url, new Uint8Array(1025)), 413, 'TOO_LARGE')
  await problemOf(await put(url, new Uint8Array(8 * 1024 * 1024)), 413, 'TOO_LARGE')
  assert.is((await put(url, new Uint8Array(1024))).status, 204)
  const head = 'PUT /v1/kv/default/big HTTP/1.1\r\nHost: x\r\n'
  const chunk = `1000\r\n${'x'.repeat(0x1000)}\r\n`
  const waiting = `${head}Connection: close\r\nExpect: 100-continue\r\nContent-Length:`
  const exchanges: readonly [bytes: string, answer: RegExp][] = [
    [`${head}Content-Length: 100000000000\r\n\r\nx`, /^HTTP\/1\.1 413 /],
    [`${head}Transfer-Encoding: chunked\r\n\r\n${chunk}`, /^HTTP\/1\.1 413 /],
    [`${waiting} 2000\r\n\r\n`, /^HTTP\/1\.1 413 /],
    [`${waiting} 1\r\n\r\nx`, /^HTTP\/1\.1 100 Continue\r\n\r\nHTTP\/1\.1 204 /],
    [`${head}Expect: cake\r\nConnection: close\r\n\r\n`, /^HTTP\/1\.1 417 /],
  ]
  const answers = await Promise.all(exchanges.map(([bytes]) => exchange(server.address, bytes)))
  for (const [i, [, expected]] of exchanges.entries()) assert.match(answers[i] as string, expected)
  assert.is(server.service.puts.length, 2)
})

test('malformed HTTP is answered with a problem, and the connection ends', async ({ server }) => {
  const bad: readonly [bytes: string, status: number][] = [
    ['HELO\r\n\r\n', 400],
    ['GET / HTTP/9.9\r\n\r\n', 400],
    ['GET / HTTP/1.1\r\n\r\n', 400],
    [`GET /${'x'.repeat(20_000)} HTTP/1.1\r\nHost: x\r\n\r\n`, 431],
    [`GET / HTTP/1.1\r\nHost: x\r\nA: ${'x'.repeat(20_000)}\r\n\r\n`, 431],
    [
      'PUT /v1/kv/default/k HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\nx',
      400,
    ],
    ['GET /v1/client HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n', 400],
  ]
  for (const [bytes, status] of bad) {
    const answer = await exchange(server.address, bytes)
    assert.match(answer, new RegExp(`^HTTP/1\\.1 ${status} `), bytes.slice(0, 60))
    assert.match(answer, '"code":', bytes.slice(0, 60))
  }
})

test('a put cut off in its body never reaches the service', async ({ server }) => {
  const head = 'PUT /v1/kv/default/k HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n'
  await exchange(server.address, `${head}12345`, true)
  assert.is((await fetch(`${server.url}/healthz`)).status, 200)
  assert.is(server.service.puts.length, 0)
})

test('status, ring, locate and keyspaces are JSON', async ({ server }) => {
  const json = async (path: string): Promise<Record<string, unknown>> => {
    const response = await fetch(server.url + path)
    assert.is(response.status, 200)
    assert.match(response.headers.get('content-type') ?? '', 'application/json')
    return (await response.json()) as Record<string, unknown>
  }
  assert.is((await json('/v1/status')).clusterId, 'cluster')
  assert.is((await json('/v1/ring')).layoutVersion, 3)
  assert.equal(await json('/v1/ring?key=%ff+%00&keyspace=k%20s'), {
    partition: 3,
    owners: ['k s.example:1'],
    replicas: 3,
  })
  assert.equal((await json('/v1/ring?key=a')).owners, ['default.example:1'])
  assert.equal(await json('/v1/keyspaces'), { keyspaces: [await json('/v1/keyspaces/default')] })
  const document = await json('/openapi.json')
  assert.is(document.openapi, '3.1.0')
})

test('a keyspace is made with defaults for what is left out, shown, and dropped', async ({ server }) => {
  const url = `${server.url}/v1/keyspaces/logs`
  const made = await put(url, JSON.stringify({ conflicts: 'lww', w: 1 }), {
    'content-type': 'application/json',
  })
  assert.is(made.status, 200)
  const info = (await made.json()) as Record<string, unknown>
  assert.is(info.conflicts, 'lww')
  assert.is(info.w, 1)
  assert.is(info.r, 'quorum')
  assert.equal(await (await fetch(url)).json(), info)
  await problemOf(await put(url, null), 409, 'CONFLICT')
  assert.is((await fetch(url, { method: 'DELETE' })).status, 204)
  await problemOf(await fetch(url), 404, 'NOT_FOUND')
  await problemOf(await fetch(url, { method: 'DELETE' }), 404, 'NOT_FOUND')
})

test('bad keyspace options are refused by name', async ({ server }) => {
  const bad: readonly [body: string, said: string][] = [
    ['{', 'a JSON object'],
    ['[]', 'a JSON object'],
    ['null', 'a JSON object'],
    ['\xff', 'a JSON object'],
    ['{"replica":3}', "no option 'replica'"],
    ['{"__proto__":{}}', "no option '__proto__'"],
    ['{"toString":1}', "no option 'toString'"],
    ['{"replicas":0}', 'replicas is'],
    ['{"replicas":1.5}', 'replicas is'],
    ['{"replicas":"3"}', 'replicas is'],
    ['{"strategy":"mesh"}', 'ring or full'],
    ['{"strategy":"full","replicas":3}', 'strategy full and replicas exclude each other'],
    ['{"w":"many"}', "w is 'many'"],
  ]
  for (const [body, said] of bad) {
    const response = await put(`${server.url}/v1/keyspaces/new`, Buffer.from(body, 'latin1'))
    assert.match((await problemOf(response, 400, 'INVALID_ARGUMENT')).detail, said, body)
  }
})

test('health needs nothing, readiness follows the peer, metrics show', async ({ server }) => {
  server.ready = false
  assert.is(await (await fetch(`${server.url}/healthz`)).text(), 'ok\n')
  const unready = await problemOf(await fetch(`${server.url}/readyz?x=1`), 503, 'UNAVAILABLE')
  assert.is(unready.detail, 'its disk is full', 'it says why')
  server.ready = true
  assert.is(await (await fetch(`${server.url}/readyz`)).text(), 'ready\n')
  const head = await fetch(`${server.url}/healthz`, { method: 'HEAD' })
  assert.is(head.status, 200)
  const metrics = await (await fetch(`${server.url}/metrics`)).text()
  assert.match(metrics, /^kv_http_request_seconds_count \d/m)
  assert.match(metrics, /^kv_http_requests_in_flight 1$/m)
})

test('stopping answers what is in flight, refuses the rest, and waits no longer than told', async ({
  server,
}) => {
  const release = server.service.hold()
  const slow = put(`${server.url}/v1/kv/default/slow`, 'v')
  while (server.service.puts.length === 0) await new Promise(setImmediate)
  await server.face.stop(1)
  const stopped = server.face.stop(60_000)
  const late = await fetch(`${server.url}/v1/kv/default/late`)
  assert.is(late.headers.get('connection'), 'close')
  await problemOf(late, 503, 'UNAVAILABLE')
  await problemOf(await fetch(`${server.url}/readyz`), 503, 'UNAVAILABLE')
  release()
  assert.is((await slow).status, 204)
  await stopped
})

test('a repair is begun by JSON, and by nothing that a page elsewhere could post', async ({ server }) => {
  const url = `${server.url}/v1/repair`
  const post = (body: string, type = 'application/json'): Promise<Response> =>
    fetch(url, { method: 'POST', body, headers: { 'content-type': type } })
  const begun = await post('{"keyspace":"default","round":"mine"}')
  assert.is(begun.status, 202)
  const { round, parts } = (await begun.json()) as { round: string; parts: readonly unknown[] }
  assert.is(round, 'mine')
  assert.is(parts.length, 1)
  const named = (await (await post('{}')).json()) as { round: string }
  assert.ok(named.round.length > 5, 'without a name it gets one')
  for (const [body, type] of [
    ['{}', 'text/plain'],
    ['[]', 'application/json'],
    ['{"keyspace":7}', 'application/json'],
    ['{"round":"not a name"}', 'application/json'],
    ['{"rounds":"x"}', 'application/json'],
  ] as const) {
    await problemOf(await post(body, type), 400, 'INVALID_ARGUMENT')
  }
  assert.is((await fetch(url)).status, 405)
})

test('a repair without a body is one with the defaults, but for web pages', async ({ server }) => {
  const post = (headers: Record<string, string>, body: string | null = null): Promise<Response> =>
    fetch(`${server.url}/v1/repair`, { method: 'POST', headers, body })
  const origin = 'http://elsewhere.example'
  assert.is((await post({})).status, 202)
  assert.is((await post({}, '')).status, 202)
  assert.is((await post({ 'content-type': 'application/json' })).status, 202)
  await problemOf(await post({ origin }), 400, 'INVALID_ARGUMENT')
  await problemOf(await post({ origin }, ''), 400, 'INVALID_ARGUMENT')
})

test('tasks are told as JSON', async ({ server }) => {
  const response = await fetch(`${server.url}/v1/tasks`)
  assert.equal(await response.json(), { tasks: [], silent: [] })
})

test('answers that nobody takes are bounded over all connections, and counted while they wait', async () => {
  const server = await startHttpServer(16 * 1024 * 1024)
  const { host, port } = splitAddress(server.address)
  const path = '/v1/kv/default/large'
  await put(`${server.url}${path}`, Buffer.alloc(16 * 1024 * 1024))
  const deaf = Array.from({ length: 2 }, () => connect(port, host).pause())
  for (const socket of deaf) socket.write(`GET ${path} HTTP/1.1\r\nHost: x\r\n\r\n`.repeat(100))
  while (server.service.gets.length < 8) await new Promise(setImmediate)
  const refused = await problemOf(await fetch(server.url + path), 503, 'OVERLOADED')
  assert.match(refused.detail, /wait to be taken/)
  assert.is((await fetch(`${server.url}/healthz`)).status, 200)
  for (const socket of deaf) socket.destroy()
  while ((await fetch(`${server.url}/v1/status`)).status === 503) await new Promise(setImmediate)
  assert.is(server.service.gets.length, 8, 'four of each; the others never began')
  await server.close()
})

test.run()
