import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { makeAddress, parseClusterId, parseNodeId } from '../../src/base/ids.ts'
import type { SelfFacts } from '../../src/cluster/links.ts'
import type { Hello, PeerFacts } from '../../src/wire/handshake-messages.ts'
import type { PeerMessage } from '../../src/wire/peer-messages.ts'
import { LinkedWorld, linked } from './linked-peers.ts'

const test = suite('links')

const OTHER_CLUSTER = parseClusterId('cluster-2')
const inquire = (id: number): PeerMessage => ({ type: 'inquire', id })

test('after the handshake both sides know who the other one is', async () => {
  const { a, b } = await linked()
  assert.equal(a.meetings, [{ nodeId: b.nodeId, dialled: b.address }])
  assert.equal(b.meetings, [{ nodeId: a.nodeId, dialled: null }])
  assert.is(a.to(b)?.isOpen, true)
  assert.is(b.to(a)?.isOpen, true)
})

test('whoever was dialled uses the same link: it dials none of its own', async () => {
  const { world, a, b } = await linked()
  b.to(a)?.send(inquire(1), 0)
  await world.pass(10)
  assert.equal(a.heardTypes(), ['inquire'])
  assert.is(a.meetings.length, 1)
})

test('what is sent before the handshake is over waits for it, in order', async () => {
  const world = new LinkedWorld()
  const [a, b] = [world.peer('a'), world.peer('b')]
  await world.pass(1)
  for (const id of [1, 2, 3]) assert.ok(a.to(b)?.send(inquire(id), 0))
  await world.pass(10)
  assert.equal(
    b.heard.map(({ message }) => (message as { id: number }).id),
    [1, 2, 3],
  )
})

test('only so much waits for a handshake; the rest is dropped, and that is said', async () => {
  const world = new LinkedWorld()
  const [a, b] = [world.peer('a'), world.peer('b')]
  const link = a.to(b)
  for (let i = 0; i < 4096; i++) assert.ok(link?.send(inquire(1), 0))
  assert.is(link?.send(inquire(1), 0), false)
  await world.pass(10)
  assert.is(b.heard.length, 4096)
})

test('control and data have links of their own', async () => {
  const { world, a, b } = await linked()
  const data = a.to(b, 'data')
  await world.pass(10)
  assert.is.not(data, a.to(b, 'control'))
  assert.is(data?.purpose, 'data')
  assert.ok(b.to(a, 'data')?.isOpen)
})

test('who is at an address is found out by dialling it', async () => {
  const world = new LinkedWorld()
  const [a, b] = [world.peer('a'), world.peer('b')]
  await world.pass(1)
  a.links.dial(b.address)
  await world.pass(10)
  assert.equal(a.meetings, [{ nodeId: b.nodeId, dialled: b.address }])
})

test('a peer that is in no cluster yet may talk to one that is', async () => {
  const world = new LinkedWorld()
  const [a, b] = [world.peer('a', { clusterId: null, partitionCount: 0 }), world.peer('b')]
  await world.pass(1)
  a.to(b)
  await world.pass(10)
  assert.is(a.meetings.length, 1)
  assert.is(b.meetings.length, 1)
})

/** What a stranger says of himself that does not fit, the kind of the refusal, and what it must name. */
const MISMATCHES: readonly [Partial<Hello>, Partial<SelfFacts>, string, RegExp][] = [
  [{ protocolVersion: 1 }, {}, 'version', /protocol version 1, here it is 3/],
  [{ hashName: 'md5' }, {}, 'hash', /hash md5, here it is xxh32/],
  [{ nodeId: parseNodeId('a') }, {}, 'self', /the peer itself/],
  [{ expects: parseNodeId('x') }, {}, 'somebodyElse', /node x was expected here, but this is a/],
  [{ clusterId: OTHER_CLUSTER }, {}, 'otherCluster', /cluster-2, here it is cluster-1/],
  [{ clusterId: null }, { clusterId: null }, 'noCluster', /this peer is in no cluster/],
  [{ partitionCount: 32 }, {}, 'partitions', /32 partitions, here there are 64/],
]

for (const [strange, ours, kind, words] of MISMATCHES) {
  test(`a stranger is refused for '${kind}', and told why`, async () => {
    const world = new LinkedWorld()
    const [a, stranger] = [world.peer('a', ours), world.stranger('s')]
    await world.pass(1)
    stranger.dial(a.address)
    await world.pass(5)
    stranger.say(stranger.hello(strange))
    await world.pass(10)
    const [answer] = stranger.heard
    assert.is(answer?.type === 'refuse' && answer.kind, kind)
    assert.match(answer?.type === 'refuse' ? answer.reason : '', words)
    assert.equal(stranger.causes, ['closed'])
    assert.equal(a.meetings, [])
    assert.equal(a.losses, [], 'he was nobody')
  })
}

