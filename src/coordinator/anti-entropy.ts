/**
 * When owners compare what they hold: soon after one of them came back, every few minutes, and when somebody
 * asks. Of each pair the peer with the smaller id does it, one peer at a time.
 */

import { KvError } from '../base/error.ts'
import type { KeyspaceId, NodeId } from '../base/ids.ts'
import type { Random } from '../effects/random.ts'
import type { Keyspace } from '../protocol/configuration.ts'
import { BackgroundJob } from './background-job.ts'
import type { Coordination } from './coordination.ts'
import { Pace } from './pace.ts'
import { MAX_ROUNDS, RepairJob, type RepairTask } from './repair-task.ts'
import { coOwners, sharedPartitions } from './shared-partitions.ts'
import { NO_PROGRESS, TreeExchange } from './tree-exchange.ts'

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

export class AntiEntropy {
  readonly #with: Coordination
  readonly #random: Random
  readonly #timing: AntiEntropyTiming
  readonly #pace: Pace
  readonly #background: BackgroundJob
  /** One for each peer with which we begin, for ever. */
  readonly #schedule = new Map<NodeId, RepairJob>()
  /** By the round's name, the oldest first: one job for each of these peers. */
  readonly #rounds = new Map<string, RepairJob[]>()
  #synchronised: Promise<unknown> = Promise.resolve()

  constructor(coordination: Coordination, random: Random, timing: Partial<AntiEntropyTiming> = {}) {
    this.#with = coordination
    this.#random = random
    this.#timing = { ...ANTI_ENTROPY_TIMING, ...timing }
    this.#pace = new Pace(coordination.clock)
    this.#background = new BackgroundJob(coordination.clock, () => this.#step())
  }

  start(): void {
    this.#background.start()
  }

