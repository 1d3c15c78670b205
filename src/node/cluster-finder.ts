/**
 * How a starting peer gets into its cluster: it makes one, goes back to the one its directory belongs to, or
 * joins that of the named peers.
 */
import { KvError } from '../base/error.ts'
import { type Address, type ClusterId, parseClusterId } from '../base/ids.ts'
import type { ConfigurationDriver } from '../cluster/configuration-driver.ts'
import type { Links } from '../cluster/links.ts'
import type { MembershipDriver } from '../cluster/membership-driver.ts'
import { Pauses } from '../cluster/pauses.ts'
import type { Effects } from '../effects/effects.ts'
import type { PeerFacts, Refusal } from '../wire/handshake-messages.ts'
import type { AddressBook } from './address-book.ts'
import type { Identity } from './identity.ts'
import type { NodeOptions } from './node-options.ts'

const DIAL_INTERVAL_MS = 200
/** How long a directory that belongs to a cluster waits for the named peers to say whether it is theirs. */
const VERDICT_MS = 500
const VERDICT_STEP_MS = 10
/** A peer that does not get into its cluster says what it waits for: soon, and then so often. */
const FIRST_WAIT_LOG_MS = 2_000
const WAIT_LOG_INTERVAL_MS = 10_000
/** More addresses than this are not listed. */
const MAX_LISTED = 8

export interface FinderParts {
  readonly effects: Pick<Effects, 'clock' | 'log' | 'random' | 'storage'>
  readonly options: NodeOptions
  readonly identity: Identity
  readonly book: AddressBook
  readonly links: Links
  readonly membership: MembershipDriver
  readonly configuration: ConfigurationDriver
}

export class ClusterFinder {
  readonly #parts: FinderParts
  readonly #pauses: Pauses
  /** What became of our dials to addresses at which we knew nobody; no refusal: nobody answered. */
  readonly #failedDials = new Map<Address, { readonly refusal: Refusal | null; readonly why: string }>()
  #isOver = false

  constructor(parts: FinderParts) {
    this.#parts = parts
    this.#pauses = new Pauses(parts.effects.clock)
  }

  /**
   * Makes a cluster when there is none to go back to and none to join. To be called before anybody is dialled
   * or let in: as long as we have no cluster, whoever says that he has one would draw us into his.
   * @throws INTERNAL
   */
  async found(): Promise<void> {
    const { identity, configuration, effects, options } = this.#parts
    if (configuration.current !== null || options.join.length > 0 || identity.clusterId !== null) return
    const clusterId = parseClusterId(effects.random.id())
    await configuration.found(clusterId, options.partitionCount)
    await identity.joinCluster(clusterId)
  }

  /**
   * Fulfils when this peer is in its cluster, however long that takes.
   * @throws INVALID_ARGUMENT: the named peers are another cluster; CONFLICT: it will not have us;
   * UNAVAILABLE: stopped meanwhile; INTERNAL
   */
  async find(): Promise<void> {
    const { configuration, links, options } = this.#parts
    try {
      for (const address of options.join) links.dial(address)
      if (configuration.current !== null) {
        if (options.join.length > 0) await this.#awaitVerdict()
      } else {
        void this.#keepDialling()
        void this.#keepTelling()
        await configuration.join()
      }
    } finally {
      this.stop()
    }
  }

  /** Idempotent; `find` rejects soon, when the configuration is stopped too. */
  stop(): void {
    this.#isOver = true
    this.#pauses.stop()
  }

  met(facts: PeerFacts): void {
    const { identity, book } = this.#parts
    book.note(facts.nodeId, facts)
    if (identity.clusterId === null && facts.clusterId !== null) this.#noteCluster(facts.clusterId)
  }

  /** @param why in words for people */
  dialFailed(address: Address, refusal: Refusal | null, why: string): void {
    if (!this.#isOver) this.#failedDials.set(address, { refusal, why })
  }

  #noteCluster(clusterId: ClusterId): void {
    this.#parts.identity.joinCluster(clusterId).catch((error: unknown) => {
      // The next start asks the named peers again.
      this.#parts.effects.log.error('identity.unsaved', { error })
    })
  }

  get #isAlone(): boolean {
    const { membership } = this.#parts
    return !membership.peers().some(({ nodeId }) => membership.isAlive(nodeId))
  }

  /** A directory that belongs to another cluster than the named peers is a mistake worth stopping for. */
  async #awaitVerdict(): Promise<void> {
    const { effects, options, identity } = this.#parts
    const deadlineMs = effects.clock.monotonic() + VERDICT_MS
    while (effects.clock.monotonic() < deadlineMs && !this.#isOver) {
      if (!this.#isAlone) return
      if (options.join.every((address) => this.#failedDials.has(address))) break
      await this.#pauses.pause(VERDICT_STEP_MS)
    }
    const stranger = options.join.find((address) => this.#isOtherCluster(address))
    if (stranger === undefined) return
    const ours = `${effects.storage.name} belongs to cluster ${identity.clusterId}`
    const advice = 'use another --data or another --join'
    throw new KvError('INVALID_ARGUMENT', `${ours}, ${stranger} to another one; ${advice}`)
  }

  #isOtherCluster(address: Address): boolean {
    return this.#failedDials.get(address)?.refusal?.kind === 'otherCluster'
  }

  /** Until the membership knows somebody who is up, and again when nobody is. */
  async #keepDialling(): Promise<void> {
    const { links } = this.#parts
    while (!this.#isOver) {
      if (this.#isAlone) for (const address of this.#candidates()) links.dial(address)
      await this.#pauses.pause(DIAL_INTERVAL_MS)
    }
  }

  async #keepTelling(): Promise<void> {
    await this.#pauses.pause(FIRST_WAIT_LOG_MS)
    while (!this.#isOver) {
      this.#parts.effects.log.warn('node.waits', { reason: this.#waitsFor() })
      await this.#pauses.pause(WAIT_LOG_INTERVAL_MS)
    }
  }

  #waitsFor(): string {
    const { configuration, effects, identity } = this.#parts
    if (!this.#isAlone) return configuration.pendingReason ?? 'to be made a member'
    const candidates = this.#candidates()
    if (candidates.length > 0) {
      const tried = candidates.slice(0, MAX_LISTED).map((address) => {
        return `${address} (${this.#failedDials.get(address)?.why ?? 'no answer yet'})`
      })
      return `no peer of the cluster answers; still trying ${tried.join(', ')}`
    }
    const ours = `${effects.storage.name} belongs to cluster ${identity.clusterId}`
    return `${ours}, and no other peer of it is known here: name one with --join`
  }

  /** Where peers of the cluster may be. */
  #candidates(): readonly Address[] {
    const { book, options, identity } = this.#parts
    const remembered = book.entries().filter(([nodeId]) => nodeId !== identity.nodeId)
    return [...new Set([...options.join, ...remembered.map(([, address]) => address)])]
  }
}