test('a peer without a cluster does not join that of whoever dials its address', async () => {
  const world = new LinkedWorld()
  const [a, stranger] = [world.peer('a', { clusterId: null }), world.stranger('s')]
  await world.pass(1)
  stranger.dial(a.address)
  await world.pass(5)
  stranger.say(stranger.hello())
  await world.pass(10)
  const [answer] = stranger.heard
  assert.is(answer?.type === 'refuse' && answer.kind, 'noCluster')
  assert.equal(a.meetings, [])
})

test('whoever dialled judges the other one too, and remembers why it did not come to terms', async () => {
  for (const [strange, ours, kind] of MISMATCHES.filter(([{ expects }]) => expects === undefined)) {
    const world = new LinkedWorld()
    const [a, stranger] = [world.peer('a', ours), world.stranger('s')]
    stranger.answer = { ...stranger.facts(strange as Partial<PeerFacts>), type: 'welcome' }
    await world.pass(1)
    a.links.dial(stranger.address)
    await world.pass(10)
    assert.equal(
      a.failedDials.map(({ refusal }) => refusal?.kind),
      [kind],
    )
    assert.equal(a.meetings, [])
    assert.is(stranger.causes.length, 1)
  }
})

test('somebody else at a known address is not taken for the one who was there', async () => {
  const world = new LinkedWorld()
  const [a, stranger] = [world.peer('a'), world.stranger('s')]
  const x = { nodeId: parseNodeId('x'), address: stranger.address }
  stranger.answer = { ...stranger.facts(), type: 'welcome' }
  await world.pass(1)
  a.to(x)?.send(inquire(1), 0)
  await world.pass(10)
  assert.equal(
    a.failedDials.map(({ refusal }) => refusal?.kind),
    ['somebodyElse'],
  )
  assert.equal(a.losses, [{ nodeId: x.nodeId, purpose: 'control', cause: 'lost' }])
  assert.equal(
    stranger.heard.map(({ type }) => type),
    ['hello'],
    'what was meant for x is not told him',
  )
  await world.pass(200)
  assert.is.not(a.to(x), null, 'x may be found there again')
})

test('a peer that was removed is refused', async () => {
  const world = new LinkedWorld()
  const [a, b] = [world.peer('a'), world.peer('b')]
  await world.pass(1)
  b.barred.add(a.nodeId)
  a.to(b)
  await world.pass(10)
  assert.match(a.failedDials[0]?.refusal?.reason ?? '', /node a was removed from this cluster/)
})

test('a life of a node is refused when a newer one was met, or another one of its generation', async () => {
  const known = { generation: 3, isSelf: false, address: makeAddress('10.0.0.9', 1) }
  for (const isUp of [true, false]) {
    const lives: [number, string, string | undefined][] = [
      [2, 'any', 'outranked'],
      [3, 'other', 'outranked'],
      [3, 'third', undefined],
      [4, 'any', undefined],
    ]
    for (const [generation, bootNonce, kind] of lives) {
      const world = new LinkedWorld()
      const [a, b] = [world.peer('a', { generation, bootNonce }), world.peer('b')]
      await world.pass(1)
      b.livesMet.set(a.nodeId, { ...known, bootNonce: 'third', isUp })
      a.to(b)
      await world.pass(10)
      assert.is(a.failedDials[0]?.refusal?.kind, kind)
      assert.is(b.meetings.length, kind === undefined ? 1 : 0)
      if (kind === undefined) continue
      assert.match(
        a.failedDials[0]?.refusal?.reason ?? '',
        /node a ra?u?ns? as generation 3 at 10\.0\.0\.9:1/,
      )
      b.to(a)
      await world.pass(10)
      assert.is(b.failedDials[0]?.refusal?.kind, 'somebodyElse', 'whoever dials it does not blame himself')
      assert.equal(b.meetings, [])
    }
  }
})

test('nobody is refused for what others say of a newer life', async () => {
  const world = new LinkedWorld()
  const [a, b] = [world.peer('a'), world.peer('b')]
  await world.pass(1)
  const life = { generation: 3, bootNonce: 'x', isUp: true, isSelf: false, address: a.address }
  b.lives.set(a.nodeId, life)
  a.to(b)
  await world.pass(10)
  assert.is(b.meetings.length, 1)
})

