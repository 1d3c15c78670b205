/** What counts as evidence about whom: links that end, other lives, our own stalls; and who is told. */
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { at, belief, facts, id, Lone } from './membership-lone.ts'

const membership = suite('membership: evidence')

membership('a restart outranks whatever was said of the life before', () => {
  const lone = new Lone(['a', 'b'])
  lone.gossip('b', belief('a', 'dead', 9))
  lone.step({ type: 'met', facts: facts('a', 2), dialled: null })
  assert.is(lone.state('a'), 'alive')
  lone.gossip('b', belief('a', 'dead', 10))
  assert.is(lone.state('a'), 'alive')
  assert.is(lone.machine.get(id('a'))?.generation, 2)
})

membership('an ack of another life proves nothing about the one that was probed, for or against it', () => {
  const lone = new Lone(['a', 'b'])
  lone.run(800, (to, message) => {
    if (message.type === 'ping') lone.ack(to, message.seq, to === 'a' ? 2 : 1)
  })
  assert.ok(lone.sent('ping').some(({ to }) => to === 'a'))
  assert.is(lone.state('a'), 'alive')
  assert.is(lone.machine.get(id('a'))?.generation, 1)
})

membership('a refusal at an address where the peer no longer is proves nothing', () => {
  const lone = new Lone(['a'])
  lone.step({ type: 'met', facts: facts('a', 2, at('elsewhere')), dialled: null })
  lone.step({ type: 'linkClosed', nodeId: id('a'), cause: 'refused', address: at('a') })
  assert.is(lone.state('a'), 'alive')
})

membership('refused, seen by us and by every helper asked, is death without a suspicion', () => {
  const lone = new Lone(['a', 'b', 'c'])
  lone.step({ type: 'linkClosed', nodeId: id('a'), cause: 'closed', address: null })
  const requests = lone.sent('pingReq')
  assert.equal(requests.map(({ to }) => to).sort(), ['b', 'c'])
  lone.step({ type: 'linkClosed', nodeId: id('a'), cause: 'refused', address: at('a') })
  assert.is(lone.state('a'), 'alive')
  for (const { to, message } of requests) lone.message(to, { type: 'nack', seq: message.seq, refused: true })
  assert.is(lone.state('a'), 'dead')
  assert.is(lone.nowMs, 0)
})

membership('refused by all but one silent helper is not death', () => {
  const lone = new Lone(['a', 'b', 'c'])
  lone.step({ type: 'linkClosed', nodeId: id('a'), cause: 'refused', address: at('a') })
  const [first, second] = lone.sent('pingReq')
  lone.message(first?.to ?? '', { type: 'nack', seq: first?.message.seq ?? 0, refused: true })
  lone.message(second?.to ?? '', { type: 'nack', seq: second?.message.seq ?? 0, refused: false })
  assert.is(lone.state('a'), 'alive')
  lone.run(400, lone.answering('a'))
  assert.is(lone.state('a'), 'suspect')
})

membership('refused is death by our word alone when there is nobody else', () => {
  const lone = new Lone(['a'])
  lone.step({ type: 'linkClosed', nodeId: id('a'), cause: 'refused', address: at('a') })
  assert.is(lone.state('a'), 'dead')
})

membership('a closed link alone is no verdict: the peer that answers stays alive', () => {
  const lone = new Lone(['a', 'b', 'c'])
  lone.step({ type: 'linkClosed', nodeId: id('a'), cause: 'lost', address: null })
  for (const { to, message } of lone.sent('ping')) lone.ack(to, message.seq)
  lone.run(300, lone.answering())
  assert.is(lone.state('a'), 'alive')
})

membership('a helper that saw the refusal itself says so at once', () => {
  const lone = new Lone(['a', 'b'])
  lone.step({ type: 'linkClosed', nodeId: id('b'), cause: 'refused', address: at('b') })
  lone.message('a', {
    type: 'pingReq',
    seq: 5,
    target: id('b'),
    generation: 1,
    address: at('b'),
    waitMs: 100,
  })
  assert.equal(
    lone.sent('nack').map(({ message }) => message),
    [{ type: 'nack', seq: 5, refused: true }],
  )
})

