/**
 * Where the other peers were last, kept on disk: how a restarted peer finds its cluster again without being
 * told. And as which lives they were met: how it still knows a directory that was rolled back. What others
 * say of lives is not written down, because it may be wrong: whoever was met with is remembered by those who
 * met him.
 */
import type { Address, NodeId } from '../base/ids.ts'
import { TwinFile } from '../cluster/twin-file.ts'
import type { Timer } from '../effects/clock.ts'
import type { Effects } from '../effects/effects.ts'
import { MAX_MEMBERS } from '../protocol/configuration.ts'
import type { PeerIdentity } from '../protocol/membership/peer.ts'
import * as field from '../wire/fields.ts'
import type { Refusal } from '../wire/handshake-messages.ts'
import { pack, unpack } from '../wire/msgpack.ts'
import { list, MalformedMessage, optional, type ShapeValue, string, struct, uint } from '../wire/schema.ts'

/** What comes meanwhile is saved with it. */
const SAVE_AFTER_MS = 500
/** Of each so many entries: the book is written whole, and who starts among many meets them one by one. */
const SAVE_AFTER_ENTRIES = 50

export const ADDRESSES_FILE = 'addresses'

const entryShape = {
  nodeId: field.nodeId,
  address: field.address,
  /** Of the newest life that shook hands with this peer; null: none did. */
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
  /** Where somebody else answered than who was looked for, lately. */
  readonly #strangers = new Set<string>()
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

  /** The newest life that this peer has met; null: none. */
  lifeOf(nodeId: NodeId): NotedLife | null {
    const entry = this.#entries.get(nodeId)
    if (entry === undefined || entry.generation === null) return null
    return { address: entry.address, generation: entry.generation, bootNonce: entry.bootNonce ?? '' }
  }

  /** Where a life is believed to be. */
  note(nodeId: NodeId, { address, generation }: Pick<NotedLife, 'address' | 'generation'>): void {
    const known = this.#entries.get(nodeId)
    const isOutdated = generation !== 0 && generation < (known?.generation ?? 0)
    if (isOutdated || known?.address === address) return
    this.#set({ generation: null, bootNonce: null, ...known, nodeId, address })
  }

  /** A life shook hands with this peer. */
  met(nodeId: NodeId, { address, generation, bootNonce }: NotedLife): void {
    this.#strangers.delete(address)
    const known = this.#entries.get(nodeId)
    if (generation > (known?.generation ?? 0)) this.#set({ nodeId, address, generation, bootNonce })
  }

  /** Who was looked for there did not answer; null: nor did anybody else. */
  missed(address: Address, refusal: Refusal | null): void {
    const isElse = refusal?.kind === 'somebodyElse' || refusal?.kind === 'otherCluster'
    if (!isElse) this.#strangers.delete(address)
    else if (this.#strangers.size < MAX_MEMBERS) this.#strangers.add(address)
  }

  /** Whether somebody else answers there than who was looked for. Not kept on disk. */
  isStrangerAt(address: string): boolean {
    return this.#strangers.has(address)
  }

  forget(nodeId: NodeId): void {
    if (this.#entries.delete(nodeId)) this.#saveSoon()
  }

  async stop(): Promise<void> {
    if (this.#timer !== null) this.#save()
    await this.#saving
  }

  #set(entry: Entry): void {
    if (!this.#entries.has(entry.nodeId) && this.#entries.size >= MAX_MEMBERS) return
    this.#entries.set(entry.nodeId, entry)
    this.#saveSoon()
  }

  #saveSoon(): void {
    const afterMs = SAVE_AFTER_MS * Math.max(1, this.#entries.size / SAVE_AFTER_ENTRIES)
    this.#timer ??= this.#effects.clock.setTimer(afterMs, () => this.#save())
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
