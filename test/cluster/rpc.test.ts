import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { KvError } from '../../src/base/error.ts'
import type { NodeId } from '../../src/base/ids.ts'
import type { Exchange } from '../../src/cluster/rpc.ts'
import type { PeerMessage, PeerReply } from '../../src/wire/peer-messages.ts'
import { type LinkedPeer, LinkedWorld, NO_DAMAGE } from './linked-peers.ts'

const test = suite('rpc')

class Heard implements Exchange {
  readonly kind = 'data'
  readonly replies: { readonly from: NodeId; readonly type: string }[] = []
  readonly lostPeers: NodeId[] = []
  expiries = 0

  answered(from: NodeId, reply: PeerReply): void {
    this.replies.push({ from, type: reply.type })
  }

  lost(nodeId: NodeId): void {
    this.lostPeers.push(nodeId)
  }

  expired(): void {
    this.expiries += 1
  }
}

async function trio(): Promise<{ world: LinkedWorld; a: LinkedPeer; b: LinkedPeer; c: LinkedPeer }> {
  const world = new LinkedWorld()
  const [a, b, c] = [world.peer('a'), world.peer('b'), world.peer('c')]
  a.knows(b, c)
  await world.pass(1)
  return { world, a, b, c }
}

const inquire = (id: number): PeerMessage => ({ type: 'inquire', id })

/** What became of a promise, once there was time for it. */
async function settled<T>(world: LinkedWorld, promise: Promise<T>, ms = 50): Promise<T | KvError> {
  const outcome = promise.catch((error: unknown) => error as KvError)
  await world.pass(ms)
  return outcome
}

test('one exchange hears the answers of all whom it asked under its id', async () => {
  const { world, a, b, c } = await trio()
  const heard = new Heard()
  const id = a.rpc.begin(heard, 1000)
  assert.ok(a.rpc.ask(b.nodeId, 'data', inquire(id)))
  assert.ok(a.rpc.ask(c.nodeId, 'data', inquire(id)))
  await world.pass(20)
  assert.equal(heard.replies.map(({ from }) => from).sort(), [b.nodeId, c.nodeId])
})

test('an exchange that ended hears nothing more', async () => {
  const { world, a, b } = await trio()
  const heard = new Heard()
  const id = a.rpc.begin(heard, 1000)
  a.rpc.ask(b.nodeId, 'data', inquire(id))
  a.rpc.end(id)
  await world.pass(1100)
  assert.equal([heard.replies, heard.lostPeers, heard.expiries], [[], [], 0])
  assert.is(a.rpc.openCount, 0)
})

test('an answer under another id finds nobody', async () => {
  const { world, a, b } = await trio()
  const heard = new Heard()
  const id = a.rpc.begin(heard, 1000)
  a.rpc.ask(b.nodeId, 'data', inquire(id + 1))
  await world.pass(20)
  assert.equal(heard.replies, [])
})

test('an exchange is told the end of its time once, and nothing after it', async () => {
  const { world, a, b } = await trio()
  const heard = new Heard()
  b.isAnswering = false
  const id = a.rpc.begin(heard, 100)
  a.rpc.ask(b.nodeId, 'data', inquire(id))
  await world.pass(90)
  assert.is(heard.expiries, 0)
  await world.pass(60)
  assert.is(heard.expiries, 1)
  a.rpc.answered(b.nodeId, {
    type: 'report',
    id,
    keys: 0,
    bytes: 0,
    hints: 0,
    hintsFor: null,
    isCounting: null,
    catchingUp: null,
    quarantined: 0,
    ...NO_DAMAGE,
  })
  a.rpc.lost(b.nodeId, 'data')
  assert.equal([heard.replies, heard.lostPeers], [[], []])
})

test('when a link breaks every exchange hears of it', async () => {
  const { world, a, b } = await trio()
  const [first, second] = [new Heard(), new Heard()]
  b.isAnswering = false
  for (const heard of [first, second]) a.rpc.ask(b.nodeId, 'data', inquire(a.rpc.begin(heard, 1000)))
  await world.pass(20)
  b.host.end('process')
  await world.pass(20)
  assert.equal([first.lostPeers, second.lostPeers], [[b.nodeId], [b.nodeId]])
})

test('a peer whose address is not known, or that was not there a moment ago, cannot be asked', async () => {
  const { world, a, b } = await trio()
  const id = a.rpc.begin(new Heard(), 1000)
  assert.not(a.rpc.ask('stranger' as NodeId, 'data', inquire(id)))
  b.host.end('process')
  assert.ok(a.rpc.ask(b.nodeId, 'data', inquire(id)))
  await world.pass(20)
  assert.not(a.rpc.ask(b.nodeId, 'data', inquire(id)))
})

test('a call gives the answer of the one who was called', async () => {
  const { world, a, b } = await trio()
  const reply = await settled(world, a.rpc.call(b.nodeId, 'control', 500, inquire))
  assert.ok(!(reply instanceof KvError) && reply.type === 'report' && reply.keys === 1)
  assert.is(a.rpc.openCount, 0)
})

test('an answer that somebody else gives to a call is none', async () => {
  const { world, a, b, c } = await trio()
  b.isAnswering = false
  const call = a.rpc.call(b.nodeId, 'control', 100, (id) => {
    a.rpc.answered(c.nodeId, {
      type: 'report',
      id,
      keys: 9,
      bytes: 9,
      hints: 9,
      hintsFor: null,
      isCounting: null,
      catchingUp: null,
      quarantined: 0,
      ...NO_DAMAGE,
    })
    return inquire(id)
  })
  const result = await settled(world, call, 200)
  assert.ok(result instanceof KvError)
})

test('a call to one who cannot be reached is unavailable', async () => {
  const { world, a } = await trio()
  const result = await settled(world, a.rpc.call('stranger' as NodeId, 'control', 500, inquire))
  assert.is(result instanceof KvError && result.code, 'UNAVAILABLE')
})

test('a call that nobody answers in time, or whose link breaks, is unknown', async () => {
  const { world, a, b } = await trio()
  b.isAnswering = false
  const late = await settled(world, a.rpc.call(b.nodeId, 'control', 100, inquire), 200)
  assert.is(late instanceof KvError && late.code, 'TIMEOUT_UNKNOWN')
  const broken = a.rpc.call(b.nodeId, 'control', 10_000, inquire)
  b.host.end('process')
  const result = await settled(world, broken)
  assert.is(result instanceof KvError && result.code, 'TIMEOUT_UNKNOWN')
})

test('a stop ends every exchange as expired', async () => {
  const { world, a } = await trio()
  const [first, second] = [new Heard(), new Heard()]
  a.rpc.begin(first, 1000)
  a.rpc.begin(second, 1000)
  a.rpc.stop()
  assert.equal([first.expiries, second.expiries], [1, 1])
  assert.is(a.rpc.openCount, 0)
  await world.pass(1100)
  assert.equal([first.expiries, second.expiries], [1, 1])
})

test.run()