membership(
  'a stalled peer blames itself: deadlines begin anew, health is worse, it refutes before it heard',
  () => {
    const lone = new Lone(['a', 'b', 'c', 'd'])
    lone.gossip('b', belief('a', 'suspect', 0, { accusers: [id('b'), id('c'), id('d')] }))
    lone.run(1000, lone.answering())
    const health = lone.machine.healthScore
    lone.nowMs += 10_000
    lone.step({ type: 'timer' })
    assert.is(lone.state('a'), 'suspect')
    assert.ok(lone.machine.healthScore > health)
    assert.is(lone.machine.self.incarnation, 1)
    lone.run(2000, lone.answering())
    assert.is(lone.state('a'), 'dead')
  },
)

membership('refused is not death when there are others and none of them can help', () => {
  const lone = new Lone(['a', 'b'])
  lone.gossip('b', belief('b', 'suspect', 0))
  lone.step({ type: 'linkClosed', nodeId: id('a'), cause: 'refused', address: at('a') })
  assert.is(lone.state('a'), 'alive')
})

membership('a helper that refuses connections itself is not counted as asked', () => {
  const lone = new Lone(['a', 'b', 'c'])
  lone.step({ type: 'linkClosed', nodeId: id('a'), cause: 'refused', address: at('a') })
  const toC = lone.sent('pingReq').find(({ to }) => to === 'c')
  lone.message('c', { type: 'nack', seq: toC?.message.seq ?? 0, refused: true })
  assert.is(lone.state('a'), 'alive')
  lone.step({ type: 'linkClosed', nodeId: id('b'), cause: 'refused', address: at('b') })
  assert.is(lone.state('a'), 'dead')
})

membership('an ack of another life through a helper is no sign of the one that was probed', () => {
  const lone = new Lone(['a', 'b'])
  lone.run(1000, (to, message) => {
    lone.answering('a')(to, message)
    if (message.type === 'pingReq') lone.ack(to, message.seq, 2)
  })
  assert.ok(lone.sent('pingReq').some(({ message }) => message.target === 'a'))
  assert.is(lone.machine.get(id('a'))?.lastHeardMs, 0)
})

membership('a dead peer that is tried again, or that speaks to us, is told that we hold it for dead', () => {
  const lone = new Lone(['a', 'b'])
  lone.gossip('b', belief('a', 'dead', 3))
  lone.run(10_000, lone.answering('a'))
  lone.outputs = []
  lone.run(1000, lone.answering('a'))
  const [redial] = lone.sent('ping').filter(({ to }) => to === 'a')
  assert.equal(
    redial?.message.updates.map(({ nodeId, state }) => [nodeId, state]),
    [['a', 'dead']],
  )
  lone.outputs = []
  lone.gossip('a')
  const [truth] = lone.sent('gossip').filter(({ to }) => to === 'a')
  assert.equal(
    truth?.message.updates.map(({ nodeId, state }) => [nodeId, state]),
    [['a', 'dead']],
  )
  lone.message('a', { type: 'ping', seq: 9, generation: 1, configuration: 0, updates: [] })
  const [ack] = lone.sent('ack')
  assert.equal(
    ack?.message.updates.map(({ nodeId, state }) => [nodeId, state]),
    [['a', 'dead']],
  )
})

membership('a probe under way while we were stalled is not held against its target', () => {
  const lone = new Lone(['a', 'b', 'c', 'd'])
  while (lone.sent('ping').length === 0) lone.run(1)
  lone.nowMs += 1000
  lone.step({ type: 'timer' })
  lone.nowMs += 1
  for (const { to, message } of lone.sent('ping')) lone.ack(to, message.seq)
  for (const name of ['a', 'b', 'c', 'd']) assert.is(lone.state(name), 'alive')
  assert.equal(lone.sent('pingReq'), [])
})

membership('a loop that is always late still finds the dead', () => {
  const lone = new Lone(['a'])
  while (lone.state('a') !== 'dead' && lone.nowMs < 60_000) {
    lone.nowMs = lone.machine.nextWakeMs + 150
    lone.step({ type: 'timer' })
  }
  assert.is(lone.state('a'), 'dead')
})

