import fc from 'fast-check'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { type NodeId, parseNodeId } from '../../src/base/ids.ts'
import { type Era, Eras, type LifeOf } from '../../src/protocol/eras.ts'
import { closed, type FenceAnswer, MAX_ERA, surveyed } from '../../src/protocol/fence-round.ts'

const node = (index: number): NodeId => parseNodeId(`n${index}`)

function answer(fields: Partial<FenceAnswer> = {}): FenceAnswer {
  const rest = {
    nonce: 'life',
    generation: 1,
    era: 3,
    agrees: true,
    kept: 0,
    taken: 5,
    hasLeftovers: false,
    unfinished: 0,
  }
  return { ...rest, ...fields }
}

const answers = (...fields: Partial<FenceAnswer>[]) =>
  new Map(fields.map((each, i) => [node(i), answer(each)]))

test('the era to enter is above all that were entered', () => {
  const found = surveyed(answers({ era: 3 }, { era: 7, generation: 2 }, {}))
  const lives = [
    { nodeId: node(0), generation: 1 },
    { nodeId: node(1), generation: 2 },
    { nodeId: node(2), generation: 1 },
  ]
  assert.equal(found, { era: 8, lives })
})

test('there is none while a member keeps a record for others, or when eras are used up', () => {
  const leftover = surveyed(answers({}, { hasLeftovers: true })) as { obstacle: string }
  assert.match(leftover.obstacle, /has not dropped yet what it owns no more/)
  assert.match((surveyed(answers({}, { kept: 2 })) as { obstacle: string }).obstacle, /keeps 2 records/)
  assert.match((surveyed(answers({ era: MAX_ERA })) as { obstacle: string }).obstacle, /no eras left/)
})

test('a fence is complete when every member has closed its era in the same life and kept nothing', () => {
  const before = answers({}, {})
  assert.is(closed(before, answers({ era: 4 }, { era: 4 })), null)
  assert.match(closed(before, answers({})) ?? '', /did not close/)
  assert.match(closed(before, answers({}, { agrees: false })) ?? '', /did not close/)
  assert.match(closed(before, answers({}, { nonce: 'next' })) ?? '', /restarted/)
  assert.match(closed(before, answers({}, { kept: 1 })) ?? '', /kept a record/)
  assert.match(closed(before, answers({}, { taken: 6 })) ?? '', /kept a record/)
})

/**
 * Peers that work, send, crash and take part in fences, in any order; messages that arrive at any time, or
 * again, in the life of the sender or after it, but only over links, which begin with a handshake.
 */
interface Member {
  readonly nodeId: NodeId
  generation: number
  eras: Eras
  /** By what each of the others said in the last handshake with this life. */
  met: Set<Member>
  work: { readonly era: Era; readonly atStep: number }[]
}

interface Sent {
  readonly from: Member
  readonly to: Member
  readonly generation: number
  readonly era: Era
  readonly atStep: number
  /** The life of the receiver that the link leads to; null: it waits for a link. */
  link: number | null
}

interface Fence {
  readonly round: string
  readonly surveyedAtStep: number
  readonly survey: Map<NodeId, FenceAnswer>
  readonly era: Era
  readonly lives: readonly LifeOf[]
  readonly entered: Set<Member>
}

class FenceModel {
  readonly members: readonly Member[]
  readonly #sent: Sent[] = []
  readonly #fences: Fence[] = []
  /** By era: the step of the survey of whoever closed it. */
  readonly #surveyOf = new Map<Era, number>()
  #step = 0
  completed = 0
  refused = 0

  constructor(count: number) {
    this.members = Array.from({ length: count }, (_, i) => {
      return { nodeId: node(i), generation: 1, eras: new Eras(), met: new Set<Member>(), work: [] }
    })
  }

