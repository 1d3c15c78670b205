/**
 * Purges deleted and expired keys together with their other owners (`protocol/purge.ts` says when that is
 * safe). Every peer looks through what it holds (`purge-look.ts`), to know since when; of a key's owners the
 * first one leads; what that one leaves bare any other one has erased later. After each look one fence does
 * for both steps: what the look before has stripped is erased behind it, and what is due is stripped.
 * Whatever goes wrong is tried again after the next look.
 */
import { KvError } from '../base/error.ts'
import type { NodeId } from '../base/ids.ts'
import type { Counter, Metrics } from '../effects/metrics.ts'
import type { Random } from '../effects/random.ts'
import type { Keyspace } from '../protocol/configuration.ts'
import type { Era } from '../protocol/eras.ts'
import type { Digest } from '../protocol/hash-tree.ts'
import type { HoldLedger } from '../protocol/hold-ledger.ts'
import type { PurgeRule } from '../protocol/purge.ts'
import type { PeerReply } from '../wire/peer-messages.ts'
import { MAX_PURGED_KEYS } from '../wire/purge-messages.ts'
import { BackgroundJob } from './background-job.ts'
import type { Coordination } from './coordination.ts'
import { FENCE_LIMIT_MS, type FenceKeeper, noPurge } from './fence-keeper.ts'
import { Pace } from './pace.ts'
import { type DueKey, PurgeLook } from './purge-look.ts'
import { DISAGREES, type PurgeOwner, type PurgeQuestion } from './purge-owner.ts'

/** From one look to the next; keys are purged within three of these after they were held long enough. */
const LONGEST_LOOK_MS = 900_000
const SHORTEST_LOOK_MS = 5000
const CALL_TIMEOUT_MS = 10_000
/** Purged behind one fence. */
const MAX_BATCH_KEYS = 16_384
/** Found in one look; the rest is found by the next. */
const LOOK_LIMIT = { keys: 8 * MAX_BATCH_KEYS, bytes: 16 * 1024 * 1024 }
/** Of keys and their records, in one question: an owner reads them all before it does anything else. */
const MAX_ASKED_BYTES = 1024 * 1024
/** Until an owner that has too much to do is asked again, and how often. */
const BUSY_PAUSE_MS = 250
const MAX_BUSY_ANSWERS = 20
/** When so many looks in a row could purge nothing, it is said to people. */
const PATIENCE_LOOKS = 3

interface Candidate extends DueKey {
  /** What each owner said that it holds, beside `owners`. */
  readonly held: Digest[]
}

export class Purger {
  readonly #with: Coordination
  readonly #random: Random
  readonly #rule: PurgeRule
  readonly #look: PurgeLook
  readonly #owner: PurgeOwner
  readonly #keeper: FenceKeeper
  readonly #pace: Pace
  readonly #background: BackgroundJob
  readonly #strippedCount: Counter
  readonly #erasedCount: Counter
  readonly #fenceCount: Counter
  readonly #holds: HoldLedger
  /** Looks in a row after which nothing could be purged, and why after the last one. */
  #waits = 0
  #why = ''

