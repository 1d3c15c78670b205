import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { text, utf8 } from '../../src/base/bytes.ts'
import { KvError } from '../../src/base/error.ts'
import { type Client, createClient, type Found } from '../../src/client/client.ts'
import type { KeyspaceInfo } from '../../src/wire/requests.ts'
import {
  type AnswerBody,
  ClientWorld,
  DEFAULT,
  type FakePeer,
  NOT_FOUND,
  PUT_DONE,
  type Question,
} from './fake-peers.ts'

const test = suite('client')

function one(answer: FakePeer['answer'] = () => null) {
  const world = new ClientWorld(1)
  const [peer] = world.peers as [FakePeer]
  peer.answer = answer
  return { world, peer, kv: world.client() }
}

/** What the only peer was asked, when the client was told to do this. */
async function asked(act: (kv: Client) => Promise<unknown>): Promise<Question> {
  const { world, peer, kv } = one()
  act(kv).catch(() => undefined)
  await world.pass(20)
  const [question] = peer.asked
  if (question === undefined) throw new Error('nothing was asked')
  return question
}

function foundValue(content: string, timestampMs: number) {
  return { value: utf8(content), contentType: null, timestampMs }
}

test('a client needs a peer', () => {
  const { world } = one()
  assert.throws(
    () => createClient({ peers: [] }, world.effects),
    (error: unknown) => error instanceof KvError && error.code === 'INVALID_ARGUMENT',
  )
})

test('a put says what it was told, and nothing it was not', async () => {
  const {
    type,
    id: _id,
    writeId,
    ...rest
  } = (await asked((kv) => kv.put('k', 'v'))) as Extract<Question, { type: 'put' }>
  assert.is(type, 'put')
  assert.is(writeId.length, 21)
  assert.equal(
    { ...rest, key: text(rest.key), value: text(rest.value as Uint8Array) },
    {
      keyspace: 'default',
      key: 'k',
      value: 'v',
      contentType: null,
      context: null,
      blind: false,
      w: null,
      timeoutMs: 5000,
      ttlMs: null,
    },
  )
})

test('a put’s options go with it', async () => {
  const options = {
    keyspace: 'other',
    timeoutMs: 100,
    context: 'c',
    w: 'all',
    contentType: 'text/plain',
    ttlMs: 60_000,
  } as const
  const question = (await asked((kv) => kv.put(utf8('k'), utf8('v'), options))) as unknown as typeof options
  for (const name of Object.keys(options) as (keyof typeof options)[])
    assert.is(question[name], options[name])
})

test('a put may be told not to look for what there is to replace', async () => {
  const question = await asked((kv) => kv.put('k', 'v', { blind: true }))
  assert.ok(question.type === 'put' && question.blind)
})

test('a delete is a put without a value', async () => {
  const question = await asked((kv) => kv.delete('k', { context: 'c' }))
  assert.ok(question.type === 'put' && question.value === null && question.context === 'c')
})

test('a get says how many owners must answer', async () => {
  const question = await asked((kv) => kv.get('k', { r: 2 }))
  assert.ok(question.type === 'get' && question.r === 2 && question.timeoutMs === 5000)
})

test('the client’s own keyspace and timeout are those of requests that name none', async () => {
  const world = new ClientWorld(1)
  const kv = world.client({ keyspace: 'mine', timeoutMs: 77 })
  kv.get('k').catch(() => undefined)
  kv.put('k', 'v', { keyspace: 'yours' }).catch(() => undefined)
  await world.pass(20)
  const [get, put] = world.peers[0]?.asked ?? []
  assert.ok(get?.type === 'get' && get.keyspace === 'mine' && get.timeoutMs === 77)
  assert.ok(put?.type === 'put' && put.keyspace === 'yours' && put.timeoutMs === 77)
})

test('what there is beside keys is given up after the client’s own timeout too', async () => {
  const { world } = one()
  const { service } = world.client({ timeoutMs: 77 })
  const asks = [
    () => service.status(),
    () => service.ring(),
    () => service.hints(),
    () => service.tasks(),
    () => service.keyspaces(),
    () => service.locate('default', utf8('k')),
    () => service.repair({ keyspace: null, round: 'r', acceptLoss: false }),
    () => service.createKeyspace('shop'),
    () => service.dropKeyspace('shop'),
  ]
  for (const ask of asks) assert.match(await world.code(ask(), 700), /UNAVAILABLE|TIMEOUT_UNKNOWN/, `${ask}`)
})

