import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { utf8 } from '../../src/base/bytes.ts'
import type { KvError } from '../../src/base/error.ts'
import type { Address, KeyspaceId } from '../../src/base/ids.ts'
import type { Client } from '../../src/client/client.ts'
import { type AskOptions, Router } from '../../src/client/router.ts'
import type { Clock } from '../../src/effects/clock.ts'
import {
  ClientWorld,
  DEFAULT,
  type FakePeer,
  failed,
  NOT_FOUND,
  PUT_DONE,
  type Question,
} from './fake-peers.ts'

const test = suite('router')

type Peers = [FakePeer, FakePeer, FakePeer]

/** A client that knows the ring: of every key n0, then n1, are the owners. */
async function warm(): Promise<{ world: ClientWorld; kv: Client; peers: Peers }> {
  const world = new ClientWorld()
  for (const peer of world.peers) peer.answer = ({ type }) => (type === 'put' ? PUT_DONE : NOT_FOUND)
  const kv = world.client()
  await world.outcome(kv.get('warm up'))
  for (const peer of world.peers) peer.asked.length = 0
  return { world, kv, peers: world.peers as Peers }
}

/** Whoever gets them answers a put with these, one after the other; the last one stays. */
function answering(peers: readonly FakePeer[], ...answers: ReturnType<FakePeer['answer']>[]): FakePeer[] {
  const whom: FakePeer[] = []
  for (const peer of peers) {
    peer.answer = () => {
      whom.push(peer)
      return answers[Math.min(whom.length, answers.length) - 1] ?? null
    }
  }
  return whom
}

const context = 'from an earlier read'

test('before the ring is known a seed is asked', async () => {
  const world = new ClientWorld()
  const kv = world.client()
  void kv.get('k').catch(() => undefined)
  await world.pass(20)
  assert.equal(
    world.peers.map(({ asked }) => asked.length),
    [1, 0, 0],
  )
  assert.is(world.peers[0]?.topologyCount, 1, 'and asked about the ring')
})

test('writes go to the first owner of the key', async () => {
  const { world, kv, peers } = await warm()
  for (let i = 0; i < 10; i++) assert.is(await world.code(kv.put(`k${i}`, 'v'), 50), 'fulfilled')
  assert.equal(
    peers.map(({ asked }) => asked.length),
    [10, 0, 0],
  )
})

test('reads spread over the owners, and go to nobody else', async () => {
  const { world, kv, peers } = await warm()
  for (let i = 0; i < 40; i++) await world.outcome(kv.get(`k${i}`), 50)
  const [first, second, third] = peers.map(({ asked }) => asked.length) as [number, number, number]
  assert.is(first + second, 40)
  assert.ok(first > 8 && second > 8, `${first} and ${second}`)
  assert.is(third, 0)
})

test('an owner that is said to be down is passed over', async () => {
  const { world, kv, peers } = await warm()
  const [n0, n1, n2] = peers
  for (const peer of peers) peer.dead.add(n0)
  for (const peer of peers) for (const session of peer.sessions) session.say({ type: 'changed' })
  await world.pass(50)
  await world.outcome(kv.put('k', 'v'))
  assert.equal([n0.asked.length, n1.asked.length, n2.asked.length], [0, 1, 0])
})

test('a keyspace that the ring does not have is asked of any peer', async () => {
  const { world, kv } = await warm()
  assert.is(await world.code(kv.put('k', 'v', { keyspace: 'new' })), 'fulfilled')
})

test('when told that the topology changed the client fetches it once', async () => {
  const { world, peers } = await warm()
  const before = peers.map(({ topologyCount }) => topologyCount)
  const sessions = peers.flatMap((peer) => peer.sessions)
  for (const session of [...sessions, ...sessions]) session.say({ type: 'changed' })
  await world.pass(50)
  const fetched = peers.map(({ topologyCount }, i) => topologyCount - (before[i] as number))
  const total = fetched.reduce((sum, count) => sum + count, 0)
  assert.ok(total >= 1 && total <= 2, `${total} times`)
})