  constructor(
    coordination: Coordination,
    effects: { readonly random: Random; readonly metrics: Metrics },
    rule: PurgeRule,
    holds: HoldLedger,
    owner: PurgeOwner,
    keeper: FenceKeeper,
  ) {
    this.#with = coordination
    this.#random = effects.random
    this.#rule = rule
    this.#look = new PurgeLook(coordination, rule, holds)
    this.#owner = owner
    this.#keeper = keeper
    this.#pace = new Pace(coordination.clock)
    this.#background = new BackgroundJob(coordination.clock, () => this.#step())
    this.#holds = holds
    const { metrics } = effects
    this.#strippedCount = metrics.counter(
      'kv_purge_stripped_keys',
      'Keys whose tombstones were let go here as leader',
    )
    this.#erasedCount = metrics.counter(
      'kv_purge_erased_keys',
      'Keys that were purged wholly, led by this peer',
    )
    this.#fenceCount = metrics.counter('kv_purge_fences', 'Fences that purges led by this peer waited for')
    metrics.gauge(
      'kv_purge_waiting_keys',
      'Deleted and expired keys here that wait to be purged',
      () => holds.foundCount,
    )
  }

  start(): void {
    this.#background.start(this.#restMs())
  }

  /** Fulfils when nothing of it goes on. Answers to what was asked must still come, or their ends. */
  async stop(): Promise<void> {
    this.#look.stop()
    this.#pace.stop()
    await Promise.all([this.#background.stop(), this.#keeper.stop(), this.#owner.stop()])
  }

  /** Why nothing has been purged here for a while, for people; null: it was, or nothing waits. */
  get complaint(): string | null {
    return this.#waits >= PATIENCE_LOOKS && this.#holds.foundCount > 0 ? this.#why : null
  }

  /** This peer may own other partitions now. */
  configurationChanged(): void {
    this.#look.configurationChanged()
  }

  #restMs(): number {
    const lookMs = Math.max(SHORTEST_LOOK_MS, Math.min(LONGEST_LOOK_MS, this.#rule.purgeAfterMs / 2))
    return lookMs * (0.75 + this.#random.float() / 2)
  }

  /** @returns ms to the next look */
  async #step(): Promise<number> {
    if (!this.#with.hasRing()) return this.#restMs()
    const { number } = this.#with.ring()
    try {
      const obstacle = this.#keeper.findObstacle(number)
      const due = await this.#look.findDue(number, obstacle === null ? LOOK_LIMIT : null)
      if (obstacle !== null) throw noPurge(obstacle)
      const candidates = due.map((key) => ({ ...key, held: key.owners.map(() => DISAGREES) }))
      for (let i = 0; i < candidates.length && !this.#background.isStopped; i += MAX_BATCH_KEYS) {
        await this.#purge(number, candidates.slice(i, i + MAX_BATCH_KEYS))
      }
      const disagreeing = findDisagreeing(candidates)
      if (disagreeing !== null) throw noPurge(disagreeing)
      this.#waits = 0
    } catch (error) {
      if (!(error instanceof KvError)) throw error
      this.#waits += 1
      this.#why = error.message
      this.#with.log.info('purge.waits', { why: error.message, cause: error.cause })
    }
    return this.#restMs()
  }

  async #purge(number: number, candidates: readonly Candidate[]): Promise<void> {
    const ofBare = candidates.filter(({ isBare }) => isBare)
    const ofHeld = candidates.filter(({ isBare }) => !isBare)
    const [bare, held] = await Promise.all([
      this.#together(number, 'bare', 0, ofBare),
      this.#together(number, 'hold', 0, ofHeld),
    ])
    if (bare.length + held.length === 0) return
    const era = await this.#fence(number)
    const [erased, stripped] = await Promise.all([
      this.#together(number, 'erase', era, bare),
      this.#together(number, 'strip', era, held),
    ])
    this.#strippedCount.add(stripped.length)
    this.#erasedCount.add(erased.length)
    this.#with.log.info('purge.ended', { stripped: stripped.length, erased: erased.length })
  }

  /** @returns the era that was closed for it. @throws UNAVAILABLE */
  async #fence(number: number): Promise<Era> {
    const { keeper } = this.#keeper
    this.#fenceCount.add()
    if (keeper === this.#with.selfId) return this.#keeper.complete()
    const ask = (id: number) => ({ type: 'askFence', id, number }) as const
    const reply = await this.#with.rpc.call(keeper, 'control', FENCE_LIMIT_MS, ask)
    if (reply.type === 'fenced' && reply.era !== null) return reply.era
    const why = reply.type === 'fenced' ? reply.obstacle : `peer ${keeper} does not complete a fence now`
    throw new KvError('UNAVAILABLE', why)
  }

  /** Asks all owners of these keys. @returns those about which every owner agrees */
  async #together(
    number: number,
    step: PurgeQuestion['step'],
    era: Era,
    candidates: readonly Candidate[],
  ): Promise<readonly Candidate[]> {
    const groups = new Map<string, { owner: NodeId; keyspace: Keyspace; some: Candidate[] }>()
    for (const candidate of candidates) {
      for (const owner of candidate.owners) {
        const name = `${candidate.keyspace.id} ${owner}`
        const group = groups.get(name) ?? { owner, keyspace: candidate.keyspace, some: [] }
        group.some.push(candidate)
        groups.set(name, group)
      }
    }
    const asked = [...groups.values()].map(async ({ owner, keyspace, some }) => {
      for (const portion of portions(some)) await this.#tell(owner, number, keyspace, step, era, portion)
    })
    await Promise.all(asked)
    return candidates.filter(({ held }) => held.every((digest) => digest !== DISAGREES))
  }

  /** One owner; when it does not answer it does not agree. */
  async #tell(
    owner: NodeId,
    number: number,
    keyspace: Keyspace,
    step: PurgeQuestion['step'],
    era: Era,
    some: readonly Candidate[],
  ): Promise<void> {
    const keys = some.map(({ key }) => key)
    const digests = some.map(({ owners, digest, held }) => {
      return step === 'erase' ? (held[owners.indexOf(owner)] as Digest) : digest
    })
    let answers: readonly Digest[] = []
    try {
      const bytes = keys.reduce((sum, key) => sum + key.length + 10, 0)
      answers = await this.#ask(owner, number, keyspace, { step, era, keys, digests }, bytes)
    } catch (error) {
      if (!(error instanceof KvError)) throw error
      this.#with.log.debug('purge.not-answered', { owner, step, why: error.message })
    }
    for (const [i, { owners, held }] of some.entries()) {
      held[owners.indexOf(owner)] = answers[i] ?? DISAGREES
    }
  }

  async #ask(
    owner: NodeId,
    number: number,
    keyspace: Keyspace,
    question: PurgeQuestion,
    bytes: number,
  ): Promise<readonly Digest[]> {
    const { selfId, rpc } = this.#with
    for (let busy = 0; ; busy++) {
      const reply = await this.#pace.run(
        async (): Promise<readonly Digest[] | PeerReply> => {
          if (this.#with.ring().number !== number) throw noPurge('the configuration changed meanwhile')
          if (owner === selfId) return this.#owner.step(number, keyspace, question)
          const message = { type: 'purge', number, keyspaceId: keyspace.id, ...question } as const
          return rpc.call(owner, 'data', CALL_TIMEOUT_MS, (id) => ({ ...message, id }), bytes)
        },
        () => bytes,
      )
      if (!('type' in reply)) return reply
      if (reply.type === 'purgeDone') return reply.digests
      const isBusy = reply.type === 'refused' && reply.reason === 'overloaded'
      if (!isBusy || busy >= MAX_BUSY_ANSWERS || this.#background.isStopped) {
        throw noPurge(`peer ${owner} does not answer: ${reply.type}`)
      }
      this.#pace.slowDown()
      await this.#background.pauses.pause(BUSY_PAUSE_MS)
    }
  }
}

