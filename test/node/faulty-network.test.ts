import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import type { Effects } from '../../src/effects/effects.ts'
import type { LinkHandler, Network } from '../../src/effects/network.ts'
import { FaultyNetwork } from '../../src/node/faults/faulty-network.ts'
import { PeerFaults } from '../../src/node/faults/peer-faults.ts'
import type { FaultCommand, PeerPlace } from '../../src/wire/faults.ts'
import type { PeerMessage } from '../../src/wire/peer-messages.ts'
import { type LinkedPeer, LinkedWorld } from '../cluster/linked-peers.ts'

const test = suite('faulty network')

const inquire = (id: number): PeerMessage => ({ type: 'inquire', id })

interface FaultyPeer {
  readonly peer: LinkedPeer
  readonly faults: PeerFaults
}

/** Peers whose links go through a network with failures, and who know each other. */
class FaultyWorld extends LinkedWorld {
  /** What the real network tells of the links that were dialled. */
  readonly dialled: LinkHandler[] = []
  readonly #all: FaultyPeer[] = []

  faulty(name: string): FaultyPeer {
    const made: { peer: LinkedPeer | null; faults: PeerFaults | null } = { peer: null, faults: null }
    const place = ({ nodeId, address }: LinkedPeer): PeerPlace => ({ nodeId, address })
    const network = (effects: Effects): FaultyNetwork => {
      made.faults = new PeerFaults({
        log: effects.log,
        self: () => place(made.peer as LinkedPeer),
        others: () => this.#all.map(({ peer }) => place(peer)).filter(({ nodeId }) => nodeId !== name),
        recovering: () => undefined,
      })
      return new FaultyNetwork(made.faults, { ...effects, network: this.#noting(effects.network) })
    }
    made.peer = this.peer(name, {}, network)
    const faulty = { peer: made.peer, faults: made.faults as unknown as PeerFaults }
    this.#all.push(faulty)
    return faulty
  }

  #noting({ listen, dial }: Network): Network {
    return {
      listen,
      dial: (address, purpose, handler) => {
        this.dialled.push(handler)
        return dial(address, purpose, handler)
      },
    }
  }

  /** As `kvctl fault` does: to everyone. */
  apply(command: FaultCommand): void {
    for (const { faults } of this.#all) faults.apply(command)
  }
}

/** Two peers with an open control link, dialled by the first. */
async function linked(): Promise<{ world: FaultyWorld; a: LinkedPeer; b: LinkedPeer; b2: FaultyPeer }> {
  const world = new FaultyWorld()
  const [{ peer: a }, b2] = [world.faulty('a'), world.faulty('b')]
  await world.pass(1)
  a.to(b2.peer)
  await world.pass(10)
  assert.ok(a.to(b2.peer)?.isOpen)
  return { world, a, b: b2.peer, b2 }
}

function inquiries(peer: LinkedPeer): number[] {
  return peer.heard.flatMap(({ message }) => (message.type === 'inquire' ? [message.id] : []))
}

test('across a cut nothing arrives either way, and neither end is told', async () => {
  const { world, a, b } = await linked()
  world.apply({ fault: 'partition', groups: [['a'], ['b']] })
  a.to(b)?.send(inquire(1), 0)
  b.to(a)?.send(inquire(2), 0)
  await world.pass(1000)
  assert.equal([inquiries(a), inquiries(b)], [[], []])
  assert.equal([a.losses, b.losses], [[], []])
})

test('a link that owes an answer across a cut is ended by its holder, for silence', async () => {
  const { world, a, b } = await linked()
  world.apply({ fault: 'isolate', peer: 'b' })
  const link = a.to(b)
  assert.ok(link)
  a.links.ask(link, inquire(1), 0)
  await world.pass(5000)
  assert.equal(a.losses, [{ nodeId: b.nodeId, purpose: 'control', cause: 'lost' }])
  assert.equal(b.losses, [], 'nobody can tell the other side')
  world.apply({ fault: 'heal' })
  await world.pass(10)
  assert.is(b.losses.length, 1, 'now it hears of it')
})

test('across a cut the progress of a large frame is not heard either', async () => {
  const { world, a, b } = await linked()
  world.apply({ fault: 'isolate', peer: 'b' })
  const link = a.to(b)
  assert.ok(link)
  a.links.ask(link, inquire(1), 0)
  for (let i = 0; i < 10; i++) {
    await world.pass(500)
    for (const handler of world.dialled) handler.progressed()
  }
  assert.equal(a.losses, [{ nodeId: b.nodeId, purpose: 'control', cause: 'lost' }])
})

test('what was dropped does not spoil what comes after: a link may outlive a cut', async () => {
  const { world, a, b } = await linked()
  world.apply({ fault: 'isolate', peer: 'b' })
  a.to(b)?.send(inquire(1), 0)
  await world.pass(500)
  world.apply({ fault: 'heal' })
  a.to(b)?.send(inquire(2), 0)
  await world.pass(10)
  assert.equal(inquiries(b), [2])
  assert.equal([a.losses, b.losses], [[], []])
})

test('cut one way, the other way still carries frames', async () => {
  const { world, a, b } = await linked()
  world.apply({ fault: 'one-way', from: 'a', to: 'b' })
  a.to(b)?.send(inquire(1), 0)
  b.to(a)?.send(inquire(2), 0)
  await world.pass(10)
  assert.equal([inquiries(a), inquiries(b)], [[2], []])
})

test('one side that knows of the cut is enough', async () => {
  const { world, a, b, b2 } = await linked()
  b2.faults.apply({ fault: 'one-way', from: 'a', to: 'b' })
  a.to(b)?.send(inquire(1), 0)
  await world.pass(10)
  assert.equal(inquiries(b), [])
})

test('a dial into a cut, whichever way, is not answered; one that still waits at the end is', async () => {
  for (const from of ['a', 'b']) {
    const world = new FaultyWorld()
    const [{ peer: a }, { peer: b }] = [world.faulty('a'), world.faulty('b')]
    await world.pass(1)
    world.apply({ fault: 'one-way', from, to: from === 'a' ? 'b' : 'a' })
    a.links.dial(b.address)
    await world.pass(2100)
    assert.equal(a.failedDials, [{ address: b.address, refusal: null, why: 'no handshake in time' }])
    assert.equal([a.meetings, b.meetings], [[], []])
    await world.pass(1000)
    a.links.dial(b.address)
    await world.pass(500)
    world.apply({ fault: 'heal' })
    await world.pass(10)
    assert.is(a.meetings.length, 1)
  }
})

test('a partition cuts between its groups, mends within them, and leaves others alone', async () => {
  const world = new FaultyWorld()
  const [a, b, c, d] = ['a', 'b', 'c', 'd'].map((name) => world.faulty(name)) as [
    FaultyPeer,
    FaultyPeer,
    FaultyPeer,
    FaultyPeer,
  ]
  world.apply({ fault: 'partition', groups: [['a'], ['b', 'c']] })
  assert.equal(a.faults.sentences(), [
    '10.0.0.1:7000 and 10.0.0.2:7000 do not reach each other',
    '10.0.0.1:7000 and 10.0.0.3:7000 do not reach each other',
  ])
  assert.equal(d.faults.sentences(), [])
  world.apply({ fault: 'partition', groups: [['a', 'b'], ['c']] })
  assert.is(a.faults.to(b.peer.nodeId, null), null)
  assert.is(b.faults.to(c.peer.nodeId, null)?.isCutTo, true)
  world.apply({ fault: 'heal' })
  for (const { faults } of [a, b, c, d]) assert.equal(faults.report().faults, [])
})

test('the share of frames that is to be dropped is dropped, each way', async () => {
  const { world, a, b } = await linked()
  world.apply({ fault: 'drop', between: ['a', 'b'], percent: 30 })
  for (let id = 0; id < 300; id++) {
    a.to(b)?.send(inquire(id), 0)
    b.to(a)?.send(inquire(id), 0)
    await world.pass(1)
  }
  await world.pass(10)
  for (const peer of [a, b]) {
    const { length } = inquiries(peer)
    assert.ok(length > 170 && length < 250, `${length} of 300 arrived`)
  }
  world.apply({ fault: 'drop', between: ['a', 'b'], percent: 0 })
  assert.equal(a.losses, [])
})

test('frames that are delayed come so much later, in order, also when the delay ends', async () => {
  const { world, a, b } = await linked()
  world.apply({ fault: 'delay', between: ['a', 'b'], delayMs: 200 })
  a.to(b)?.send(inquire(1), 0)
  await world.pass(195)
  a.to(b)?.send(inquire(2), 0)
  assert.equal(inquiries(b), [])
  await world.pass(10)
  assert.equal(inquiries(b), [1])
  world.apply({ fault: 'heal' })
  a.to(b)?.send(inquire(3), 0)
  await world.pass(10)
  assert.equal(inquiries(b), [1], 'what was sent before is still on its way')
  await world.pass(200)
  assert.equal(inquiries(b), [1, 2, 3])
  a.to(b)?.send(inquire(4), 0)
  await world.pass(5)
  assert.equal(inquiries(b), [1, 2, 3, 4])
})

test('a link that is closed brings what was late before it ends', async () => {
  const { world, a, b } = await linked()
  world.apply({ fault: 'delay', between: ['a', 'b'], delayMs: 200 })
  a.to(b)?.send(inquire(1), 0)
  await world.pass(1)
  a.to(b)?.close()
  await world.pass(100)
  assert.equal(b.losses, [])
  await world.pass(200)
  assert.equal(inquiries(b), [1])
  assert.is(b.losses.length, 1)
})

test('a peer that fails ends its links, and refuses new ones until it is recovered', async () => {
  const { world, a, b, b2 } = await linked()
  world.apply({ fault: 'fail', peer: 'b' })
  await world.pass(10)
  assert.equal([a.losses.length, b.losses.length], [1, 1])
  await world.pass(200)
  a.links.dial(b.address)
  b.links.dial(a.address)
  await world.pass(50)
  assert.equal([a.failedDials.length, b.failedDials.length], [1, 1])
  assert.is(b2.faults.state, 'failed')
  world.apply({ fault: 'recover', peer: 'b' })
  assert.is(b2.faults.state, 'recovering')
  await world.pass(1000)
  a.links.dial(b.address)
  await world.pass(10)
  assert.is(a.meetings.length, 2)
  b2.faults.recovered()
  assert.is(b2.faults.state, 'up')
})

test('clients are refused by a peer that fails, and by one that recovers', async () => {
  const world = new FaultyWorld()
  const [{ peer }, client] = [world.faulty('a'), world.stranger('client')]
  const purposes: string[] = []
  peer.links.accept = (link, purpose) => {
    purposes.push(purpose)
    link.setHandler({ opened() {}, received() {}, progressed() {}, closed() {} })
  }
  await world.pass(1)
  const dial = async (): Promise<void> => {
    client.dial(peer.address, 'client')
    await world.pass(10)
  }
  await dial()
  assert.equal([purposes, client.causes], [['client'], []])
  world.apply({ fault: 'fail', peer: 'a' })
  await world.pass(10)
  assert.equal(client.causes, ['closed'], 'the link it had')
  await dial()
  assert.equal(client.causes, ['closed', 'refused'])
  world.apply({ fault: 'recover', peer: 'a' })
  await dial()
  assert.is(client.causes.length, 3)
  assert.is(purposes.length, 1)
})

test.run()
