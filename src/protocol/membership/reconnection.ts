/**
 * Partitions heal only if somebody calls those who cannot be reached: as long as anybody is dead, or a seed
 * never answered, one of them is tried every second; while we are alone, several. (The paper's SWIM forgets
 * the dead; Serf, on top of memberlist, reconnects the same way.)
 *
 * A dead peer is pinged and told that it is held for dead, so it can refute; a seed is an address without a
 * name, so it is dialled.
 */
import type { Address, NodeId } from '../../base/ids.ts'
import type { Prng } from '../../base/prng.ts'
import type { FailureDetector } from './failure-detector.ts'
import type { LocalView } from './local-view.ts'
import { isUp } from './peer.ts'

/** How many are tried at once while nobody is up. */
const TRIES_WHEN_ALONE = 3
/**
 * A seed that never answers while others are up is tried at growing intervals, up to this many times the
 * first.
 */
const MAX_SEED_PATIENCE = 32

interface Seed {
  readonly address: Address
  /** Who was met there; null: nobody yet. */
  nodeId: NodeId | null
  nextTryMs: number
  patience: number
}

export class Reconnection {
  readonly #view: LocalView
  readonly #detector: FailureDetector
  readonly #prng: Prng
  readonly #seeds: Seed[]
  #nextMs = Number.POSITIVE_INFINITY

  constructor(view: LocalView, detector: FailureDetector, prng: Prng) {
    this.#view = view
    this.#detector = detector
    this.#prng = prng
    this.#seeds = [...new Set(view.options.seeds)]
      .filter((address) => address !== view.self.address)
      .map((address) => ({ address, nodeId: null, nextTryMs: 0, patience: 1 }))
  }

  start(): void {
    this.#nextMs = this.#view.nowMs
  }

  get nextWakeMs(): number {
    if (this.#view.table.downCount > 0) return this.#nextMs
    let next = Number.POSITIVE_INFINITY
    for (const seed of this.#seeds) if (seed.nodeId === null) next = Math.min(next, seed.nextTryMs)
    return Math.max(next, this.#nextMs)
  }

  /** Does what is due. */
  wake(): void {
    const { nowMs, options, table } = this.#view
    if (this.#nextMs > nowMs) return
    this.#nextMs = nowMs + options.redialIntervalMs
    const isAlone = table.upCount === 0
    const seeds = this.#seeds.filter((seed) => isAlone || (seed.nodeId === null && seed.nextTryMs <= nowMs))
    if (isAlone) {
      for (let tries = 0; tries < TRIES_WHEN_ALONE && seeds.length > 0; tries++) {
        this.#dial(seeds.splice(this.#prng.int(seeds.length), 1)[0] as Seed)
      }
      for (const peer of table.chooseDown(TRIES_WHEN_ALONE)) this.#detector.redial(peer)
      return
    }
    const pick = this.#prng.int(table.downCount + seeds.length || 1)
    const seed = seeds[pick]
    if (seed !== undefined) this.#dial(seed)
    else for (const peer of table.chooseDown(1)) this.#detector.redial(peer)
  }

  /** There are peers to be tried now, not in a second. */
  hurry(): void {
    this.#nextMs = Math.min(this.#nextMs, this.#view.nowMs)
  }

  met(nodeId: NodeId, dialled: Address | null, advertised: Address): void {
    for (const seed of this.#seeds) {
      if (seed.address === dialled || seed.address === advertised) seed.nodeId = nodeId
    }
  }

  #dial(seed: Seed): void {
    const { nowMs, options, table } = this.#view
    const peer = seed.nodeId === null ? undefined : table.get(seed.nodeId)
    if (peer !== undefined && isUp(peer.record.state)) return
    const isAlone = table.upCount === 0
    seed.patience = isAlone ? 1 : Math.min(MAX_SEED_PATIENCE, 2 * seed.patience)
    seed.nextTryMs = nowMs + seed.patience * options.redialIntervalMs
    this.#view.output({ type: 'dial', address: seed.address })
  }
}