/**
 * Why, when their owners agree about none of these keys, by the one that disagrees oftenest; null: about
 * some.
 */
function findDisagreeing(candidates: readonly Candidate[]): string | null {
  const counts = new Map<NodeId, number>()
  for (const { owners, held } of candidates) {
    const ofKey = owners.filter((_, i) => held[i] === DISAGREES)
    if (ofKey.length === 0) return null
    for (const owner of ofKey) counts.set(owner, (counts.get(owner) ?? 0) + 1)
  }
  const [oftenest] = [...counts].sort(([, a], [, b]) => b - a)
  if (oftenest === undefined) return null
  const [owner, count] = oftenest
  const keys = count === 1 ? 'a key' : `${count} keys`
  return `peer ${owner} holds something else of ${keys}, has for less long, or its clock is behind`
}

/** As many as fit into one question each; at least one. */
export function* portions<T extends Pick<DueKey, 'sizeBytes'>>(due: readonly T[]): Generator<readonly T[]> {
  let begin = 0
  let bytes = 0
  for (const [end, { sizeBytes }] of due.entries()) {
    const isFull = end - begin === MAX_PURGED_KEYS || bytes + sizeBytes > MAX_ASKED_BYTES
    if (isFull && end > begin) {
      yield due.slice(begin, end)
      begin = end
      bytes = 0
    }
    bytes += sizeBytes
  }
  if (begin < due.length) yield due.slice(begin)
}
