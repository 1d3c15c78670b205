/** Requests in forms that HTTP allows and few clients send. */
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { exchange, type HttpServer, startHttpServer } from './http-server.ts'

const OFFER = 'Host: x\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n'

const test = suite('forms of http', {} as { server: HttpServer })
test.before.each(async (context) => {
  context.server = await startHttpServer()
})
test.after.each(async ({ server }) => {
  await server.close()
})

test('an offer of HTTP/2 is answered in HTTP/1.1, body and all, as the last answer', async ({ server }) => {
  const asked = {
    'GET /v1/status': '\r\n',
    'PUT /v1/kv/default/a': 'Content-Length: 5\r\n\r\nhello',
    'PUT /v1/kv/default/b': 'Transfer-Encoding: chunked\r\n\r\n5\r\nthere\r\n0\r\n\r\n',
    'GET /v1/ring': '\r\nGET /v1/status HTTP/1.1\r\nHost: x\r\n\r\n',
  }
  for (const [line, rest] of Object.entries(asked)) {
    const answer = await exchange(server.address, `${line} HTTP/1.1\r\n${OFFER}${rest}`)
    assert.match(answer, /^HTTP\/1\.1 20[04] /, line)
    assert.match(answer, /\r\nconnection: close\r\n/i, line)
  }
  const values = server.service.puts.map(({ value }) => Buffer.from(value ?? []).toString())
  assert.equal(values, ['hello', 'there'])
})

test('a request may name the peer in its target, as one through a proxy does', async ({ server }) => {
  const ask = (line: string, rest = '\r\n'): Promise<string> =>
    exchange(server.address, `${line} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n${rest}`)
  const value = await ask('PUT http://127.0.0.1:1/v1/kv/default/a%2F?w=1', 'Content-Length: 2\r\n\r\nhi')
  assert.match(value, /^HTTP\/1\.1 204 /)
  assert.match(await ask('GET HTTP://x/v1/kv/default/a%2f?r=1'), /^HTTP\/1\.1 200 [\s\S]*hi$/)
  assert.match(await ask('GET http://x/v1/kv/default/%'), /^HTTP\/1\.1 400 [\s\S]*percent-encoded/)
  for (const path of ['/v1/status', '/metrics', '/healthz?x=1', '/openapi.json'])
    assert.match(await ask(`GET http://localhost${path}`), /^HTTP\/1\.1 200 /, path)
  assert.match(await ask('GET http://localhost'), /^HTTP\/1\.1 404 /)
  assert.match(await ask('GET http://attacker.example/v1/status'), /^HTTP\/1\.1 403 [\s\S]*attacker/)
})

test('a path of links is no resource for who offers something else there', async ({ server }) => {
  const answer = await exchange(server.address, `GET /v1/client HTTP/1.1\r\n${OFFER}\r\n`)
  assert.match(answer, /^HTTP\/1\.1 404 /)
  assert.is(server.linkCount, 0)
})

test.run()
