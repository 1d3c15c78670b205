import fc from 'fast-check'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { toHex, utf8 } from '../../src/base/bytes.ts'
import { type NodeId, parseNodeId } from '../../src/base/ids.ts'
import { createPrng, type Prng } from '../../src/base/prng.ts'
import {
  type AcceptorAnswer,
  type AcceptorRequest,
  answer,
  type Ballot,
  compareBallots,
  majority,
  NO_VOTES,
  type Proposer,
  question,
  receiveAnswer,
  startProposer,
  type Votes,
} from '../../src/protocol/synod.ts'

const node = (name: string): NodeId => parseNodeId(name)
const ballot = (round: number, name = 'p', bootNonce = 'boot'): Ballot => ({
  round,
  nodeId: node(name),
  bootNonce,
})
const A = utf8('value a')
const B = utf8('value b')
const standing = { decided: 1, named: true }
const prepare = (round: number, name = 'p'): AcceptorRequest => ({
  type: 'prepare',
  number: 2,
  ballot: ballot(round, name),
})
const vote = (round: number, value = A, name = 'p'): AcceptorRequest => ({
  type: 'vote',
  number: 2,
  ballot: ballot(round, name),
  value,
})

function after(...requests: AcceptorRequest[]): Votes {
  return requests.reduce((votes, request) => answer(votes, standing, request).votes, NO_VOTES)
}

const acceptorSuite = suite('synod: acceptor')

// "Paxos Made Simple" 2.2, P1: "An acceptor must accept the first proposal that it receives."
acceptorSuite('accepts the first proposal that it receives', () => {
  const step = answer(NO_VOTES, standing, vote(1))
  assert.is(step.answer.type, 'voted')
  assert.equal(step.votes, { number: 2, promised: ballot(1), accepted: { ballot: ballot(1), value: A } })
})

// P1a: "An acceptor can accept a proposal numbered n iff it has not responded to a prepare request having a
// number greater than n."
acceptorSuite('accepts no proposal below a ballot it has promised, and tells which', () => {
  const votes = after(prepare(5))
  const step = answer(votes, standing, vote(4))
  assert.equal(step.answer, {
    type: 'voteRefused',
    number: 2,
    ballot: ballot(4),
    reason: 'promised',
    promised: ballot(5),
  })
  assert.is(step.votes, votes)
  assert.is(answer(votes, standing, vote(5)).answer.type, 'voted')
  assert.is(answer(votes, standing, vote(6)).answer.type, 'voted')
})

// Phase 1(b): it responds "with a promise not to accept any more proposals numbered less than n and with the
// highest-numbered proposal (if any) that it has accepted".
acceptorSuite('promises and tells the vote it cast last', () => {
  const step = answer(after(prepare(1), vote(1)), standing, prepare(7, 'q'))
  assert.equal(step.answer, {
    type: 'promise',
    number: 2,
    ballot: ballot(7, 'q'),
    accepted: { ballot: ballot(1), value: A },
  })
  assert.equal(step.votes.promised, ballot(7, 'q'))
})

acceptorSuite('a promise never falls, and a repeated request changes nothing', () => {
  const votes = after(prepare(5))
  assert.is(answer(votes, standing, prepare(3)).votes, votes)
  assert.is(answer(votes, standing, prepare(5)).votes, votes)
  assert.is(answer(votes, standing, prepare(5)).answer.type, 'promise')
  const voted = after(vote(5))
  assert.is(answer(voted, standing, vote(5)).votes, voted)
})

// Section 2.2: "different proposals have different numbers".
acceptorSuite('refuses a second value in one ballot', () => {
  const votes = after(vote(5, A))
  const step = answer(votes, standing, vote(5, B))
  assert.is(step.answer.type, 'voteRefused')
  assert.is(step.votes, votes)
})

acceptorSuite('says of older numbers that they are decided, of newer ones that it is behind', () => {
  const reason = (number: number, decided: number): string => {
    const step = answer(NO_VOTES, { decided, named: true }, { type: 'prepare', number, ballot: ballot(1) })
    return step.answer.type === 'voteRefused' ? step.answer.reason : step.answer.type
  }
  assert.equal(
    [1, 4, 5, 6, 9].map((number) => reason(number, 4)),
    ['decided', 'decided', 'promise', 'behind', 'behind'],
  )
})

acceptorSuite('has no vote where it is not named', () => {
  const step = answer(NO_VOTES, { decided: 1, named: false }, prepare(1))
  assert.is(step.answer.type === 'voteRefused' && step.answer.reason, 'unnamed')
  assert.is(step.votes, NO_VOTES)
})

acceptorSuite('starts each number without votes, and stays silent below a number it voted on', () => {
  const votes = after(prepare(9), vote(9))
  const next = answer(votes, { decided: 2, named: true }, { type: 'prepare', number: 3, ballot: ballot(1) })
  assert.is(next.answer.type === 'promise' && next.answer.accepted, null)
  const forgetful = answer(next.votes, standing, prepare(10))
  assert.is(forgetful.answer.type === 'voteRefused' && forgetful.answer.reason, 'behind')
})