membership('a forgotten peer never comes back', () => {
  const lone = new Lone(['a', 'b'])
  lone.step({ type: 'forget', nodeIds: [id('a')] })
  lone.gossip('b', belief('a', 'alive', 50, { generation: 9 }))
  lone.step({ type: 'met', facts: facts('a', 10), dialled: at('a') })
  lone.message('a', { type: 'ping', seq: 1, generation: 1, configuration: 7, updates: [] })
  lone.step({ type: 'learn', peers: [{ nodeId: id('a'), address: at('a') }] })
  assert.is(lone.state('a'), null)
  assert.equal(
    lone.outputs.filter((output) => output.type === 'configurationSeen'),
    [],
  )
})

membership('a peer that leaves is down at once and is not probed for it', () => {
  const lone = new Lone(['a', 'b'])
  lone.gossip('a', belief('a', 'left', 0))
  assert.is(lone.state('a'), 'left')
  lone.step({ type: 'linkClosed', nodeId: id('a'), cause: 'closed', address: null })
  assert.equal(lone.sent('pingReq'), [])
})

membership('who leaves says so to everyone, does not refute it, and sets no more timers', () => {
  const lone = new Lone(['a', 'b', 'c'])
  lone.step({ type: 'leave' })
  assert.equal(
    lone
      .sent('gossip')
      .map(({ to }) => to)
      .sort(),
    ['a', 'b', 'c'],
  )
  lone.gossip('a', belief('me', 'dead', 5, facts('me')))
  assert.is(lone.machine.self.state, 'left')
  assert.is(lone.machine.nextWakeMs, Number.POSITIVE_INFINITY)
})

membership('pings carry the number of the newest configuration, and whoever is behind is told', () => {
  const lone = new Lone(['a'])
  lone.step({ type: 'configuration', number: 4, members: [id('b')] })
  lone.run(400, lone.answering())
  assert.ok(lone.sent('ping').every(({ message }) => message.configuration === 4))
  const outputs = lone.message('a', { type: 'ping', seq: 1, generation: 1, configuration: 6, updates: [] })
  assert.equal(outputs[0], { type: 'configurationSeen', from: id('a'), number: 6 })
  assert.is(lone.machine.get(id('a'))?.configurationNumber, 6)
})

membership('a newer life of our own, and a twin with another nonce, are reported', () => {
  const lone = new Lone(['a'])
  const newer = lone.gossip('a', belief('me', 'alive', 0, facts('me', 2)))
  assert.ok(newer.some((output) => output.type === 'outranked' && output.generation === 2))
  const twin = lone.gossip('a', belief('me', 'alive', 0, { ...facts('me'), bootNonce: 'another' }))
  assert.ok(twin.some((output) => output.type === 'outranked' && output.bootNonce === 'another'))
})

membership('a leap of generations that nobody can have made is not believed, of anyone', () => {
  const lone = new Lone(['a', 'b'])
  const leap = 2 ** 32
  assert.equal(lone.gossip('a', belief('me', 'alive', 0, facts('me', 2 + leap))), [])
  lone.gossip('a', belief('b', 'alive', 0, facts('b', 2 + leap)))
  assert.is(lone.machine.get(id('b'))?.generation, 1)
  lone.gossip('a', belief('c', 'alive', 0, facts('c', 2 ** 40)))
  assert.is(lone.machine.get(id('c')), null)
  const heard = lone.gossip('a', belief('me', 'alive', 0, facts('me', 1 + leap)))
  assert.ok(heard.some((output) => output.type === 'outranked'))
})

membership('a peer that rises above a claimed life says so, and never sinks', () => {
  const lone = new Lone(['a'])
  lone.step({ type: 'rise', generation: 9 })
  assert.is(lone.machine.self.generation, 9)
  assert.is(lone.machine.self.incarnation, 0)
  lone.step({ type: 'rise', generation: 3 })
  assert.is(lone.machine.self.generation, 9)
  lone.run(1_000, lone.answering())
  const told = lone.sent('gossip').flatMap(({ message }) => message.updates)
  assert.ok(told.some(({ nodeId, generation }) => nodeId === id('me') && generation === 9))
})

membership('somebody we hold for dead has no vote on others', () => {
  const lone = new Lone(['a', 'b'])
  lone.gossip('b', belief('a', 'dead', 0))
  lone.gossip('a', belief('b', 'dead', 0))
  assert.is(lone.state('b'), 'alive')
})