test('every write has a name of its own', async () => {
  const { world, peer, kv } = one(() => PUT_DONE)
  for (let i = 0; i < 20; i++) kv.put('k', 'v').catch(() => undefined)
  await world.pass(20)
  const names = peer.asked.map((question) => (question.type === 'put' ? question.writeId : ''))
  assert.is(new Set(names).size, 20)
})

test('requests do not wait for each other', async () => {
  const { world, peer, kv } = one()
  for (let i = 0; i < 100; i++) kv.put(`k${i}`, 'v').catch(() => undefined)
  await world.pass(20)
  assert.is(peer.asked.length, 100)
})

test('a write gives the context and on how many disks it is', async () => {
  const { world, kv } = one(() => PUT_DONE)
  assert.equal(await world.outcome(kv.put('k', 'v')), { context: 'c', owners: 2, standIns: 0 })
})

test('a key without a value is null, with the context of what was deleted', async () => {
  const { world, kv } = one(() => ({ ...NOT_FOUND, context: 'gone' }) as AnswerBody)
  const found = (await world.outcome(kv.get('k'))) as Found
  assert.equal([found.value, found.text(), found.siblings, found.context], [null, null, 0, 'gone'])
})

test('siblings come with the newest, which is the value', async () => {
  const values = [foundValue('new', 2), foundValue('old', 1)]
  const { world, kv } = one(() => ({ ...NOT_FOUND, values }) as AnswerBody)
  const found = (await world.outcome(kv.get('k'))) as Found
  assert.is(found.text(), 'new')
  assert.is(found.siblings, 1)
  assert.equal(
    found.values.map(({ value }) => text(value)),
    ['new', 'old'],
  )
})

test('what no message can carry is refused here', async () => {
  const { world, kv } = one()
  const large = new Uint8Array(8 * 1024 * 1024 + 1)
  assert.is(await world.code(kv.put('k', large), 0), 'TOO_LARGE')
  const long = new Uint8Array(64 * 1024 + 1)
  assert.is(await world.code(kv.put(long, 'v'), 0), 'INVALID_ARGUMENT')
  const half = String.fromCharCode(0xd800)
  assert.is(await world.code(kv.put(half, 'v'), 0), 'INVALID_ARGUMENT', 'half a surrogate pair')
  assert.is(await world.code(kv.put('key', half), 0), 'INVALID_ARGUMENT')
  assert.is(await world.code(kv.get(long), 0), 'INVALID_ARGUMENT')
})

/** What a program written without types may hand over. */
const anything = (value: unknown) => value as never

test('wrong arguments are refused before anything is sent, and say what is allowed', async () => {
  const { world, peer, kv } = one(() => PUT_DONE)
  const attempts: readonly [() => Promise<unknown>, string][] = [
    [() => kv.put('k', anything(5)), 'value is 5; allowed: text or bytes'],
    [() => kv.put('k', anything({ a: 1 })), 'value is of type Object'],
    [() => kv.put('k', anything(new Uint16Array(2))), 'value is of type Uint16Array'],
    [() => kv.put('k', anything(undefined)), 'to remove a key use delete'],
    [() => kv.put('k', anything(null)), 'to remove a key use delete'],
    [() => kv.put('', 'v'), 'the key is empty; a key has 1 to 1024 bytes'],
    [() => kv.put('k'.repeat(1025), 'v'), 'the key has 1025 bytes'],
    [() => kv.put(anything(undefined), 'v'), 'key is undefined; allowed: text or bytes'],
    [() => kv.get(anything(7)), 'key is 7'],
    [() => kv.delete(anything(null)), 'key is null'],
    [() => kv.put('k', 'v', { w: anything('banana') }), "w is 'banana'; allowed: one, quorum, all"],
    [() => kv.put('k', 'v', { w: 0 }), 'w is 0'],
    [() => kv.delete('k', { w: 1.5 }), 'w is 1.5'],
    [() => kv.get('k', { r: anything({}) }), 'r is of type Object'],
    [() => kv.put('k', 'v', { context: anything(5) }), 'context is 5'],
    [() => kv.put('k', 'v', { context: '' }), "context is ''"],
    [() => kv.put('k', 'v', { context: 'c', blind: true }), 'exclude each other'],
    [() => kv.put('k', 'v', { blind: anything('yes') }), "blind is 'yes'; allowed: true or false"],
    [() => kv.put('k', 'v', { ttlMs: anything('60s') }), "ttlMs is '60s'; allowed: a whole number"],
    [() => kv.put('k', 'v', { ttlMs: -1 }), 'ttlMs is -1'],
    [() => kv.put('k', 'v', { contentType: 'x'.repeat(256) }), 'contentType is text of 256 characters'],
    [() => kv.put('k', 'v', { keyspace: anything(5) }), 'keyspace is 5'],
    [() => kv.get('k', { keyspace: '' }), "keyspace is ''"],
    [() => kv.get('k', { timeoutMs: Number.NaN }), 'timeoutMs is NaN'],
    [() => kv.get('k', anything('quorum')), "options is 'quorum'"],
    [() => kv.put('k', 'v', anything({ ttl: 5 })), "put has no option 'ttl'; known: keyspace, timeoutMs"],
    [() => kv.delete('k', anything({ ttlMs: 5 })), "delete has no option 'ttlMs'"],
    [() => kv.service.createKeyspace('x', { replicas: 9 }), 'replicas is 9; allowed: a whole number'],
    [() => kv.service.createKeyspace('x', anything({ replica: 3 })), "no option 'replica'"],
    [() => kv.service.createKeyspace(anything(5)), 'name is 5'],
    [() => kv.service.dropKeyspace(anything(undefined)), 'name is undefined'],
    [() => kv.service.dropKeyspace(anything(1.5)), 'id is 1.5'],
    [() => kv.service.locate('default', anything('k')), "key is 'k'; allowed: 1 to 1024 bytes"],
    [() => kv.service.get(anything(undefined)), 'the request is undefined'],
  ]
  for (const [attempt, said] of attempts) {
    const error = await attempt().then(
      () => assert.unreachable(said),
      (thrown: unknown) => thrown,
    )
    assert.ok(error instanceof KvError && error.code === 'INVALID_ARGUMENT', String(error))
    assert.ok(error.message.includes(said), `'${said}' is not in: ${error.message}`)
  }
  await world.pass(20)
  assert.equal(peer.asked, [])
})