test('whoever asks for the newest life of a node is told, and the link ends', async () => {
  const world = new LinkedWorld()
  const [a, b] = [world.peer('a'), world.peer('b')]
  const life = { generation: 3, bootNonce: 'x', isUp: true, isSelf: false, address: b.address }
  a.lives.set(b.nodeId, life)
  await world.pass(1)
  for (const [nodeId, expected] of [
    [b.nodeId, life],
    [a.nodeId, { generation: 1, bootNonce: 'nonce-a', isUp: true, isSelf: true, address: a.address }],
    [parseNodeId('c'), { generation: 0, bootNonce: '', isUp: false, isSelf: false, address: null }],
  ] as const) {
    const stranger = world.stranger('s')
    stranger.dial(a.address)
    await world.pass(5)
    stranger.say({ type: 'askLife', nodeId })
    await world.pass(10)
    assert.equal(stranger.heard, [{ type: 'life', ...expected }])
    assert.equal(stranger.causes, ['closed'])
  }
  assert.equal([a.meetings, a.losses], [[], []])
})

test('a peer that stops refuses', async () => {
  const world = new LinkedWorld()
  const [a, b] = [world.peer('a'), world.peer('b')]
  await world.pass(1)
  b.links.stop()
  a.to(b)
  await world.pass(10)
  assert.is(a.failedDials[0]?.refusal?.kind, 'stopping')
})

test('a stranger who says anything before hello is cut', async () => {
  const world = new LinkedWorld()
  const [a, stranger] = [world.peer('a'), world.stranger('s')]
  await world.pass(1)
  stranger.dial(a.address)
  await world.pass(5)
  stranger.say(inquire(1))
  await world.pass(10)
  assert.is(stranger.causes.length, 1)
  assert.equal(a.heard, [])
})

test('a stranger who says nothing is cut after two seconds', async () => {
  const world = new LinkedWorld()
  const [a, stranger] = [world.peer('a'), world.stranger('s')]
  await world.pass(1)
  stranger.dial(a.address)
  await world.pass(1_900)
  assert.equal(stranger.causes, [])
  await world.pass(200)
  assert.is(stranger.causes.length, 1)
})

test('one who was dialled and does not answer hello is given up after two seconds', async () => {
  const world = new LinkedWorld()
  const [a, stranger] = [world.peer('a'), world.stranger('s')]
  await world.pass(1)
  a.to(stranger)
  await world.pass(2_100)
  assert.equal(a.failedDials, [{ address: stranger.address, refusal: null, why: 'no handshake in time' }])
  assert.equal(a.losses, [{ nodeId: stranger.nodeId, purpose: 'control', cause: 'lost' }])
})

test('one who answers hello with something else is cut', async () => {
  const world = new LinkedWorld()
  const [a, stranger] = [world.peer('a'), world.stranger('s')]
  stranger.answer = inquire(1)
  await world.pass(1)
  a.to(stranger)
  await world.pass(10)
  assert.equal(a.failedDials, [{ address: stranger.address, refusal: null, why: 'did not answer our hello' }])
})

test('where nobody listens the dial is refused, and the next one waits longer each time', async () => {
  const world = new LinkedWorld()
  const [a, gone] = [world.peer('a'), world.peer('gone')]
  await world.pass(1)
  gone.host.end('process')
  const dialsAtMs: number[] = []
  for (let ms = 0; ms < 5_000; ms += 10) {
    const before = a.failedDials.length
    a.to(gone)
    await world.pass(10)
    if (a.failedDials.length > before) dialsAtMs.push(ms)
  }
  const gaps = dialsAtMs.slice(1).map((ms, i) => ms - (dialsAtMs[i] as number))
  assert.equal(
    gaps.map((gap) => 100 * Math.round(gap / 100)),
    [100, 200, 400, 800, 1000, 1000, 1000],
  )
  assert.ok(a.losses.every(({ cause }) => cause === 'refused'))
})

test('after a failed dial there is no link for a while, and a sender is told so at once', async () => {
  const world = new LinkedWorld()
  const [a, gone] = [world.peer('a'), world.peer('gone')]
  await world.pass(1)
  gone.host.end('process')
  a.to(gone)
  await world.pass(10)
  assert.is(a.to(gone), null)
  await world.pass(150)
  assert.is.not(a.to(gone), null)
})

test('a link on which nothing is owed may be silent for as long as it likes', async () => {
  const { world, a, b } = await linked()
  a.to(b)?.send(inquire(1), 0)
  world.cut(a, b)
  a.to(b)?.send(inquire(2), 0)
  await world.pass(60_000)
  assert.equal(a.losses, [])
})