membership('peers known from disk are down until they are met, and are tried at once', () => {
  const lone = new Lone([])
  const outputs = lone.step({ type: 'learn', peers: [{ nodeId: id('a'), address: at('a') }] })
  assert.is(lone.state('a'), 'dead')
  assert.ok(
    outputs.some((output) => output.type === 'send' && output.to === 'a' && output.message.type === 'ping'),
  )
  lone.step({ type: 'met', facts: facts('a'), dialled: at('a') })
  assert.is(lone.state('a'), 'alive')
  assert.ok(lone.sent('pushPull').some(({ to }) => to === 'a'))
})

membership(
  'who is down for a minute and is no member is forgotten until it comes again; a member never',
  () => {
    const lone = new Lone(['a', 'member', 'stranger'])
    lone.step({ type: 'configuration', number: 2, members: [id('me'), id('a'), id('member')] })
    lone.gossip('a', belief('member', 'dead'), belief('stranger', 'dead'))
    const answering = lone.answering('member', 'stranger')
    lone.run(59_000, answering)
    assert.is(lone.state('stranger'), 'dead')
    lone.run(10_000, answering)
    assert.is(lone.state('stranger'), null)
    assert.is(lone.state('member'), 'dead')
    const told = lone.outputs.filter((output) => output.type === 'changed' && output.after === null)
    assert.equal(
      told.map((output) => output.type === 'changed' && output.nodeId),
      ['stranger'],
    )
    lone.step({ type: 'met', facts: facts('stranger', 2), dialled: null })
    assert.is(lone.state('stranger'), 'alive')
  },
)

membership('a stranger that is down is forgotten when somebody else is up at its address', () => {
  const lone = new Lone(['a', 'member', 'stranger'])
  lone.step({ type: 'configuration', number: 2, members: [id('me'), id('a'), id('member')] })
  lone.gossip('a', belief('stranger', 'dead'), belief('member', 'dead'))
  assert.is(lone.state('stranger'), 'dead')
  lone.step({ type: 'met', facts: facts('next', 1, at('stranger')), dialled: null })
  assert.equal([lone.state('stranger'), lone.state('next')], [null, 'alive'])
  lone.step({ type: 'met', facts: facts('other', 1, at('member')), dialled: null })
  assert.is(lone.state('member'), 'dead', 'a member is no stranger')
})

membership('a stranger that goes down where somebody else is up by then is forgotten at once', () => {
  const lone = new Lone(['a', 'stranger'])
  lone.step({ type: 'configuration', number: 2, members: [id('me'), id('a')] })
  lone.step({ type: 'met', facts: facts('next', 1, at('stranger')), dialled: null })
  assert.equal([lone.state('stranger'), lone.state('next')], ['alive', 'alive'])
  lone.gossip('a', belief('stranger', 'left'))
  assert.equal([lone.state('stranger'), lone.state('next')], [null, 'alive'])
})

membership('who is alone forgets no strangers: they may have been made members', () => {
  const lone = new Lone(['a', 'stranger'])
  lone.step({ type: 'configuration', number: 2, members: [id('me'), id('a')] })
  lone.gossip('a', belief('stranger', 'dead'), belief('a', 'left'))
  lone.run(600_000)
  assert.equal([lone.state('stranger'), lone.state('a')], ['dead', 'left'])
  lone.step({ type: 'met', facts: facts('a', 2), dialled: null })
  lone.run(10_000, lone.answering('stranger'))
  assert.is(lone.state('stranger'), null)
})

membership('nobody is reminded by others of a dead stranger that he has forgotten', () => {
  const lone = new Lone(['a'])
  lone.step({ type: 'configuration', number: 2, members: [id('me'), id('a'), id('member')] })
  const peers = [belief('member', 'dead'), belief('stranger', 'dead'), belief('gone', 'left')]
  lone.gossip('a', ...peers)
  lone.message('a', { type: 'pushPull', configuration: 0, wantsReply: false, peers })
  assert.equal([lone.state('member'), lone.state('stranger'), lone.state('gone')], ['dead', null, null])
  lone.gossip('a', belief('stranger', 'alive'))
  assert.is(lone.state('stranger'), 'alive')
})

membership('before there is a configuration nobody is a stranger', () => {
  const lone = new Lone(['a', 'b'])
  lone.gossip('a', belief('b', 'dead'))
  lone.run(3_800_000, lone.answering('b'))
  assert.is(lone.state('b'), 'dead')
})

membership.run()
