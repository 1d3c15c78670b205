import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { type Answer, type Asker, Connection, type ConnectionOwner } from '../../src/client/connection.ts'
import type { LinkHandler, Network } from '../../src/effects/network.ts'
import { ClientWorld, type FakePeer } from './fake-peers.ts'

const test = suite('connection')

class Owner implements ConnectionOwner {
  readonly events: string[] = []

  welcomed(): void {
    this.events.push('welcomed')
  }

  changed(): void {
    this.events.push('changed')
  }

  closed(): void {
    this.events.push('closed')
  }
}

class Heard implements Asker {
  readonly answers: string[] = []
  readonly ends: { readonly wasSent: boolean; readonly reason: string }[] = []

  answered(answer: Answer): void {
    this.answers.push(answer.type)
  }

  disconnected(wasSent: boolean, reason: string): void {
    this.ends.push({ wasSent, reason })
  }
}

function connecting(): { world: ClientWorld; peer: FakePeer; owner: Owner; connection: Connection } {
  const world = new ClientWorld(1)
  const [peer] = world.peers as [FakePeer]
  const owner = new Owner()
  return { world, peer, owner, connection: new Connection(peer.address, world.effects, owner) }
}

async function connected() {
  const all = connecting()
  await all.world.pass(20)
  assert.ok(all.connection.isOpen)
  return { ...all, session: all.peer.sessions[0] as FakePeer['sessions'][0] }
}

const STATUS = { type: 'keyspaces', id: 0 } as const
const ANSWER = { type: 'keyspacesDone', keyspaces: [] } as const

test('hello comes first, with the version; questions wait for the welcome and keep their order', async () => {
  const { world, peer, connection, owner } = connecting()
  const heard = new Heard()
  const ids = [1, 2, 3].map(() => connection.ask(STATUS, 0, heard))
  await world.pass(20)
  assert.equal(peer.sessions[0]?.heard[0], { type: 'clientHello', protocolVersion: 1 })
  assert.equal(
    peer.asked.map(({ id }) => id),
    ids,
  )
  assert.equal(owner.events, ['welcomed'])
})

test('ids rise on one connection', async () => {
  const { world, peer, connection } = await connected()
  for (let i = 0; i < 10; i++) connection.ask(STATUS, 0, new Heard())
  await world.pass(20)
  const ids = peer.asked.map(({ id }) => id)
  assert.equal(
    ids,
    ids.toSorted((a, b) => a - b),
  )
  assert.is(new Set(ids).size, 10)
})

test('answers come in any order, each to the one who asked, once', async () => {
  const { world, peer, connection, session } = await connected()
  const [first, second] = [new Heard(), new Heard()]
  connection.ask(STATUS, 0, first)
  connection.ask(STATUS, 0, second)
  await world.pass(20)
  const [a, b] = peer.asked.map(({ id }) => id) as [number, number]
  session.say({ ...ANSWER, id: b })
  session.say({ ...ANSWER, id: b })
  session.say({ ...ANSWER, id: 999 })
  await world.pass(20)
  assert.equal([first.answers, second.answers], [[], ['keyspacesDone']])
  session.say({ ...ANSWER, id: a })
  await world.pass(20)
  assert.equal([first.answers, second.answers], [['keyspacesDone'], ['keyspacesDone']])
  assert.is(connection.inFlight, 0)
})

test('the owner is told that the topology changed', async () => {
  const { world, owner, session } = await connected()
  session.say({ type: 'changed' })
  await world.pass(20)
  assert.equal(owner.events, ['welcomed', 'changed'])
})

test('where nobody listens, whoever asked learns that nothing was sent', async () => {
  const { world, peer, connection, owner } = connecting()
  peer.kill()
  const heard = new Heard()
  connection.ask(STATUS, 0, heard)
  await world.pass(20)
  assert.equal(heard.ends, [{ wasSent: false, reason: '10.0.0.1:7000: nobody listens there' }])
  assert.equal(owner.events, ['closed'])
  assert.ok(connection.isClosed)
})

test('a peer that does not welcome us within three seconds is given up', async () => {
  const { world, peer, connection } = connecting()
  peer.isWelcoming = false
  const heard = new Heard()
  connection.ask(STATUS, 0, heard)
  await world.pass(2_900)
  assert.equal(heard.ends, [])
  await world.pass(200)
  assert.equal(heard.ends, [{ wasSent: false, reason: '10.0.0.1:7000: no answer in time' }])
})

