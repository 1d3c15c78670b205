/**
 * A store on a simulated disk in virtual time: every event is one step, so that a test can stop the world
 * between any two.
 */
import { utf8 } from '../../src/base/bytes.ts'
import { createPrng, type Prng } from '../../src/base/prng.ts'
import type { Clock } from '../../src/effects/clock.ts'
import type { Random } from '../../src/effects/random.ts'
import type { Storage } from '../../src/effects/storage.ts'
import { type SimCrash, SimDisk, type SimDiskOptions } from '../../src/simulator/sim-disk.ts'
import { createSimDelay, openSimStorage } from '../../src/simulator/sim-storage.ts'
import { Store, type StoreEffects } from '../../src/store/store.ts'
import type { StoreLimits } from '../../src/store/store-limits.ts'

interface Event {
  readonly atMs: number
  readonly run: () => void
}

const SOON_MS = 60_000

export class World {
  readonly disk: SimDisk
  readonly prng: Prng
  readonly logged: string[] = []
  #events: Event[] = []
  #nowMs = 1_790_000_000_000

  constructor(seed: string | number, options: SimDiskOptions = {}) {
    this.prng = createPrng(seed)
    this.disk = new SimDisk(options)
  }

  get nowMs(): number {
    return this.#nowMs
  }

  get hasEvents(): boolean {
    return this.#events.length > 0
  }

  /** The next event and all that follows from it at once. */
  async step(): Promise<void> {
    const event = this.#events.shift()
    if (event !== undefined) {
      this.#nowMs = Math.max(this.#nowMs, event.atMs)
      event.run()
    }
    await new Promise((resolve) => setImmediate(resolve))
  }

  /** Until nothing is left to happen soon: what a schedule asks for comes hours later. */
  async settle(): Promise<void> {
    do await this.step()
    while ((this.#events[0]?.atMs ?? Number.POSITIVE_INFINITY) < this.#nowMs + SOON_MS)
  }

  /** Everything that happens within so long. */
  async pass(ms: number): Promise<void> {
    const endMs = this.#nowMs + ms
    while ((this.#events[0]?.atMs ?? Number.POSITIVE_INFINITY) <= endMs) await this.step()
    this.#nowMs = endMs
  }

  /** What a promise gives, once enough has happened. */
  async result<T>(promise: Promise<T>): Promise<T> {
    let isSettled = false
    const mark = (): void => {
      isSettled = true
    }
    promise.then(mark, mark)
    await this.step()
    while (!isSettled && this.hasEvents) await this.step()
    if (!isSettled) throw new Error('nothing happens any more')
    return promise
  }

  /** The process is gone: nothing that it began goes on. */
  crash(kind: SimCrash = 'power'): void {
    this.#events = []
    this.disk.crash(this.prng, kind)
  }

  openStorage(): Storage {
    const delay = createSimDelay(this.prng, (delayMs, run) => this.#schedule(delayMs, run))
    return openSimStorage(this.disk, delay)
  }

  effects(storage: Storage): StoreEffects {
    return { clock: this.#clock(), storage, random: this.#random(), log: this.#log(), metrics: NO_METRICS }
  }

  begin(limits: Partial<StoreLimits> = {}): Promise<Store> {
    return Store.open(this.effects(this.openStorage()), { limits })
  }

  open(limits: Partial<StoreLimits> = {}): Promise<Store> {
    return this.result(this.begin(limits))
  }

  #schedule(delayMs: number, run: () => void): Event {
    const event = { atMs: this.#nowMs + delayMs, run }
    const place = this.#events.findIndex((other) => other.atMs > event.atMs)
    this.#events.splice(place < 0 ? this.#events.length : place, 0, event)
    return event
  }

  #clock(): Clock {
    return {
      now: () => Math.floor(this.#nowMs),
      monotonic: () => this.#nowMs,
      setTimer: (delayMs, run) => {
        const event = this.#schedule(delayMs, run)
        return { cancel: () => this.#remove(event) }
      },
      defer: (run) => {
        this.#schedule(0, run)
      },
    }
  }

  #remove(event: Event): void {
    this.#events = this.#events.filter((other) => other !== event)
  }

  #random(): Random {
    const letters = utf8('ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-')
    return {
      float: () => this.prng.float(),
      bytes: (count) => Uint8Array.from({ length: count }, () => this.prng.int(256)),
      id: () =>
        Array.from({ length: 21 }, () => String.fromCharCode(letters[this.prng.int(64)] as number)).join(''),
    }
  }

  #log(): StoreEffects['log'] {
    const note = (event: string): void => {
      this.logged.push(event)
    }
    return { debug: note, info: note, warn: note, error: note }
  }
}

const NO_METRICS: StoreEffects['metrics'] = {
  counter: () => ({ add: () => undefined }),
  gauge: () => undefined,
  histogram: () => ({ observe: () => undefined }),
}