test('when a connection ended, the next one asks what changed meanwhile', async () => {
  const world = new ClientWorld()
  const [n0, n1, n2] = world.peers as Peers
  for (const peer of world.peers) peer.answer = ({ type }) => (type === 'put' ? PUT_DONE : NOT_FOUND)
  const kv = world.client({ peers: [n2.address] })
  n2.order = [n2, n1, n0]
  await world.outcome(kv.put('k', 'v'))
  n2.kill()
  await world.pass(1_500)
  n2.order = [n1, n2, n0]
  n2.start()
  await world.outcome(kv.put('k', 'v'), 3_000)
  n1.asked.length = 0
  await world.outcome(kv.put('k', 'v'))
  assert.is(n1.asked.length, 1, 'the first owner now')
})

test('when a peer does not tell the topology another one is asked', async () => {
  const { world, peers } = await warm()
  const [n0] = peers
  const silent = peers.find(({ sessions }) => sessions.length > 0) ?? n0
  silent.topology = 'silence'
  silent.sessions[0]?.say({ type: 'changed' })
  await world.pass(2_100)
  silent.topology = null
  const before = peers.reduce((sum, peer) => sum + peer.topologyCount, 0)
  await world.pass(2_100)
  assert.ok(peers.reduce((sum, peer) => sum + peer.topologyCount, 0) >= before)
  assert.ok(before >= 3, 'it was asked again')
})

test('a topology that is none ends that link and nothing else', async () => {
  const { world, kv, peers } = await warm()
  const [n0] = peers
  n0.topology = { type: 'topologyDone', configuration: utf8('nonsense'), peers: [] }
  n0.sessions[0]?.say({ type: 'changed' })
  await world.pass(50)
  assert.is(await world.code(kv.put('k', 'v')), 'fulfilled')
})

test('after a topology that is none another peer is asked at once', async () => {
  const { world, kv, peers } = await warm()
  const [n0, n1] = peers
  n0.topology = { type: 'topologyDone', configuration: utf8('nonsense'), peers: [] }
  const before = n1.topologyCount
  for (const session of n0.sessions) session.say({ type: 'changed' })
  await world.pass(50)
  await world.outcome(kv.put('k', 'v'), 100)
  assert.is(n1.topologyCount, before + 1)
})

test('a pinned client asks its peers and nobody else, and never learns the ring', async () => {
  const world = new ClientWorld()
  const [n0, n1, n2] = world.peers as Peers
  for (const peer of world.peers) peer.answer = () => PUT_DONE
  const kv = world.client({ peers: [n2.address], pinned: true })
  for (let i = 0; i < 5; i++) await world.outcome(kv.put(`k${i}`, 'v'), 50)
  assert.equal([n0.asked.length, n1.asked.length, n2.asked.length], [0, 0, 5])
  assert.is(n2.topologyCount, 0)
})

test('when a peer cannot be reached another one is asked', async () => {
  const world = new ClientWorld()
  const [n0, n1] = world.peers as Peers
  n0.kill()
  n1.answer = () => PUT_DONE
  const kv = world.client()
  assert.is(await world.code(kv.put('k', 'v')), 'fulfilled')
})

test('a peer that could not be reached is left alone for a while', async () => {
  const { world, kv, peers } = await warm()
  const [n0, n1] = peers
  n0.kill()
  await world.pass(20)
  await world.outcome(kv.put('k', 'v'), 100)
  n0.start()
  const before = n0.sessions.length
  await world.outcome(kv.put('k', 'v'), 100)
  assert.is(n0.sessions.length, before)
  assert.is(n1.asked.length, 2)
  await world.pass(1_100)
  await world.outcome(kv.put('k', 'v'))
  assert.is(n0.sessions.length, before + 1, 'it is the first owner still')
})

test('when nobody can be reached it is unavailable, and the message names a peer', async () => {
  const world = new ClientWorld()
  for (const peer of world.peers) peer.kill()
  const error = (await world.outcome(world.client().put('k', 'v'), 3_000)) as KvError
  assert.is(error.code, 'UNAVAILABLE')
  assert.match(error.message, /10\.0\.0\.\d:7000: nobody listens there; is kvnode running there\?/)
})

test('what a peer did not do another one is asked to do', async () => {
  for (const code of ['UNAVAILABLE', 'OVERLOADED'] as const) {
    const { world, kv, peers } = await warm()
    const whom = answering(peers, failed(code), PUT_DONE)
    assert.is(await world.code(kv.put('k', 'v')), 'fulfilled', code)
    assert.is.not(whom[0], whom[1], code)
  }
})

