/**
 * Where the other peers were last, kept on disk: how a restarted peer finds its cluster again without being
 * told.
 */
import type { Address, NodeId } from '../base/ids.ts'
import { TwinFile } from '../cluster/twin-file.ts'
import type { Timer } from '../effects/clock.ts'
import type { Effects } from '../effects/effects.ts'
import { MAX_MEMBERS } from '../protocol/configuration.ts'
import * as field from '../wire/fields.ts'
import { pack, unpack } from '../wire/msgpack.ts'
import { list, MalformedMessage, struct } from '../wire/schema.ts'

const SAVE_AFTER_MS = 500

export const ADDRESSES_FILE = 'addresses'

/** The payload of `ADDRESSES_FILE`. */
export const addressesCodec = list(struct({ nodeId: field.nodeId, address: field.address }), MAX_MEMBERS)

export class AddressBook {
  readonly #effects: Pick<Effects, 'storage' | 'clock' | 'log'>
  readonly #file: TwinFile
  readonly #addresses = new Map<NodeId, Address>()
  #timer: Timer | null = null
  #saving: Promise<void> = Promise.resolve()

  constructor(effects: Pick<Effects, 'storage' | 'clock' | 'log'>) {
    this.#effects = effects
    this.#file = new TwinFile(effects.storage, effects.log, ADDRESSES_FILE)
  }

  async load(): Promise<void> {
    const payload = await this.#file.read()
    if (payload === null) return
    try {
      for (const { nodeId, address } of addressesCodec.decode(unpack(payload)))
        this.#addresses.set(nodeId, address)
    } catch (error) {
      if (!(error instanceof MalformedMessage)) throw error
      this.#effects.log.warn('addresses.unreadable') // They are learnt again from others, or from --join.
    }
  }

  entries(): readonly (readonly [NodeId, Address])[] {
    return [...this.#addresses]
  }

  note(nodeId: NodeId, address: Address): void {
    const known = this.#addresses.get(nodeId)
    if (known === address || (known === undefined && this.#addresses.size >= MAX_MEMBERS)) return
    this.#addresses.set(nodeId, address)
    this.#saveSoon()
  }

  forget(nodeId: NodeId): void {
    if (this.#addresses.delete(nodeId)) this.#saveSoon()
  }

  async stop(): Promise<void> {
    if (this.#timer !== null) this.#save()
    await this.#saving
  }

  #saveSoon(): void {
    this.#timer ??= this.#effects.clock.setTimer(SAVE_AFTER_MS, () => this.#save())
  }

  #save(): void {
    this.#timer?.cancel()
    this.#timer = null
    const entries = [...this.#addresses].map(([nodeId, address]) => ({ nodeId, address }))
    const payload = pack(addressesCodec.encode(entries))
    this.#saving = this.#saving
      .then(() => this.#file.write(payload))
      // It is a convenience: the next change tries again, and --join works without it.
      .catch((error) => this.#effects.log.warn('addresses.unsaved', { error }))
  }
}
