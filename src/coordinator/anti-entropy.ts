/**
 * When owners compare what they hold: soon after one of them came back, and every few minutes. Of each pair
 * the peer with the smaller id does it, one peer at a time.
 */

import { KvError } from '../base/error.ts'
import type { NodeId } from '../base/ids.ts'
import { Pauses } from '../cluster/pauses.ts'
import type { Random } from '../effects/random.ts'
import type { Coordination } from './coordination.ts'
import { Pace } from './pace.ts'
import { coOwners } from './shared-partitions.ts'
import { TreeExchange } from './tree-exchange.ts'

export interface AntiEntropyTiming {
  /** From one exchange with a peer to the next, on average; with very many peers longer. */
  readonly intervalMs: number
  /** After a peer came back, while others bring it what they kept for it. */
  readonly recoveryMs: number
  /** After an exchange that could not be completed; doubles up to `intervalMs`. */
  readonly retryMs: number
}

export const ANTI_ENTROPY_TIMING: AntiEntropyTiming = {
  intervalMs: 120_000,
  recoveryMs: 2000,
  retryMs: 2000,
}

/** The schedule leaves each exchange this much at least. */
const SHARE_MS = 1000

interface Schedule {
  dueMs: number
  retryMs: number
}

export class AntiEntropy {
  readonly #with: Coordination
  readonly #random: Random
  readonly #timing: AntiEntropyTiming
  readonly #pace: Pace
  readonly #pauses: Pauses
  readonly #schedules = new Map<NodeId, Schedule>()
  #isStopped = false
  #running: Promise<void> = Promise.resolve()

  constructor(coordination: Coordination, random: Random, timing: Partial<AntiEntropyTiming> = {}) {
    this.#with = coordination
    this.#random = random
    this.#timing = { ...ANTI_ENTROPY_TIMING, ...timing }
    this.#pace = new Pace(coordination.clock)
    this.#pauses = new Pauses(coordination.clock)
  }

  start(): void {
    this.#running = this.#run()
  }

  /** Fulfils when nothing of it goes on. Answers to what was asked must still come, or their ends. */
  async stop(): Promise<void> {
    this.#isStopped = true
    this.#pace.stop()
    this.#pauses.stop()
    await this.#running
  }

  /** Who owns what together with us is another matter now. */
  configurationChanged(): void {
    const peers = this.#peers()
    for (const peer of this.#schedules.keys()) {
      if (!peers.includes(peer)) this.#schedules.delete(peer)
    }
    for (const peer of peers) if (!this.#schedules.has(peer)) this.#plan(peer, this.#timing.recoveryMs)
    this.#pauses.wake()
  }

  /** A peer came back, or one of its lives was followed by another. */
  peerReturned(peer: NodeId): void {
    if (this.#schedules.has(peer)) this.#plan(peer, this.#timing.recoveryMs)
    this.#pauses.wake()
  }

  /** Those with whom we begin. */
  #peers(): NodeId[] {
    if (!this.#with.hasRing()) return []
    const { selfId } = this.#with
    return coOwners(this.#with.ring(), selfId).filter((peer) => selfId < peer)
  }

  /** After `ms` and up to half as much again: peers that started together do not go on together. */
  #plan(peer: NodeId, ms: number): void {
    const dueMs = this.#with.clock.monotonic() + ms * (1 + this.#random.float() / 2)
    const schedule = this.#schedules.get(peer)
    if (schedule === undefined) this.#schedules.set(peer, { dueMs, retryMs: this.#timing.retryMs })
    else schedule.dueMs = dueMs
  }

  async #run(): Promise<void> {
    while (!this.#isStopped) {
      const [peer, schedule] = this.#next()
      const waitMs = (schedule?.dueMs ?? Number.POSITIVE_INFINITY) - this.#with.clock.monotonic()
      if (peer === null || schedule === null || waitMs > 0) {
        await this.#pauses.pause(Math.min(waitMs, this.#timing.intervalMs))
      } else await this.#exchange(peer, schedule)
    }
  }

  /** Of those that are up: the others are planned again when they return. */
  #next(): readonly [NodeId, Schedule] | readonly [null, null] {
    let first: readonly [NodeId, Schedule] | readonly [null, null] = [null, null]
    for (const entry of this.#schedules) {
      if (!this.#with.isAlive(entry[0])) continue
      if (first[1] === null || entry[1].dueMs < first[1].dueMs) first = entry
    }
    return first
  }

  async #exchange(peer: NodeId, schedule: Schedule): Promise<void> {
    const { clock, log } = this.#with
    const startedMs = clock.monotonic()
    const { keyspaces } = this.#with.ring().configuration
    const exchange = new TreeExchange(this.#with, this.#pace, this.#pauses, peer)
    const { progress } = exchange
    let failure: string | null = null
    this.#plan(peer, Math.max(this.#timing.intervalMs, SHARE_MS * this.#schedules.size))
    try {
      await exchange.run(keyspaces)
      if (exchange.isComplete) schedule.retryMs = this.#timing.retryMs
      else this.#retry(peer, schedule, progress.repaired > 0)
    } catch (error) {
      if (!(error instanceof KvError)) throw error
      failure = error.message
      this.#retry(peer, schedule, false)
    }
    const fields = { peer, ...progress, tookMs: Math.round(clock.monotonic() - startedMs), failure }
    if (progress.differing > 0) log.info('repair.ended', fields)
    else log.debug('repair.ended', fields)
  }

  /** Soon; but sooner when the peer came back meanwhile, and never when it is no co-owner any more. */
  #retry(peer: NodeId, schedule: Schedule, hasProgress: boolean): void {
    if (this.#schedules.get(peer) !== schedule) return
    if (hasProgress) schedule.retryMs = this.#timing.retryMs
    const { dueMs, retryMs } = schedule
    this.#plan(peer, retryMs)
    schedule.dueMs = Math.min(dueMs, schedule.dueMs)
    if (!hasProgress) schedule.retryMs = Math.min(2 * retryMs, this.#timing.intervalMs)
  }
}