  run(type: string, a: number, b: number, c: number): void {
    this.#step += 1
    const [member, other] = [this.members[a % this.members.length], this.members[b % this.members.length]]
    if (member === undefined || other === undefined) return
    if (type === 'begin') member.work.push({ era: member.eras.begin(), atStep: this.#step })
    else if (type === 'end') this.#end(member, c)
    else if (type === 'send') this.#send(member, other, c)
    else if (type === 'deliver') this.#deliver(b)
    else if (type === 'restart') this.#restart(member)
    else if (type === 'survey') this.#survey()
    else if (type === 'enter') for (const each of b % 2 === 0 ? this.members : [member]) this.#enter(each, c)
    else this.#close(c)
  }

  #end(member: Member, which: number): void {
    if (which % 3 === 0) for (const { era } of member.work.splice(1)) member.eras.end(era)
    const [ended] = member.work.splice(which % Math.max(1, member.work.length), 1)
    if (ended !== undefined) member.eras.end(ended.era)
  }

  #send(from: Member, to: Member, which: number): void {
    const work = from.work[which % Math.max(1, from.work.length)]
    if (work === undefined || from === to) return
    const link = from.met.has(to) && to.met.has(from) ? to.generation : null
    this.#sent.push({ from, to, generation: from.generation, ...work, link })
  }

  #deliver(which: number): void {
    const message = this.#sent[which % Math.max(1, this.#sent.length)]
    if (message === undefined) return
    const { from, to, generation, era, atStep } = message
    if (message.link === null) {
      if (generation !== from.generation) return // It waited in a life that is over.
      this.#meet(from, to)
      message.link = to.generation
    }
    if (message.link !== to.generation) return
    if (!to.eras.admits(from.nodeId, generation, era)) {
      this.refused += 1
      return
    }
    const { closedBelow } = to.eras.facts
    for (const [closedEra, surveyedAtStep] of this.#surveyOf) {
      if (closedEra <= closedBelow) assert.ok(atStep > surveyedAtStep, 'work from before a survey is refused')
    }
  }

  #meet(a: Member, b: Member): void {
    const [ofA, ofB] = [a.eras.facts, b.eras.facts]
    a.eras.learned(ofB)
    b.eras.learned(ofA)
    a.met.add(b)
    b.met.add(a)
  }

  #restart(member: Member): void {
    member.generation += 1
    member.eras = new Eras()
    member.work = []
    for (const other of this.members) {
      other.met.delete(member)
      member.met.delete(other)
      // A peer takes part in nothing before it has talked with the others.
      if (other !== member) this.#meet(member, other)
    }
  }

  #answerOf({ eras, generation }: Member, agrees: boolean): FenceAnswer {
    return answer({ nonce: String(generation), generation, era: eras.current, agrees })
  }

  #survey(): void {
    const survey = new Map(this.members.map((member) => [member.nodeId, this.#answerOf(member, true)]))
    const found = surveyed(survey)
    if ('obstacle' in found) return
    const round = `fence ${this.#step}`
    this.#fences.push({ round, survey, ...found, surveyedAtStep: this.#step, entered: new Set() })
  }

  #enter(member: Member, which: number): void {
    const fence = this.#fences.at(-1 - (which % 2))
    if (fence !== undefined && member.eras.enter(fence.era, fence.round)) fence.entered.add(member)
  }

  /** One after the other, as long as they agree. */
  #close(which: number): void {
    const fence = this.#fences.at(-1 - (which % 2))
    if (fence === undefined || fence.entered.size < this.members.length) return
    if (this.members.some(({ eras }) => eras.unfinishedBelow(fence.era) > 0)) return
    const after = new Map<NodeId, FenceAnswer>()
    for (const member of this.members) {
      const agrees = member.eras.close(fence.era, fence.round, fence.lives)
      if (agrees) this.#surveyOf.set(fence.era, fence.surveyedAtStep)
      after.set(member.nodeId, this.#answerOf(member, agrees))
    }
    if (closed(fence.survey, after) === null) this.completed += 1
  }
}

const WORK = ['begin', 'end', 'end', 'end', 'send', 'send', 'deliver', 'deliver', 'restart'] as const
const FENCES = ['survey', 'enter', 'enter', 'enter', 'close', 'close', 'close'] as const
const step = fc.tuple(fc.constantFrom(...WORK, ...FENCES), fc.nat(2), fc.nat(99), fc.nat(99))

test('whoever has closed an era takes nothing from work that began before the survey of its fence', () => {
  let [completed, refused] = [0, 0]
  fc.assert(
    fc.property(fc.array(step, { minLength: 20, maxLength: 150 }), (history) => {
      const model = new FenceModel(3)
      for (const each of history) model.run(...each)
      completed += model.completed
      refused += model.refused
    }),
    { numRuns: 2000 },
  )
  assert.ok(completed > 50 && refused > 5, `${completed} fences were completed, ${refused} messages refused`)
})

test.run()
