/** The rules of SWIM and Lifeguard, each shown to one machine that is fed by hand. */
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import type { Address, NodeId } from '../../src/base/ids.ts'
import { createMembership, type Membership } from '../../src/protocol/membership/machine.ts'
import type {
  MembershipInput,
  MembershipMessage,
  MembershipOutput,
} from '../../src/protocol/membership/messages.ts'
import type { LifeState, PeerRecord } from '../../src/protocol/membership/peer.ts'

const membership = suite('membership: rules')

const id = (name: string): NodeId => name as NodeId
const at = (name: string): Address => `${name}.example:7000` as Address

function facts(name: string, generation = 1, address = at(name)) {
  const meta = { zone: '', weight: 1, version: '0.1.0' }
  return { nodeId: id(name), generation, bootNonce: `boot-${name}-${generation}`, address, meta }
}

function belief(
  name: string,
  state: LifeState,
  incarnation = 0,
  extra: Partial<PeerRecord> = {},
): PeerRecord {
  return { ...facts(name), incarnation, state, accusers: state === 'suspect' ? [id('b')] : [], ...extra }
}

/** One machine, `me`, its clock, and everything it put out. */
class Lone {
  readonly machine: Membership
  nowMs = 0
  outputs: MembershipOutput[] = []

  constructor(others: readonly string[]) {
    this.machine = createMembership(facts('me'), {}, 'lone')
    this.step({ type: 'timer' })
    for (const name of others) this.step({ type: 'met', facts: facts(name), dialled: null })
    this.outputs = []
  }

  step(input: MembershipInput): readonly MembershipOutput[] {
    const outputs = this.machine.step(input, this.nowMs)
    this.outputs.push(...outputs)
    return outputs
  }

  message(from: string, message: MembershipMessage): readonly MembershipOutput[] {
    return this.step({ type: 'message', from: id(from), message })
  }

  gossip(from: string, ...updates: readonly PeerRecord[]): readonly MembershipOutput[] {
    return this.message(from, { type: 'gossip', configuration: 0, updates })
  }

  /** Runs its timers for a while; `reply` may answer what it sends. */
  run(forMs: number, reply: (to: string, message: MembershipMessage) => void = () => {}): void {
    const endMs = this.nowMs + forMs
    while (this.machine.nextWakeMs <= endMs) {
      this.nowMs = Math.max(this.nowMs, this.machine.nextWakeMs)
      for (const output of this.step({ type: 'timer' }))
        if (output.type === 'send') reply(output.to, output.message)
    }
    this.nowMs = endMs
  }

  /** Acks every ping but those to the silent. */
  answering(...silent: readonly string[]): (to: string, message: MembershipMessage) => void {
    return (to, message) => {
      if (message.type === 'ping' && !silent.includes(to)) this.ack(to, message.seq)
    }
  }

  ack(from: string, seq: number, generation = 1): void {
    this.message(from, { type: 'ack', seq, generation, configuration: 0, updates: [] })
  }

  state(name: string): LifeState | null {
    return this.machine.stateOf(id(name))
  }

  sent<T extends MembershipMessage['type']>(
    type: T,
  ): { to: string; message: Extract<MembershipMessage, { type: T }> }[] {
    const found: { to: string; message: Extract<MembershipMessage, { type: T }> }[] = []
    for (const output of this.outputs) {
      if (output.type !== 'send' || output.message.type !== type) continue
      found.push({ to: output.to, message: output.message as Extract<MembershipMessage, { type: T }> })
    }
    return found
  }
}

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
  'a peer that was stalled blames itself: its deadlines begin anew, its health is worse, it refutes before it heard',
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

membership('lateness that was seen elsewhere counts too', () => {
  const lone = new Lone(['a'])
  lone.step({ type: 'loopLate', lateMs: 99 })
  assert.is(lone.machine.healthScore, 0)
  lone.step({ type: 'loopLate', lateMs: 101 })
  assert.is(lone.machine.healthScore, 1)
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
  lone.step({ type: 'configuration', number: 4 })
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