test('a client’s own options are checked when it is made', () => {
  const { world } = one()
  for (const wrong of [{ keyspace: '' }, { timeoutMs: 0 }, { keySpace: 'x' }]) {
    assert.throws(
      () => world.client(anything(wrong)),
      (error: unknown) => error instanceof KvError && error.code === 'INVALID_ARGUMENT',
    )
  }
})

test('an answer to another question is an error of the peer, not a value', async () => {
  const { world, kv } = one(() => PUT_DONE)
  assert.is(await world.code(kv.get('k')), 'INTERNAL')
})

test('keyspaces are listed, made and dropped by way of the service', async () => {
  const { world, kv } = one(({ type }) => {
    if (type === 'keyspaces') return { type: 'keyspacesDone', keyspaces: [DEFAULT] }
    if (type === 'createKeyspace')
      return { type: 'createKeyspaceDone', keyspace: { ...DEFAULT, name: 'new' } }
    return { type: 'dropKeyspaceDone' }
  })
  assert.equal(await world.outcome(kv.service.keyspaces()), [DEFAULT])
  const made = await world.outcome(kv.service.createKeyspace('new'))
  assert.is((made as KeyspaceInfo).name, 'new')
  assert.is(await world.code(kv.service.dropKeyspace('default')), 'fulfilled')
})

test('status, ring and location come without the words of the link', async () => {
  const location = { partition: 3, owners: ['10.0.0.1:7000'], replicas: 1 }
  const ring = { partitionCount: 4, layoutVersion: 1, partitions: [] }
  const status = {
    clusterId: 'c',
    nodeId: 'n0',
    layout: { version: 1, phase: 'stable', pending: null, change: null },
    peers: [],
    faults: [],
    warnings: ['one'],
  } as const
  const { world, kv } = one(({ type }) => {
    if (type === 'locate') return { type: 'locateDone', ...location }
    return type === 'ring' ? { type: 'ringDone', ...ring } : { type: 'statusDone', ...status }
  })
  assert.equal(await world.outcome(kv.service.locate('default', utf8('k'))), location)
  assert.equal(await world.outcome(kv.service.ring()), ring)
  assert.equal(await world.outcome(kv.service.status()), status)
})

test('of a peer that says why it does not serve, only that is told', async () => {
  const { world, peer, kv } = one()
  peer.isWelcoming = false
  const reading = kv.get('k')
  reading.catch(() => undefined)
  for (let n = 0; n < 10; n++) {
    await world.pass(200)
    for (const session of peer.sessions) session.say({ type: 'goodbye', reason: 'it is starting' })
  }
  const error = (await world.outcome(reading)) as KvError
  assert.is(error.code, 'UNAVAILABLE')
  assert.match(error.message, /10\.0\.0\.\d:7000: it is starting$/)
})

test.run()
