import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { createPrng, type Prng } from '../../src/base/prng.ts'
import { exchange, startHttpServer } from './http-server.ts'

const ATTEMPTS = 10_000
const CONCURRENCY = 64
const SEED = 'mangled http 1'

const upgrade = (path: string): string =>
  `GET ${path} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n` +
  'Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n'
const FRAMES =
  '\x82\x85\x01\x02\x03\x04abcde\x82\xfe\x00\x80\x00\x00\x00\x00' +
  '\x81\x81\0\0\0\0x\x89\x80\0\0\0\0\x88\x80\0\0\0\0'

const VALID: readonly string[] = [
  'GET /v1/kv/default/key?r=quorum&timeout=1s HTTP/1.1\r\nHost: x\r\nAccept: application/json\r\n\r\n',
  'PUT /v1/kv/default/a%2Fb?w=all HTTP/1.1\r\nHost: x\r\n' +
    'Content-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello',
  'PUT /v1/kv/default/c HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n',
  'PUT /v1/kv/default/e HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\nhello',
  'DELETE /v1/kv/default/%00 HTTP/1.1\r\nHost: x\r\nX-KV-Context: c1\r\n\r\n',
  'PUT /v1/keyspaces/logs HTTP/1.1\r\nHost: x\r\nContent-Length: 17\r\n\r\n{"conflicts":"lww"}',
  'GET /healthz HTTP/1.1\r\nHost: x\r\n\r\nGET /readyz HTTP/1.1\r\nHost: x\r\n\r\n',
  'POST /v1/status HTTP/1.0\r\nContent-Length: 3\r\n\r\nabc',
  upgrade('/v1/peer/control') + FRAMES,
  upgrade('/v1/client') + FRAMES,
  upgrade('/v1/nowhere'),
]

/** One to eight small changes: a bit, a byte, a piece removed, doubled or taken from elsewhere. */
function mangle(prng: Prng, text: string): Buffer {
  let bytes = Buffer.from(text, 'latin1')
  for (let changes = 1 + prng.int(8); changes > 0; changes--) {
    const at = prng.int(bytes.length + 1)
    const until = Math.min(bytes.length, at + 1 + prng.int(16))
    const [before, piece, after] = [bytes.subarray(0, at), bytes.subarray(at, until), bytes.subarray(until)]
    const other = Buffer.from(VALID[prng.int(VALID.length)] as string, 'latin1')
    const middles = [
      Buffer.alloc(0),
      Buffer.concat([piece, piece]),
      Buffer.from([prng.int(256)]),
      piece.map((byte) => byte ^ (1 << prng.int(8))),
      other.subarray(prng.int(other.length)),
    ]
    bytes = Buffer.concat([before, middles[prng.int(middles.length)] as Buffer, after])
  }
  return bytes
}

const test = suite('mangled http')

test('10,000 mangled requests and upgrades never do more than end their connection', async () => {
  const server = await startHttpServer()
  const prng = createPrng(SEED)
  const outcomes = { answered: 0, silent: 0 }
  let left = ATTEMPTS
  const attack = async (): Promise<void> => {
    while (left-- > 0) {
      const valid = VALID[prng.int(VALID.length)] as string
      const answer = await exchange(server.address, mangle(prng, valid), true)
      assert.ok(answer === '' || answer.startsWith('HTTP/1.1 '), `seed '${SEED}': ${answer.slice(0, 80)}`)
      outcomes[answer === '' ? 'silent' : 'answered']++
    }
  }
  await Promise.all(Array.from({ length: CONCURRENCY }, attack))
  assert.ok(outcomes.answered > ATTEMPTS / 4 && server.linkCount > 10, JSON.stringify(outcomes))
  const response = await fetch(`${server.url}/v1/kv/default/after`, { method: 'PUT', body: 'all' })
  assert.is(response.status, 204)
  assert.is(await (await fetch(`${server.url}/v1/kv/default/after`)).text(), 'all')
  await server.close()
})

test.run()
