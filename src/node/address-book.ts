/**
 * Where the other peers were last, kept on disk: how a restarted peer finds its cluster again without being
 * told. And which lives they were then: how it still knows a directory that was rolled back.
 */
import type { Address, NodeId } from '../base/ids.ts'
import { TwinFile } from '../cluster/twin-file.ts'
import type { Timer } from '../effects/clock.ts'
import type { Effects } from '../effects/effects.ts'
import { MAX_MEMBERS } from '../protocol/configuration.ts'
import type { PeerIdentity } from '../protocol/membership/peer.ts'
import * as field from '../wire/fields.ts'
import { pack, unpack } from '../wire/msgpack.ts'
import { list, MalformedMessage, optional, type ShapeValue, string, struct, uint } from '../wire/schema.ts'

const SAVE_AFTER_MS = 500

export const ADDRESSES_FILE = 'addresses'

const entryShape = {
  nodeId: field.nodeId,
  address: field.address,
  /** Of the newest life heard of; null: of none. */
  generation: optional(uint()),
  bootNonce: optional(string(64)),
} as const
type Entry = ShapeValue<typeof entryShape>

/** One life of a peer. Generation 0: which one is not known. */
export type NotedLife = Pick<PeerIdentity, 'address' | 'generation' | 'bootNonce'>

/** The payload of `ADDRESSES_FILE`. */
export const addressesCodec = list(struct(entryShape), MAX_MEMBERS)

export class AddressBook {
  readonly #effects: Pick<Effects, 'storage' | 'clock' | 'log'>
  readonly #file: TwinFile
  readonly #entries = new Map<NodeId, Entry>()
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
      for (const entry of addressesCodec.decode(unpack(payload))) this.#entries.set(entry.nodeId, entry)
    } catch (error) {
      if (!(error instanceof MalformedMessage)) throw error
      this.#effects.log.warn('addresses.unreadable') // They are learnt again from others, or from --join.
    }
  }

  entries(): readonly (readonly [NodeId, Address])[] {
    return Array.from(this.#entries.values(), ({ nodeId, address }) => [nodeId, address] as const)
  }

  /** The newest life heard of; null: of none. */
  lifeOf(nodeId: NodeId): NotedLife | null {
    const entry = this.#entries.get(nodeId)
    if (entry === undefined || entry.generation === null) return null
    return { address: entry.address, generation: entry.generation, bootNonce: entry.bootNonce ?? '' }
  }

  note(nodeId: NodeId, life: NotedLife): void {
    const known = this.#entries.get(nodeId)
    if (known === undefined && this.#entries.size >= MAX_MEMBERS) return
    const knownGeneration = known?.generation ?? 0
    if (life.generation !== 0 && life.generation < knownGeneration) return
    const isNews = life.generation > knownGeneration
    const generation = isNews ? life.generation : (known?.generation ?? null)
    const bootNonce = isNews ? life.bootNonce : (known?.bootNonce ?? null)
    if (known !== undefined && !isNews && known.address === life.address) return
    this.#entries.set(nodeId, { nodeId, address: life.address, generation, bootNonce })
    this.#saveSoon()
  }

  forget(nodeId: NodeId): void {
    if (this.#entries.delete(nodeId)) this.#saveSoon()
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
    const payload = pack(addressesCodec.encode([...this.#entries.values()]))
    this.#saving = this.#saving
      .then(() => this.#file.write(payload))
      // It is a convenience: the next change tries again, and --join works without it.
      .catch((error) => this.#effects.log.warn('addresses.unsaved', { error }))
  }
}