  /** Fulfils when nothing of it goes on. Answers to what was asked must still come, or their ends. */
  async stop(): Promise<void> {
    this.#pace.stop()
    await Promise.all([this.#background.stop(), this.#synchronised])
    for (const job of this.#requested()) this.#end(job, 'this peer is stopping')
  }

  /** Who owns what together with us is another matter now. */
  configurationChanged(): void {
    const peers = this.#peers()
    for (const peer of this.#schedule.keys()) if (!peers.includes(peer)) this.#schedule.delete(peer)
    for (const job of this.#requested()) {
      if (!peers.includes(job.peer)) this.#end(job, 'the two own nothing together any more')
    }
    for (const peer of peers) {
      if (!this.#schedule.has(peer)) this.#schedule.set(peer, this.#scheduled(peer, this.#timing.recoveryMs))
    }
    this.#background.wake()
  }

  /** A peer came back, or one of its lives was followed by another. */
  peerReturned(peer: NodeId): void {
    const job = this.#schedule.get(peer)
    if (job !== undefined) job.dueMs = this.#later(this.#timing.recoveryMs)
    this.#background.wake()
  }

  /**
   * Compares now, once, with every peer with which this one begins. The same round again changes nothing.
   * @param only null: every keyspace
   * @returns with how many peers
   * @throws OVERLOADED: too many rounds are under way
   */
  begin(round: string, only: KeyspaceId | null): number {
    const same = this.#rounds.get(round)
    if (same !== undefined) return same.length
    this.#makeRoom()
    const nowMs = this.#with.clock.monotonic()
    const jobs = this.#peers().map((peer) => {
      const place = { peer, round, only, partitions: this.#partitionsWith(peer, only) }
      return new RepairJob(place, nowMs, nowMs, this.#timing.retryMs)
    })
    this.#rounds.set(round, jobs)
    this.#background.wake()
    return jobs.length
  }

  /**
   * Compares once with every owner that is up, whoever of the two begins otherwise. @returns whether it did,
   * with all of them
   */
  synchronise(): Promise<boolean> {
    const synchronised = this.#synchronised.then(() => this.#compareWithAll())
    this.#synchronised = synchronised
    return synchronised
  }

  async #compareWithAll(): Promise<boolean> {
    const { selfId, log, isAlive, hasRing, ring } = this.#with
    if (!hasRing()) return false
    let isWhole = true
    for (const peer of coOwners(ring(), selfId).filter((owner) => isAlive(owner))) {
      if (this.#background.isStopped) return false
      const progress = { ...NO_PROGRESS }
      const exchange = new TreeExchange(this.#with, this.#pace, this.#background.pauses, peer, progress)
      try {
        await exchange.run(this.#keyspaces(null))
        isWhole &&= exchange.isComplete
        log.info('repair.synchronised', { peer, ...progress })
      } catch (error) {
        if (!(error instanceof KvError)) throw error
        isWhole = false
        log.debug('repair.not-synchronised', { peer, why: error.message })
      }
    }
    return isWhole
  }

  /** Those that wait, run, or ran last. */
  get tasks(): readonly RepairTask[] {
    return [...this.#rounds.values(), [...this.#schedule.values()]].flat()
  }

  /** @throws OVERLOADED */
  #makeRoom(): void {
    if (this.#rounds.size < MAX_ROUNDS) return
    for (const [round, jobs] of this.#rounds) {
      if (jobs.some(({ isOpen }) => isOpen)) continue
      this.#rounds.delete(round)
      return
    }
    const advice = "'kvctl tasks' shows them; try again when one has ended"
    throw new KvError('OVERLOADED', `${MAX_ROUNDS} rounds of repair are under way here: ${advice}`)
  }

  /** Those with whom we begin. */
  #peers(): NodeId[] {
    if (!this.#with.hasRing()) return []
    const { selfId } = this.#with
    return coOwners(this.#with.ring(), selfId).filter((peer) => selfId < peer)
  }

  #keyspaces(only: KeyspaceId | null): readonly Keyspace[] {
    return this.#with.ring().configuration.keyspaces.filter(({ id }) => only === null || id === only)
  }

  #partitionsWith(peer: NodeId, only: KeyspaceId | null): number {
    const ring = this.#with.ring()
    return this.#keyspaces(only).reduce((sum, keyspace) => {
      return sum + sharedPartitions(ring, keyspace, this.#with.selfId, peer).length
    }, 0)
  }

  #scheduled(peer: NodeId, afterMs: number): RepairJob {
    const place = { peer, round: null, only: null, partitions: this.#partitionsWith(peer, null) }
    return new RepairJob(place, this.#with.clock.monotonic(), this.#later(afterMs), this.#timing.retryMs)
  }

  /** After `ms` and up to half as much again: peers that started together do not go on together. */
  #later(ms: number): number {
    return this.#with.clock.monotonic() + ms * (1 + this.#random.float() / 2)
  }

  #requested(): RepairJob[] {
    return [...this.#rounds.values()].flat().filter(({ isOpen }) => isOpen)
  }

  /** @returns ms to the next exchange, or until it is to be looked for again */
  async #step(): Promise<number> {
    const job = this.#next()
    const waitMs = (job?.dueMs ?? Number.POSITIVE_INFINITY) - this.#with.clock.monotonic()
    if (job === null || waitMs > 0) return Math.min(waitMs, this.#timing.intervalMs)
    await this.#exchange(job)
    return 0
  }

  /** With a peer that is up: the others are planned again when they return. */
  #next(): RepairJob | null {
    let first: RepairJob | null = null
    for (const job of [...this.#requested(), ...this.#schedule.values()]) {
      if (this.#with.isAlive(job.peer)) {
        if (first === null || job.dueMs < first.dueMs) first = job
      } else if (job.round !== null) this.#end(job, 'it is down; the two compare when it is back')
    }
    return first
  }

  async #exchange(job: RepairJob): Promise<void> {
    const { clock, log } = this.#with
    const startMs = clock.monotonic()
    const { peer, progress, round } = job
    job.begin(startMs)
    // Before it runs: the peer may come back meanwhile, and is then compared once more, sooner.
    if (round === null)
      job.dueMs = this.#later(Math.max(this.#timing.intervalMs, SHARE_MS * this.#schedule.size))
    const exchange = new TreeExchange(this.#with, this.#pace, this.#background.pauses, peer, progress)
    let failure: string | null = null
    try {
      await exchange.run(this.#keyspaces(job.only))
      if (exchange.isComplete) this.#completed(job)
      else this.#retry(job, leftOf(progress.failed), progress.repaired > 0)
    } catch (error) {
      if (!(error instanceof KvError)) throw error
      failure = error.message
      this.#retry(job, failure, false)
    }
    const fields = { peer, ...progress, tookMs: Math.round(clock.monotonic() - startMs), failure }
    if (progress.differing > 0 || round !== null) log.info('repair.ended', { ...fields, round })
    else log.debug('repair.ended', fields)
  }

  #completed(job: RepairJob): void {
    job.retryMs = this.#timing.retryMs
    this.#end(job, null)
  }

  #end(job: RepairJob, failure: string | null): void {
    job.end(this.#with.clock.monotonic(), failure)
  }

  /** Soon; but sooner when the peer came back meanwhile. */
  #retry(job: RepairJob, why: string, hasProgress: boolean): void {
    if (!job.postpone(this.#with.clock.monotonic(), why, hasProgress)) return
    if (hasProgress) job.retryMs = this.#timing.retryMs
    const dueMs = this.#later(job.retryMs)
    job.dueMs = job.round === null ? Math.min(job.dueMs, dueMs) : dueMs
    if (!hasProgress) job.retryMs = Math.min(2 * job.retryMs, this.#timing.intervalMs)
  }
}

/** For people: why an exchange is to follow. */
function leftOf(failed: number): string {
  if (failed === 0) return 'some keys are still to be repaired'
  const why = 'a disk of the two is damaged there, or a key has more concurrent values than a record holds'
  return `${failed} keys or partitions could not be read or stored: ${why}; 'kvctl status' says more`
}