test('what can never be done is asked of nobody else', async () => {
  for (const code of ['INVALID_ARGUMENT', 'NOT_FOUND', 'TOO_LARGE', 'CONFLICT', 'INTERNAL'] as const) {
    const { world, kv, peers } = await warm()
    const whom = answering(peers, failed(code))
    const error = (await world.outcome(kv.put('k', 'v'))) as KvError
    assert.is(error.code, code)
    assert.is(error.message, `it is ${code}`)
    assert.is(whom.length, 1, code)
  }
})

test('a write that may have been done is not sent again without a context', async () => {
  const { world, kv, peers } = await warm()
  const whom = answering(peers, failed('TIMEOUT_UNKNOWN'), PUT_DONE)
  assert.is(await world.code(kv.put('k', 'v')), 'TIMEOUT_UNKNOWN')
  assert.is(whom.length, 1)
})

test('with a context it is sent again, under the same name', async () => {
  const { world, kv, peers } = await warm()
  answering(peers, failed('TIMEOUT_UNKNOWN'), PUT_DONE)
  assert.is(await world.code(kv.put('k', 'v', { context })), 'fulfilled')
  const names = peers.flatMap(({ asked }) => asked).map(writeIdOf)
  assert.is(names.length, 2)
  assert.is(names[0], names[1])
})

test('what may have been done is never called undone, whatever the last attempt met with', async () => {
  for (const code of ['UNAVAILABLE', 'OVERLOADED', 'CONFLICT'] as const) {
    const { world, kv, peers } = await warm()
    const message = 'nothing was written at this peer: its disk is full; try again'
    answering(peers, failed('TIMEOUT_UNKNOWN'), { type: 'failed', code, message })
    const error = (await world.outcome(kv.put('k', 'v', { context }), 2_000)) as KvError
    assert.is(error.code, 'TIMEOUT_UNKNOWN', code)
    const advice = 'it may or may not have been done: look before trying again'
    assert.is(error.message, `${advice} (last try: its disk is full)`)
  }
})

test('a write whose link broke may have been done, and is not sent again', async () => {
  const { world, kv, peers } = await warm()
  const whom = answering(peers, null)
  const writing = kv.put('k', 'v')
  writing.catch(() => undefined)
  await world.pass(20)
  whom[0]?.kill()
  assert.is(await world.code(writing), 'TIMEOUT_UNKNOWN')
  assert.is(whom.length, 1)
})

test('a write that was never sent is sent to another peer when the link breaks', async () => {
  const world = new ClientWorld()
  const [n0, n1] = world.peers as Peers
  n0.isWelcoming = false
  n1.answer = () => PUT_DONE
  const writing = world.client().put('k', 'v')
  await world.pass(50)
  n0.kill()
  assert.is(await world.code(writing), 'fulfilled')
})

test('a read whose link broke is asked of another peer', async () => {
  const { world, kv, peers } = await warm()
  const whom = answering(peers, null, NOT_FOUND)
  const reading = kv.get('k')
  await world.pass(20)
  whom[0]?.kill()
  assert.is(await world.code(reading), 'fulfilled')
})

test('a peer that says goodbye is not asked anything more', async () => {
  const { world, kv, peers } = await warm()
  const [n0, n1] = peers
  for (const session of n0.sessions) session.say({ type: 'goodbye', reason: 'stopping' })
  await world.pass(1)
  n0.kill()
  assert.is(await world.code(kv.put('k', 'v')), 'fulfilled', 'without a context: it cannot have been done')
  assert.is(n1.asked.length, 1)
})

test('attempts are bounded', async () => {
  const { world, kv, peers } = await warm()
  const whom = answering(peers, failed('UNAVAILABLE'))
  assert.is(await world.code(kv.put('k', 'v'), 3_000), 'UNAVAILABLE')
  assert.is(whom.length, 4)
  assert.is(new Set(whom).size, 3, 'everybody was asked before anybody twice')
})

