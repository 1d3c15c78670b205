/**
 * Who this peer is, for as long as its data directory exists; counted up, on disk, before it speaks to
 * anyone. A start that comes to nothing does not count: were it to, a copy of a directory that is in use
 * would outrank the original by being started often enough.
 */
import { KvError } from '../base/error.ts'
import type { ClusterId, NodeId, StoreId } from '../base/ids.ts'
import { parseNodeId, parseStoreId } from '../base/ids.ts'
import { CONFIGURATION_FILE } from '../cluster/configuration-adoption.ts'
import { TwinFile } from '../cluster/twin-file.ts'
import type { Vacancy } from '../cluster/vacant-place.ts'
import type { Effects } from '../effects/effects.ts'
import * as field from '../wire/fields.ts'
import { pack, unpack } from '../wire/msgpack.ts'
import {
  bool,
  MalformedMessage,
  optional,
  parsed,
  type ShapeValue,
  string,
  struct,
  uint,
} from '../wire/schema.ts'

export const IDENTITY_FILE = 'identity'

const identityShape = {
  nodeId: field.nodeId,
  /** Of the last life; how often this directory was started, unless it was rolled back. */
  generation: uint(),
  /** Null until the peer has made or found its cluster. */
  clusterId: optional(field.clusterId),
  /** Of the last life. */
  bootNonce: optional(string(64)),
  /** Of its store in the last life; null: not known. */
  storeId: optional(parsed(parseStoreId)),
  /** It handed over what it owned, and left its cluster. */
  hasLeft: optional(bool),
} as const
const identityCodec = struct(identityShape)

export type SavedIdentity = ShapeValue<typeof identityShape>
export type LastLife = Pick<SavedIdentity, 'generation' | 'bootNonce'>

export class Identity {
  /** Another one in each life, so that two processes on copies of one directory can be told apart. */
  readonly bootNonce: string
  /** The life that this directory saw last; null: it is a new one. */
  readonly last: LastLife | null
  readonly #file: TwinFile
  #nodeId: NodeId
  #generation: number
  #storeId: StoreId | null
  #clusterId: ClusterId | null
  #hasLeft: boolean
  #saving: Promise<unknown> = Promise.resolve()

  private constructor(file: TwinFile, nodeId: NodeId, saved: SavedIdentity | null, bootNonce: string) {
    this.#file = file
    this.#nodeId = nodeId
    this.#storeId = saved?.storeId ?? null
    this.last = saved
    this.#generation = (saved?.generation ?? 0) + 1
    this.#clusterId = saved?.clusterId ?? null
    this.#hasLeft = saved?.hasLeft ?? false
    this.bootNonce = bootNonce
  }

  /**
   * Reads the directory's identity, or makes one. Nothing is written before `begin`. @throws INTERNAL when it
   * is damaged
   */
  static async load(effects: Pick<Effects, 'storage' | 'random' | 'log'>): Promise<Identity> {
    const file = new TwinFile(effects.storage, effects.log, IDENTITY_FILE)
    const payload = await file.read()
    if (payload === null && (await effects.storage.readFile(CONFIGURATION_FILE)) !== null) {
      const advice = 'move the directory away and join the cluster again as a new peer'
      throw new KvError(
        'INTERNAL',
        `both copies of '${IDENTITY_FILE}' in ${effects.storage.name} are damaged; ${advice}`,
      )
    }
    const saved = payload === null ? null : decodeIdentity(payload, effects.storage.name)
    const nodeId = saved?.nodeId ?? parseNodeId(effects.random.id())
    return new Identity(file, nodeId, saved, effects.random.id())
  }

  get nodeId(): NodeId {
    return this.#nodeId
  }

  /** Of the store in the last life, and from `begin` on in this one. */
  get storeId(): StoreId | null {
    return this.#storeId
  }

  /** 1 at the first start. A restart outranks what was said of the life before. */
  get generation(): number {
    return this.#generation
  }

  /** The directory is a copy from the past: this life comes after those that the copy does not know of. */
  outrank(generation: number): void {
    this.#generation = Math.max(this.#generation, generation + 1)
  }

  /** This life is above that generation, which was none of its directory. On disk when it fulfils. */
  async rise(generation: number): Promise<void> {
    const above = Math.max(this.#generation, generation + 1)
    await this.#save(above)
    this.#generation = above
  }

  /** The directory is empty: it goes on as a member who is gone. */
  takePlace({ nodeId, generation, clusterId }: Vacancy): void {
    this.#nodeId = nodeId
    this.#clusterId = clusterId
    this.outrank(generation)
  }

  /** From when it fulfils this life is one of its directory. */
  begin(storeId: StoreId): Promise<void> {
    this.#storeId = storeId
    return this.#save()
  }

  get clusterId(): ClusterId | null {
    return this.#clusterId
  }

  /** On disk when it fulfils. A directory belongs to one cluster for good. */
  async joinCluster(clusterId: ClusterId): Promise<void> {
    this.#clusterId = clusterId
    await this.#save()
  }

  /** It handed over what it owned, and is a member no more. */
  get hasLeft(): boolean {
    return this.#hasLeft
  }

  /** On disk when it fulfils. */
  leave(): Promise<void> {
    this.#hasLeft = true
    return this.#save()
  }

  /** One at a time, each with what is known when its turn comes. */
  #save(generation = 0): Promise<void> {
    const write = this.#saving.then(() => {
      const { nodeId, clusterId, bootNonce, storeId, hasLeft } = this
      const newest = Math.max(this.#generation, generation)
      const saved = { nodeId, generation: newest, clusterId, bootNonce, storeId, hasLeft }
      return this.#file.write(encodeIdentity(saved))
    })
    // Whoever saved is told; the next write does not depend on it.
    this.#saving = write.catch(() => undefined)
    return write
  }
}

export function encodeIdentity(saved: SavedIdentity): Uint8Array {
  return pack(identityCodec.encode(saved))
}

/** @throws INTERNAL */
export function decodeIdentity(payload: Uint8Array, directory: string): SavedIdentity {
  try {
    return identityCodec.decode(unpack(payload))
  } catch (error) {
    if (!(error instanceof MalformedMessage)) throw error
    throw new KvError('INTERNAL', `the file '${IDENTITY_FILE}' in ${directory} cannot be read`, {
      cause: error,
    })
  }
}
