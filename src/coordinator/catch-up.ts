/**
 * A peer whose disk lost data comes to hold again what it may ever have acknowledged.
 *
 * Intuition: a write that was acknowledged is on W disks. When this one loses it, W − 1 others have it, and
 * of any N − W + 1 of the others at least one does. So when a partition was compared with that many, nothing
 * that was acknowledged is missing here any more, and what this disk says counts again.
 *
 * That holds only for what was acknowledged before the comparison, and afterwards nobody may count what the
 * life before had said: else one that still waits for a second disk would count a first one that is gone.
 * Hence the fence, a configuration decided in this life: whoever is compared works under its number, refuses
 * what is sent under older ones, and has on its disk what it took under them.
 *
 * While the ring changes this goes for each list that reads need. A partition that the peer gains by the
 * change, and that reads do not ask it for yet, is `takeover.ts`'s.
 *
 * Invariants: a partition becomes complete only after a whole comparison, under the fence's number or a
 * later one, with N − W + 1 other owners that were complete themselves; as an acceptor this peer is named
 * anew only when all is complete. Where there are no other owners nobody can know: then it goes on by
 * itself, and says so.
 *
 * A disk that is found to have lost some records, while the peer runs, is the same for the partitions of
 * these: they pass a fence of their own, for the same reason, and what it still gives back of the leaves that
 * are wrong goes into quarantine before that, as all of a copy from the past does.
 */
import { KvError } from '../base/error.ts'
import type { NodeId, StoreId } from '../base/ids.ts'
import type { Configuration, Keyspace } from '../protocol/configuration.ts'
import { BackgroundJob } from './background-job.ts'
import type { Coordination } from './coordination.ts'
import { Pace } from './pace.ts'
import { coOwners } from './shared-partitions.ts'
import { NO_PROGRESS, TreeExchange } from './tree-exchange.ts'

/** Faster than ordinary repair: for as long as it lasts a copy of everything is missing. */
const PACE = { maxInFlight: 64, slowMs: 500 }
const FIRST_RETRY_MS = 250
const LAST_RETRY_MS = 5000
/** Nothing is missing: until it is looked again whether the acceptor has its vote. */
const IDLE_MS = 60_000
const MAX_NAMES = 3
/** What a message carries. */
const MAX_REPORT_LENGTH = 1024

export interface CatchUpHost {
  /** Gets the fence of this life of the store decided. @throws KvError */
  readmit(storeId: StoreId): Promise<Configuration>
  /** Gets this peer's acceptor named again, if it is one under another id. @throws KvError */
  renewAcceptor(): Promise<void>
  /** For people. */
  nameOf(nodeId: NodeId): string
}

interface Gap {
  readonly keyspace: Keyspace
  readonly partition: number
}

export class CatchUp {
  readonly #with: Coordination
  readonly #host: CatchUpHost
  readonly #pace: Pace
  readonly #background: BackgroundJob
  /** With whom each partition was compared in this life of the process. */
  readonly #compared = new Map<string, Set<NodeId>>()
  #retryMs = FIRST_RETRY_MS
  #waitsFor: string | null = null
  #isLossAccepted = false

  constructor(coordination: Coordination, host: CatchUpHost) {
    this.#with = coordination
    this.#host = host
    this.#pace = new Pace(coordination.clock, PACE)
    this.#background = new BackgroundJob(coordination.clock, () => this.#safeStep())
  }