test('when the link breaks what was sent may have been done', async () => {
  const { world, peer, connection } = await connected()
  const heard = new Heard()
  connection.ask(STATUS, 0, heard)
  await world.pass(20)
  peer.kill()
  await world.pass(20)
  assert.equal(heard.ends, [{ wasSent: true, reason: '10.0.0.1:7000: the connection broke' }])
})

test('a goodbye is told in the peer’s own words', async () => {
  const { world, peer, connection, owner } = connecting()
  peer.isWelcoming = false
  const heard = new Heard()
  connection.ask(STATUS, 0, heard)
  await world.pass(20)
  peer.sessions[0]?.say({ type: 'goodbye', reason: 'this peer speaks another version' })
  await world.pass(20)
  assert.equal(heard.ends, [{ wasSent: false, reason: '10.0.0.1:7000: this peer speaks another version' }])
  assert.equal(owner.events, ['closed'])
})

test('after a goodbye nothing more is asked there', async () => {
  const { world, connection, session } = await connected()
  session.say({ type: 'goodbye', reason: 'stopping' })
  await world.pass(1)
  assert.not(connection.isOpen)
  assert.ok(connection.isClosed)
})

test('a question that was forgotten while it waited is never sent', async () => {
  const { world, peer, connection } = connecting()
  const heard = new Heard()
  const handle = connection.ask(STATUS, 0, heard)
  assert.is(connection.forget(handle), false, 'the peer cannot have it')
  await world.pass(20)
  assert.equal(peer.asked, [])
})

test('of a question that was sent, one who forgets it learns that the peer may have it', async () => {
  const { world, connection, session } = await connected()
  const heard = new Heard()
  const handle = connection.ask(STATUS, 0, heard)
  assert.is(connection.forget(handle), true)
  await world.pass(20)
  session.say({ ...ANSWER, id: handle })
  await world.pass(20)
  assert.equal(heard.answers, [])
})

test('a peer that owes an answer and gives no sign of life is cut', async () => {
  const { world, peer, connection } = await connected()
  const heard = new Heard()
  world.cut(peer)
  connection.ask(STATUS, 0, heard)
  await world.pass(3_500)
  assert.equal(heard.ends, [{ wasSent: true, reason: '10.0.0.1:7000: silent for too long' }])
})

test('a peer is not silent while a large question or answer is on its way', async () => {
  const world = new ClientWorld(1)
  const [peer] = world.peers as [FakePeer]
  const handlers: LinkHandler[] = []
  const dial: Network['dial'] = (address, purpose, handler) => {
    handlers.push(handler)
    return world.effects.network.dial(address, purpose, handler)
  }
  const network = { ...world.effects.network, dial }
  const connection = new Connection(peer.address, { ...world.effects, network }, new Owner())
  await world.pass(20)
  const heard = new Heard()
  world.cut(peer)
  connection.ask(STATUS, 0, heard)
  for (let i = 0; i < 20; i++) {
    await world.pass(1_000)
    handlers[0]?.progressed()
  }
  assert.equal(heard.ends, [])
  await world.pass(3_500)
  assert.equal(heard.ends, [{ wasSent: true, reason: '10.0.0.1:7000: silent for too long' }])
})

test('a peer that is slow but alive is not cut', async () => {
  const { world, peer, connection } = await connected()
  peer.answer = ({ type }) => (type === 'keyspaces' ? ANSWER : null)
  const heard = new Heard()
  connection.ask({ type: 'status', id: 0 }, 0, heard)
  await world.pass(20_000)
  assert.equal(heard.ends, [])
  assert.ok(connection.isOpen)
})

test('a connection on which nothing is owed may be silent', async () => {
  const { world, connection } = await connected()
  await world.pass(60_000)
  assert.ok(connection.isOpen)
})

test('closing tells everyone who waits, and leaves no timer', async () => {
  const { world, connection, owner } = await connected()
  const heard = new Heard()
  connection.ask(STATUS, 0, heard)
  connection.close()
  await world.pass(20)
  assert.is(heard.ends.length, 1)
  assert.equal(owner.events, ['welcomed', 'closed'])
})

test.run()
