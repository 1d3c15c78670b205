/**
 * What each replica holds, read from it alone: through a client pinned to an owner, with r = 1, which an
 * owner answers from its own disk. Two replicas are equal when they hold the same values and have seen the
 * same.
 */
import { text } from '../../src/base/bytes.ts'
import { type Client, connect } from '../../src/index.ts'
import type { PeerProcess } from '../processes/peers.ts'

const AT_ONCE = 64

export interface Replica {
  readonly values: readonly string[]
  readonly seen: string
}

/** By key, then by the owner's address. */
export type Replicas = ReadonlyMap<string, ReadonlyMap<string, Replica>>

export class ReplicaReader {
  readonly #clients: ReadonlyMap<string, Client>

  private constructor(clients: ReadonlyMap<string, Client>) {
    this.#clients = clients
  }

  static async connect(peers: readonly PeerProcess[]): Promise<ReplicaReader> {
    const open = async ({ address }: PeerProcess): Promise<[string, Client]> => [
      address,
      await connect(address, { pinned: true, timeoutMs: 3000 }),
    ]
    return new ReplicaReader(new Map(await Promise.all(peers.map(open))))
  }

  /** The peer's own eyes and hands. */
  client(peer: PeerProcess): Client {
    return this.#clients.get(peer.address) as Client
  }

  async read(keys: readonly string[]): Promise<Replicas> {
    const found = new Map<string, ReadonlyMap<string, Replica>>()
    await inParallel(keys, async (key) => {
      found.set(key, await this.#replicasOf(key))
    })
    return found
  }

  close(): void {
    for (const client of this.#clients.values()) client.close()
  }

  async #replicasOf(key: string): Promise<ReadonlyMap<string, Replica>> {
    const [anyone] = this.#clients.values()
    const owners = (await anyone?.service.locate('default', Buffer.from(key)))?.owners ?? []
    const replicas = new Map<string, Replica>()
    for (const owner of owners) {
      const { values, context } = (await this.#clients.get(owner)?.get(key, { r: 1 })) ?? {}
      // A context is a checksum of eight digits, then what was seen, in an order that means nothing.
      const seen = (context ?? '').slice(8).match(/[.~][^.~]+/g) ?? []
      replicas.set(owner, {
        values: (values ?? []).map(({ value }) => text(value)).sort(),
        seen: seen.sort().join(''),
      })
    }
    return replicas
  }
}

/** Keys whose replicas are not all the same. */
export function differing(replicas: Replicas): string[] {
  return [...replicas].flatMap(([key, byOwner]) => {
    const distinct = new Set([...byOwner.values()].map((replica) => JSON.stringify(replica)))
    return distinct.size > 1 ? [key] : []
  })
}

/** How many records changed at each peer. */
export function moved(before: Replicas, after: Replicas): ReadonlyMap<string, number> {
  const counts = new Map<string, number>()
  for (const [key, byOwner] of after) {
    for (const [owner, replica] of byOwner) {
      const isSame = JSON.stringify(before.get(key)?.get(owner)) === JSON.stringify(replica)
      counts.set(owner, (counts.get(owner) ?? 0) + (isSame ? 0 : 1))
    }
  }
  return counts
}

export async function inParallel<T>(items: readonly T[], action: (item: T) => Promise<void>): Promise<void> {
  const queue = [...items]
  const lane = async (): Promise<void> => {
    for (let item = queue.shift(); item !== undefined; item = queue.shift()) await action(item)
  }
  await Promise.all(Array.from({ length: AT_ONCE }, lane))
}