test('a read that nobody answers in time is unavailable', async () => {
  const { world, kv, peers } = await warm()
  answering(peers, null)
  const reading = kv.get('k', { timeoutMs: 300 })
  assert.is(await world.code(reading, 700), 'nothing yet', 'the peer’s own verdict is waited for')
  assert.is(await world.code(reading, 150), 'UNAVAILABLE')
})

test('a write that was sent and not answered in time may have been done', async () => {
  const { world, kv, peers } = await warm()
  answering(peers, null)
  assert.is(await world.code(kv.put('k', 'v', { timeoutMs: 300 }), 1_000), 'TIMEOUT_UNKNOWN')
})

test('a write that could not be sent in time was not done', async () => {
  const world = new ClientWorld(1)
  const [n0] = world.peers as [FakePeer]
  n0.isWelcoming = false
  assert.is(await world.code(world.client().put('k', 'v', { timeoutMs: 300 }), 1_000), 'UNAVAILABLE')
})

test('an answer that comes too late finds nobody', async () => {
  const { world, kv, peers } = await warm()
  const [n0] = peers
  answering(peers, null)
  await world.code(kv.put('k', 'v', { timeoutMs: 100 }), 1_000)
  n0.sessions[0]?.say({ ...PUT_DONE, id: n0.asked[0]?.id ?? 0 } as never)
  await world.pass(20)
  n0.answer = () => PUT_DONE
  assert.is(await world.code(kv.put('k', 'v')), 'fulfilled')
})

test('a keyspace that may have been made is not called unmade', async () => {
  const { world, kv, peers } = await warm()
  answering(peers, null)
  assert.is(await world.code(kv.service.createKeyspace('k'), 6_000), 'TIMEOUT_UNKNOWN')
})

test('a drop that is sent again spares the keyspace that was made under the same name since', async () => {
  const world = new ClientWorld(2)
  const logs = new Map([['logs', 2 as KeyspaceId]])
  const asked: KeyspaceId[] = []
  for (const peer of world.peers)
    peer.answer = (question) => {
      if (question.type === 'keyspaces') {
        const keyspaces = [...logs].map(([name, id]) => ({ ...DEFAULT, id, name }))
        return { type: 'keyspacesDone', keyspaces }
      }
      if (question.type !== 'dropKeyspace') return null
      asked.push(question.keyspaceId)
      if (logs.get('logs') === question.keyspaceId) logs.delete('logs')
      if (asked.length > 1) return { type: 'dropKeyspaceDone' }
      // The answer is lost, and somebody makes it anew before it is asked again.
      logs.set('logs', 3 as KeyspaceId)
      queueMicrotask(() => peer.kill())
      return null
    }
  assert.is(await world.code(world.client().service.dropKeyspace('logs'), 4_000), 'fulfilled')
  assert.equal(asked, [2, 2])
  assert.equal([...logs], [['logs', 3]])
})

test('past the limit of requests under way one more is overloaded, at once', async () => {
  const world = new ClientWorld(1)
  const router = new Router([world.peers[0]?.address as Address], world.effects)
  const options: AskOptions = { isWrite: false, isRepeatable: true, timeoutMs: 1000 }
  const ask = () => router.ask({ type: 'status', id: 0 }, options)
  for (let i = 0; i < 65_536; i++) ask().catch(() => undefined)
  assert.is(await world.code(ask(), 0), 'OVERLOADED')
  router.close()
})

test('closing rejects what is under way, and says of each what is known', async () => {
  const { world, kv, peers } = await warm()
  answering(peers, null)
  const [sent, read] = [kv.put('k', 'v'), kv.get('k')]
  for (const each of [sent, read]) each.catch(() => undefined)
  await world.pass(20)
  kv.close()
  kv.close()
  assert.is(await world.code(sent, 0), 'TIMEOUT_UNKNOWN')
  assert.is(await world.code(read, 0), 'UNAVAILABLE')
  assert.is(await world.code(kv.get('k'), 0), 'UNAVAILABLE')
  await world.pass(50)
  assert.ok(peers.flatMap(({ sessions }) => sessions).every(({ isClosed }) => isClosed))
})

test('a write that had not left when the client was closed was not done', async () => {
  const world = new ClientWorld()
  const kv = world.client()
  const writing = kv.put('k', 'v')
  writing.catch(() => undefined)
  kv.close()
  assert.is(await world.code(writing), 'UNAVAILABLE')
  assert.equal(
    world.peers.flatMap(({ asked }) => asked),
    [],
  )
})

