import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { type HttpServer, startHttpServer } from './http-server.ts'

const test = suite('/v1/layout', {} as { server: HttpServer })
test.before.each(async (context) => {
  context.server = await startHttpServer()
})
test.after.each(async ({ server }) => {
  await server.close()
})

const NOTHING = { peer: null, replaces: null, weight: null, zone: null, number: null, acceptLoss: false }

function send({ url }: HttpServer, method: string, path: string, body: unknown): Promise<Response> {
  const headers = { 'content-type': 'application/json' }
  return fetch(`${url}${path}`, { method, headers, body: JSON.stringify(body) })
}

test('the layout and the plan of what is staged are shown', async ({ server }) => {
  const layout = (await (await fetch(`${server.url}/v1/layout`)).json()) as {
    number: number
    manual: boolean
  }
  assert.equal([layout.number, layout.manual], [7, true])
  const plan = (await (await fetch(`${server.url}/v1/layout/plan`)).json()) as { moves: number }
  assert.is(plan.moves, 3)
})

test('changes are staged, applied, and let go on with a loss', async ({ server }) => {
  const sent = [
    ['/v1/layout/stage', { action: 'weight', peer: 'a:1', weight: 7 }, 200],
    ['/v1/layout/apply', { number: 7 }, 202],
    ['/v1/layout/accept-loss', {}, 202],
    ['/v1/layout/mode', { manual: true }, 200],
  ] as const
  for (const [path, body, status] of sent) {
    assert.is((await send(server, 'POST', path, body)).status, status, path)
  }
  assert.equal(
    server.service.changes.map((change) => JSON.parse(change)),
    [
      { ...NOTHING, action: 'weight', peer: 'a:1', weight: 7 },
      { ...NOTHING, action: 'apply', number: 7 },
      { ...NOTHING, action: 'acceptLoss' },
      { ...NOTHING, action: 'manual' },
    ],
  )
})

test('what is no such change is refused, and nothing is changed', async ({ server }) => {
  for (const [path, body] of [
    ['/v1/layout/stage', { action: 'apply', number: 7 }],
    ['/v1/layout/stage', { action: 'leave' }],
    ['/v1/layout/stage', []],
    ['/v1/layout/apply', {}],
    ['/v1/layout/apply', { number: 7, peer: 'a:1' }],
    ['/v1/layout/mode', { manual: 'yes' }],
  ] as const) {
    assert.is((await send(server, 'POST', path, body)).status, 400, `${path} ${JSON.stringify(body)}`)
  }
  assert.is((await fetch(`${server.url}/v1/layout`, { method: 'DELETE' })).status, 405)
  assert.equal(server.service.changes, [])
})

test('PATCH alters how many copies there are of a keyspace', async ({ server }) => {
  const path = '/v1/keyspaces/default'
  assert.is((await send(server, 'PATCH', path, { replicas: 2 })).status, 202)
  assert.is((await send(server, 'PATCH', path, { strategy: 'full' })).status, 202)
  assert.equal(server.service.changes, ['alter default {"replicas":2}', 'alter default {"strategy":"full"}'])
  for (const body of [
    {},
    [],
    { replicas: 8 },
    { replicas: '2' },
    { strategy: 'full', replicas: 2 },
    { conflicts: 'lww' },
  ]) {
    assert.is((await send(server, 'PATCH', path, body)).status, 400, JSON.stringify(body))
  }
  assert.is((await fetch(server.url + path, { method: 'PATCH', body: '{"replicas":2}' })).status, 400)
})

test('who leaves where changes are staged is told so', async ({ server }) => {
  const reply = await send(server, 'POST', '/v1/peers/a:1/leave', {})
  assert.equal([reply.status, await reply.json()], [202, { staged: true }])
})

test('a removal says whether what only the peer has may be lost, and a leave cannot', async ({ server }) => {
  const path = '/v1/peers/a:1'
  for (const query of ['', '?acceptLoss=0', '?acceptLoss=1']) {
    assert.is((await send(server, 'POST', `${path}/remove${query}`, {})).status, 202)
  }
  assert.equal(server.service.changes, ['remove a:1', 'remove a:1', 'remove a:1, accept loss'])
  assert.is((await send(server, 'POST', `${path}/remove?acceptLoss=maybe`, {})).status, 400)
  assert.is((await send(server, 'POST', `${path}/leave?acceptLoss=1`, {})).status, 400)
})

test.run()
