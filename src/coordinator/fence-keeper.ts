/**
 * Completes fences (`protocol/purge.ts`) for all who ask: the member with the smallest id does, so that one
 * fence serves everybody who asked before it began. Two keepers at once (one of them has an older
 * configuration) do no harm: an era is entered once.
 */
import { present } from '../base/assert.ts'
import { KvError } from '../base/error.ts'
import type { NodeId } from '../base/ids.ts'
import { Pauses } from '../cluster/pauses.ts'
import type { Random } from '../effects/random.ts'
import type { Era } from '../protocol/eras.ts'
import { closed, type FenceAnswer, type FenceAnswers, surveyed } from '../protocol/fence-round.ts'
import type { Coordination } from './coordination.ts'
import type { FenceMember, FenceQuestion } from './fence-member.ts'

const CALL_TIMEOUT_MS = 3000
/** Work has ended by then: no request may take longer. */
const DRAIN_LIMIT_MS = 75_000
/** Asked for one after the other, when a member was in the one before. */
const MAX_ERAS = 3
/** Until whoever still had older work is asked again. */
const FIRST_DRAIN_PAUSE_MS = 20
const LAST_DRAIN_PAUSE_MS = 1000
/** Who waits for a fence gives up after this: one that goes on, and the next. */
export const FENCE_LIMIT_MS = 2 * DRAIN_LIMIT_MS + 10_000

export class FenceKeeper {
  readonly #with: Coordination
  readonly #random: Random
  readonly #member: FenceMember
  readonly #pauses: Pauses
  #isStopped = false
  #running: Promise<Era> | null = null
  /** Begins when the one that runs has ended. */
  #next: Promise<Era> | null = null

  constructor(coordination: Coordination, random: Random, member: FenceMember) {
    this.#with = coordination
    this.#random = random
    this.#member = member
    this.#pauses = new Pauses(coordination.clock)
  }

  /** Who keeps fences now. @throws UNAVAILABLE while there is no configuration */
  get keeper(): NodeId {
    return present(this.#members().sort()[0], 'a configuration has members')
  }

  /**
   * Fulfils with the era of a fence that began after this call. @throws UNAVAILABLE: why there is none now
   */
  complete(): Promise<Era> {
    if (this.#next !== null) return this.#next
    if (this.#running === null) return this.#start()
    this.#next = this.#running
      .catch(() => undefined) // Whoever waited for that one hears of it.
      .then(() => {
        this.#next = null
        return this.#start()
      })
    return this.#next
  }

  /** Why nobody can complete a fence now, as far as is known here; null: nothing speaks against it. */
  findObstacle(number: number): string | null {
    if (this.#isStopped) return 'this peer is stopping'
    const ring = this.#with.ring()
    if (ring.number !== number) return 'the configuration changed meanwhile'
    const { phase, excluded } = ring.configuration
    if (phase !== 'stable') return 'the ring is being changed'
    const [left] = excluded
    if (left !== undefined) return `peer ${left} was left out of a change of the ring; remove it`
    const away = this.#members().find((nodeId) => !this.#with.isAlive(nodeId))
    return away === undefined ? null : `peer ${away} is down; start it again with its data directory`
  }

  /** Fulfils when nothing of it goes on. Answers to what was asked must still come, or their ends. */
  async stop(): Promise<void> {
    this.#isStopped = true
    this.#pauses.stop()
    await this.#next?.catch(() => undefined)
    await this.#running?.catch(() => undefined)
  }

  #start(): Promise<Era> {
    const running = this.#complete().finally(() => {
      if (this.#running === running) this.#running = null
    })
    this.#running = running
    return running
  }

  /**
   * Who learnt of this era from a link that was made amid the round was in it before it was asked to enter:
   * a later one is asked for at once, a few times. That answer is not to be taken for an entry: the era may
   * be that of another keeper, and work may have begun in it before this one's survey.
   */
  async #complete(): Promise<Era> {
    const deadlineMs = this.#with.clock.monotonic() + DRAIN_LIMIT_MS
    for (let round = 1; ; round++) {
      const outcome = await this.#round(deadlineMs)
      if ('era' in outcome) return outcome.era
      if (round >= MAX_ERAS) throw noPurge(outcome.obstacle)
    }
  }

  /** The era that is closed, or who was in it before it was asked to enter. */
  async #round(deadlineMs: number): Promise<{ readonly era: Era } | { readonly obstacle: string }> {
    const { clock } = this.#with
    const round = this.#random.id()
    const number = this.#with.ring().number
    const ask = (step: FenceQuestion['step'], era: Era, lives: FenceQuestion['lives']) =>
      this.#askAll(number, { step, era, round, lives })
    const survey = await ask('survey', 0, [])
    const found = surveyed(survey)
    if ('obstacle' in found) throw noPurge(found.obstacle)
    const { era, lives } = found
    for (let pauseMs = FIRST_DRAIN_PAUSE_MS; ; pauseMs = Math.min(2 * pauseMs, LAST_DRAIN_PAUSE_MS)) {
      const answers = [...(await ask('enter', era, []))]
      const other = answers.find(([, { agrees }]) => !agrees)
      if (other !== undefined) return { obstacle: `peer ${other[0]} is in era ${other[1].era} already` }
      if (answers.every(([, { unfinished }]) => unfinished === 0)) break
      if (clock.monotonic() > deadlineMs) throw noPurge('older work does not end')
      await this.#pauses.pause(pauseMs)
    }
    const failure = closed(survey, await ask('close', era, lives))
    if (failure !== null) throw noPurge(failure)
    return { era }
  }

  /** @throws UNAVAILABLE unless every one answers under this configuration */
  async #askAll(number: number, question: FenceQuestion): Promise<FenceAnswers> {
    this.#checkPossible(number)
    const members = this.#members()
    const answers = await Promise.allSettled(members.map((nodeId) => this.#ask(nodeId, number, question)))
    this.#checkPossible(number)
    const failed = answers.find((answer) => answer.status === 'rejected')
    if (failed !== undefined) throw failed.reason
    return new Map(
      answers.flatMap((answer, i) =>
        answer.status === 'fulfilled' ? [[members[i] as NodeId, answer.value]] : [],
      ),
    )
  }

  async #ask(nodeId: NodeId, number: number, question: FenceQuestion): Promise<FenceAnswer> {
    const { rpc, selfId } = this.#with
    if (nodeId === selfId) return this.#member.answer(question)
    const message = { type: 'fence', number, ...question } as const
    const reply = await rpc.call(nodeId, 'control', CALL_TIMEOUT_MS, (id) => ({ ...message, id }))
    if (reply.type === 'fenceDone') return reply
    const why = reply.type === 'refused' ? reply.reason : reply.type
    throw noPurge(`peer ${nodeId} does not take part now: ${why}`)
  }

  #checkPossible(number: number): void {
    const why = this.findObstacle(number)
    if (why !== null) throw noPurge(why)
  }

  #members(): NodeId[] {
    return this.#with.ring().configuration.members.map(({ nodeId }) => nodeId)
  }
}

export function noPurge(why: string): KvError {
  return new KvError('UNAVAILABLE', `deleted keys cannot be purged now: ${why}`)
}
