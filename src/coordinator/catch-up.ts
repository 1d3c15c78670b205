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
 * change, and that reads do not ask it for yet, is `takeover.ts`'s. Who owned a partition alone before the
 * change has nobody in that list to ask. But the new owners have, of those that must be asked, whatever was
 * acknowledged since the change began, and what they have taken over; so it is compared with as many of
 * these, though they are not complete, and waits for them.
 *
 * Invariants: a partition becomes complete only after a whole comparison, under the fence's number or a
 * later one, with N − W + 1 other owners that were complete themselves; as an acceptor this peer is named
 * anew only when all is complete. Where there are no other owners nobody can know: then it goes on by
 * itself, and says so.
 *
 * A record that another owner cannot read holds up its partition alone, and only where too few others are
 * left: that owner may be the only one that acknowledged a write together with this disk, so none of the
 * rest can tell. Which partitions these are is reported, and an operator decides. What he accepts is the loss
 * of what nobody is left to be asked about; all else is compared first.
 *
 * A disk that is found to have lost some records, while the peer runs, is the same for the partitions of
 * these: they pass a fence of their own, for the same reason, and what it still gives back of the leaves that
 * are wrong goes into quarantine before that, as all of a copy from the past does.
 */
import type { Bytes } from '../base/bytes.ts'
import { KvError } from '../base/error.ts'
import { firstFew } from '../base/first-few.ts'
import type { KeyspaceId, NodeId, StoreId } from '../base/ids.ts'
import type { Configuration, Keyspace } from '../protocol/configuration.ts'
import { placeName } from '../protocol/place-name.ts'
import { sourcesNeeded } from '../protocol/ring-change.ts'
import type { Store } from '../store/store.ts'
import { BackgroundJob } from './background-job.ts'
import type { ComparedPartition, Obstacle } from './comparison.ts'
import type { Coordination } from './coordination.ts'
import { Pace } from './pace.ts'
import { coOwners, ownedAlone } from './shared-partitions.ts'
import { NO_PROGRESS, TreeExchange } from './tree-exchange.ts'

/** Faster than ordinary repair: for as long as it lasts a copy of everything is missing. */
const PACE = { maxInFlight: 64, slowMs: 500 }
const FIRST_RETRY_MS = 250
const LAST_RETRY_MS = 5000
/** Nothing is missing: until it is looked again whether the acceptor has its vote. */
const IDLE_MS = 60_000
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

export interface Gap {
  readonly keyspace: Keyspace
  readonly partition: number
}

/** An operator gives up what cannot be found. */
interface Acceptance {
  /** Null: of every keyspace. */
  readonly only: KeyspaceId | null
  /** What is found lost later is another matter. */
  readonly lossCount: number
}

export class CatchUp {
  readonly #with: Coordination
  readonly #host: CatchUpHost
  readonly #pace: Pace
  readonly #background: BackgroundJob
  /** With whom each partition was compared in this life of the process. */
  readonly #compared = new Map<string, Set<NodeId>>()
  /** What kept the last comparison of a partition with an owner from its end. */
  readonly #obstacles = new Map<string, Map<NodeId, Obstacle>>()
  #retryMs = FIRST_RETRY_MS
  #waitsFor: string | null = null
  #acceptance: Acceptance | null = null

  constructor(coordination: Coordination, host: CatchUpHost) {
    this.#with = coordination
    this.#host = host
    this.#pace = new Pace(coordination.clock, PACE)
    this.#background = new BackgroundJob(coordination.clock, () => this.#safeStep())
  }

