/** The rules of SWIM, Lifeguard and memberlist, each shown to one machine that is fed by hand. */
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { at, belief, facts, id, Lone } from './membership-lone.ts'

const membership = suite('membership: rules')

membership('SWIM 4.2: suspect overrides alive of the same incarnation, not of a greater one', () => {
  const lone = new Lone(['a', 'b'])
  lone.gossip('a', belief('a', 'alive', 2))
  lone.gossip('b', belief('a', 'suspect', 1))
  assert.is(lone.state('a'), 'alive')
  lone.gossip('b', belief('a', 'suspect', 2))
  assert.is(lone.state('a'), 'suspect')
})

membership('SWIM 4.2: alive overrides suspect only with a greater incarnation', () => {
  const lone = new Lone(['a', 'b'])
  lone.gossip('b', belief('a', 'suspect', 1))
  lone.gossip('b', belief('a', 'alive', 1))
  assert.is(lone.state('a'), 'suspect')
  lone.gossip('b', belief('a', 'alive', 2))
  assert.is(lone.state('a'), 'alive')
})

membership(
  'SWIM 4.2: dead overrides alive and suspect of the same incarnation, and is overridden by a refutation',
  () => {
    const lone = new Lone(['a', 'b'])
    lone.gossip('b', belief('a', 'dead', 0))
    assert.is(lone.state('a'), 'dead')
    lone.gossip('b', belief('a', 'suspect', 0))
    assert.is(lone.state('a'), 'dead')
    lone.gossip('b', belief('a', 'alive', 1))
    assert.is(lone.state('a'), 'alive')
  },
)

membership('SWIM 4.2: a peer that hears of its own suspicion refutes it with a greater incarnation', () => {
  const lone = new Lone(['a', 'b'])
  const outputs = lone.gossip('a', belief('me', 'suspect', 4, facts('me')))
  assert.is(lone.machine.self.incarnation, 5)
  const [first] = outputs
  if (first?.type !== 'send' || first.message.type !== 'gossip') throw new Error('nothing was sent')
  assert.is(first.to, 'a')
  assert.is(first.message.updates[0]?.incarnation, 5)
  assert.is(first.message.updates[0]?.state, 'alive')
})

membership('Lifeguard IV-A: having to refute makes the peer trust itself less', () => {
  const lone = new Lone(['a'])
  assert.is(lone.machine.healthScore, 0)
  lone.gossip('a', belief('me', 'suspect', 0, facts('me')))
  assert.is(lone.machine.healthScore, 1)
})

membership('somebody who holds us for dead by old news is told the newest', () => {
  const lone = new Lone(['a'])
  lone.gossip('a', belief('me', 'dead', 3, facts('me')))
  lone.outputs = []
  lone.gossip('a', belief('me', 'dead', 3, facts('me')))
  assert.is(lone.machine.self.incarnation, 4)
  assert.is(lone.sent('gossip').filter(({ to }) => to === 'a').length > 0, true)
})

membership(
  'SWIM 3: no ack in time, and helpers are asked; no ack from them either, and the peer is suspect',
  () => {
    const lone = new Lone(['a', 'b', 'c', 'd'])
    lone.run(350 * 5, lone.answering('a'))
    const requests = lone.sent('pingReq')
    assert.is(new Set(requests.map(({ to }) => to)).size, 3)
    assert.ok(requests.every(({ to, message }) => to !== 'a' && message.target === 'a'))
    assert.is(lone.state('a'), 'suspect')
  },
)

membership('SWIM 3: an ack through a helper is as good as a direct one', () => {
  const lone = new Lone(['a', 'b', 'c', 'd'])
  lone.run(350 * 9, (to, message) => {
    lone.answering('a')(to, message)
    if (message.type === 'pingReq') lone.ack(to, message.seq)
  })
  assert.ok(lone.sent('pingReq').length > 0)
  assert.is(lone.state('a'), 'alive')
})

membership('SWIM 3: a helper pings for others, passes the ack on, or nacks when none comes in time', () => {
  const lone = new Lone(['a', 'b'])
  const request = {
    type: 'pingReq',
    seq: 77,
    target: id('b'),
    generation: 1,
    address: at('b'),
    waitMs: 120,
  } as const
  lone.message('a', request)
  const [ping] = lone.sent('ping').filter(({ to }) => to === 'b')
  lone.ack('b', ping?.message.seq ?? 0)
  assert.equal(
    lone.sent('ack').map(({ to, message }) => [to, message.seq]),
    [['a', 77]],
  )
  lone.message('a', { ...request, seq: 78 })
  lone.run(119)
  assert.is(lone.sent('nack').length, 0)
  lone.run(1)
  assert.equal(
    lone.sent('nack').map(({ to, message }) => [to, message]),
    [['a', { type: 'nack', seq: 78, refused: false }]],
  )
})

membership('SWIM 4.3: a round of probes visits everyone once', () => {
  const names = ['a', 'b', 'c', 'd', 'e', 'f', 'g']
  const lone = new Lone(names)
  lone.run(350 * 40, lone.answering())
  const pinged = lone.sent('ping').map(({ to }) => to)
  for (let round = 1; round < 4; round++) {
    const visited = pinged.slice(round * names.length, (round + 1) * names.length)
    assert.equal([...visited].sort(), names)
  }
})

membership(
  'Lifeguard IV-A: nacks that do not come make the prober doubt itself; with all nacks it does not',
  () => {
    const withNacks = new Lone(['a', 'b', 'c', 'd'])
    withNacks.run(350 * 4, (to, message) => {
      withNacks.answering('a')(to, message)
      if (message.type === 'pingReq')
        withNacks.message(to, { type: 'nack', seq: message.seq, refused: false })
    })
    assert.is(withNacks.state('a'), 'suspect')
    assert.is(withNacks.machine.healthScore, 0)
    const without = new Lone(['a', 'b', 'c', 'd'])
    without.run(350 * 5)
    assert.ok(without.machine.healthScore >= 3)
  },
)

