/**
 * Who this peer is, for as long as its data directory exists; counted up, on disk, before it speaks to
 * anyone.
 */
import { KvError } from '../base/error.ts'
import type { ClusterId, NodeId } from '../base/ids.ts'
import { parseNodeId } from '../base/ids.ts'
import { CONFIGURATION_FILE } from '../cluster/configuration-adoption.ts'
import { TwinFile } from '../cluster/twin-file.ts'
import type { Effects } from '../effects/effects.ts'
import * as field from '../wire/fields.ts'
import { pack, unpack } from '../wire/msgpack.ts'
import { MalformedMessage, optional, type ShapeValue, struct, uint } from '../wire/schema.ts'

export const IDENTITY_FILE = 'identity'

const identityShape = {
  nodeId: field.nodeId,
  /** How often this directory was started. */
  generation: uint(),
  /** Null until the peer has made or found its cluster. */
  clusterId: optional(field.clusterId),
} as const
const identityCodec = struct(identityShape)

export type SavedIdentity = ShapeValue<typeof identityShape>

export class Identity {
  readonly nodeId: NodeId
  /** 1 at the first start. A restart outranks what was said of the life before. */
  readonly generation: number
  /** Another one in each life, so that two processes on copies of one directory can be told apart. */
  readonly bootNonce: string
  readonly #file: TwinFile
  #clusterId: ClusterId | null

  private constructor(file: TwinFile, saved: SavedIdentity, bootNonce: string) {
    this.#file = file
    this.nodeId = saved.nodeId
    this.generation = saved.generation
    this.#clusterId = saved.clusterId
    this.bootNonce = bootNonce
  }

  /**
   * Reads the directory's identity, or makes one, and begins a new generation. @throws INTERNAL when it is
   * damaged
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
    const next: SavedIdentity = {
      nodeId: saved?.nodeId ?? parseNodeId(effects.random.id()),
      generation: (saved?.generation ?? 0) + 1,
      clusterId: saved?.clusterId ?? null,
    }
    const identity = new Identity(file, next, effects.random.id())
    await identity.#save()
    return identity
  }

  get clusterId(): ClusterId | null {
    return this.#clusterId
  }

  /** On disk when it fulfils. A directory belongs to one cluster for good. */
  async joinCluster(clusterId: ClusterId): Promise<void> {
    this.#clusterId = clusterId
    await this.#save()
  }

  #save(): Promise<void> {
    const { nodeId, generation } = this
    return this.#file.write(encodeIdentity({ nodeId, generation, clusterId: this.#clusterId }))
  }
}

export function encodeIdentity(saved: SavedIdentity): Uint8Array {
  return pack(identityCodec.encode(saved))
}

function decodeIdentity(payload: Uint8Array, directory: string): SavedIdentity {
  try {
    return identityCodec.decode(unpack(payload))
  } catch (error) {
    if (!(error instanceof MalformedMessage)) throw error
    throw new KvError('INTERNAL', `the file '${IDENTITY_FILE}' in ${directory} cannot be read`, {
      cause: error,
    })
  }
}