  start(): void {
    this.#with.store.completeness.watch(({ keyspaceId, partition }) => {
      this.#compared.delete(placeName(keyspaceId, partition))
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
   * An operator decides that what only owners have that are down, cannot read it or are catching up too is
   * lost. Nothing happens at a peer that is not catching up.
   * @param only null: in every keyspace
   */
  acceptLoss(only: KeyspaceId | null): void {
    const { cause, lossCount } = this.#with.store.completeness
    if (cause === null) return
    this.#acceptance = { only, lossCount }
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
    const { completeness } = this.#with.store
    if (!this.#with.hasRing()) return IDLE_MS
    if (completeness.cause === null) {
      await this.#host.renewAcceptor()
      this.#retryMs = FIRST_RETRY_MS
      return IDLE_MS
    }
    await this.#putAside()
    if (completeness.suspects.length > 0) return 0 // Found meanwhile.
    if (completeness.fence === null && !(await this.#passFence())) return 0
    if (completeness.fence === null) return this.#retry()
    await this.#compareWithAll()
    await this.#conclude()
    await this.#giveUp()
    if (this.#gaps().length > 0) return this.#retry()
    await this.#end()
    return 0
  }

  /**
   * What was found lost goes out of the way before anything is compared: else what the disk still gives back
   * of it would be brought to owners that purged the key. Of what nobody else is read for there may be no
   * better copy.
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

  /** False: none can be had, and an operator has given up everything. @throws KvError: none can be had */
  async #passFence(): Promise<boolean> {
    const { log } = this.#with
    this.#wait('no majority of the acceptors answers, which must agree that it is back')
    try {
      await this.#getFence()
    } catch (error) {
      if (!(error instanceof KvError) || this.#accepted?.only !== null) throw error
      const { cause } = this.#with.store.completeness
      log.error('catch-up.loss_accepted', { cause, report: this.report, partitions: this.#gaps().length })
      await this.#end()
      return false
    }
    return true
  }

  async #getFence(): Promise<void> {
    const { store, log } = this.#with
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
        return isOwner && this.#compared.get(placeName(keyspace.id, partition))?.has(peer) !== true
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
    } catch (error) {
      if (!(error instanceof KvError)) throw error
      failure = error.message
    }
    // What was found lost meanwhile may have been compared by a tree that said it was there.
    const isValid = completeness.lossCount === lossCount
    const complete = isValid ? this.#note(peer, exchange.comparison.partitions()) : 0
    const isFutile = complete === 0 && progress.failed > 0
    if (failure === null && !isFutile) this.#retryMs = FIRST_RETRY_MS
    const tookMs = Math.round(clock.monotonic() - startedMs)
    const fields = { peer, ...progress, complete, tookMs, failure }
    if (isFutile) log.debug('catch-up.compared', fields)
    else log.info('catch-up.compared', fields)
  }

  /** @returns how many were compared wholly */
  #note(peer: NodeId, partitions: Iterable<ComparedPartition>): number {
    let complete = 0
    for (const { keyspaceId, partition, isWhole, obstacle } of partitions) {
      const name = placeName(keyspaceId, partition)
      const obstacles = this.#obstacles.get(name) ?? new Map<NodeId, Obstacle>()
      this.#obstacles.set(name, obstacles)
      if (obstacle === null) obstacles.delete(peer)
      else obstacles.set(peer, obstacle)
      if (!isWhole) continue
      complete += 1
      this.#compared.set(name, (this.#compared.get(name) ?? new Set()).add(peer))
    }
    return complete
  }

  /** What was compared with enough others is complete. */
  async #conclude(): Promise<void> {
    const { store, log } = this.#with
    if (store.completeness.fence === null) return // There was a loss meanwhile.
    const gaps = this.#gaps()
    const closed = gaps.filter((gap) => this.#isClosed(gap))
    for (const keyspace of new Set(closed.map((gap) => gap.keyspace))) {
      const own = closed.filter((gap) => gap.keyspace === keyspace)
      const alone = own.filter(({ partition }) => this.#isAlone(keyspace, partition)).length
      if (alone === 0) continue
      const advice = 'what was on this disk alone is gone; a keyspace with more replicas survives that'
      log.error('catch-up.alone', { keyspace: keyspace.name, partitions: alone, advice })
    }
    await this.#close(closed)
    if (closed.length < gaps.length) this.#explain(gaps.filter((gap) => !closed.includes(gap)))
  }

  /** Where nobody is left who could be asked, and an operator said so. */
  async #giveUp(): Promise<void> {
    const { store, log } = this.#with
    const accepted = this.#accepted
    if (accepted === null || store.completeness.fence === null) return
    const lost = this.#gaps().filter(({ keyspace, partition }) => {
      if (accepted.only !== null && keyspace.id !== accepted.only) return false
      const left = this.#missing({ keyspace, partition })
      return left.every((peer) => !this.#with.isAlive(peer) || this.#obstacle(keyspace, partition, peer))
    })
    if (lost.length === 0) return
    const { cause } = store.completeness
    log.error('catch-up.loss_accepted', { cause, report: this.report, partitions: lost.length })
    await this.#close(lost)
  }

  async #close(gaps: readonly Gap[]): Promise<void> {
    const { store } = this.#with
    for (const keyspace of new Set(gaps.map((gap) => gap.keyspace))) {
      const partitions = gaps.filter((gap) => gap.keyspace === keyspace).map(({ partition }) => partition)
      for (const partition of partitions) {
        const held = (key: Bytes) => readIfSound(store, keyspace.id, partition, key)
        await store.quarantine.release(keyspace.id, partition, held)
      }
      await store.completeness.complete(keyspace.id, partitions)
    }
  }

  async #end(): Promise<void> {
    const { store, log } = this.#with
    const { cause } = store.completeness
    await store.completeness.end()
    this.#compared.clear()
    this.#obstacles.clear()
    this.#waitsFor = null
    this.#acceptance = null
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
    const ring = this.#with.ring()
    const { selfId } = this.#with
    const compared = this.#compared.get(placeName(keyspace.id, partition))
    const wasAlone = ownedAlone(ring, keyspace, partition, selfId)
    const lists = wasAlone
      ? ring.writeOwners(keyspace, partition)
      : ring.readLists(keyspace, partition).filter((owners) => owners.includes(selfId))
    return lists.every((owners) => {
      const others = owners.filter((owner) => owner !== selfId)
      if (others.length === 0) return true
      return others.filter((other) => compared?.has(other) === true).length >= sourcesNeeded(owners.length)
    })
  }

  /** Reads ask nobody else. */
  #isAlone(keyspace: Keyspace, partition: number): boolean {
    const ring = this.#with.ring()
    const { length } = ring.readLists(keyspace, partition)
    return length === 1 && ownedAlone(ring, keyspace, partition, this.#with.selfId)
  }

  /** Null: nothing, or nothing of what is lost by now. */
  get #accepted(): Acceptance | null {
    const { lossCount } = this.#with.store.completeness
    return this.#acceptance?.lossCount === lossCount ? this.#acceptance : null
  }