test('a link that answers is kept, however often it is asked', async () => {
  const { world, a, b } = await linked()
  for (let i = 0; i < 20; i++) {
    const link = a.to(b)
    if (link !== null) a.links.ask(link, inquire(i), 0)
    await world.pass(500)
  }
  assert.is(a.heard.length, 20)
  assert.equal(a.losses, [])
})

test('a question between two looks is held to an answer, though one before it was answered', async () => {
  const { world, a, b } = await linked()
  const link = a.to(b)
  if (link === null) throw new Error('they are linked')
  a.links.ask(link, inquire(1), 0)
  await world.pass(100)
  assert.is(a.heard.length, 1)
  world.cut(a, b)
  a.links.ask(link, inquire(2), 0)
  await world.pass(4_000)
  assert.is(a.losses.length, 1)
})

test('a question put in the instant in which a frame came is held to an answer of its own', async () => {
  const { world, a, b } = await linked()
  const received = a.received.bind(a)
  a.received = (from, message, link) => {
    received(from, message, link)
    a.received = received
    b.isAnswering = false
    a.links.ask(link, inquire(2), 0)
  }
  b.to(a)?.send({ type: 'nack', seq: 1, refused: false }, 0)
  await world.pass(4_000)
  assert.is(a.losses.length, 1)
})

test('a link whose other side does not read what it is sent is cut', async () => {
  const { world, a, b } = await linked()
  const link = a.to(b)
  if (link === null) throw new Error('they are linked')
  b.isAnswering = false
  Object.defineProperty(link.channel, 'bufferedBytes', { get: () => 65 * 1024 * 1024 })
  a.links.ask(link, inquire(1), 0)
  await world.pass(600)
  assert.is(a.losses.length, 1)
})

test('two peers that dial each other at once keep both links, and both use the same one', async () => {
  const world = new LinkedWorld()
  const [a, b] = [world.peer('a'), world.peer('b')]
  await world.pass(1)
  a.to(b)?.send(inquire(1), 0)
  b.to(a)?.send(inquire(2), 0)
  await world.pass(20)
  assert.equal(a.heardTypes().sort(), ['inquire', 'report'])
  assert.equal(b.heardTypes().sort(), ['inquire', 'report'])
  assert.equal([...a.losses, ...b.losses], [])
  assert.is(a.to(b)?.dialledAddress, b.address, 'the one that the smaller id dialled')
  assert.is(b.to(a)?.dialledAddress, null)
})

test('when the link that is used ends the other one takes its place', async () => {
  const world = new LinkedWorld()
  const [a, b] = [world.peer('a'), world.peer('b')]
  await world.pass(1)
  a.to(b)
  b.to(a)
  await world.pass(20)
  const used = a.to(b)
  used?.terminate('test')
  await world.pass(20)
  assert.is.not(a.to(b), used)
  assert.ok(a.to(b)?.isOpen)
  assert.ok(b.to(a)?.isOpen)
  a.to(b)?.send(inquire(7), 0)
  await world.pass(10)
  assert.ok(b.heardTypes().includes('inquire'))
})

test('a peer that comes back in a new life ends the links to the life before', async () => {
  const { world, a, b } = await linked()
  const stranger = world.stranger('b')
  await world.pass(1)
  stranger.dial(a.address)
  await world.pass(5)
  stranger.say(stranger.hello({ generation: 2 }))
  await world.pass(10)
  assert.equal(a.losses, [{ nodeId: b.nodeId, purpose: 'control', cause: 'lost' }])
  a.to(b)?.send(inquire(1), 0)
  await world.pass(10)
  assert.equal(
    stranger.heard.map(({ type }) => type),
    ['welcome', 'inquire'],
  )
})

test('a peer that was declared dead is cut off on every link', async () => {
  const { world, a, b } = await linked()
  a.to(b, 'data')
  await world.pass(10)
  a.links.cut(b.nodeId, 'declared dead')
  await world.pass(10)
  assert.equal(a.losses.map(({ purpose }) => purpose).sort(), ['control', 'data'])
  assert.is(b.losses.length, 2)
})

test('when a process dies its peers see its links end at once', async () => {
  const { world, a, b } = await linked()
  b.host.end('process')
  await world.pass(10)
  assert.is(a.losses.length, 1)
})

test('after a stop there are no links, and none are made', async () => {
  const { world, a, b } = await linked()
  a.links.stop()
  await world.pass(10)
  assert.is(a.to(b), null)
  a.links.dial(b.address)
  await world.pass(10)
  assert.equal(
    b.losses.map(({ cause }) => cause),
    ['closed'],
  )
  assert.is(b.meetings.length, 1)
  assert.equal(a.losses, [], 'whoever stops needs no news of it')
  a.links.stop()
})

test.run()