membership('Lifeguard IV-A: a peer in bad health waits longer before it asks helpers', () => {
  const lone = new Lone(['a', 'b', 'c', 'd'])
  for (let claims = 0; claims < 7; claims++) lone.gossip('b', belief('me', 'suspect', claims, facts('me')))
  assert.is(lone.machine.healthScore, 7)
  lone.run(350)
  lone.outputs = []
  lone.run(1200)
  assert.is(lone.sent('pingReq').length, 0)
  lone.run(400)
  assert.ok(lone.sent('pingReq').length > 0)
})

membership('Lifeguard IV-B: a suspicion of one accuser lasts long, each further accuser shortens it', () => {
  const deathMs = (accusers: readonly string[]): number => {
    const lone = new Lone(['a', 'b', 'c', 'd'])
    lone.gossip('b', belief('a', 'suspect', 0, { accusers: accusers.map(id) }))
    const beganMs = lone.nowMs
    while (lone.state('a') === 'suspect') {
      lone.nowMs = lone.machine.nextWakeMs
      for (const output of lone.step({ type: 'timer' })) {
        if (output.type === 'send' && output.message.type === 'ping') lone.ack(output.to, output.message.seq)
      }
    }
    return Math.round(lone.nowMs - beganMs)
  }
  assert.is(deathMs(['b']), 8400)
  assert.is(deathMs(['b', 'c']), Math.round(8400 - 7000 * (Math.log(2) / Math.log(3))))
  assert.is(deathMs(['b', 'c', 'd']), 1400)
})

membership('Lifeguard IV-B: each accuser counts once, and new ones are passed on', () => {
  const lone = new Lone(['a', 'b', 'c', 'd'])
  lone.gossip('b', belief('a', 'suspect', 0, { accusers: [id('b')] }))
  lone.gossip('c', belief('a', 'suspect', 0, { accusers: [id('b')] }))
  assert.equal(lone.machine.get(id('a'))?.accusers, ['b'])
  lone.run(1000, lone.answering())
  lone.outputs = []
  lone.gossip('c', belief('a', 'suspect', 0, { accusers: [id('c')] }))
  assert.equal(lone.machine.get(id('a'))?.accusers, ['b', 'c'])
  const passed = lone.sent('gossip').flatMap(({ message }) => message.updates)
  assert.ok(passed.some((record) => record.nodeId === 'a' && record.accusers.length === 2))
})

membership('Lifeguard IV-C: a suspect is told of it with the next ping', () => {
  const lone = new Lone(['a'])
  lone.gossip('a', belief('a', 'suspect', 0))
  lone.run(800)
  const pings = lone.sent('ping').filter(({ to }) => to === 'a')
  assert.ok(pings.length > 0)
  for (const { message } of pings)
    assert.ok(message.updates.some(({ nodeId, state }) => nodeId === 'a' && state === 'suspect'))
})

membership('memberlist: a death learnt by push-pull counts as a suspicion only', () => {
  const lone = new Lone(['a', 'b'])
  const peers = [belief('a', 'dead', 0), belief('b', 'alive', 0)]
  lone.message('b', { type: 'pushPull', configuration: 0, wantsReply: false, peers })
  assert.is(lone.state('a'), 'suspect')
})

membership('a full state is answered with what outranks it, and with nothing else', () => {
  const lone = new Lone(['a', 'b'])
  lone.gossip('b', belief('a', 'alive', 3))
  lone.outputs = []
  const peers = [belief('a', 'alive', 1), belief('b', 'alive', 0), belief('c', 'alive', 0)]
  lone.message('b', { type: 'pushPull', configuration: 0, wantsReply: true, peers })
  const [reply] = lone.sent('pushPull')
  assert.is(reply?.message.wantsReply, false)
  assert.equal(
    reply?.message.peers.map(({ nodeId, incarnation }) => [nodeId, incarnation]),
    [
      ['me', 0],
      ['a', 3],
    ],
  )
  assert.is(lone.state('c'), 'alive')
})

membership('equal beliefs are seen by their digests, and nothing more is sent', () => {
  const lone = new Lone(['a'])
  const peers = [belief('a', 'alive', 0)]
  lone.message('a', { type: 'pushPull', configuration: 0, wantsReply: false, peers })
  lone.run(5000, lone.answering())
  const [compare] = lone.sent('compare')
  if (compare === undefined) throw new Error('nothing was compared')
  lone.outputs = []
  lone.message('a', compare.message)
  assert.equal(lone.outputs, [])
  lone.message('a', { ...compare.message, digest: compare.message.digest + 1 })
  assert.equal(
    lone.sent('pushPull').map(({ message }) => message.wantsReply),
    [true],
  )
})

membership('a full state that gets lost is sent again', () => {
  const lone = new Lone([])
  lone.step({ type: 'met', facts: facts('a'), dialled: at('a') })
  assert.is(lone.sent('pushPull').length, 1)
  lone.run(1100, lone.answering())
  assert.is(lone.sent('pushPull').length, 2)
  lone.message('a', { type: 'pushPull', configuration: 0, wantsReply: false, peers: [belief('a', 'alive')] })
  lone.run(1100, lone.answering())
  assert.is(lone.sent('pushPull').length, 2)
})

membership('the same seed and inputs give the same outputs', () => {
  const trace = (): string => {
    const lone = new Lone(['a', 'b', 'c', 'd'])
    lone.run(10_000, lone.answering('c'))
    return JSON.stringify(lone.outputs)
  }
  assert.is(trace(), trace())
})

membership.run()