  /** Its other owners that it was not compared with. */
  #missing({ keyspace, partition }: Gap): NodeId[] {
    const compared = this.#compared.get(placeName(keyspace.id, partition))
    const owners = this.#with.ring().allOwners(keyspace, partition)
    return owners.filter((owner) => owner !== this.#with.selfId && compared?.has(owner) !== true)
  }

  #obstacle({ id }: Keyspace, partition: number, peer: NodeId): Obstacle | null {
    return this.#obstacles.get(placeName(id, partition))?.get(peer) ?? null
  }

  /** Who was not compared, though his partitions wait for it, and why. */
  #explain(gaps: readonly Gap[]): void {
    const missing = [...new Set(gaps.flatMap((gap) => this.#missing(gap)))]
    const { excluded } = this.#with.ring().configuration
    const gone = missing.filter((peer) => excluded.includes(peer))
    if (gone.length > 0) {
      const advice = "'kvctl repair --accept-loss' goes on with what the other owners have"
      return this.#wait(`needs ${this.#names(gone)}, which is being removed: ${advice}`)
    }
    const down = missing.filter((peer) => !this.#with.isAlive(peer))
    if (down.length > 0) {
      const why = 'it may have the only copies of what was acknowledged'
      const asked =
        "start it again, or end its failure when 'kvctl fault list' shows that it is cut off or plays dead"
      const advice = `${asked}, for ${why}; or give those up with 'kvctl repair --accept-loss'`
      return this.#wait(`needs ${this.#names(down)}, which is down: ${advice}`)
    }
    const stuck = gaps.flatMap((gap) => {
      const behind = this.#missing(gap).map((peer) => this.#obstacle(gap.keyspace, gap.partition, peer))
      return behind.includes(null)
        ? []
        : [{ ...gap, isUnreadable: behind.some((obstacle) => obstacle !== 'incomplete') }]
    })
    if (stuck.length === 0) return this.#wait(`compares with ${this.#names(missing)}`)
    const peers = this.#names([...new Set(stuck.flatMap((gap) => this.#missing(gap)))])
    const where = `${placesOf(stuck)} can not be compared with ${peers}`
    const why = stuck.some(({ isUnreadable }) => isUnreadable)
      ? 'records there are damaged, or cannot be stored'
      : 'that is catching up too'
    const advice = "'kvctl repair --accept-loss' goes on with what the other owners have"
    this.#wait(`${where}: ${why}; when that stays so, ${advice}`)
  }

  #wait(what: string): void {
    if (what === this.#waitsFor) return
    this.#waitsFor = what
    this.#with.log.warn('catch-up.waits', { what })
  }

  #names(nodeIds: readonly NodeId[]): string {
    return firstFew(nodeIds.map((nodeId) => this.#host.nameOf(nodeId)))
  }
}

/** For people. */
export function placesOf(gaps: readonly Gap[]): string {
  const names = gaps.map(({ keyspace, partition }) => `${keyspace.name}/${partition}`)
  return `${gaps.length} of them (${firstFew(names)})`
}

/** Null: there is none, or it is damaged. */
function readIfSound(store: Store, keyspaceId: KeyspaceId, partition: number, key: Bytes): Bytes | null {
  try {
    return store.read(keyspaceId, partition, key)
  } catch (error) {
    if (!(error instanceof KvError)) throw error
    return null // What is in quarantine stays there.
  }
}
