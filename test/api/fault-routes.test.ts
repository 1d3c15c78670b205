import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { parseAddress, parseNodeId } from '../../src/base/ids.ts'
import type { FaultCommand, FaultControl, FaultReport, FaultState } from '../../src/wire/faults.ts'
import { type HttpServer, startHttpServer } from './http-server.ts'

class FakeFaults implements FaultControl {
  state: FaultState = 'up'
  readonly commands: FaultCommand[] = []

  report(): FaultReport {
    const self = { nodeId: parseNodeId('a'), address: parseAddress('10.0.0.1:7001') }
    return { ...self, state: this.state, peers: [self], faults: this.commands.map(({ fault }) => fault) }
  }

  apply(command: FaultCommand): FaultReport {
    this.commands.push(command)
    return this.report()
  }
}

const test = suite('/v1/faults', {} as { server: HttpServer; faults: FakeFaults; url: string })
test.before.each(async (context) => {
  context.faults = new FakeFaults()
  context.server = await startHttpServer(1024, context.faults)
  context.url = `${context.server.url}/v1/faults`
})
test.after.each(async ({ server }) => {
  await server.close()
})

const JSON_TYPE = { 'content-type': 'application/json' }
const post = (url: string, body: string, headers: Record<string, string> = JSON_TYPE): Promise<Response> =>
  fetch(url, { method: 'POST', body, headers })

test('POST does what the body says, GET tells what is being simulated', async ({ faults, url }) => {
  const done = await post(url, '{"fault":"isolate","peer":"7001"}')
  assert.is(done.status, 200)
  assert.equal(faults.commands, [{ fault: 'isolate', peer: '7001' }])
  const report = (await (await fetch(url)).json()) as FaultReport
  assert.equal(report.faults, ['isolate'])
  assert.is(report.state, 'up')
})

test('a body that is no fault, no JSON, or not called JSON changes nothing', async ({ faults, url }) => {
  for (const [body, type] of [
    ['{"fault":"isolate"}', 'application/json'],
    ['{"fault":', 'application/json'],
    ['', 'application/json'],
    // What a web page may post to any host without asking.
    ['{"fault":"heal"}', 'text/plain'],
  ] as const) {
    const response = await post(url, body, { 'content-type': type })
    assert.is(response.status, 400)
    assert.is(((await response.json()) as { code: string }).code, 'INVALID_ARGUMENT')
  }
  assert.is((await fetch(url, { method: 'DELETE' })).status, 405)
  assert.equal(faults.commands, [])
})

test('without --enable-faults both are forbidden', async () => {
  const server = await startHttpServer()
  try {
    for (const response of [
      await fetch(`${server.url}/v1/faults`),
      await post(`${server.url}/v1/faults`, '{"fault":"heal"}'),
    ]) {
      assert.is(response.status, 403)
      const problem = (await response.json()) as { code: string; detail: string }
      assert.is(problem.code, 'FORBIDDEN')
      assert.match(problem.detail, '--enable-faults')
    }
  } finally {
    await server.close()
  }
})

test('a peer that plays dead answers nothing but this', async ({ server, faults, url }) => {
  faults.state = 'failed'
  for (const path of ['/healthz', '/readyz', '/v1/status', '/v1/kv/default/a', '/nothing']) {
    const answer = await fetch(`${server.url}${path}`).catch(() => null)
    assert.is(answer, null, path)
  }
  assert.is((await fetch(url)).status, 200)
  assert.is((await post(url, '{"fault":"recover","peer":"a"}')).status, 200)
})

test('a peer that recovers lives, is not ready, and sends its clients elsewhere', async ({
  server,
  faults,
  url,
}) => {
  faults.state = 'recovering'
  assert.is((await fetch(`${server.url}/healthz`)).status, 200)
  assert.is((await fetch(`${server.url}/readyz`)).status, 503)
  const refused = await fetch(`${server.url}/v1/kv/default/a`)
  assert.is(refused.status, 503)
  assert.is(((await refused.json()) as { code: string }).code, 'UNAVAILABLE')
  assert.is((await fetch(url)).status, 200)
})

test.run()
