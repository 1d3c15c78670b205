/**
 * The newest decided configuration that this peer knows: on disk first, then in force. Everyone who must act
 * on it is told in the same turn of the event loop, so that no request of an older number is left when the
 * acknowledgement leaves.
 *
 * Numbers are adopted in rising order; some may be skipped, because the newest says everything.
 */
import { type Bytes, equalBytes } from '../base/bytes.ts'
import { KvError } from '../base/error.ts'
import type { Effects } from '../effects/effects.ts'
import type { Configuration } from '../protocol/configuration.ts'
import { decodeConfiguration, MAX_CONFIGURATION_BYTES } from '../wire/configuration-codec.ts'
import { pack, unpack } from '../wire/msgpack.ts'
import { bytes, MalformedMessage, struct } from '../wire/schema.ts'
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
})

export class ConfigurationAdoption {
  readonly #file: TwinFile
  readonly #log: Effects['log']
  readonly #listeners: AdoptListener[] = []
  #current: Decided | null = null
  #wanted: Decided | null = null
  #adopting: Promise<void> | null = null
  #numberOnDisk = 0
  #writing: Promise<unknown> = Promise.resolve()
  #isStopped = false

  constructor(effects: Pick<Effects, 'storage' | 'log'>) {
    this.#file = new TwinFile(effects.storage, effects.log, CONFIGURATION_FILE)
    this.#log = effects.log
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
        await this.#write(decided)
        this.#current = decided
        for (const listener of this.#listeners) listener(decided.configuration)
      }
    } finally {
      // In this turn, not in a later microtask: an `adopt` in between must start a new run.
      this.#adopting = null
    }
  }

  /** One content per number: anything else is a bug, here or elsewhere, or a forged message. */
  #compare(decided: Decided): void {
    const current = this.#current
    if (current === null || current.configuration.number !== decided.configuration.number) return
    if (equalBytes(current.bytes, decided.bytes)) return
    this.#log.error('configuration.conflict', { number: decided.configuration.number })
  }

  /** One at a time. */
  #write({ configuration, bytes }: Decided): Promise<void> {
    const write = this.#writing.then(async () => {
      if (configuration.number < this.#numberOnDisk) return
      await this.#file.write(pack(savedConfigurationCodec.encode({ configuration: bytes })))
      this.#numberOnDisk = configuration.number
    })
    // Whoever wrote is told; the next write does not depend on it.
    this.#writing = write.catch(() => undefined)
    return write
  }
}