  start(): void {
    this.#with.store.completeness.watch(({ keyspaceId, partition }) => {
      this.#compared.delete(nameOf({ id: keyspaceId }, partition))
      this.wake()
    })
    this.#background.start()
  }

  /** Fulfils when nothing of it goes on. Answers to what was asked must still come, or their ends. */
  async stop(): Promise<void> {
    this.#pace.stop()
    await this.#background.stop()
  }

  /** Something changed that may let it go on: the configuration, or who is up. */
  wake(): void {
    if (this.#with.store.completeness.cause === null) return
    this.#retryMs = FIRST_RETRY_MS
    this.#background.wake()
  }

  /** There is another configuration: who votes may be another matter now. */
  configurationChanged(): void {
    this.#background.wake()
  }

  /**
   * An operator decides that what could not be found is lost: this peer's answers count again as they are.
   * Nothing happens at one that is not catching up.
   */
  acceptLoss(): void {
    if (this.#with.store.completeness.cause === null) return
    this.#isLossAccepted = true
    this.#background.wake()
  }

  /** For people, one sentence; null: nothing is missing here. */
  get report(): string | null {
    const { store } = this.#with
    const { cause } = store.completeness
    if (cause === null) return null
    const what = `catching up since its data was lost (${cause})`
    if (!this.#with.hasRing()) return `${what}: waits for the cluster's configuration`
    const [owned, gaps] = this.#countOwned()
    const progress = `${owned - gaps} of ${owned} partitions are complete`
    const report = `${what}: ${progress}${this.#waitsFor === null ? '' : `; ${this.#waitsFor}`}`
    return report.slice(0, MAX_REPORT_LENGTH)
  }

  async #safeStep(): Promise<number> {
    try {
      return await this.#step()
    } catch (error) {
      if (!(error instanceof KvError)) throw error
      this.#with.log.debug('catch-up.interrupted', { error })
      return this.#retry()
    }
  }

  #retry(): number {
    const waitMs = this.#retryMs
    this.#retryMs = Math.min(2 * waitMs, LAST_RETRY_MS)
    return waitMs
  }

  /** @returns ms until it is worth looking again */
  async #step(): Promise<number> {
    const { store, log } = this.#with
    const { completeness } = store
    if (!this.#with.hasRing()) return IDLE_MS
    if (completeness.cause === null) {
      await this.#host.renewAcceptor()
      this.#retryMs = FIRST_RETRY_MS
      return IDLE_MS
    }
    await this.#putAside()
    if (completeness.suspects.length > 0) return 0 // Found meanwhile.
    if (this.#isLossAccepted) {
      log.error('catch-up.loss_accepted', { cause: completeness.cause, report: this.report })
      await this.#end()
      return 0
    }
    if (completeness.fence === null) await this.#passFence()
    if (completeness.fence === null) return this.#retry()
    await this.#compareWithAll()
    await this.#conclude()
    if (this.#gaps().length > 0) return this.#retry()
    await this.#end()
    return 0
  }

  /**
   * What was found lost goes out of the way before anything is compared: else what the disk still gives back
   * of it would be brought to owners that purged the key. Of what nobody else owns there is no better copy.
   */
  async #putAside(): Promise<void> {
    const { store, ring } = this.#with
    await store.completeness.noteLosses()
    for (const lost of store.completeness.suspects) {
      const keyspace = ring().keyspaceById(lost.keyspaceId)
      const isAlone = keyspace !== null && this.#isAlone(keyspace, lost.partition)
      if (!isAlone) await store.putAside(lost)
      await store.completeness.cleared([lost])
    }
  }

  async #passFence(): Promise<void> {
    const { store, log } = this.#with
    this.#wait('no majority of the acceptors answers, which must agree that it is back')
    const { lossCount } = store.completeness
    const { number, nextKeyspaceId } = await this.#host.readmit(store.storeId)
    if (store.completeness.lossCount !== lossCount) return // It says nothing of what was lost meanwhile.
    await store.completeness.passFence({ number, nextKeyspaceId })
    this.#waitsFor = null
    log.info('catch-up.fenced', { number })
  }

  /** Every owner of what is missing that is up and was not compared yet. */
  async #compareWithAll(): Promise<void> {
    const ring = this.#with.ring()
    for (const peer of coOwners(ring, this.#with.selfId)) {
      if (this.#with.store.completeness.fence === null) return // There was a loss meanwhile.
      if (this.#background.isStopped || !this.#with.isAlive(peer)) continue
      const isNeeded = this.#gaps().some(({ keyspace, partition }) => {
        const isOwner = ring.isOwner(peer, keyspace, partition)
        return isOwner && this.#compared.get(nameOf(keyspace, partition))?.has(peer) !== true
      })
      if (isNeeded) await this.#compareWith(peer)
    }
  }

  async #compareWith(peer: NodeId): Promise<void> {
    const { clock, log, ring } = this.#with
    const { keyspaces } = ring().configuration
    const startedMs = clock.monotonic()
    const progress = { ...NO_PROGRESS }
    const { completeness } = this.#with.store
    const { lossCount } = completeness
    const { pauses } = this.#background
    const exchange = new TreeExchange(this.#with, this.#pace, pauses, peer, progress, 'missing')
    let failure: string | null = null
    try {
      await exchange.run(keyspaces)
      // What was found lost meanwhile may have been compared by a tree that said it was there.
      if (exchange.isComplete && completeness.lossCount === lossCount)
        this.#note(peer, keyspaces, exchange.compared)
      this.#retryMs = FIRST_RETRY_MS
    } catch (error) {
      if (!(error instanceof KvError)) throw error
      failure = error.message
    }
    const tookMs = Math.round(clock.monotonic() - startedMs)
    log.info('catch-up.compared', { peer, ...progress, isComplete: exchange.isComplete, tookMs, failure })
  }

  #note(peer: NodeId, keyspaces: readonly Keyspace[], compared: TreeExchange['compared']): void {
    for (const keyspace of keyspaces) {
      for (const partition of compared.get(keyspace.id) ?? []) {
        const name = nameOf(keyspace, partition)
        this.#compared.set(name, (this.#compared.get(name) ?? new Set()).add(peer))
      }
    }
  }

  /** What was compared with enough others is complete. */
  async #conclude(): Promise<void> {
    const { store, log } = this.#with
    if (store.completeness.fence === null) return // There was a loss meanwhile.
    const gaps = this.#gaps()
    const closed = gaps.filter((gap) => this.#isClosed(gap))
    for (const keyspace of new Set(closed.map((gap) => gap.keyspace))) {
      const partitions = closed.filter((gap) => gap.keyspace === keyspace).map(({ partition }) => partition)
      const alone = partitions.filter((partition) => this.#isAlone(keyspace, partition)).length
      if (alone > 0) {
        const advice = 'what was on this disk alone is gone; a keyspace with more replicas survives that'
        log.error('catch-up.alone', { keyspace: keyspace.name, partitions: alone, advice })
      }
      for (const partition of partitions) {
        const held = (key: Uint8Array) => store.read(keyspace.id, partition, key)
        await store.quarantine.release(keyspace.id, partition, held)
      }
      await store.completeness.complete(keyspace.id, partitions)
    }
    if (closed.length < gaps.length) this.#explain(gaps.filter((gap) => !closed.includes(gap)))
  }

  async #end(): Promise<void> {
    const { store, log } = this.#with
    const { cause } = store.completeness
    await store.completeness.end()
    this.#compared.clear()
    this.#waitsFor = null
    this.#isLossAccepted = false
    const quarantined = store.quarantine.size
    if (quarantined === 0) return log.warn('catch-up.ended', { cause })
    const advice = 'no other owner has them: they may have been deleted since, or were never acknowledged'
    log.error('catch-up.ended', { cause, quarantined, advice })
  }

  /** What this peer owns and lacks something of. */
  #gaps(): Gap[] {
    const { selfId, store } = this.#with
    const ring = this.#with.ring()
    const gaps: Gap[] = []
    for (const keyspace of ring.configuration.keyspaces) {
      for (let partition = 0; partition < ring.partitionCount; partition++) {
        if (!ring.isOwner(selfId, keyspace, partition)) continue
        if (!store.completeness.isComplete(keyspace.id, partition)) gaps.push({ keyspace, partition })
      }
    }
    return gaps
  }

  #countOwned(): [owned: number, gaps: number] {
    const ring = this.#with.ring()
    let owned = 0
    for (const keyspace of ring.configuration.keyspaces) {
      for (let partition = 0; partition < ring.partitionCount; partition++) {
        if (ring.isOwner(this.#with.selfId, keyspace, partition)) owned += 1
      }
    }
    return [owned, this.#gaps().length]
  }

  #isClosed({ keyspace, partition }: Gap): boolean {
    const { selfId } = this.#with
    const compared = this.#compared.get(nameOf(keyspace, partition))
    return this.#with
      .ring()
      .readLists(keyspace, partition)
      .every((owners) => {
        const others = owners.filter((owner) => owner !== selfId)
        if (others.length === owners.length || others.length === 0) return true
        return others.filter((other) => compared?.has(other) === true).length >= neededOf(owners.length)
      })
  }

  #isAlone(keyspace: Keyspace, partition: number): boolean {
    return this.#with.ring().allOwners(keyspace, partition).length === 1
  }

  /** Who was not compared, though his partitions wait for it. */
  #explain(gaps: readonly Gap[]): void {
    const ring = this.#with.ring()
    const missing = new Set<NodeId>()
    for (const { keyspace, partition } of gaps) {
      const compared = this.#compared.get(nameOf(keyspace, partition))
      for (const owner of ring.allOwners(keyspace, partition)) {
        if (owner !== this.#with.selfId && compared?.has(owner) !== true) missing.add(owner)
      }
    }
    const down = [...missing].filter((peer) => !this.#with.isAlive(peer))
    if (down.length === 0) return this.#wait(`compares with ${this.#names([...missing])}`)
    const why = 'it may have the only copies of what was acknowledged'
    const asked = "start it again, or end its failure when 'kvctl fault list' shows that it plays dead"
    const advice = `${asked}, for ${why}; or give those up with 'kvctl repair --accept-loss'`
    this.#wait(`needs ${this.#names(down)}, which is down: ${advice}`)
  }

  #wait(what: string): void {
    if (what === this.#waitsFor) return
    this.#waitsFor = what
    this.#with.log.warn('catch-up.waits', { what })
  }

  #names(nodeIds: readonly NodeId[]): string {
    const names = nodeIds.slice(0, MAX_NAMES).map((nodeId) => this.#host.nameOf(nodeId))
    const more = nodeIds.length - names.length
    return names.join(', ') + (more > 0 ? ` and ${more} more` : '')
  }
}

/** N − W + 1, W being a majority. */
function neededOf(ownerCount: number): number {
  return ownerCount - (Math.floor(ownerCount / 2) + 1) + 1
}

function nameOf({ id }: Pick<Keyspace, 'id'>, partition: number): string {
  return `${id}/${partition}`
}