acceptorSuite('orders ballots by round, then node, then boot', () => {
  const ordered = [ballot(1, 'a', 'x'), ballot(1, 'a', 'y'), ballot(1, 'b', 'a'), ballot(2, 'a', 'a')]
  for (const [i, one] of ordered.entries()) {
    for (const [j, other] of ordered.entries()) {
      assert.is(Math.sign(compareBallots(one, other)), Math.sign(i - j))
    }
  }
})

acceptorSuite.run()

const proposerSuite = suite('synod: proposer')
const [x, y, z] = [node('x'), node('y'), node('z')]
const promise = (
  accepted: { ballot: Ballot; value: Uint8Array } | null = null,
  round = 9,
): AcceptorAnswer => {
  return { type: 'promise', number: 2, ballot: ballot(round), accepted }
}

proposerSuite('proposes its own value when a majority has voted for nothing', () => {
  let proposer = startProposer(2, ballot(9), [x, y, z], A)
  assert.equal(question(proposer), prepare(9))
  proposer = receiveAnswer(proposer, x, promise())
  proposer = receiveAnswer(proposer, x, promise())
  assert.is(proposer.stage, 'preparing', 'one acceptor counts once')
  proposer = receiveAnswer(proposer, y, promise())
  assert.equal(question(proposer), vote(9, A))
})

// Phase 2(a): "where v is the value of the highest-numbered proposal among the responses".
proposerSuite('adopts the value of the highest-numbered proposal among the responses', () => {
  let proposer = startProposer(2, ballot(9), [x, y, z], utf8('own'))
  proposer = receiveAnswer(proposer, x, promise({ ballot: ballot(7), value: B }))
  proposer = receiveAnswer(proposer, y, promise({ ballot: ballot(4), value: A }))
  assert.equal(question(proposer), vote(9, B))
})

proposerSuite('is done with a majority of votes in its ballot', () => {
  let proposer = startProposer(2, ballot(9), [x, y, z], A)
  for (const from of [x, y]) proposer = receiveAnswer(proposer, from, promise())
  const voted: AcceptorAnswer = { type: 'voted', number: 2, ballot: ballot(9) }
  proposer = receiveAnswer(proposer, z, voted)
  proposer = receiveAnswer(proposer, z, voted)
  proposer = receiveAnswer(proposer, node('stranger'), voted)
  proposer = receiveAnswer(proposer, y, { ...voted, ballot: ballot(8) })
  proposer = receiveAnswer(proposer, y, { ...voted, number: 3 })
  assert.is(proposer.stage, 'voting')
  proposer = receiveAnswer(proposer, y, voted)
  assert.is(proposer.stage, 'chosen')
  assert.is(question(proposer), null)
})

proposerSuite('gives up when no majority is left, and knows what overtook it', () => {
  let proposer = startProposer(2, ballot(9), [x, y, z], A)
  const refused = (round: number): AcceptorAnswer => {
    return { type: 'voteRefused', number: 2, ballot: ballot(9), reason: 'promised', promised: ballot(round) }
  }
  proposer = receiveAnswer(proposer, x, refused(12))
  assert.is(proposer.stage, 'preparing')
  proposer = receiveAnswer(proposer, y, refused(11))
  assert.is(proposer.stage, 'lost')
  assert.equal(proposer.overtakenBy, ballot(12))
})

proposerSuite.run()

const agreement = suite('synod: agreement')

interface InFlight {
  readonly acceptor: number
  readonly proposer: number
  readonly content: AcceptorRequest | AcceptorAnswer
}

/**
 * Acceptors that keep only what was persisted, proposers that forget everything, and a network that does as
 * it likes.
 */
class Model {
  readonly names: readonly NodeId[]
  readonly onDisk: Votes[]
  readonly proposers: (Proposer | null)[]
  readonly rounds: number[]
  readonly boots: number[]
  readonly chosen = new Set<string>()
  readonly valueOfBallot = new Map<string, string>()
  readonly votersOfBallot = new Map<string, Set<number>>()
  messages: InFlight[] = []
  readonly #prng: Prng

  constructor(seed: number, acceptors: number, proposers: number) {
    this.#prng = createPrng(seed)
    this.names = Array.from({ length: acceptors }, (_, i) => node(`acceptor${i}`))
    this.onDisk = this.names.map(() => NO_VOTES)
    this.proposers = Array.from({ length: proposers }, () => null)
    this.rounds = this.proposers.map(() => 0)
    this.boots = this.proposers.map(() => 0)
  }

