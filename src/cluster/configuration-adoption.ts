/**
 * The newest decided configuration that this peer knows: on disk first, then in force. Everyone who must act
 * on it is told in the same turn of the event loop, so that no request of an older number is left when the
 * acknowledgement leaves.
 *
 * Numbers are adopted in rising order; some may be skipped, because the newest says everything.
 *
 * `holdsRecords`, for the acknowledgement: while a change is `begun`, what counts is whether the store held
 * anything when the first configuration of that change came into force here. Everything after that was
 * written to both layouts and is where the new one looks for it. "Nothing" is kept on disk with the
 * configuration, or a restart would mistake such writes for old ones.
 */
import { type Bytes, equalBytes } from '../base/bytes.ts'
import { KvError } from '../base/error.ts'
import type { Effects } from '../effects/effects.ts'
import type { Configuration, Layout } from '../protocol/configuration.ts'
import { decodeConfiguration, MAX_CONFIGURATION_BYTES } from '../wire/configuration-codec.ts'
import { pack, unpack } from '../wire/msgpack.ts'
import { bool, bytes, MalformedMessage, struct } from '../wire/schema.ts'
import { TwinFile } from './twin-file.ts'

export const CONFIGURATION_FILE = 'configuration'

/** A decided configuration, with the very bytes that were decided. */
export interface Decided {
  readonly configuration: Configuration
  readonly bytes: Bytes
}

export type AdoptListener = (configuration: Configuration) => void

/** The payload of `CONFIGURATION_FILE`. */
export const savedConfigurationCodec = struct({
  configuration: bytes(MAX_CONFIGURATION_BYTES),
  wasEmpty: bool,
})

export class ConfigurationAdoption {
  readonly #file: TwinFile
  readonly #log: Effects['log']
  readonly #holdsRecords: () => boolean
  readonly #listeners: AdoptListener[] = []
  #current: Decided | null = null
  #wasEmpty = false
  #isEmptinessSaved = false
  #wanted: Decided | null = null
  #adopting: Promise<void> | null = null
  #numberOnDisk = 0
  #writing: Promise<unknown> = Promise.resolve()
  #isStopped = false

  /** @param holdsRecords is anything in the store, or on its way there? */
  constructor(effects: Pick<Effects, 'storage' | 'log'>, holdsRecords: () => boolean) {
    this.#file = new TwinFile(effects.storage, effects.log, CONFIGURATION_FILE)
    this.#log = effects.log
    this.#holdsRecords = holdsRecords
  }

  get current(): Decided | null {
    return this.#current
  }

  get number(): number {
    return this.#current?.configuration.number ?? 0
  }

  /** Called in order of registration, synchronously, once a configuration is on disk. */
  onAdopt(listener: AdoptListener): void {
    this.#listeners.push(listener)
  }

  /** Reads the disk; listeners are not told. @throws INTERNAL */
  async load(): Promise<void> {
    const payload = await this.#file.read()
    if (payload === null) return
    try {
      const found = savedConfigurationCodec.decode(unpack(payload))
      this.#current = { configuration: decodeConfiguration(found.configuration), bytes: found.configuration }
      this.#numberOnDisk = this.number
      this.#wasEmpty = found.wasEmpty
      this.#isEmptinessSaved = found.wasEmpty
    } catch (error) {
      if (!(error instanceof MalformedMessage)) throw error
      // As if it were not there: the other peers have it.
      this.#log.error('configuration.unreadable', { error })
    }
  }

  /**
   * Fulfils when this configuration or a newer one is in force. @throws INTERNAL when the disk fails,
   * UNAVAILABLE when stopping
   */
  adopt(decided: Decided): Promise<void> {
    const { number } = decided.configuration
    if (this.#isStopped) return Promise.reject(new KvError('UNAVAILABLE', 'this peer is stopping'))
    if (number <= this.number) {
      this.#compare(decided)
      return Promise.resolve()
    }
    if (this.#wanted === null || number > this.#wanted.configuration.number) this.#wanted = decided
    this.#adopting ??= this.#adoptWanted()
    return this.#adopting
  }

  /** What this peer can say of itself now. @throws INTERNAL */
  async acknowledge(): Promise<{ readonly number: number; readonly holdsRecords: boolean }> {
    const decided = this.#current
    if (decided === null) return { number: 0, holdsRecords: this.#holdsRecords() }
    const { number, phase } = decided.configuration
    if (phase !== 'begun') return { number, holdsRecords: this.#holdsRecords() }
    this.#wasEmpty ||= !this.#holdsRecords()
    if (this.#wasEmpty && !this.#isEmptinessSaved) {
      await this.#write(decided, true)
      if (this.#current === decided) this.#isEmptinessSaved = true
    }
    // While that was being written a newer configuration may have come into force.
    return this.#current === decided ? { number, holdsRecords: !this.#wasEmpty } : this.acknowledge()
  }

  /** Fulfils when nothing is being written. */
  async stop(): Promise<void> {
    this.#isStopped = true
    await this.#writing
  }

  async #adoptWanted(): Promise<void> {
    try {
      while (this.#wanted !== null && this.#wanted.configuration.number > this.number) {
        const decided = this.#wanted
        this.#wanted = null
        const isSameChange = this.#isSameChange(decided.configuration)
        await this.#write(decided, isSameChange && this.#wasEmpty)
        this.#comeIntoForce(decided, isSameChange)
      }
    } finally {
      // In this turn, not in a later microtask: an `adopt` in between must start a new run.
      this.#adopting = null
    }
  }

  #comeIntoForce(decided: Decided, isSameChange: boolean): void {
    this.#current = decided
    this.#isEmptinessSaved = isSameChange && this.#wasEmpty
    for (const listener of this.#listeners) listener(decided.configuration)
    // After the listeners: requests of older numbers have ended, what they left is in the store or never will
    // be.
    this.#wasEmpty = (isSameChange && this.#wasEmpty) || !this.#holdsRecords()
  }

  /**
   * The next number of a change that is `begun` already: something else was decided meanwhile, a keyspace
   * say.
   */
  #isSameChange(next: Configuration): boolean {
    const current = this.#current?.configuration
    return (
      current !== undefined &&
      current.number + 1 === next.number &&
      current.phase === 'begun' &&
      next.phase === 'begun' &&
      current.layouts.every((layout, i) => isSameLayout(layout, next.layouts[i]))
    )
  }

  /** One content per number: anything else is a bug, here or elsewhere, or a forged message. */
  #compare(decided: Decided): void {
    const current = this.#current
    if (current === null || current.configuration.number !== decided.configuration.number) return
    if (equalBytes(current.bytes, decided.bytes)) return
    this.#log.error('configuration.conflict', { number: decided.configuration.number })
  }

  /** One at a time; a note about an older configuration never overwrites a newer one. */
  #write(decided: Decided, wasEmpty: boolean): Promise<void> {
    const { number } = decided.configuration
    const write = this.#writing.then(async () => {
      if (number < this.#numberOnDisk) return
      await this.#file.write(pack(savedConfigurationCodec.encode({ configuration: decided.bytes, wasEmpty })))
      this.#numberOnDisk = number
    })
    // Whoever wrote is told; the next write does not depend on it.
    this.#writing = write.catch(() => undefined)
    return write
  }
}

function isSameLayout(a: Layout, b: Layout | undefined): boolean {
  return b !== undefined && equalBytes(a.rows, b.rows) && a.members.join() === b.members.join()
}