test('between two attempts a closed client asks nobody', async () => {
  const { world, kv, peers } = await warm()
  const whom = answering(peers, failed('UNAVAILABLE'))
  const writing = kv.put('k', 'v')
  writing.catch(() => undefined)
  await world.pass(10)
  kv.close()
  assert.is(await world.code(writing, 1_000), 'UNAVAILABLE')
  assert.is(whom.length, 1)
})

test('closing leaves no timer behind, also between two attempts', async () => {
  const world = new ClientWorld(1)
  answering(world.peers, failed('UNAVAILABLE'))
  const { clock } = world.effects
  const armed = new Set<object>()
  const counting: Clock = {
    ...clock,
    now: () => clock.now(),
    monotonic: () => clock.monotonic(),
    defer: (run) => clock.defer(run),
    setTimer: (delayMs, run) => {
      const timer = clock.setTimer(delayMs, () => {
        armed.delete(timer)
        run()
      })
      armed.add(timer)
      return {
        cancel: () => {
          armed.delete(timer)
          timer.cancel()
        },
      }
    },
  }
  const router = new Router([world.peers[0]?.address as Address], { ...world.effects, clock: counting })
  const asking = router.ask(
    { type: 'status', id: 0 },
    { isWrite: false, isRepeatable: true, timeoutMs: 1000 },
  )
  asking.catch(() => undefined)
  await world.pass(10)
  router.close()
  await world.pass(1)
  assert.is(armed.size, 0)
})

test('a request that was answered is not kept until the end of its time', async () => {
  const { world, kv } = await warm()
  kv.close()
  const router = new Router([world.peers[0]?.address as Address], world.effects)
  const options: AskOptions = { isWrite: false, isRepeatable: true, timeoutMs: 60_000 }
  const ask = (): [WeakRef<object>, Promise<unknown>] => {
    const question = { type: 'status', id: 0 } as const
    return [new WeakRef(question), router.ask(question, options)]
  }
  const [question, asking] = ask()
  assert.is(await world.code(asking), 'fulfilled')
  setFlagsFromString('--expose-gc')
  await new Promise(setImmediate)
  runInNewContext('gc')()
  assert.is(question.deref(), undefined)
  router.close()
})

function writeIdOf(question: Question): string {
  if (question.type !== 'put') throw new Error('only puts were asked')
  return question.writeId
}

test('gets whose answers are large wait for each other, once that is known', async () => {
  const world = new ClientWorld(1)
  const [peer] = world.peers as [FakePeer]
  const client = world.client()
  const values = [{ value: new Uint8Array(1024 * 1024), contentType: null, timestampMs: 1 }]
  peer.answer = () => ({ ...NOT_FOUND, values }) as typeof NOT_FOUND
  for (let i = 0; i < 60; i++) await world.outcome(client.get(`k${i}`), 20)
  peer.asked.length = 0
  peer.answer = () => null
  const all = Promise.allSettled(Array.from({ length: 100 }, (_, i) => client.get(`k${i}`)))
  await world.pass(100)
  assert.ok(peer.asked.length >= 16 && peer.asked.length <= 20, `${peer.asked.length} at once`)
  client.close()
  await world.pass(100)
  await all
})

test('what a client has under way is bounded in bytes too', async () => {
  const world = new ClientWorld(1)
  const client = world.client()
  const value = new Uint8Array(4 * 1024 * 1024)
  const puts = Promise.allSettled(Array.from({ length: 70 }, (_, i) => client.put(`k${i}`, value)))
  await world.pass(20)
  client.close()
  await world.pass(20)
  const codes = (await puts).map((put) => (put.status === 'rejected' ? (put.reason as KvError).code : ''))
  assert.is(codes.indexOf('OVERLOADED'), 63)
  assert.is(codes.filter((code) => code === 'OVERLOADED').length, 7)
  assert.is(codes.filter((code) => code === 'TIMEOUT_UNKNOWN').length, 3, 'were sent')
  assert.is(codes.filter((code) => code === 'UNAVAILABLE').length, 60, 'waited')
})

test.run()
