import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { type ErrorCode, KvError } from '../../src/base/error.ts'
import { splitAddress } from '../../src/base/ids.ts'
import { type CreatePeerOptions, connect, createPeer, type Peer } from '../../src/index.ts'
import { exchange } from './http-server.ts'

const test = suite('peer', { directory: '', peers: [] as Peer[] })
test.before.each((context) => {
  context.directory = mkdtempSync(join(tmpdir(), 'kvnode-peer-'))
  context.peers = []
})
test.after.each(async ({ directory, peers }) => {
  for (const peer of peers) await peer.stop()
  rmSync(directory, { recursive: true })
})

async function codeOf(action: Promise<unknown>): Promise<ErrorCode | null> {
  try {
    await action
    return null
  } catch (error) {
    assert.instance(error, KvError)
    return (error as KvError).code
  }
}

/** What /readyz says, or null when nobody listens. */
async function readiness(address: string): Promise<number | null> {
  try {
    return (await fetch(`http://${address}/readyz`)).status
  } catch {
    return null // Nobody listens yet.
  }
}

test('a peer in this process serves clients and HTTP, and its data outlives it', async ({
  directory,
  peers,
}) => {
  const options: CreatePeerOptions = { dataDir: directory, port: 0, logLevel: 'silent' }
  const first = await createPeer(options)
  peers.push(first)
  assert.ok(first.ready)
  const kv = await connect(first.address)
  await kv.put('greeting', 'hello')
  const url = `http://${first.address}/v1/kv/default/greeting`
  assert.is(await (await fetch(url)).text(), 'hello')
  assert.is((await fetch(`http://${first.address}/readyz`)).status, 200)
  kv.close()
  await Promise.all([first.stop(), first.stop()])
  assert.is(await codeOf(connect(first.address, { timeoutMs: 200 })), 'UNAVAILABLE')
  const second = await createPeer(options)
  peers.push(second)
  assert.is(second.nodeId, first.nodeId)
  const again = await connect([first.address, second.address])
  assert.is((await again.get('greeting')).text(), 'hello')
  again.close()
})

test('a port or a directory in use is an error, and leaves nothing behind', async ({ directory, peers }) => {
  const peer = await createPeer({ dataDir: join(directory, 'a'), port: 0, logLevel: 'silent' })
  peers.push(peer)
  const port = Number(peer.address.split(':')[1])
  const other = { dataDir: join(directory, 'b'), logLevel: 'silent' } as const
  assert.is(await codeOf(createPeer({ ...other, port })), 'INVALID_ARGUMENT')
  assert.is(
    await codeOf(createPeer({ ...other, port: 0, dataDir: join(directory, 'a') })),
    'INVALID_ARGUMENT',
  )
  peers.push(await createPeer({ ...other, port: 0 }))
})

test('HTTP may call a peer by the names it was given, and by no other', async ({ directory, peers }) => {
  const options: CreatePeerOptions = { dataDir: directory, logLevel: 'silent', allowHost: ['proxy.example'] }
  const first = await createPeer({ ...options, port: 0 })
  await first.stop()
  const port = splitAddress(first.address).port
  peers.push(await createPeer({ ...options, port, advertise: `kv1.example:${port}` }))
  const statusFor = async (host: string): Promise<string> => {
    const request = `GET /v1/keyspaces HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`
    return (await exchange(first.address, request)).slice('HTTP/1.1 '.length, 'HTTP/1.1 200'.length)
  }
  for (const known of [`kv1.example:${port}`, 'proxy.example', `127.0.0.1:${port}`, 'localhost'])
    assert.is(await statusFor(known), '200', known)
  assert.is(await statusFor(`attacker.example:${port}`), '403')
})

test('wrong options of a peer or a client are named, with what is allowed', async ({ directory }) => {
  const anything = (value: unknown) => value as never
  const attempts: readonly [() => Promise<unknown>, string][] = [
    [() => createPeer(anything(undefined)), 'options is undefined'],
    [() => createPeer(anything({})), 'dataDir is undefined; allowed: the path of a directory'],
    [() => createPeer({ dataDir: directory, port: 70_000 }), 'port is 70000; allowed: a whole number from 0'],
    [() => createPeer({ dataDir: directory, port: anything('7001') }), "port is '7001'"],
    [() => createPeer({ dataDir: directory, weight: 0 }), 'weight is 0'],
    [() => createPeer({ dataDir: directory, maxValueBytes: 2 ** 30 }), 'maxValueBytes is 1073741824'],
    [() => createPeer({ dataDir: directory, join: anything('10.0.0.5:7001') }), 'a list of addresses'],
    [() => createPeer({ dataDir: directory, join: ['nonsense'] }), "'nonsense' is not an address"],
    [() => createPeer({ dataDir: directory, allowHost: anything('proxy') }), 'a list of host names'],
    [() => createPeer({ dataDir: directory, allowHost: ['a/b'] }), 'a list of host names, or * for any'],
    [() => createPeer({ dataDir: directory, logLevel: anything('loud') }), "logLevel is 'loud'"],
    [() => createPeer(anything({ dataDir: directory, data: 'x' })), "createPeer has no option 'data'"],
    [() => connect(anything(undefined)), 'the address is undefined'],
    [() => connect([]), 'at least one peer'],
    [() => connect('127.0.0.1:1', anything(null)), 'options is null'],
  ]
  for (const [attempt, said] of attempts) {
    const error = await attempt().then(
      () => assert.unreachable(said),
      (thrown: unknown) => thrown,
    )
    assert.ok(error instanceof KvError && error.code === 'INVALID_ARGUMENT', String(error))
    assert.ok(error.message.includes(said), `'${said}' is not in: ${error.message}`)
  }
})

test('a join that nobody answers goes on until it is given up', async ({ directory, peers }) => {
  const gone = await createPeer({ dataDir: join(directory, 'gone'), port: 0, logLevel: 'silent' })
  const other = await createPeer({ dataDir: join(directory, 'other'), port: 0, logLevel: 'silent' })
  await Promise.all([gone.stop(), other.stop()])
  const given = new AbortController()
  const joining = createPeer({
    dataDir: join(directory, 'joining'),
    port: Number(other.address.split(':')[1]),
    join: [gone.address],
    logLevel: 'silent',
    signal: given.signal,
  })
  joining.catch(() => {}) // It is looked at below.
  while ((await readiness(other.address)) !== 503) await new Promise(setImmediate)
  given.abort()
  assert.is(await codeOf(joining), 'UNAVAILABLE')
  assert.is(await codeOf(createPeer({ dataDir: directory, signal: AbortSignal.abort() })), 'UNAVAILABLE')
  assert.equal(peers, [])
})

test.run()