  step(lossPercent: number): void {
    const dice = this.#prng.int(100)
    if (dice < 6) this.propose(this.#prng.int(this.proposers.length))
    else if (dice < 8) this.restartProposer(this.#prng.int(this.proposers.length))
    else if (dice < 14) this.ask(this.#prng.int(this.proposers.length))
    else if (this.messages.length > 0) this.carry(lossPercent)
  }

  propose(index: number): void {
    const seen = this.proposers[index]?.overtakenBy?.round ?? 0
    const round = Math.max(this.rounds[index] as number, seen) + 1
    this.rounds[index] = round
    const own = { round, nodeId: node(`proposer${index}`), bootNonce: `boot${this.boots[index]}` }
    this.proposers[index] = startProposer(
      2,
      own,
      this.names,
      utf8(`value ${index} ${this.boots[index]} ${round}`),
    )
    this.ask(index)
  }

  restartProposer(index: number): void {
    this.proposers[index] = null
    this.rounds[index] = 0
    this.boots[index] = (this.boots[index] as number) + 1
  }

  ask(index: number): void {
    const proposer = this.proposers[index]
    const content = proposer === null || proposer === undefined ? null : question(proposer)
    if (content === null) return
    if (content.type === 'vote') {
      const key = JSON.stringify(content.ballot)
      const value = toHex(content.value)
      assert.is(this.valueOfBallot.get(key) ?? value, value, 'no ballot carries two values')
      this.valueOfBallot.set(key, value)
    }
    for (const acceptor of this.names.keys()) this.messages.push({ acceptor, proposer: index, content })
  }

  /** Any message may be next (reordering), stay in flight as well (duplication), or be lost. */
  carry(lossPercent: number): void {
    const at = this.#prng.int(this.messages.length)
    const message = this.messages[at] as InFlight
    if (this.#prng.int(10) > 0) this.messages.splice(at, 1)
    if (this.#prng.int(100) < lossPercent) return
    if (message.content.type === 'prepare' || message.content.type === 'vote')
      this.#reachAcceptor(message, message.content)
    else this.#reachProposer(message, message.content)
  }

  #reachAcceptor({ acceptor, proposer }: InFlight, request: AcceptorRequest): void {
    const before = this.onDisk[acceptor] as Votes
    const step = answer(before, standing, request)
    const crash = this.#prng.int(20)
    if (crash === 0) return // It crashed before its votes were on disk.
    this.onDisk[acceptor] = step.votes
    if (before.promised !== null) {
      const falls = step.votes.promised === null || compareBallots(step.votes.promised, before.promised) < 0
      assert.not.ok(falls, 'a promise never falls')
    }
    const { accepted } = step.votes
    if (accepted !== null) {
      const key = JSON.stringify(accepted.ballot)
      const voters = this.votersOfBallot.get(key) ?? new Set()
      this.votersOfBallot.set(key, voters.add(acceptor))
      if (voters.size >= majority(this.names.length)) this.chosen.add(toHex(accepted.value))
    }
    if (crash === 1) return // It crashed before its answer left.
    this.messages.push({ acceptor, proposer, content: step.answer })
  }

  #reachProposer({ acceptor, proposer: index }: InFlight, reply: AcceptorAnswer): void {
    const proposer = this.proposers[index]
    if (proposer === null || proposer === undefined) return
    const next = receiveAnswer(proposer, this.names[acceptor] as NodeId, reply)
    this.proposers[index] = next
    if (next.stage === 'voting' && proposer.stage === 'preparing') this.ask(index)
    if (next.stage === 'chosen') this.chosen.add(toHex(next.value))
  }
}

const schedule = fc.record({
  seed: fc.integer(),
  acceptors: fc.constantFrom(1, 3, 5, 7),
  proposers: fc.integer({ min: 1, max: 4 }),
  steps: fc.integer({ min: 10, max: 400 }),
  lossPercent: fc.constantFrom(0, 5, 30),
})

// Section 2.1: "Only a single value is chosen."
agreement('only a single value is chosen, through loss, duplication, reordering and crashes', () => {
  let withChoice = 0
  fc.assert(
    fc.property(schedule, ({ seed, acceptors, proposers, steps, lossPercent }) => {
      const model = new Model(seed, acceptors, proposers)
      for (let i = 0; i < steps; i++) model.step(lossPercent)
      assert.ok(model.chosen.size <= 1, `chosen: ${[...model.chosen].join(' ')}`)
      withChoice += model.chosen.size
    }),
    { numRuns: 1500 },
  )
  assert.ok(withChoice > 300, `schedules that choose nothing test nothing: ${withChoice} chose`)
})

// Section 2.4: a distinguished proposer that "can communicate successfully with a majority of acceptors"
// succeeds.
agreement(
  'after any schedule one proposer alone gets a value chosen, the one chosen before if there was one',
  () => {
    fc.assert(
      fc.property(schedule, ({ seed, acceptors, proposers, steps, lossPercent }) => {
        const model = new Model(seed, acceptors, proposers)
        for (let i = 0; i < steps; i++) model.step(lossPercent)
        model.messages = []
        for (let attempt = 0; attempt < 100 && model.proposers[0]?.stage !== 'chosen'; attempt++) {
          model.propose(0)
          for (let i = 0; i < 2000 && model.messages.length > 0; i++) model.carry(0)
        }
        assert.is(model.proposers[0]?.stage, 'chosen')
        assert.is(model.chosen.size, 1)
      }),
      { numRuns: 200 },
    )
  },
)

agreement.run()
