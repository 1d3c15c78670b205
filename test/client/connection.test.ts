import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import {
  type Answer,
  type Asker,
  Connection,
  type ConnectionOwner,
  type Question,
} from '../../src/client/connection.ts'
import type { LinkHandler, Network } from '../../src/effects/network.ts'
import { PROTOCOL_VERSION } from '../../src/wire/frame.ts'
import { ClientWorld, type FakePeer } from './fake-peers.ts'

const test = suite('connection')

const STATUS = { type: 'keyspaces', id: 0 } as const
const ANSWER = { type: 'keyspacesDone', keyspaces: [] } as const

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
  readonly question: Question
  readonly payloadBytes: number
  readonly weightBytes: number
  sentId = 0
  readonly answers: string[] = []
  readonly ends: { readonly wasSent: boolean; readonly reason: string }[] = []

  constructor(question: Question = STATUS, weightBytes = 0) {
    this.question = question
    this.payloadBytes = weightBytes
    this.weightBytes = weightBytes
  }

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

test('hello comes first, with the version; questions wait for the welcome and keep their order', async () => {
  const { world, peer, connection, owner } = connecting()
  const askers = [new Heard(), new Heard(), new Heard()]
  for (const asker of askers) connection.ask(asker)
  await world.pass(20)
  assert.equal(peer.sessions[0]?.heard[0], { type: 'clientHello', protocolVersion: PROTOCOL_VERSION })
  assert.equal(
    peer.asked.map(({ id }) => id),
    askers.map(({ sentId }) => sentId),
  )
  assert.equal(owner.events, ['welcomed'])
})

test('ids rise on one connection', async () => {
  const { world, peer, connection } = await connected()
  for (let i = 0; i < 10; i++) connection.ask(new Heard())
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
  connection.ask(first)
  connection.ask(second)
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
  connection.ask(heard)
  await world.pass(20)
  assert.equal(heard.ends, [
    { wasSent: false, reason: '10.0.0.1:7000: nobody listens there; is kvnode running there?' },
  ])
  assert.equal(owner.events, ['closed'])
  assert.ok(connection.isClosed)
})

test('a peer that does not welcome us within three seconds is given up', async () => {
  const { world, peer, connection } = connecting()
  peer.isWelcoming = false
  const heard = new Heard()
  connection.ask(heard)
  await world.pass(2_900)
  assert.equal(heard.ends, [])
  await world.pass(200)
  assert.equal(heard.ends, [
    { wasSent: false, reason: '10.0.0.1:7000: no answer in time; is kvnode running there?' },
  ])
})

test('when the link breaks what was sent may have been done', async () => {
  const { world, peer, connection } = await connected()
  const heard = new Heard()
  connection.ask(heard)
  await world.pass(20)
  peer.kill()
  await world.pass(20)
  assert.equal(heard.ends, [{ wasSent: true, reason: '10.0.0.1:7000: the connection broke' }])
})

test('a goodbye is told in the peer’s own words', async () => {
  const { world, peer, connection, owner } = connecting()
  peer.isWelcoming = false
  const heard = new Heard()
  connection.ask(heard)
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
  connection.ask(heard)
  assert.is(connection.forget(heard), false, 'the peer cannot have it')
  await world.pass(20)
  assert.equal(peer.asked, [])
})

test('of a question that was sent, one who forgets it learns that the peer may have it', async () => {
  const { world, connection, session } = await connected()
  const heard = new Heard()
  connection.ask(heard)
  assert.is(connection.forget(heard), true)
  await world.pass(20)
  session.say({ ...ANSWER, id: heard.sentId })
  await world.pass(20)
  assert.equal(heard.answers, [])
})

const MIB = 1024 * 1024

test('past sixteen mebibytes without an answer the rest waits, and goes as answers come', async () => {
  const { world, peer, connection, session } = await connected()
  const askers = Array.from({ length: 40 }, () => new Heard(STATUS, MIB))
  for (const asker of askers) connection.ask(asker)
  await world.pass(20)
  assert.is(peer.asked.length, 16)
  assert.is(connection.inFlight, 40)
  for (const { id } of peer.asked.slice(0, 4)) session.say({ ...ANSWER, id })
  await world.pass(20)
  assert.is(peer.asked.length, 20)
  peer.answer = () => ANSWER
  for (const { id } of peer.asked.slice(4)) session.say({ ...ANSWER, id })
  await world.pass(100)
  assert.ok(askers.every(({ answers }) => answers.length === 1))
  assert.is(connection.inFlight, 0)
})

test('a question larger than all that may be under way goes alone', async () => {
  const { world, peer, connection, session } = await connected()
  const askers = [MIB, 30 * MIB, MIB].map((bytes) => new Heard(STATUS, bytes))
  for (const asker of askers) connection.ask(asker)
  for (const count of [1, 2, 3]) {
    await world.pass(20)
    assert.is(peer.asked.length, count)
    session.say({ ...ANSWER, id: peer.asked.at(-1)?.id ?? 0 })
  }
})

test('what waits for room can be given up, and was not sent when the link ends', async () => {
  const { world, peer, connection } = await connected()
  const [first, second, third] = [new Heard(STATUS, 16 * MIB), new Heard(STATUS, 1), new Heard(STATUS, 1)]
  for (const asker of [first, second, third]) connection.ask(asker)
  assert.is(connection.forget(second), false)
  await world.pass(20)
  peer.kill()
  await world.pass(20)
  assert.equal(
    [first, second, third].map(({ ends }) => ends.map(({ wasSent }) => wasSent)),
    [[true], [], [false]],
  )
})

test('what was given up makes room for what waits', async () => {
  const { world, peer, connection } = await connected()
  const first = new Heard(STATUS, 16 * MIB)
  connection.ask(first)
  connection.ask(new Heard(STATUS, 1))
  await world.pass(20)
  assert.is(peer.asked.length, 1)
  assert.is(connection.forget(first), true)
  await world.pass(600)
  assert.is(
    peer.asked.filter(({ id }) => id > first.sentId).length,
    2,
    'and one that asks for a sign of life',
  )
})

test('questions without weight, such as that for a sign of life, wait for nothing', async () => {
  const { world, peer, connection } = await connected()
  connection.ask(new Heard(STATUS, 16 * MIB))
  connection.ask(new Heard(STATUS, 1))
  await world.pass(3_500)
  assert.is(peer.asked.length, 2)
  assert.ok(connection.isClosed, 'nobody answered that')
  assert.equal(
    peer.asked.map(({ type }) => type),
    ['keyspaces', 'keyspaces'],
  )
})

test('a peer that owes an answer and gives no sign of life is cut', async () => {
  const { world, peer, connection } = await connected()
  const heard = new Heard()
  world.cut(peer)
  connection.ask(heard)
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
  connection.ask(heard)
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
  const heard = new Heard({ type: 'status', id: 0 })
  connection.ask(heard)
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
  connection.ask(heard)
  connection.close()
  await world.pass(20)
  assert.is(heard.ends.length, 1)
  assert.equal(owner.events, ['welcomed', 'closed'])
})

test.run()
