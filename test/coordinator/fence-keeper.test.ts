import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import type { KvError } from '../../src/base/error.ts'
import type { Era } from '../../src/protocol/eras.ts'
import type { PurgeRequest } from '../../src/wire/purge-messages.ts'
import { CoordinatorWorld, node } from './coordinator-world.ts'

const test = suite('fence keeper')

type Step = Extract<PurgeRequest, { type: 'fence' }>['step']

/** A member that is asked by the keeper, this peer. */
class Member {
  era: Era = 0
  /** So often it has learnt of an era before it is asked to enter it. */
  learns = 0
  unfinished = 0

  answer(step: Step, era: Era) {
    const isEntering = step === 'enter' && era > this.era
    const isLate = isEntering && this.learns-- > 0
    if (isEntering) this.era = era
    const rest = { nonce: 'n', generation: 1, kept: 0, taken: 0, unfinished: this.unfinished }
    return { type: 'fenceDone', era: this.era, agrees: !isLate, ...rest, hasLeftovers: false } as const
  }
}

interface Fence {
  era: Era | null
  error: KvError | null
}

/** A fence of this peer and two members. */
async function begun(prepare: (first: Member, second: Member) => void) {
  const world = await CoordinatorWorld.open()
  const members = [new Member(), new Member()] as const
  prepare(...members)
  const fence: Fence = { era: null, error: null }
  world.keeper.complete().then(
    (era) => {
      fence.era = era
    },
    (error: KvError) => {
      fence.error = error
    },
  )
  return { world, members, fence }
}

/** Answers whatever is asked, for so long. */
async function serve(world: CoordinatorWorld, members: readonly Member[], turns: number): Promise<void> {
  for (let turn = 0; turn < turns; turn++) {
    await world.settle()
    for (const question of world.questions.filter(({ isAnswered }) => !isAnswered)) {
      const { message, to } = question
      if (message.type !== 'fence') throw new Error(`${message.type} was asked`)
      const member = members.find((_, i) => node(i + 1) === to)
      if (member === undefined) throw new Error(`${to} was asked`)
      question.isAnswered = true
      world.replyTo(question, member.answer(message.step, message.era))
    }
  }
}

test('an era that a member had learnt of is left, and a later one closed at once', async () => {
  const { world, members, fence } = await begun((_, second) => {
    second.learns = 2
  })
  await serve(world, members, 12)
  assert.equal([fence.era, fence.error], [3, null])
  const asked = world.asked('fence', node(1))
  assert.equal(
    asked.map(({ step, era }) => `${step} ${era}`),
    ['survey 0', 'enter 1', 'survey 0', 'enter 2', 'survey 0', 'enter 3', 'close 3'],
  )
  assert.is(new Set(asked.map(({ round }) => round)).size, 3, 'no fence passes for another one')
  assert.is(world.eras.facts.closedBelow, 3)
})

test('when members are in every era before they are asked, none is closed', async () => {
  const { world, members, fence } = await begun((first) => {
    first.learns = 99
  })
  await serve(world, members, 20)
  assert.match(fence.error?.message ?? '', /cannot be purged now: peer n1 is in era 3 already/)
  assert.is(fence.error?.code, 'UNAVAILABLE')
  assert.is(world.eras.facts.closedBelow, 0)
})

test('older work is waited for once, in however many eras', async () => {
  const { world, members, fence } = await begun((_, second) => {
    second.unfinished = 1
  })
  await serve(world, members, 3500)
  members[1].era = 7 // Somebody else's, while the work goes on.
  members[1].learns = 1
  await serve(world, members, 400)
  assert.match(fence.error?.message ?? '', /older work does not end/)
})

test.run()
